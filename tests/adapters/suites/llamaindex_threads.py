"""Files, processes, threads and event loops."""
# The fixtures are imported, since a conftest would be that of every framework.
# ruff: noqa: F401, F811

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import MockEmbedding

from cmc_mcp.adapters.llamaindex import BadArgument, CMCVectorStore
from cmc_mcp.memory import Memory
from tests.adapters.suites.llamaindex_made import everything, four, made, store


def test_a_store_is_there_again_after_it_was_closed(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add(four())
        expected = store.query(everything())
    with CMCVectorStore.from_params(tmp_path / "memory.db") as store:
        assert store.query(everything()) == expected


def test_two_instances_on_one_file_see_each_other(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db") as one, CMCVectorStore(tmp_path / "memory.db") as other:
        one.add(four()[:2])
        assert set(other.query(everything()).ids) == {"aaa", "bbb"}
        other.add(four()[2:])
        other.delete_nodes(["aaa"])
        assert set(one.query(everything()).ids) == {"bbb", "ccc", "ddd"}


def test_two_processes_on_one_file_see_each_other(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add(four()[:1])
        script = (
            "import sys; from llama_index.core.schema import TextNode;"
            "from cmc_mcp.adapters.llamaindex import CMCVectorStore\n"
            "with CMCVectorStore(sys.argv[1]) as s:\n"
            "    assert [n.node_id for n in s.get_nodes()] == ['aaa']\n"
            "    s.add([TextNode(id_='there', text='from another process', embedding=[0.5, 1.0])])\n"
        )
        subprocess.run([sys.executable, "-c", script, store.path], check=True, timeout=120)
        assert store.query(everything()).ids[0] == "there"


def test_collections_workspaces_and_writers_are_apart(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db", principal="agent:maya") as store:
        store.add(four())
        assert {node.metadata["vif"]["writer"] for node in store.get_nodes()} == {"agent:maya"}
        assert CMCVectorStore(memory=store.client, collection="other").get_nodes() == []
    with CMCVectorStore(tmp_path / "memory.db", workspace="elsewhere") as store:
        assert store.get_nodes() == []


def test_a_store_of_a_file_can_be_pickled(tmp_path):
    model = MockEmbedding(embed_dim=2)
    with CMCVectorStore(tmp_path / "memory.db", embed_model=model, collection="c", witness=False) as store:
        store.add(four())
        with pickle.loads(pickle.dumps(store)) as other:
            assert other.query(everything()) == store.query(everything())
            assert other.to_dict() == store.to_dict()
        assert "embed_model" not in store.to_dict()
        with CMCVectorStore.from_dict(store.to_dict(), embed_model=model) as other:
            assert other.get_nodes() == store.get_nodes()
    with Memory.open(tmp_path / "other.db", embedder=None) as memory, pytest.raises(BadArgument, match="pickled"):
        pickle.dumps(CMCVectorStore(memory=memory))


def test_eight_threads_lose_nothing(store):
    def work(worker):
        for n in range(10):
            store.add([made(f"{worker}-{n}", f"node {n} of {worker}", f"doc-{worker}", n + 0.5)])
            assert store.query(everything(doc_ids=[f"doc-{worker}"])).ids
            if n % 3 == 2:
                store.delete_nodes([f"{worker}-{n - 1}"])
        return worker

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == list(range(8))
    assert {node.node_id for node in store.get_nodes()} == {f"{w}-{n}" for w in range(8) for n in (0, 2, 3, 5, 6, 8, 9)}
    assert store.client.verify().holds


async def test_many_calls_at_once_on_one_loop(store):
    await asyncio.gather(*(store.async_add([made(f"n{n}", f"text {n}", number=n)]) for n in range(20)))
    results = await asyncio.gather(*(store.aquery(everything()) for _ in range(20)))
    assert all(result.ids == results[0].ids for result in results)
    assert len(await store.aget_nodes()) == 20


def test_two_event_loops_share_a_store(store):
    def loop(name):
        async def run():
            await store.async_add([made(name, f"by {name}")])
            return (await store.aquery(everything())).ids

        return asyncio.run(run())

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(loop, ["one", "two"]))
    assert "one" in found[0]
    assert "two" in found[1]
    assert len(asyncio.run(store.aget_nodes())) == 2


@pytest.mark.parametrize("call", ["async_add", "adelete", "adelete_nodes", "aget_nodes", "aquery", "aclear"])
async def test_no_twin_runs_on_the_loop(store, call, monkeypatch):
    """The collection is held up; meanwhile the loop goes on."""
    store.add(four())
    goes, seen = threading.Event(), []
    entries = store._entries

    class Slow:
        def __getattr__(self, name):
            seen.append(threading.current_thread())
            assert goes.wait(20), "the loop never went on"
            return getattr(entries, name)

    monkeypatch.setattr(store, "_entries", Slow())
    arguments = {"async_add": [four()], "adelete": ["ccc"], "adelete_nodes": [["aaa"]], "aquery": [everything()]}
    task = asyncio.create_task(getattr(store, call)(*arguments.get(call, [])))
    while not seen:
        await asyncio.sleep(0)
    assert not task.done()
    goes.set()
    await task
    assert threading.current_thread() not in seen


async def test_the_loop_beats_while_a_large_batch_is_added(store):
    nodes = [made(str(n), f"node number {n}", number=n) for n in range(1_500)]
    task, beats, longest, last = asyncio.create_task(store.async_add(nodes)), 0, 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        beats, longest, last = beats + 1, max(longest, now - last), now
    assert beats > 10, longest  # a store that blocks the loop lets it beat once
    assert len(await task) == 1_500
