"""While a text is embedded nothing is open: no transaction, no lock, no connection; and what happens meanwhile is seen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.embed.http import HttpEmbedder
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.model.results import RecallResult
from cmc_mcp.store.postgres.store import PostgresStore
from tests.embed.watch import INLINE_BYTES, Watcher, open_now, opened
from tests.server.rig import call, configured
from tests.support import reach
from tests.support.memories import erase

SESSION = {"session": "harbour", "occurred_at": "2026-01-02T03:04:05Z"}
DOCUMENT = "# Kettle\n\nThe kettle is blue.\n\nIt whistles.\n\n# Lamp\n\nThe lamp is green.\n\nIt hums.\n"


# ---------------------------------------------------------------------- nothing is open
def quarantined(memory: Memory) -> str:
    memory.set_policy("gate.min_confidence", 0.5)
    (entry,) = memory.remember("a rumour about the harbour", confidence=0.1).quarantined
    return entry.id


VERBS: dict[str, Callable[[Memory, Watcher], object]] = {
    "remember a note": lambda memory, _: memory.remember("The anchor is red"),
    "remember a document": lambda memory, _: memory.remember(DOCUMENT, source="rooms.md"),
    "remember a large note": lambda memory, _: memory.remember("anchor " * INLINE_BYTES),
    "remember under a key": lambda memory, _: memory.remember("The sail is white", idempotency_key="sail"),
    "remember many": lambda memory, _: memory.remember_many([{"content": f"rope {n}"} for n in range(20)]),
    "revise": lambda memory, _: memory.revise(memory.recall("kettle").items[0].id, content="The kettle is grey"),
    "revise at length": lambda memory, _: memory.revise(memory.recall("kettle").items[0].id, content="grey " * 100),
    "recall": lambda memory, _: memory.recall("what is it about?"),
    "recall by a name": lambda memory, _: memory.recall("What did Maya say of the kettle?"),
    "recall as of": lambda memory, _: memory.recall("kettle", as_of=1),
    "recall a second page": lambda memory, _: memory.recall(
        "kettle", limit=1, cursor=memory.recall("kettle", limit=1).next_cursor
    ),
    "collection put": lambda memory, _: memory.collection("notes").put([Entry("b", "the tide"), Entry("c", "x" * 300)]),
    "collection recall": lambda memory, _: memory.collection("notes").recall("What does Maya know of the tide?"),
    "collection recall by meaning": lambda memory, _: memory.collection("notes").recall("tide", mode="dense"),
    "collection search": lambda memory, _: memory.collection("notes").search(
        vector=memory.collection("notes").embed_query("tide")
    ),
    "verify": lambda memory, _: memory.verify(deep=True),
}


def filled(folder: Path, watcher: Watcher) -> Memory:
    memory = opened(folder, watcher)
    memory.remember("The kettle is blue", speaker="Maya", **SESSION)
    memory.remember("So is the other kettle", speaker="Tom", **SESSION)
    memory.remember("# A\n\none one\n\ntwo two\n\n# B\n\nthree\n\nfour\n", source="letters.md")
    memory.collection("notes").put([Entry("a", "the tide is low")])
    return memory


@contextmanager
def watched(memory: Memory, watcher: Watcher) -> Iterator[None]:
    """See that something is embedded, and that nothing of the store is open whenever it is."""
    found: list[str] = []
    before = watcher.calls
    watcher.meanwhile = lambda: found.extend(open_now(memory))
    yield
    watcher.meanwhile = lambda: None
    assert watcher.calls > before
    assert found == []


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_open_while_a_verb_embeds(tmp_path: Path, verb: str) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        with watched(memory, watcher):
            VERBS[verb](memory, watcher)
        assert memory.verify().faults == []


def test_what_is_open_is_seen(tmp_path: Path) -> None:
    """The control: without it the tests above could not fail."""
    with filled(tmp_path, Watcher()) as memory:
        assert open_now(memory) == []
        with reach.reader(memory) as view:
            assert view.head().seq
            assert open_now(memory)
        with reach.writer(memory) as unit:
            assert unit.before.seq
            if isinstance(reach.store(memory), PostgresStore):
                assert open_now(memory)
            else:  # the reader's part of the watch writes, and would wait for us
                from tests.embed.watch import _writers

                assert _writers(reach.store(memory))


def test_nothing_is_open_while_what_was_left_is_embedded(tmp_path: Path) -> None:
    watcher = Watcher()
    watcher.down = True
    with filled_without_model(tmp_path, watcher) as memory:
        watcher.down = False
        with watched(memory, watcher):
            assert memory.embed_pending() == 10
        assert memory.status()["pending"] == 0
        assert memory.verify(deep=True).faults == []


def filled_without_model(folder: Path, watcher: Watcher) -> Memory:
    memory = opened(folder, watcher)
    assert memory.remember(DOCUMENT, source="rooms.md").pending == 6
    assert memory.remember("The kettle is heavy").pending == 1
    return memory


def test_nothing_is_open_while_something_is_released(tmp_path: Path) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        id = quarantined(memory)
        with watched(memory, watcher):
            assert memory.release(id).added


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("remember", {"content": "The anchor is red"}),
        ("recall", {"query": "What did Maya say of the kettle?"}),
        ("verify", {"deep": True}),
    ],
)
def test_nothing_is_open_while_a_tool_embeds(tmp_path: Path, tool: str, arguments: dict[str, Any]) -> None:
    from cmc_mcp.server.session import LocalSession

    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        session = LocalSession(configured(tmp_path), embedder=watcher)
        try:
            with watched(memory, watcher):
                assert not call(session, tool, arguments).is_error
        finally:
            session.close()


def langchain(memory: Memory) -> None:
    from cmc_mcp.adapters.langchain import CMCRetriever, CMCVectorStore

    store = CMCVectorStore(memory=memory)
    store.add_texts(["the anchor is red", "the sail is white"])
    assert store.similarity_search("anchor", k=1)
    assert store.max_marginal_relevance_search("anchor", k=1)
    assert store.as_retriever().invoke("anchor")
    assert CMCRetriever(store=store).invoke("anchor")
    assert store.embeddings.embed_documents(["x"])


def langgraph(memory: Memory) -> None:
    from cmc_mcp.adapters.langgraph import CMCStore

    store = CMCStore(memory=memory, index={"dims": 32, "fields": ["text"]})
    store.put(("a",), "key", {"text": "the anchor is red"})
    assert store.search(("a",), query="anchor")


def llamaindex(memory: Memory) -> None:
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

    from cmc_mcp.adapters.llamaindex import CMCVectorStore

    store = CMCVectorStore(memory=memory)
    store.add([TextNode(id_="a", text="the anchor is red")])
    assert store.query(VectorStoreQuery(query_str="anchor", similarity_top_k=1)).ids == ["a"]


@pytest.mark.parametrize("adapter", [langchain, langgraph, llamaindex])
def test_nothing_is_open_while_an_adapter_embeds(tmp_path: Path, adapter: Callable[[Memory], None]) -> None:
    pytest.importorskip(
        {"langchain": "langchain_core", "llamaindex": "llama_index.core"}.get(adapter.__name__, "langgraph")
    )
    watcher = Watcher()
    with opened(tmp_path, watcher) as memory, watched(memory, watcher):
        adapter(memory)


# ---------------------------------------------------------------------- an endpoint that hangs
@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of an endpoint that takes a request and never answers it."""
    held: list[socket.socket] = []

    def take(server: socket.socket) -> None:
        try:
            while True:
                held.append(server.accept()[0])
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=take, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()


