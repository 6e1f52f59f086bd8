"""Cancellation leaves all or nothing, and progress is told, in both eras."""

from __future__ import annotations

import threading
from functools import partial

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from cmc_mcp.server.app import create_server
from cmc_mcp.server.call import Meter, run_blocking, with_progress
from tests.server.rig import MODES, HeldEmbedder, call, data, local, talk, text


@pytest.mark.parametrize("mode", MODES)
def test_a_remember_cancelled_before_its_commit_leaves_nothing(tmp_path, mode):
    embedder = HeldEmbedder()
    with local(tmp_path, embedder=embedder) as session:

        async def main() -> None:
            async with Client(create_server(session), mode=mode) as client:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.call_tool, "remember", {"content": "Half a thought"})
                    assert await anyio.to_thread.run_sync(embedder.entered.wait, 10)
                    group.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await client.list_tools()  # the cancellation went before, so it has arrived
                        embedder.release.set()

        anyio.run(main)
        assert session.memory(session.caller()).status()["transaction"] == 0
        assert data(call(session, "verify"))["holds"] is True
        assert data(call(session, "remember", {"content": "Half a thought"}))["transaction"] == 1


def test_work_that_is_cancelled_is_waited_for_and_told():
    entered, never, asked = threading.Event(), threading.Event(), []

    def work(cancelled) -> None:
        entered.set()
        for _ in range(1_000):
            if cancelled() or never.wait(0.01):
                break
        asked.append(cancelled())

    async def main() -> bool:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await anyio.to_thread.run_sync(entered.wait, 10)
                group.cancel_scope.cancel()

            group.start_soon(cancel)
            await run_blocking(work)
        return group.cancel_scope.cancelled_caught

    assert anyio.run(main)
    assert asked == [True], "the thread ended before the cancellation went on, and knew of it"


def test_work_that_is_not_cancelled_is_not_told_so_and_its_error_comes_as_it_was():
    assert anyio.run(run_blocking, lambda cancelled: cancelled()) is False

    def fail(cancelled) -> None:
        raise LookupError("no tea")

    with pytest.raises(LookupError, match="no tea"):
        anyio.run(run_blocking, fail)


def test_a_call_that_is_cancelled_before_it_begins_does_no_work():
    done = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run_blocking(lambda cancelled: done.append(1))

    anyio.run(main)
    assert done == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("tool", "arguments"), [("verify", {}), ("forget", {"ids": []}), ("rollback", {"to": 1})])
def test_long_calls_tell_their_progress(tmp_path, mode, tool, arguments):
    told = []

    async def hear(progress, total, message) -> None:
        told.append((progress, total, message))

    with local(tmp_path) as session:
        for number in range(3):
            call(session, "remember", {"content": f"Tea {number}"})
        talk(session, lambda client: client.call_tool(tool, arguments, progress_callback=hear), mode)
    assert told[0] == (0, None, f"{tool}: started")
    assert told[-1][2] == f"{tool}: done"
    amounts = [progress for progress, _, _ in told]
    assert amounts == sorted(set(amounts)), "progress only goes up"


def test_progress_in_the_middle_is_told_while_the_work_goes_on():
    told, meter, middle = [], Meter(), anyio.Event

    async def main() -> str:
        moved = middle()

        async def report(done, total, message) -> None:
            told.append((done, total))
            if done:
                moved.set()

        async def work() -> str:
            meter.step(5, 10)
            await moved.wait()
            return "done"

        return await with_progress(meter, "verify", report, work)

    assert anyio.run(main) == "done"
    assert told[:2] == [(0, None), (5, 10)]
    assert told[-1][0] > 5


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=30))
def test_a_meter_never_goes_back(steps):
    meter, last = Meter(), 0
    for done, total in steps:
        meter.step(done, total)
        now, _ = meter.read()
        assert now >= last
        last = now


def test_calls_run_beside_each_other(tmp_path):
    embedder = HeldEmbedder()
    with local(tmp_path, embedder=embedder) as session:

        async def main() -> int:
            async with Client(create_server(session)) as client:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.call_tool, "remember", {"content": "Slow"})
                    assert await anyio.to_thread.run_sync(embedder.entered.wait, 10)
                    with anyio.fail_after(5):
                        answer = await client.call_tool("snapshot", {})
                    embedder.release.set()
                return answer.structured_content["transaction"]

        assert anyio.run(main) == 0
        assert session.memory(session.caller()).status()["transaction"] == 1


def test_many_calls_at_once_each_get_their_own_answer(tmp_path):
    with local(tmp_path) as session:

        async def body(client) -> list[str]:
            answers: dict[int, str] = {}

            async def one(number: int) -> None:
                answers[number] = text(await client.call_tool("remember", {"content": f"Tea {number}"}))

            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(partial(one, number))
            return sorted(answers.values())

        answers = talk(session, body)
        assert len(set(answers)) == 20
        assert session.memory(session.caller()).status()["memories"] == 20
