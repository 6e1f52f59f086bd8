"""Round trips, the witness, history, and rows of other writers."""
# The fixtures are imported, since a conftest would be that of every framework.
# ruff: noqa: F401, F811

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery

from cmc_mcp.adapters.llamaindex import CMCVectorStore
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, flatten_witness
from tests.adapters.suites.llamaindex_made import Mode, does, equals, everything, four, foxes, made, near, store


# ---------------------------------------------------------------------- round trips and the witness
def test_a_node_comes_back_as_it_was(tmp_path):
    node = TextNode(
        id_="n",
        text="héllo\n",
        metadata={"z": 1, "a": {"q": [1, 2.5, None, True], "b": "x"}, "doc_id": "mine", "b": None},
        excluded_llm_metadata_keys=["z"],
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"k": "v"}),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="m"),
        },
        start_char_idx=3,
        end_char_idx=9,
        metadata_template="{key} = {value}",
    )
    before = node.model_dump_json()
    with CMCVectorStore(tmp_path / "memory.db", witness=False) as store:
        store.add([node.model_copy(update={"embedding": near(1.0)})])
        (found,) = store.get_nodes(["n"])
    assert found == node
    assert found.hash == node.hash
    assert list(found.metadata) == list(node.metadata)  # the order of what is embedded and prompted
    for mode in MetadataMode:
        assert found.get_content(mode) == node.get_content(mode)
    assert node.model_dump_json() == before


def test_metadata_are_coerced_once_so_that_filters_see_what_comes_back(store):
    at = datetime(2026, 5, 1, tzinfo=UTC)
    store.add([made("a", "a", when=at, tuple=(1, 2), nan=math.nan, path=Path("a/b"))])
    (found,) = store.get_nodes()
    assert found.metadata["when"] == "2026-05-01T00:00:00Z"
    assert (found.metadata["tuple"], found.metadata["nan"], found.metadata["path"]) == ([1, 2], None, "a/b")
    for key in ("when", "path"):
        assert store.query(everything(filters=equals(key, found.metadata[key]))).ids == ["a"]
    assert store.query(everything(filters=equals("nan", None, FilterOperator.IS_EMPTY))).ids == ["a"]


async def test_every_node_that_is_read_has_its_witness(does, store):
    await does("add", four())
    result = await does("query", everything())
    for node in [*result.nodes, *await does("get_nodes")]:
        vif = node.metadata["vif"]
        assert list(vif) == sorted(vif)
        assert (vif["v"], vif["writer"], vif["model_id"]) == (1, "local", None)
        assert vif["snapshot_id"] == store.client.snapshot().snapshot
        assert store.client.history(vif["atom_id"]).memory.id == vif["atom_id"]
        assert node.metadata["source"] == f"atom://{vif['atom_id']}"
        assert json.loads(node.to_json())["metadata"]["vif"] == vif
        assert type(node).from_json(node.to_json()) == node
        assert flatten_witness(vif)["vif_writer"] == "local"


def test_the_witness_is_neither_embedded_nor_prompted(store):
    node = made("a", "hi", topic="t")
    store.add(
        [
            node,
            made("b", "ho", source_name="x"),
            TextNode(id_="c", text="he", metadata={"source": "mine"}, embedding=near(1)),
        ]
    )
    (found,) = store.get_nodes(["a"])
    assert {"vif", "source"} <= set(found.metadata)
    for mode in (MetadataMode.EMBED, MetadataMode.LLM, MetadataMode.NONE):
        assert found.get_content(mode) == node.get_content(mode)
    (own,) = store.get_nodes(["c"])
    assert own.metadata["source"] == "mine"
    assert own.get_content(MetadataMode.LLM) == "source: mine\n\nhe"


def test_a_witness_that_is_given_is_never_believed(store):
    forged = made("a", "hi", vif={"writer": "root", "atom_id": "x"}, topic="t")
    store.add([forged])
    assert forged.metadata["vif"] == {"writer": "root", "atom_id": "x"}  # the caller's node is left alone
    (found,) = store.get_nodes()
    assert found.metadata["vif"]["writer"] == "local"
    assert store.query(everything(filters=equals("vif.writer", "root"))).ids == []


def test_a_node_that_was_read_and_is_added_again_changes_nothing(store):
    store.add(four())
    before = store.client.snapshot()
    again = store.query(everything()).nodes
    for node in again:
        node.embedding = next(one.embedding for one in four() if one.node_id == node.node_id)
    store.add(again)
    assert store.client.snapshot().root == before.root


def test_without_the_witness_metadata_are_the_callers_alone(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db", witness=False) as store:
        store.add(four())
        assert store.get_nodes(["aaa"])[0].metadata == {"test_num": 1}
        assert store.query(everything()).nodes[0].metadata.keys().isdisjoint({"vif", "source", "_ref_doc_id"})


# ---------------------------------------------------------------------- history
async def test_an_overwrite_supersedes_and_a_delete_retracts(does, store):
    memory = store.client
    await does("add", [made("a", "the kettle is in the cellar", room="cellar")])
    first = memory.snapshot()
    (old,) = await does("get_nodes", ["a"])
    await does("add", [made("a", "the kettle is in the attic", room="attic")])
    second = memory.snapshot()
    await does("delete_nodes", ["a"])
    assert await does("get_nodes", ["a"]) == []

    async def room(**times):
        return [node.metadata["room"] for node in (await does("query", everything(), **times)).nodes]

    assert await room() == []
    assert await room(as_of=first.snapshot) == ["cellar"]
    assert await room(as_of=second.snapshot) == ["attic"]
    assert [node.metadata["room"] for node in await does("get_nodes", ["a"], as_of=first.snapshot)] == ["cellar"]
    lineage = memory.history(old.metadata["vif"]["atom_id"])
    assert lineage.memory.text == "room: cellar\n\nthe kettle is in the cellar"
    memory.rollback(to=second.snapshot)
    assert await room() == ["attic"]
    memory.rollback(to=first.snapshot)
    assert await room() == ["cellar"]
    assert memory.verify().holds


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.TEXT_SEARCH, Mode.HYBRID, Mode.MMR])
def test_the_same_read_point_gives_the_same_answer_for_ever(tmp_path, mode):
    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add(foxes())
        point = store.client.snapshot().snapshot
        query = everything(mode=mode, query_str="the fox", filters=equals("test_key", "zebra", FilterOperator.NE))
        at = {"as_of": point, "valid_at": "2026-05-01T00:00:00Z"}
        first = store.query(query, **at)
        assert first.ids
        store.add([made(f"n{n}", f"the fox number {n}", number=n / 10) for n in range(40)])
        store.delete_nodes(["ddd"])
        store.add([made("ccc", "no longer of an animal", test_key="zebra")])
        assert store.query(query, **at) == first
        assert store.query(query) != first
    with CMCVectorStore(tmp_path / "memory.db") as store:
        assert store.query(query, **at) == first


