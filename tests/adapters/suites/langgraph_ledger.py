"""What a memory adds to a store: history, rollback, provenance, earlier states, other adapters, other processes."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from cmc_mcp import Memory
from cmc_mcp.adapters.langgraph import OTHERS, BadOperation, CMCStore, entry_id
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.errors import CmcError, Conflict, StoreError
from cmc_mcp.model.entries import Entry
from tests.adapters.suites.langgraph_made import DIMS, Letters, index, keys


@pytest.fixture
def store(tmp_path):
    with CMCStore(tmp_path / "memory.db", index=index("text", "more[*]"), principal="agent:cook") as made:
        yield made


# ---------------------------------------------------------------------- history
def test_an_overwrite_supersedes_and_a_delete_ends_belief(store):
    store.put(("t",), "k", {"text": "figs"})
    first = store.witness(("t",), "k")["atom_id"]
    store.put(("t",), "k", {"text": "dates"})
    second = store.witness(("t",), "k")["atom_id"]
    assert store.versions(("t",), "k") == [first, second] and first != second
    history = store.memory.history(id=first)
    assert [entry.principal for entry in history.transactions] == ["agent:cook"] * 2
    assert history.superseded_by == [second]
    store.delete(("t",), "k")
    assert store.witness(("t",), "k") is None and store.versions(("t",), "k") == [first, second]
    assert store.memory.verify().holds


def test_a_rollback_brings_back_what_was_there(store):
    store.put(("t",), "k", {"text": "figs", "more": ["a", "b"]})
    store.put(("t",), "other", {"text": "plums"})
    before = {key: store.get(("t",), key) for key in ("k", "other")}
    point = store.memory.snapshot("good").transaction
    store.put(("t",), "k", {"text": "poison"})
    store.batch([PutOp(("t",), "other", None), PutOp(("u",), "new", {"text": "bad"})])
    store.memory.rollback(point)
    assert {key: store.get(("t",), key) for key in ("k", "other")} == before
    assert store.list_namespaces() == [("t",)]
    assert store.search(("t",), query="b", limit=1)[0].key == "k"


def test_an_earlier_state_is_read_and_cannot_be_written(store):
    store.put(("t",), "k", {"text": "figs"})
    store.memory.snapshot("one")
    store.put(("t",), "k", {"text": "dates"})
    store.put(("u",), "k", {"text": "plums"})
    past = store.at("one")
    assert past.get(("t",), "k").value == {"text": "figs"} and past.list_namespaces() == [("t",)]
    assert [item.value for item in past.search((), query="figs")] == [{"text": "figs"}]
    assert past.witness(("t",), "k")["atom_id"] != store.witness(("t",), "k")["atom_id"]
    for change in (lambda: past.put(("t",), "k", {}), lambda: past.delete(("t",), "k")):
        with pytest.raises(Conflict, match="as it was"):
            change()
    past.close()
    assert store.get(("t",), "k").value == {"text": "dates"}
    with pytest.raises(CmcError):
        store.at("no such label").get(("t",), "k")


def test_the_witness_says_who_wrote_an_item_and_stays_out_of_its_value(store):
    store.put(("t",), "k", {"text": "figs", "vif": {"writer": "forged"}})
    vif = store.witness(("t",), "k")
    assert vif["writer"] == "agent:cook" and vif["v"] == 1 and vif["atom_id"].startswith("atom_")
    assert store.get(("t",), "k").value == {"text": "figs", "vif": {"writer": "forged"}}
    assert store.search(("t",), filter={"vif": {"writer": "agent:cook"}}) == []
    assert store.witness(("t",), "none") is None


def test_one_batch_is_one_transaction_and_reading_is_none(store):
    store.put(("t",), "gone", {"text": "x", "more": ["y"]})
    before = store.memory.status()["transaction"]
    store.batch(
        [PutOp(("t",), f"k{n}", {"text": str(n), "more": ["a", "b"]}) for n in range(20)]
        + [PutOp(("t",), "gone", None)]
    )
    assert store.memory.status()["transaction"] == before + 1
    store.batch(
        [
            GetOp(("t",), "k1"),
            SearchOp(("t",), query="a"),
            SearchOp(()),
            ListNamespacesOp(),
            PutOp(("t",), "gone", None),
        ]
    )
    store.at(before).search(("t",), query="x")
    assert store.memory.status()["transaction"] == before + 1


def test_what_was_erased_is_neither_found_nor_listed(store):
    store.put(("t",), "k", {"text": "a secret"})
    store.put(("u",), "k", {"text": "no secret"})
    secret = [store.witness(("t",), "k")["atom_id"]]
    plan = store.memory.forget(secret, erase=True, dry_run=True)
    store.memory.forget(secret, erase=True, digest=plan.digest, reason="asked to")
    assert store.get(("t",), "k") is None and store.list_namespaces() == [("u",)]
    assert [item.namespace for item in store.search((), query="secret")] == [("u",)]


def test_items_put_without_an_index_are_embedded_later(tmp_path):
    with CMCStore(tmp_path / "m.db") as plain_store:
        plain_store.put(("t",), "k", {"text": "figs"})
    with CMCStore(tmp_path / "m.db", index=index("text")) as indexed:
        assert indexed.search((), query="figs")[0].score is None
        assert indexed.memory.embed_pending() == 1
        assert indexed.search((), query="figs")[0].score > 0


def test_recall_finds_what_an_agent_put(store):
    store.put(("users", "ana"), "food", {"text": "Ana is allergic to walnuts"})
    store.put(("users", "ana"), "secret", {"text": "Ana hides walnuts"}, index=False)
    found = store.memory.recall("walnuts allergic")
    assert [item.text for item in found.items] == ["Ana is allergic to walnuts"]


# ---------------------------------------------------------------------- what others wrote, and what others read
def test_what_something_else_wrote_is_read_found_and_deleted(store):
    store.collection.put(
        [Entry("doc-1", "The kettle", {"source": "a.md", "page": 3}), Entry("doc-2", "Figs", {"namespace": ["t"]})]
    )
    store.put(("t",), "k", {"text": "The kettle too", "page": 3})
    item = store.get(OTHERS, "doc-1")
    assert item.value == {"text": "The kettle", "source": "a.md", "page": 3} and item.namespace == OTHERS
    assert {(i.namespace, i.key) for i in store.search((), filter={"page": {"$gt": 2}})} == {
        (OTHERS, "doc-1"),
        (("t",), "k"),
    }
    assert keys(store.search(OTHERS, query="The kettle", limit=1)) == ["doc-1"]
    assert keys(store.search(("t",))) == ["k"] or set(keys(store.search(("t",)))) == {"k", "doc-2"}
    assert OTHERS in store.list_namespaces()
    store.delete(OTHERS, "doc-1")
    assert store.get(OTHERS, "doc-1") is None and store.collection.get(["doc-1"]) == []


def test_another_adapter_reads_the_text_and_the_names_of_an_item(store):
    store.put(("users", "ana"), "food", {"text": "figs", "n": 1})
    (entry,) = store.memory.collection("langgraph").entries()
    assert entry.id == entry_id(("users", "ana"), "food") and entry.text == "figs"
    assert entry.metadata == {"namespace": ["users", "ana"], "key": "food", "value": {"text": "figs", "n": 1}}


def test_langchain_and_langgraph_read_each_other(tmp_path):
    from langchain_core.documents import Document

    from cmc_mcp.adapters.langchain import CMCVectorStore

    letters = Letters()
    with CMCVectorStore(letters, path=tmp_path / "m.db", collection="shared") as documents:
        documents.add_documents([Document("The kettle is in the attic", id="doc", metadata={"page": 3})])
        with CMCStore(memory=documents.memory, collection="shared", index=index("text", embed=letters)) as store:
            store.put(("users", "ana"), "food", {"text": "Ana likes figs"})
            assert store.get(OTHERS, "doc").value == {"text": "The kettle is in the attic", "page": 3}
            assert store.search((), query="kettle in the attic", filter={"page": 3})[0].key == "doc"
        found = documents.similarity_search("Ana likes figs", k=1, filter={"value.text": "Ana likes figs"})
        assert found[0].page_content == "Ana likes figs" and found[0].metadata["namespace"] == ["users", "ana"]


# ---------------------------------------------------------------------- models
def test_a_collection_of_another_model_is_refused_and_nothing_is_put(tmp_path, store):
    store.put(("t",), "k", {"text": "figs"})

    def others(texts):
        return [[1.0, 2.0] for _ in texts]

    with CMCStore(tmp_path / "memory.db", index={"embed": others, "dims": 2}) as second:
        for call in (lambda: second.put(("t",), "x", {"text": "plums"}), lambda: second.search((), query="figs")):
            with pytest.raises(CmcError) as caught:
                call()
            assert caught.value.code == "dimension_mismatch"
        assert second.get(("t",), "x") is None and second.get(("t",), "k").value == {"text": "figs"}


def test_the_model_of_a_memory_serves_an_index_without_one(tmp_path):
    letters = Letters()
    with Memory.open(tmp_path / "m.db", embedder=ExternalEmbedder("mine", letters.embed_documents)) as memory:
        store = CMCStore(memory=memory, index={"fields": ["text"]})
        store.put(("t",), "k", {"text": "abc"})
        assert store.search((), query="abc")[0].score == pytest.approx(1, abs=1e-5)
        store.close()
        assert store.get(("t",), "k") is not None


def test_an_embedding_that_fails_is_said_and_nothing_is_put(tmp_path):
    def broken(texts):
        raise RuntimeError("no network")

    with CMCStore(tmp_path / "m.db", index={"embed": broken, "dims": DIMS}) as store:
        with pytest.raises(CmcError, match="no network"):
            store.put(("t",), "k", {"text": "abc"})
        assert store.search(()) == []
        store.put(("t",), "k", {"text": "abc"}, index=False)


@pytest.mark.parametrize(
    "options",
    [
        {"index": ["text"]},
        {"index": {"embed": Letters(), "dims": "7"}},
        {"index": {"embed": Letters(), "fields": "text"}},
        {"index": {"embed": Letters(), "fields": [""]}},
        {"index": {"embed": Letters(), "fields": [7]}},
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, options):
    with pytest.raises(BadOperation, match="index"):
        CMCStore(tmp_path / "m.db", **options)


def test_a_store_is_of_a_path_or_of_a_memory(tmp_path):
    with pytest.raises(BadOperation, match="path"):
        CMCStore()
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        for wrong in ({"path": "x.db"}, {"workspace": "other"}, {"principal": "me"}):
            with pytest.raises(BadOperation):
                CMCStore(memory=memory, **wrong)


def test_a_closed_store_says_so(store):
    store.put(("t",), "k", {})
    store.close()
    store.close()
    for call in (lambda: store.get(("t",), "k"), lambda: store.put(("t",), "k", {}), lambda: store.search(())):
        with pytest.raises(StoreError):
            call()


# ---------------------------------------------------------------------- at the same time
def test_threads_share_a_store(store):
    failed = []

    def work(name):
        try:
            for n in range(15):
                store.put(("w", name), f"k{n}", {"text": f"{name} {n}", "more": ["m"] * (n % 2)})
                store.put(("w", "shared"), "k", {"text": name, "n": n})
                assert store.get(("w", name), f"k{n}").value["text"] == f"{name} {n}"
                assert len(store.search(("w", name), query=name, limit=50)) == n + 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"worker{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(store.search(("w",), limit=500)) == 6 * 15 + 1
    assert store.memory.verify().holds


def test_a_store_closed_under_its_readers_gives_typed_errors(tmp_path):
    store = CMCStore(tmp_path / "m.db", index=index("text"))
    store.batch([PutOp(("t",), f"k{n}", {"text": f"text {n}"}) for n in range(200)])
    begun, odd = threading.Event(), []

    def read():
        try:
            while True:
                store.search(("t",), query="text", limit=100)
                begun.set()
        except StoreError:
            pass
        except BaseException as error:
            odd.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    store.close()
    for thread in threads:
        thread.join(30)
    assert not odd and not any(thread.is_alive() for thread in threads)


def test_another_process_sees_and_adds(tmp_path, store):
    store.put(("t",), "mine", {"text": "figs"})
    code = """