def end_idle_transactions_after(memory: Memory, seconds: int) -> None:
    """Have a database end transactions that wait for so long, as it does after two minutes if it is not told otherwise."""
    store = reach.store(memory)
    if isinstance(store, PostgresStore):
        with psycopg.connect(store.address.conninfo, autocommit=True) as raw:
            bound = f"SET idle_in_transaction_session_timeout = '{seconds}s'"
            raw.execute(f'ALTER DATABASE "{raw.info.dbname}" {bound}'.encode())
        store.pool.forget()


def test_an_endpoint_that_hangs_leaves_what_full_text_finds(tmp_path: Path, hanging: str) -> None:
    with opened(tmp_path, None) as memory:
        first = memory.remember("The kettle is blue", speaker="Maya", **SESSION).added[0]
        end_idle_transactions_after(memory, 1)
        patience_s = 1.5 if isinstance(reach.store(memory), PostgresStore) else 0.2
        slow = memory.with_embedder(HttpEmbedder(hanging, "slow", dimension=8, timeout_s=patience_s, retries=0))
        for answer in (slow.recall("What did Maya say of the kettle?"), slow.recall("kettle", as_of=1)):
            assert [item.id for item in answer.items] == [first]
            assert answer.mode.retrieval == "full_text"
            assert answer.mode.degraded is not None
            assert answer.mode.degraded.startswith("found by full text alone: the embedding endpoint")
        assert [found.id for found in slow.collection("notes").recall("What of Maya?")] == []
        second = slow.remember("The lamp is green")
        assert (len(second.added), second.pending) == (1, 1)
        third = slow.revise(second.added[0], content="The lamp is grey")
        assert (len(third.added), third.pending) == (1, 1)
        end_idle_transactions_after(memory, 60)
        assert slow.verify().faults == []
        slow.close()


