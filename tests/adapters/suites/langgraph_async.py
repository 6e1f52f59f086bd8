"""What holds in event loops: they are never blocked, several can share a store, asynchronous embeddings are awaited."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import GetOp, InvalidNamespaceError, PutOp, SearchOp

from cmc_mcp.adapters.langgraph import CMCStore
from cmc_mcp.errors import CmcError
from tests.adapters.suites.langgraph_made import DIMS, Letters, index, keys
from tests.support import reach
from tests.support.load import Stopwatch

SLOW_S = 0.2


class Slow(Letters):
    """An embedding that takes its time, and has no asynchronous methods of its own."""

    def embed_query(self, text):
        time.sleep(SLOW_S)
        return super().embed_query(text)


async def longest_pause(work):
    """Run something; return its result and the longest time (seconds, of a quiet machine) in which the loop did nothing else."""
    pauses, running = [0.0], True

    async def beat():
        while running:
            watch = Stopwatch(os.getpid())
            await asyncio.sleep(0.001)
            pauses.append(watch.seconds())

    heart = asyncio.create_task(beat())
    result = await work
    running = False
    await heart
    return result, max(pauses)


async def test_a_slow_query_does_not_hold_up_the_loop(tmp_path):
    async with CMCStore(tmp_path / "m.db", index=index("text", embed=Slow())) as store:
        await store.abatch([PutOp(("t",), f"k{n}", {"text": f"text {n}"}) for n in range(300)])
        found, pause = await longest_pause(store.asearch(("t",), query="text 7"))
        assert len(found) == 10
        assert pause < SLOW_S / 2


async def test_a_store_that_waits_for_a_lock_does_not_hold_up_the_loop(tmp_path):
    store = CMCStore(tmp_path / "m.db")
    held, release = threading.Event(), threading.Event()

    def hold():
        with reach.writer(store.memory):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    put = asyncio.create_task(store.aput(("t",), "k", {"n": 1}))
    beats = 0
    while beats < 20:  # the loop goes on while the put waits
        await asyncio.sleep(0.001)
        beats += 1
    assert not put.done()
    release.set()
    await put
    thread.join()
    assert (await store.aget(("t",), "k")).value == {"n": 1}
    store.close()


async def test_an_asynchronous_embedding_is_awaited_once_for_a_batch(tmp_path):
    calls = []

    async def embed(texts):
        calls.append(list(texts))
        await asyncio.sleep(0)
        return [Letters.one(text) for text in texts]

    async with CMCStore(tmp_path / "m.db", index={"embed": embed, "dims": DIMS, "fields": ["text"]}) as store:
        await store.abatch([PutOp(("t",), str(n), {"text": text}) for n, text in enumerate(("aaa", "bbb", "aaa"))])
        assert calls == [["aaa", "bbb"]]
        got = await store.abatch(
            [SearchOp(("t",), query="bbb", limit=1), GetOp(("t",), "0"), SearchOp(("t",), query="aaa", limit=2)]
        )
        assert keys(got[0]) == ["1"] and got[1].value == {"text": "aaa"} and sorted(keys(got[2])) == ["0", "2"]
        with pytest.raises(CmcError, match="async"):
            await asyncio.to_thread(store.put, ("t",), "k", {"text": "new"})
        assert (await asyncio.to_thread(store.get, ("t",), "0")).value == {"text": "aaa"}


async def test_the_own_asynchronous_methods_of_an_embedding_are_used(tmp_path):
    class Both(Letters):
        awaited = 0

        async def aembed_documents(self, texts):
            self.awaited += 1
            return [self.one(text) for text in texts]

        async def aembed_query(self, text):
            self.awaited += 1
            return self.one(text)

    both = Both()
    async with CMCStore(tmp_path / "m.db", index=index("text", embed=both)) as store:
        await store.aput(("t",), "k", {"text": "abc"})
        assert (await store.asearch((), query="abc"))[0].score == pytest.approx(1, abs=1e-5)
        assert both.awaited == 2 and both.calls == []
        assert store.search((), query="abc")[0].score == pytest.approx(1, abs=1e-5)


async def test_what_an_asynchronous_embedding_raises_is_typed_and_nothing_is_put(tmp_path):
    class Broken(Embeddings):
        def embed_documents(self, texts):
            raise OSError("down")

        embed_query = embed_documents

        async def aembed_documents(self, texts):
            return [[1.0] * DIMS] * (len(texts) - 1)

    async with CMCStore(tmp_path / "m.db", index=index(embed=Broken())) as store:
        with pytest.raises(CmcError, match="gave 0 vectors for 1"):
            await store.aput(("t",), "k", {})
        with pytest.raises(CmcError, match="down"):
            await store.asearch((), query="x")
        assert await store.asearch(()) == []


async def test_a_bad_label_is_refused_in_every_asynchronous_method(tmp_path):
    async with CMCStore(tmp_path / "m.db") as store:
        await store.aput(("foo", "bar"), "k", {"n": 1})
        bad = ("foo.bar",)
        for call in (
            store.aget(bad, "k"),
            store.aput(bad, "k", {}),
            store.adelete(bad, "k"),
            store.asearch(bad),
            store.alist_namespaces(prefix=bad),
            store.abatch([GetOp(bad, "k")]),
        ):
            with pytest.raises(InvalidNamespaceError):
                await call
        assert (await store.aget(("foo", "bar"), "k")).value == {"n": 1}


async def test_many_tasks_share_a_store(tmp_path):
    async with CMCStore(tmp_path / "m.db", index=index("text")) as store:
        await asyncio.gather(*(store.aput(("t", str(n % 3)), f"k{n}", {"text": f"text {n}"}) for n in range(60)))
        found = await asyncio.gather(*(store.asearch(("t",), query=f"text {n}", limit=60) for n in range(20)))
        assert all(len(items) == 60 for items in found)


def test_two_event_loops_share_a_store(tmp_path):
    with CMCStore(tmp_path / "m.db", index=index("text")) as store:

        async def work(name):
            for n in range(10):
                await store.aput((name,), f"k{n}", {"text": f"{name} {n}"})
                assert len(await store.asearch((name,), query=name)) == n + 1

        failed = []

        def loop(name):
            try:
                asyncio.run(work(name))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=loop, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and len(store.search((), limit=50)) == 20


async def test_a_cancelled_put_leaves_the_store_in_order(tmp_path):
    async with CMCStore(tmp_path / "m.db") as store:
        tasks = [asyncio.create_task(store.aput(("t",), f"k{n}", {"n": n})) for n in range(10)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.aput(("t",), "after", {})
        assert "after" in keys(await store.asearch(("t",), limit=20)) and store.memory.verify().holds