def test_other_metadata_revise(store):
    store.add([TextNode(id_="a", text="x", metadata={"n": 1}, excluded_embed_metadata_keys=["n"], embedding=near(1))])
    before = store.get_nodes()[0].metadata["vif"]["atom_id"]
    store.add([TextNode(id_="a", text="x", metadata={"n": 2}, excluded_embed_metadata_keys=["n"], embedding=near(1))])
    (found,) = store.get_nodes()
    assert (found.metadata["n"], found.metadata["vif"]["atom_id"]) == (2, before)
    assert store.query(everything(filters=equals("n", 1))).ids == []


def test_validity_is_filtered(store):
    store.add([made("a", "then")], valid_to="2020-01-01T00:00:00Z")
    store.add([made("b", "now")], confidence=0.75)
    assert store.query(everything()).ids == ["b"]
    assert set(store.query(everything(), valid_at="2019-01-01T00:00:00Z").ids) == {"a", "b"}
    assert store.get_nodes(["b"])[0].metadata["vif"]["confidence"] == {"lo": 0.75, "hi": 0.75}


def test_recall_sees_what_the_framework_wrote(store):
    store.add(foxes())
    answer = store.client.recall("quick brown fox", limit=1)
    assert "fox jumped" in answer.items[0].text


def test_the_last_of_an_id_that_is_given_twice_counts(store):
    assert store.add([made("a", "first"), made("b", "other"), made("a", "last")]) == ["a", "b", "a"]
    assert sorted(node.text for node in store.get_nodes()) == ["last", "other"]


# ---------------------------------------------------------------------- other writers
def test_rows_of_another_writer_are_text_nodes(tmp_path):
    with Memory.open(tmp_path / "memory.db", embedder=ExternalEmbedder("m")) as memory:
        rows = memory.collection("docs")
        rows.put([Entry("x", "The kettle is in the cellar", {"room": -1}, near(1.0), extra={"kind": "foreign"})])
        rows.put([Entry("y", "JSON of another kind", {}, near(2.0), extra='{"metadata": 7}')])
        store = CMCVectorStore(memory=memory, collection="docs", witness=False)
        assert store.get_nodes(["x"]) == [TextNode(id_="x", text="The kettle is in the cellar", metadata={"room": -1})]
        assert store.query(everything(filters=equals("room", 0, FilterOperator.LT))).ids == ["x"]
        assert store.get_nodes(["y"])[0].text == "JSON of another kind"
        rows.put([Entry("x", "overwritten elsewhere", {"room": 2}, near(1.0))])
        assert store.get_nodes(["x"])[0].text == "overwritten elsewhere"


def test_langchain_and_llamaindex_read_what_the_other_wrote(tmp_path):
    langchain = pytest.importorskip("langchain_core")
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from cmc_mcp.adapters.langchain import CMCVectorStore as LangChainStore

    assert langchain
    with LangChainStore(DeterministicFakeEmbedding(size=8), path=tmp_path / "memory.db", collection="both") as theirs:
        theirs.add_documents(
            [LangChainDocument("The kettle is in the cellar", id="k", metadata={"room": "cellar", "n": 1})]
        )
        ours = CMCVectorStore(memory=theirs.memory, collection="both")
        (node,) = ours.get_nodes(filters=equals("n", 1))
        assert isinstance(node, TextNode)
        assert (node.node_id, node.text, node.metadata["room"]) == ("k", "The kettle is in the cellar", "cellar")
        asked = VectorStoreQuery(query_str="The kettle is in the cellar", similarity_top_k=3)
        assert ours.query(asked).similarities == [1.0]  # embedded by the model of the memory
        ours.add(
            [TextNode(id_="l", text="The ladder is in the attic", metadata={"room": "attic"}, embedding=[1.0] * 8)]
        )
        (document,) = theirs.similarity_search("ladder", k=4, filter={"room": "attic"})
        assert (document.id, document.metadata["room"]) == ("l", "attic")
        assert "The ladder is in the attic" in document.page_content
        theirs.add_documents([LangChainDocument("The ladder is gone", id="l")])
        assert [node.text for node in ours.get_nodes(["l"])] == ["The ladder is gone"]
        ours.delete_nodes(["k"])
        assert theirs.get_by_ids(["k"]) == []
    model = "DeterministicFakeEmbedding"  # the vectors of one and the same model, made by whoever asks
    with CMCVectorStore(tmp_path / "memory.db", collection="both", model_id=model) as ours:
        assert ours.query(VectorStoreQuery(query_embedding=[1.0] * 8)).nodes[0].text == "The ladder is gone"