# ---------------------------------------------------------------------- the log
def test_the_log_does_not_grow_while_an_embedding_takes_long(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A reader that waited would keep every write since in the log of a file."""
    if pytestconfig.getoption("--backend") != "sqlite":
        pytest.skip("a database has no log of ours")
    sizes = {held: log_after_writes(tmp_path / str(held), held=held) for held in (False, True)}
    assert sizes[True] <= sizes[False]


def log_after_writes(folder: Path, *, held: bool) -> int:
    """Return the size of the log after writes, made during an embedding or not."""
    folder.mkdir()
    watcher = Watcher()
    with opened(folder, watcher) as memory, opened(folder, None) as writer:
        memory.remember("The kettle is blue", speaker="Maya", **SESSION)

        def write() -> None:
            for n in range(150):
                writer.remember(f"{n} " + "a line about the harbour " * 7)

        if held:
            watcher.once(write)
        memory.recall("What did Maya say of the kettle?")
        if not held:
            write()
        return (folder / "memory.db-wal").stat().st_size


# ---------------------------------------------------------------------- what happens meanwhile
def afresh(memory: Memory, watcher: Watcher) -> Memory:
    """Return the same memory with nothing kept of it, so that a name in a question is looked up first."""
    return memory.with_embedder(watcher)


def test_a_write_meanwhile_is_not_in_the_answer(tmp_path: Path) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        question = "What did Maya say of the kettle?"
        before = memory.recall(question, valid_at="2026-02-01T00:00:00Z")
        watcher.once(lambda: memory.remember("The third kettle is gold", speaker="Maya", **SESSION))
        answer = afresh(memory, watcher).recall(question, valid_at="2026-02-01T00:00:00Z")
        point = before.read_point.model_dump(exclude={"reference_time"})
        assert answer.read_point.model_dump(exclude={"reference_time"}) == point
        assert [(item.id, item.score) for item in answer.items] == [(item.id, item.score) for item in before.items]
        assert len(memory.recall(question).items) == len(before.items) + 1


def test_the_reference_time_is_that_of_the_first_read(tmp_path: Path) -> None:
    watcher = Watcher()
    clock = FixedClock(1_780_000_000_000_000)
    with opened(tmp_path, watcher, clock=clock) as memory:
        memory.remember("The kettle is blue", speaker="Maya", **SESSION)
        early = memory.recall("What did Maya say?").read_point
        watcher.once(lambda: clock.set_us(1_780_000_090_000_000))
        assert afresh(memory, watcher).recall("What did Maya say?").read_point == early


def test_a_question_whose_speakers_are_in_memory_is_answered_as_if_they_were_looked_up(tmp_path: Path) -> None:
    """One read fixes the point and answers, whatever came before it; a name that is new is embedded without it again."""
    watcher = Watcher()
    question = "What did Maya and Ines say of the kettle?"
    with filled(tmp_path, watcher) as memory:
        memory.recall(question)
        calls = watcher.calls
        watcher.once(lambda: memory.remember("The third kettle is gold", speaker="Tom", **SESSION))
        one = memory.recall(question)
        assert watcher.calls == calls + 2  # the question, and what was remembered meanwhile
        assert one.model_dump(exclude={"trace", "next_cursor"}) == same_point(afresh(memory, watcher), question, one)
        memory.remember("The fourth kettle is tin", speaker="Ines", **SESSION)
        calls = watcher.calls
        two = memory.recall(question)
        assert watcher.calls == calls + 2  # with her name, and without it
        assert two.model_dump(exclude={"trace", "next_cursor"}) == same_point(afresh(memory, watcher), question, two)
        assert two.items != one.items


def same_point(memory: Memory, question: str, answer: RecallResult) -> dict[str, object]:
    """Ask at the point of an answer; return what is answered, as of the time that was now then."""
    point = answer.read_point
    again = memory.recall(question, as_of=point.transaction, valid_at=point.valid_at)
    asked_then = again.read_point.model_copy(update={"reference_time": point.reference_time})
    return again.model_copy(update={"read_point": asked_then}).model_dump(exclude={"trace", "next_cursor"})


@pytest.mark.parametrize("looked_up", [True, False])
def test_what_memory_knew_of_speakers_that_were_erased_counts_no_more(tmp_path: Path, looked_up: bool) -> None:
    watcher = Watcher()
    question = "What did Maya say of the kettle?"
    with filled(tmp_path, watcher) as memory:
        gone = next(item.id for item in memory.recall(question).items if item.text == "The kettle is blue")
        calls = watcher.calls
        watcher.once(lambda: erase(memory, [gone]))
        answer = (afresh(memory, watcher) if looked_up else memory).recall(question)
        assert watcher.calls == calls + 2
        assert "blue" not in answer.model_dump_json()
        assert answer.model_dump(exclude={"trace", "next_cursor"}) == same_point(memory, question, answer)


def test_what_is_erased_meanwhile_is_not_shown(tmp_path: Path) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        question = "What did Maya say of the kettle?"
        seq = memory.status()["transaction"]
        gone = next(item.id for item in memory.recall(question).items if item.text == "The kettle is blue")
        calls = watcher.calls
        watcher.once(lambda: erase(memory, [gone]))
        answer = afresh(memory, watcher).recall(question)
        assert watcher.calls == calls + 2  # nobody is called Maya any more, so her name is a word of the question
        assert answer.read_point.transaction == seq
        assert gone not in [item.id for item in answer.items]
        assert "blue" not in answer.model_dump_json()
        again = memory.recall(question, as_of=seq)
        assert [(item.id, item.score) for item in answer.items] == [(item.id, item.score) for item in again.items]
        assert answer.hidden_erased == again.hidden_erased == 1


def test_an_erase_of_somebody_else_embeds_nothing_again(tmp_path: Path) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        other = next(item.id for item in memory.recall("kettle").items if item.text == "So is the other kettle")
        calls = watcher.calls
        watcher.once(lambda: erase(memory, [other]))
        answer = memory.recall("What did Maya say of the kettle?")
        assert watcher.calls == calls + 1
        assert "other" not in answer.model_dump_json(include={"items"})


def test_erasures_without_end_leave_what_full_text_finds(tmp_path: Path) -> None:
    watcher = Watcher()
    names = ["Maya", "Ines", "Olga", "Ravi", "Nils"]
    with opened(tmp_path, watcher) as memory:
        left = [memory.remember(f"The kettle {n}", speaker=name, **SESSION).added[0] for n, name in enumerate(names)]
        kept = memory.remember("The kettle is kept", speaker="Tom", **SESSION).added
        watcher.meanwhile = lambda: erase(memory, [left.pop()])
        answer = memory.recall(f"What do {' and '.join(names)} say of the kettle?")
        watcher.meanwhile = lambda: None
        assert len(left) == 2
        assert answer.mode.retrieval == "full_text"
        assert answer.mode.degraded is not None and answer.mode.degraded.startswith("found by full text alone")
        assert {item.id for item in answer.items} == {*left, *kept}


def test_a_text_that_another_embeds_meanwhile_has_one_vector(tmp_path: Path) -> None:
    watcher = Watcher()
    with opened(tmp_path, watcher) as memory:
        watcher.once(lambda: memory.remember(DOCUMENT, source="rooms.md"))
        receipt = memory.remember(DOCUMENT, source="rooms.md")
        assert receipt.reaffirmed and not receipt.added and receipt.pending == 0
        assert memory.verify(deep=True).faults == []


def test_a_text_that_is_erased_meanwhile_is_kept_back(tmp_path: Path) -> None:
    watcher = Watcher()
    with opened(tmp_path, watcher) as memory:
        text = "the harbour master's number " * 20
        watcher.once(lambda: erase(memory, memory.remember(text).added))
        receipt = memory.remember(text)
        assert [entry.reasons for entry in receipt.quarantined] == [["its content was erased from this workspace"]]
        assert not receipt.added
        assert list(reach.objects(memory).hashes(reach.ws(memory))) == []
        assert memory.verify(deep=True).faults == []


def test_what_others_embed_or_erase_meanwhile_is_not_embedded_twice(tmp_path: Path) -> None:
    """What was left without a vector: a rival is quicker, or an erase takes some of it."""
    for name, action in RIVALS.items():
        watcher = Watcher()
        watcher.down = True
        folder = tmp_path / name
        folder.mkdir()
        with filled_without_model(folder, watcher) as memory:
            watcher.down = False
            ids = [item.id for item in memory.recall("kettle").items]
            watcher.once(lambda memory=memory, ids=ids, action=action: action(memory, ids))  # type: ignore[misc]
            memory.embed_pending()
            assert memory.status()["pending"] == 0
            assert memory.verify(deep=True).faults == []


RIVALS: dict[str, Callable[[Memory, list[str]], object]] = {
    "a rival": lambda memory, _: memory.embed_pending(),
    "an erase": erase,
    "another writer": lambda memory, _: memory.remember("The lamp is heavy"),
}


def test_an_erase_while_sections_are_embedded_leaves_no_vector_of_them(tmp_path: Path) -> None:
    watcher = Watcher()
    watcher.down = True
    with filled_without_model(tmp_path, watcher) as memory:
        watcher.down = False
        ids = [item.id for item in memory.recall("lamp").items]
        watcher.once(lambda: watcher.once(lambda: erase(memory, ids)))  # the second embedding is that of the sections
        memory.embed_pending()
        assert memory.verify(deep=True).faults == []


def test_an_erase_while_everything_is_embedded_again_is_no_fault(tmp_path: Path) -> None:
    watcher = Watcher()
    with filled(tmp_path, watcher) as memory:
        ids = [item.id for item in memory.recall("kettle one two").items]
        watcher.once(lambda: erase(memory, ids))
        assert memory.verify(deep=True).faults == []