import sys
from cmc_mcp.adapters.langgraph import CMCStore
from tests.adapters.suites.langgraph_made import index
with CMCStore(sys.argv[1], index=index("text", "more[*]"), principal="agent:other") as store:
    assert store.get(("t",), "mine").value == {"text": "figs"}
    for n in range(20):
        store.put(("t",), f"theirs{n}", {"text": f"plum {n}", "more": ["x"]})
    store.put(("t",), "mine", {"text": "figs and dates"})
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "memory.db")], cwd=sys.path[0] or ".")
    for n in range(20):
        store.put(("t",), f"ours{n}", {"text": f"fig {n}"})
    assert process.wait(60) == 0
    assert len(store.search(("t",), limit=100)) == 41
    assert store.get(("t",), "mine").value == {"text": "figs and dates"}
    assert store.witness(("t",), "mine")["writer"] == "agent:other"
    assert store.search(("t",), query="plum 7", limit=1)[0].key == "theirs7"
    assert store.memory.verify().holds


def test_a_part_that_its_item_lost_is_not_found(store):
    """Two writers can pass each other: one leaves a part behind that the other's item does not have."""
    store.put(("t",), "k", {"text": "aaa", "more": ["bbb"]})
    (part,) = store.collection.get([entry_id(("t",), "k", 1)])
    store.put(("t",), "k", {"text": "ccc"})
    store.collection.put([Entry(part.id, part.text, part.metadata, extra=part.extra)])
    assert [item.value for item in store.search(("t",), query="bbb")] == [{"text": "ccc"}]
    assert store.search(("t",), query="bbb")[0].score < 0.1 and len(store.search(("t",))) == 1
    store.delete(("t",), "k")
    assert store.search(("t",), query="bbb") == []


