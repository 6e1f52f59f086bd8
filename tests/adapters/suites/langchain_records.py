"""The record manager, by the cases that LangChain tests its own with, and `index()` over a store that cannot drift."""

from __future__ import annotations

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import aindex, index

from cmc_mcp import FixedClock, Memory
from cmc_mcp.adapters.langchain import BadArgument, CMCRecordManager, CMCVectorStore

START_US = 1_750_000_000_000_000
STEP_US = 1_000_000


@pytest.fixture
def memory(tmp_path):
    clock = FixedClock(START_US, step_us=STEP_US)
    with Memory.open(tmp_path / "memory.db", embedder=None, clock=clock) as memory:
        yield memory


@pytest.fixture
def manager(memory):
    manager = CMCRecordManager("kittens", memory=memory)
    manager.create_schema()
    return manager


@pytest.fixture
def store(memory):
    return CMCVectorStore(DeterministicFakeEmbedding(size=8), memory=memory)


@pytest.fixture
def records(store):
    return CMCRecordManager("docs", store=store)


# ---------------------------------------------------------------------- the record manager by itself
def test_keys_are_recorded_listed_and_deleted(manager):
    assert manager.list_keys() == []
    manager.update(["key1", "key2", "key3"])
    assert sorted(manager.list_keys()) == ["key1", "key2", "key3"]
    manager.update(["key3"])
    assert len(manager.list_keys()) == 3
    assert manager.exists(["key1", "nobody", "key3"]) == [True, False, True]
    manager.delete_keys(["key1", "nobody"])
    assert sorted(manager.list_keys()) == ["key2", "key3"]
    assert manager.list_keys(limit=1) == ["key2"]
    assert manager.exists([]) == []


def test_time_goes_on_and_bounds_what_is_listed(manager):
    manager.update(["old"])
    between = manager.get_time()
    manager.update(["new"])
    assert manager.list_keys(before=between) == ["old"]
    assert manager.list_keys(after=between) == ["new"]
    assert manager.list_keys(before=between, after=between) == []
    manager.update(["old"])
    assert manager.list_keys(before=between) == []
    assert manager.get_time() > between


def test_groups_are_kept_and_listed(manager):
    manager.update(["a", "b", "c", "d"], group_ids=["g1", "g2", None, "g1"])
    assert sorted(manager.list_keys(group_ids=["g1"])) == ["a", "d"]
    assert sorted(manager.list_keys(group_ids=["g1", "g2"])) == ["a", "b", "d"]
    assert manager.list_keys(group_ids=[]) == []
    manager.update(["a"], group_ids=["g2"])
    assert sorted(manager.list_keys(group_ids=["g2"])) == ["a", "b"]


def test_namespaces_do_not_see_each_other(memory, manager):
    other = CMCRecordManager("puppies", memory=memory)
    manager.update(["key"])
    assert other.exists(["key"]) == [False]
    assert other.list_keys() == []


def test_wrong_groups_and_a_time_to_come_are_refused(manager):
    with pytest.raises(ValueError, match="group_ids"):
        manager.update(["a", "b"], group_ids=["g"])
    with pytest.raises(ValueError, match="future"):
        manager.update(["a"], time_at_least=manager.get_time() + 3_600)
    with pytest.raises(BadArgument):
        CMCRecordManager("x")
    assert manager.list_keys() == []


async def test_the_asynchronous_twins_do_the_same(manager):
    await manager.acreate_schema()
    start = await manager.aget_time()
    await manager.aupdate(["a", "b"], group_ids=["g", None], time_at_least=start)
    assert await manager.aexists(["a", "z"]) == [True, False]
    assert await manager.alist_keys(group_ids=["g"], after=start) == ["a"]
    await manager.adelete_keys(["a"])
    assert await manager.alist_keys() == ["b"]


def test_records_are_neither_searched_nor_pending(memory, manager):
    manager.update(["kittens"], group_ids=["kittens"])
    assert memory.recall("kittens").items == []
    assert memory.status()["pending"] == 0


