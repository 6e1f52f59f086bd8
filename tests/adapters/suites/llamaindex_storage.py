"""Document and index stores, agent memory, the example and the README: all of it in one file."""

from __future__ import annotations

import asyncio
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from llama_index.core import Document, MockEmbedding, SummaryIndex, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory as ChatMemory
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.schema import TextNode
from llama_index.core.storage.chat_store.sql import MessageStatus
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from sqlalchemy.ext.asyncio import create_async_engine

from cmc_mcp.adapters.llamaindex import BadArgument, CMCKVStore, CMCMemoryBlock, CMCVectorStore, storage_context
from cmc_mcp.errors import CmcError, InvalidInput
from cmc_mcp.examples import llamaindex_storage
from cmc_mcp.memory import Memory

ROOT = Path(__file__).parents[3]


@pytest.fixture
def memory(tmp_path):
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        yield memory


# ---------------------------------------------------------------------- key-value store
@pytest.fixture(params=["sync", "async"])
def does(memory, request):
    """Call a method on our store and on the one in memory, by itself or by its twin: they say the same."""
    stores = (CMCKVStore(memory), SimpleKVStore())

    async def call(name, *args, **kwargs):
        if request.param == "async":
            said = [await getattr(store, f"a{name}")(*args, **kwargs) for store in stores]
        else:
            said = [getattr(store, name)(*args, **kwargs) for store in stores]
        assert said[0] == said[1]
        return said[0]

    return call


async def test_a_value_is_what_the_store_in_memory_says(does):
    assert await does("get", "k") is None
    assert await does("get_all") == {}
    assert await does("delete", "k") is False
    await does("put", "k", {"z": 1, "a": {"n": [1, 2.5, None, True, "é"]}, "b": ""})
    assert list(await does("get", "k")) == ["z", "a", "b"]
    await does("put", "k", {"other": 1}, collection="c")
    await does("put_all", [("x", {"n": 1}), ("y", {"n": 2})])
    assert list(await does("get_all")) == ["k", "x", "y"]
    await does("put", "x", {"n": 3})
    assert await does("get", "x") == {"n": 3}
    assert await does("get_all", collection="c") == {"k": {"other": 1}}
    assert await does("delete", "k") is True
    assert await does("get", "k") is None
    assert await does("get", "k", collection="c") == {"other": 1}
    await does("put_all", [])
    for key in ("a/b", "é", "%", "x' OR 1=1", "k" * 500):
        await does("put", key, {})
        assert await does("get", key) == {}


def test_values_have_a_history(memory):
    values = CMCKVStore(memory)
    values.put("k", {"n": 1})
    first = memory.snapshot()
    values.put("k", {"n": 2})
    values.delete("k")
    memory.rollback(to=first.snapshot)
    assert values.get("k") == {"n": 1}
    assert memory.recall("n", limit=5).items == []  # values are never searched
    assert memory.verify().holds


def test_stores_of_other_names_are_apart(memory):
    CMCKVStore(memory, "one").put("k", {"n": 1})
    assert CMCKVStore(memory, "other").get("k") is None


def test_what_json_cannot_hold_is_coerced_or_refused(memory):
    values = CMCKVStore(memory)
    values.put("k", {"at": datetime(2026, 5, 1, tzinfo=UTC), "nan": math.nan, "tuple": (1, 2)})
    assert values.get("k") == {"at": "2026-05-01T00:00:00+00:00", "nan": None, "tuple": [1, 2]}
    for key, value in (
        ("a", {"x": object()}),
        ("", {}),
        ("nul\0", {}),
        (7, {}),
        ("k" * 3_000, {}),
        ("a", "text"),
        ("a", None),
    ):
        with pytest.raises(InvalidInput):
            values.put(key, value)
    with pytest.raises(CmcError):
        values.put_all([("fine", {}), ("a", {"x": object()})])
    assert list(values.get_all()) == ["k"]


# ---------------------------------------------------------------------- documents and indices
def test_documents_are_kept_as_in_the_store_in_memory(memory):
    ours, theirs = KVDocumentStore(CMCKVStore(memory), batch_size=100), SimpleDocumentStore()
    documents = [
        Document(id_="d", text="one", metadata={"z": 1, "a": 2}),
        TextNode(id_="n", text="two", relationships={"1": {"node_id": "d"}}),
    ]
    for store in (ours, theirs):
        store.add_documents(documents)
        store.set_document_hash("d", "h")
    assert ours.docs == theirs.docs
    assert list(ours.get_document("d").metadata) == ["z", "a"]
    assert ours.get_document_hash("d") == "h"
    assert ours.get_all_ref_doc_info() == theirs.get_all_ref_doc_info()
    assert ours.document_exists("n") and not ours.document_exists("x")
    for store in (ours, theirs):
        store.delete_ref_doc("d", raise_error=False)
    assert ours.docs == theirs.docs
    with pytest.raises(ValueError, match="not found"):
        ours.get_document("none")