# ---------------------------------------------------------------------- against the store in memory
NAME = st.tuples(
    st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=3).map(tuple), st.sampled_from(["k", "l", "1"])
)
VALUE = st.dictionaries(st.sampled_from(["text", "n"]), st.sampled_from(["x", "y z", 1, None]), max_size=2)
OPERATION = (
    st.builds(lambda name, value: PutOp(*name, value), NAME, st.none() | VALUE)
    | st.builds(lambda name: GetOp(*name), NAME)
    | st.builds(
        lambda name, text: SearchOp(name[0][:2], {"text": text} if text else None, 100),
        NAME,
        st.sampled_from(["", "x"]),
    )
    | st.builds(lambda depth: ListNamespacesOp(max_depth=depth), st.sampled_from([None, 1, 2]))
)


def plain(result):
    if isinstance(result, list):
        return sorted(map(str, map(plain, result)))
    return (result.namespace, result.key, sorted(result.value.items())) if hasattr(result, "value") else result


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(OPERATION, max_size=6), max_size=5))
def test_any_batches_give_what_the_store_in_memory_gives(tmp_path_factory, batches):
    reference = InMemoryStore()
    with CMCStore(tmp_path_factory.mktemp("any") / "memory.db") as ours:
        for batch in batches:
            expected, got = reference.batch(batch), ours.batch(batch)
            for op, a, b in zip(batch, expected, got, strict=True):
                if not isinstance(op, ListNamespacesOp):  # that one lists namespaces that were emptied too
                    assert plain(a) == plain(b)
                else:
                    assert set(b) <= set(a)