# ---------------------------------------------------------------------- index()
class Loader(BaseLoader):
    def __init__(self, *documents):
        self.documents = documents

    def lazy_load(self):
        yield from self.documents


def doc(text, source="1"):
    return Document(text, metadata={"source": source})


def run(loader, records, store, **more):
    result = index(loader, records, store, key_encoder="sha256", **{"source_id_key": "source", **more})
    return tuple(result[name] for name in ("num_added", "num_updated", "num_skipped", "num_deleted"))


def texts(store):
    return sorted(found.text for found in store.collection.entries())


def test_the_second_run_skips_everything(store, records):
    loader = Loader(doc("one"), doc("two", "2"))
    assert run(loader, records, store) == (2, 0, 0, 0)
    assert run(loader, records, store) == (0, 0, 2, 0)
    assert texts(store) == ["one", "two"]


@pytest.mark.parametrize("cleanup", ["incremental", "full", "scoped_full"])
def test_an_edit_adds_one_and_deletes_one(store, records, cleanup):
    run(Loader(doc("one"), doc("two", "2")), records, store, cleanup=cleanup)
    assert run(Loader(doc("one, edited"), doc("two", "2")), records, store, cleanup=cleanup) == (1, 0, 1, 1)
    assert texts(store) == ["one, edited", "two"]
    assert run(Loader(doc("one, edited"), doc("two", "2")), records, store, cleanup=cleanup) == (0, 0, 2, 0)


def test_full_cleanup_deletes_what_is_gone_and_incremental_does_not(store, records):
    run(Loader(doc("one"), doc("two", "2")), records, store)
    assert run(Loader(doc("one")), records, store, cleanup="incremental") == (0, 0, 1, 0)
    assert run(Loader(doc("one")), records, store, cleanup="full") == (0, 0, 1, 1)
    assert run(Loader(), records, store, cleanup="full") == (0, 0, 0, 1)
    assert texts(store) == []
    assert records.list_keys() == []


def test_duplicates_within_a_run_are_added_once(store, records):
    assert run(Loader(doc("one"), doc("one"), doc("two")), records, store)[0] == 2
    assert texts(store) == ["one", "two"]


def test_small_batches_and_a_forced_update(store, records):
    loader = Loader(*(doc(f"text {n}", str(n % 3)) for n in range(25)))
    assert run(loader, records, store, batch_size=4) == (25, 0, 0, 0)
    assert run(loader, records, store, batch_size=4, force_update=True) == (0, 25, 0, 0)
    assert store.collection.count() == 25
    assert all(len(store.collection.wordings(found.id)) == 1 for found in store.collection.entries())


def test_what_was_deleted_behind_its_back_is_indexed_again(store, records):
    loader = Loader(doc("one"), doc("two", "2"))
    run(loader, records, store)
    store.delete([store.collection.entries()[0].id])
    assert run(loader, records, store) == (1, 0, 1, 0)
    assert texts(store) == ["one", "two"]


def test_a_crash_between_the_documents_and_their_records_is_repaired(store, records, monkeypatch):
    loader = Loader(doc("one"), doc("two", "2"))

    def crash(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "update", crash)
        with pytest.raises(KeyboardInterrupt):
            run(loader, records, store)
    assert texts(store) == ["one", "two"]
    assert run(loader, records, store, cleanup="full") == (2, 0, 0, 0)
    assert texts(store) == ["one", "two"]
    assert run(loader, records, store, cleanup="full") == (0, 0, 2, 0)


def test_a_rollback_takes_documents_and_records_back_together(memory, store, records):
    run(Loader(doc("one")), records, store)
    state = memory.snapshot()
    run(Loader(doc("two")), records, store, cleanup="full")
    assert texts(store) == ["two"]
    memory.rollback(state)
    assert texts(store) == ["one"]
    assert run(Loader(doc("one")), records, store, cleanup="full") == (0, 0, 1, 0)
    assert memory.verify().holds


async def test_aindex_does_the_same(store, records):
    loader = Loader(doc("one"), doc("two", "2"))
    first = await aindex(loader, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
    second = await aindex(loader, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
    assert (first["num_added"], second["num_skipped"]) == (2, 2)