def test_an_index_is_there_again_from_the_file_alone(tmp_path):
    model = MockEmbedding(embed_dim=4)
    documents = [Document(id_=f"d{n}", text=f"Document number {n}", metadata={"n": n}) for n in range(3)]
    with CMCVectorStore(tmp_path / "memory.db") as store:
        context = storage_context(store)
        index = VectorStoreIndex.from_documents(documents, context, embed_model=model, store_nodes_override=True)
        index.set_index_id("vectors")
        SummaryIndex.from_documents([Document(id_="s", text="In sum")], context).set_index_id("summary")
        context.persist(str(tmp_path / "elsewhere"))  # nothing of ours goes there
    with CMCVectorStore(tmp_path / "memory.db") as store:
        context = storage_context(store)
        index = load_index_from_storage(context, index_id="vectors", embed_model=model, store_nodes_override=True)
        assert sorted(hit.node.ref_doc_id for hit in index.as_retriever(similarity_top_k=9).retrieve("x")) == [
            "d0",
            "d1",
            "d2",
        ]
        assert set(context.docstore.get_all_ref_doc_info()) == {"d0", "d1", "d2", "s"}
        assert len(load_index_from_storage(context, index_id="summary").as_retriever().retrieve("x")) == 1
        index.delete_ref_doc("d1", delete_from_docstore=True)
        assert index.refresh_ref_docs([documents[0], Document(id_="d2", text="Another text")]) == [False, True]
    with CMCVectorStore(tmp_path / "memory.db") as store:
        index = load_index_from_storage(
            storage_context(store), index_id="vectors", embed_model=model, store_nodes_override=True
        )
        assert sorted(hit.node.text for hit in index.as_retriever(similarity_top_k=9).retrieve("x")) == [
            "Another text",
            "Document number 0",
        ]
        assert store.client.verify().holds


async def test_an_index_is_built_and_asked_without_blocking(tmp_path):
    model = MockEmbedding(embed_dim=4)
    with CMCVectorStore(tmp_path / "memory.db") as store:
        index = VectorStoreIndex.from_vector_store(store, model, use_async=True)
        await index.ainsert(Document(id_="d", text="The kettle is in the cellar"))
        (hit,) = await index.as_retriever().aretrieve("kettle")
        assert hit.node.metadata["vif"]["writer"] == "local"
        await index.adelete_ref_doc("d")
        assert await index.as_retriever().aretrieve("kettle") == []


async def test_answers_cite_their_sources_and_prompts_hold_no_witness(tmp_path):
    model = MockEmbedding(embed_dim=4)
    with CMCVectorStore(tmp_path / "memory.db") as store:
        index = VectorStoreIndex.from_vector_store(store, model)
        index.insert(
            Document(id_="k", text="The kettle is in the cellar.", metadata={"source": "house.md", "title": "House"})
        )
        index.insert(Document(id_="l", text="The ladder is in the attic."))
        engine = CitationQueryEngine.from_args(index, llm=MockLLM(), similarity_top_k=2)
        for answer in (engine.query("Where is it?"), await engine.aquery("Where is it?")):
            cited = {hit.node.text.strip().split("\n")[1]: hit.node.metadata for hit in answer.source_nodes}
            kettle, ladder = cited["The kettle is in the cellar."], cited["The ladder is in the attic."]
            assert (kettle["source"], kettle["title"]) == ("house.md", "House")
            assert ladder["source"] == f"atom://{ladder['vif']['atom_id']}"
            assert "vif" not in str(answer)
        asked = str(index.as_query_engine(llm=MockLLM(), similarity_top_k=2, response_mode="compact").query("Where?"))
        assert "The kettle is in the cellar." in asked
        assert "source: house.md" in asked
        assert "atom" not in asked


# ---------------------------------------------------------------------- agent memory
def user(text):
    return ChatMessage(role="user", content=text)


