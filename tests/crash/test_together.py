"""Many at one file: processes, threads, a server with a real client, and commands beside it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from cmc_mcp.store.sql import unit
from tests.crash.subject import Told, judge, opened
from tests.crash.test_sigkill import soak
from tests.crash.writers import Call, JumpingClock, check_history, check_store
from tests.server.rig import data


@pytest.mark.slow
def test_many_processes_and_threads_write_to_one_file_and_others_read_beside_them(tmp_path: Path) -> None:
    """Two of ten writers are killed, four have clocks that jump, eight ask for the same thing under one key."""
    told = soak("writers", "--count", "40", "--folder", str(tmp_path))
    assert told["failures"] == [], told
    parts = told["parts"]
    assert parts["processes"]["acknowledged"] > 8 * 40 and parts["processes"]["reads"] > 0, told
    assert (parts["processes"]["killed"], parts["clocks"]["acknowledged"]) == (2, 400), told
    assert (parts["repeats"]["acknowledged"], parts["threads"]["acknowledged"]) == (40, 320), told
    assert max(part["worst_ms"] for part in parts.values()) <= 2000, told


def test_the_harness_notices_a_lost_write_a_stale_read_and_a_clock_that_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.db"
    writes = []
    with opened(path) as subject:
        for number in range(3):
            invoked = time.monotonic()
            seq = subject.memory.remember(f"note {number}").transaction
            writes.append(Call(invoked, time.monotonic(), seq, "a"))
    assert check_store(path, writes, []) == []
    now = time.monotonic()
    assert any("missing [3]" in line for line in check_store(path, writes[:2], []))
    assert any("had returned before" in line for line in check_store(path, writes, [Call(now, now, 2, "r")]))
    elsewhere = [*writes[:2], writes[2]._replace(workspace="other")]
    assert len(check_store(path, elsewhere, [])) == 2  # one too few here, one too many there
    monkeypatch.setattr(unit, "next_time", lambda clock_us, _: clock_us)
    with opened(path, clock=JumpingClock(1)) as subject:
        for number in range(3, 9):
            subject.memory.remember(f"note {number}")
    assert any("time went from" in line for line in check_store(path, writes, []))


def test_a_server_and_a_command_beside_it_see_each_other_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as server, opened(tmp_path / "memory.db") as command:
        for number in range(10):
            first = server.memory.remember(f"from the server {number}")
            assert first.transaction == command.head()[0]
            second = command.memory.remember(f"from the command {number}")
            assert second.transaction == first.transaction + 1 == server.head()[0]
            assert server.memory.recall(f"command {number}").items
        assert server.memory.verify().holds and command.memory.verify().holds


# ---------------------------------------------------------------------- a real server and its client
def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CMC_STORE": str(folder / "memory.db"), "CMC_CONFIG": str(folder / "none.toml")}


def _served(folder: Path, body: Callable[[Client, int], Awaitable[None]]) -> None:
    """Start the server as a child, with the official client attached, and do something that knows its process."""
    note = folder / "server.pid"
    start = f"import os, runpy; open({str(note)!r}, 'w').write(str(os.getpid())); runpy.run_module('cmc_mcp.server')"
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", start.replace("'cmc_mcp.server'", "'cmc_mcp.server', run_name='__main__'")],
        env=_environment(folder),
    )  # fmt: skip

    async def main() -> None:
        async with Client(stdio_client(parameters)) as client:
            await body(client, int(note.read_text()))

    anyio.run(main)


@pytest.mark.slow
def test_a_server_killed_while_its_client_writes_has_kept_all_that_it_acknowledged(tmp_path: Path) -> None:
    told = Told()
    answers: list[int] = []

    async def body(client: Client, pid: int) -> None:
        async def write() -> None:
            for number in range(10_000):
                answer = await client.call_tool("remember", {"content": f"note {number} of the client"})
                answers.append(data(answer)["transaction"])
                told.roots[answers[-1]] = data(await client.call_tool("history", {"limit": 1}))["transactions"][0][
                    "snapshot"
                ]

        async def kill() -> None:
            while len(answers) < 12:
                await anyio.sleep(0.001)
            os.kill(pid, signal.SIGKILL)

        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            await write()

    with pytest.raises(BaseException) as ended:  # the client's own, in a group
        _served(tmp_path, body)
    assert not isinstance(ended.value, AssertionError)
    assert len(answers) >= 12
    with opened(tmp_path / "memory.db") as subject:
        ledger = subject.ledger()
        assert all(snapshot == f"snap_{ledger[seq][:16]}" for seq, snapshot in told.roots.items())
    found = judge(tmp_path / "memory.db", Told({seq: ledger[seq] for seq in answers}, most=1))
    assert found.faults == []
    assert found.reopen_s <= 1


@pytest.mark.slow
def test_a_server_and_commands_write_to_one_file_together(tmp_path: Path) -> None:
    calls: list[Call] = []

    async def body(client: Client, _: int) -> None:
        done = anyio.Event()

        async def serve() -> None:
            while not done.is_set():
                invoked = time.monotonic()
                answer = data(await client.call_tool("remember", {"content": f"note {len(calls)} of the client"}))
                calls.append(Call(invoked, time.monotonic(), answer["transaction"], "server"))

        async def command(number: int) -> None:
            invoked = time.monotonic()
            made = await anyio.run_process(
                [sys.executable, "-m", "cmc_mcp", "remember", f"from command {number}", "--json"],
                env=_environment(tmp_path),
            )
            calls.append(Call(invoked, time.monotonic(), json.loads(made.stdout)["transaction"], f"command {number}"))

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            async with anyio.create_task_group() as commands:
                for number in range(3):
                    commands.start_soon(command, number)
            done.set()
        found = data(await client.call_tool("recall", {"query": "from command 1"}))
        assert "from command 1" in [item["text"] for item in found["items"]]

    _served(tmp_path, body)
    with opened(tmp_path / "memory.db") as subject:
        assert check_history(calls, [], subject.head()[0]) == []
        assert subject.memory.verify().holds
    served = [call for call in calls if call.client == "server"]
    assert len(served) > 10 and max(call.returned - call.invoked for call in served[1:]) <= 2