async def test_what_was_said_in_one_session_is_recalled_in_another(memory):
    block = CMCMemoryBlock(memory=memory)
    said = [user("My train leaves from platform nine."), ChatMessage(role="assistant", content="Noted: platform nine.")]
    before = [message.model_copy(deep=True) for message in said]
    await block.aput(said, session_id="monday")
    assert said == before  # the caller's messages are left alone
    await block.aput([user("The kettle is in the cellar.")], session_id="tuesday")
    found = await block.aget([user("Which platform does the train leave from?")], session_id="tuesday")
    assert "user: My train leaves from platform nine." in found.split("\n")
    assert memory.read_source("session:monday").decode().startswith("My train leaves")
    (item,) = memory.recall("kettle cellar", limit=1).items
    assert (item.session, item.speaker) == ("tuesday", "user")


async def test_one_block_serves_two_sessions_apart_when_asked(memory):
    """The block of the framework keeps the first session's filter for all that follow."""
    block = CMCMemoryBlock(memory=memory, session_only=True)
    for session in "ab":
        await block.aput([user(f"The secret of session {session} is blue.")], session_id=session)
    for session in "ab":
        assert (
            await block.aget([user("secret session")], session_id=session)
            == f"user: The secret of session {session} is blue."
        )
    assert await block.aget([user("secret session")], session_id="c") == ""


async def test_it_is_a_block_of_the_chat_memory(memory):
    block = CMCMemoryBlock(memory=memory, limit=1)
    engine = create_async_engine(
        "sqlite+aiosqlite:///:memory:"
    )  # the framework's own window; it never closes one itself
    chat = ChatMemory.from_defaults(
        session_id="s", token_limit=100, token_flush_size=10, async_engine=engine, memory_blocks=[block]
    )
    for n in range(20):
        await chat.aput(user(f"Note number {n}: the parcel of {('Anna', 'Berta', 'Carla')[n % 3]} weighs {n} pounds."))
    window = " ".join(message.content for message in await chat.aget_all(status=MessageStatus.ACTIVE))
    assert "Note number 0" not in window
    (first, *_) = await chat.aget(input="What does note number 0 say?")
    assert first.role == "system"
    assert "Note number 0: the parcel of Anna weighs 0 pounds." in first.content  # what left the window is recalled
    await engine.dispose()


async def test_nothing_is_put_or_recalled_of_nothing(memory):
    block = CMCMemoryBlock(memory=memory)
    await block.aput([])
    await block.aput([user(" "), ChatMessage(role="user", blocks=[ImageBlock(url="http://nowhere/a.png")])])
    await CMCMemoryBlock(memory=memory, accept_short_term_memory=False).aput(
        [user("flushed")], from_short_term_memory=True
    )
    assert memory.recall("flushed", limit=5).items == []
    assert await block.aget([]) == await block.aget(None) == await block.aget([user("")]) == ""
    await block.aput([user("The kettle is in the cellar.")])
    assert await block.aget([user("The kettle is in the cellar.")]) == ""  # it is in the window already
    assert "cellar" in await block.aget([ChatMessage(role="user", blocks=[TextBlock(text="kettle")])])
    assert "cellar" in await block.aget([user("kettle " * 5_000)])


async def test_a_block_that_is_too_long_loses_what_matters_least(memory):
    block = CMCMemoryBlock(memory=memory)
    assert await block.atruncate("first line\nsecond line\nthird line", 2) == "first line\nsecond line"
    assert await block.atruncate("first line\nsecond line", 3) == "first line"
    assert await block.atruncate("only line", 100) is None


async def test_recall_does_not_hold_the_loop(memory):
    block = CMCMemoryBlock(memory=memory)
    await asyncio.gather(*(block.aput([user(f"fact {n}")], session_id=str(n)) for n in range(10)))
    found = await asyncio.gather(*(block.aget([user(f"fact {n}?")]) for n in range(10)))
    assert all(found)


# ---------------------------------------------------------------------- what users are shown
def test_the_example_is_built_reloaded_corrected_and_asked_about_before(capsys):
    llamaindex_storage.main()
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 documents were new",
        "now: Travel needs approval above 900 euros. [travel.md] written by local",
        "then: Travel needs approval above 500 euros. [travel.md] written by local",
        "answered from 1 source: travel.md",
        "recalled: user: My train leaves from platform nine.",
    ]


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/frameworks.md").read_text(), re.DOTALL)
    mine = [block for block in blocks if "cmc_mcp.adapters.llamaindex" in block]
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(mine[0], scope)
    assert capsys.readouterr().out.strip() == "The kettle is in the cellar | local | 0"
    scope["store"].close()


def test_the_error_of_a_value_says_where(memory):
    with pytest.raises(BadArgument, match=r"kv_pairs\[1\]"):
        CMCKVStore(memory).put_all([("a", {}), ("b", 7)])
