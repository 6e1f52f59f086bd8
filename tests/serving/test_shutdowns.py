"""Endings: one of each kind here; `python -m tests.soak endings` goes through all of them."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.serving.shutdowns import BAR_S, Case, cases, judge, run_case
from tests.serving.wire import CMC, Server, environment, members, until
from tests.support.load import ended
from tests.support.memories import live

# each way of ending, each state, each command and transport, at least once
CHOSEN = [
    Case("cmc-mcp", "waiting", "stdin"),
    Case("cmc serve", "embedding", "client"),
    Case("cmc-mcp", "loading", "SIGTERM"),
    Case("module", "recalling", "stdout"),
    Case("cmc-mcp", "writing", "twice"),
    Case("cmc serve", "starting", "SIGINT"),
    Case("cmc serve", "waiting", "SIGTERM", http=True),
    Case("cmc serve", "idle", "twice", http=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_a_server_ends_within_two_seconds_and_leaves_nothing(case: Case, tmp_path: Path) -> None:
    ended = run_case(case, tmp_path, random.Random(str(case)))
    assert ended.wrong == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_the_binding_and_the_serving_is_not_lost(number: int, tmp_path: Path) -> None:
    with Server((CMC, "serve", "--http", "127.0.0.1:0"), tmp_path) as server:
        server.until_logged("url=")
        server.process.send_signal(number)
        seconds = server.ended(BAR_S * 4)
        assert seconds is not None and seconds <= BAR_S
        assert server.process.returncode == 0 and "Traceback" not in server.stderr()


def test_the_long_run_covers_every_way_and_every_state() -> None:
    assert set(CHOSEN) <= set(cases())
    assert {case.state for case in cases()} == {case.state for case in CHOSEN}
    assert {case.end for case in cases()} == {case.end for case in CHOSEN}


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print("Traceback: url=here", file=sys.stderr, flush=True)
time.sleep(30)
"""


def test_a_process_that_stays_and_its_child_are_seen(tmp_path: Path) -> None:
    with Server((sys.executable, "-c", STUBBORN), tmp_path) as server:
        server.until_logged("url=")
        server.process.send_signal(signal.SIGTERM)
        assert server.ended(0.3) is None
        until(lambda: len(members(server.pid)) == 2, "its child")


def test_a_loss_half_a_write_and_a_held_lock_are_seen(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    with live(store) as memory:
        memory.remember("another text", source="known")
        memory.remember("half", source="long")
    assert judge(store, acknowledged=True) == [
        "what was acknowledged before is gone",
        "second is lost or half there",
        "long is lost or half there",
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "memory.db"
    with live(path) as memory:
        memory.remember_many([{"content": f"note {n} about herons"} for n in range(1000)])
    return path


@pytest.mark.parametrize("verb", ["import", "verify", "backup"])
def test_ctrl_c_ends_a_command_with_130_and_leaves_nothing_half_made(verb: str, tmp_path: Path, filled: Path) -> None:
    store, target = tmp_path / "memory.db", tmp_path / "copy.db"
    shutil.copy(filled, store)
    with live(store, read_only=True) as memory:
        before = memory.snapshot().snapshot
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f'{{"content": "line {n}"}}\n' for n in range(9_000)))
    arguments = {"import": [str(lines)], "verify": [], "backup": [str(target)]}[verb]
    with subprocess.Popen(
        [CMC, "--no-model", verb, *arguments],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        # it is at work once it has the store open
        until(lambda: str(store) in _open_files(process.pid), "the store opened")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert ended(process, BAR_S) is not None and process.returncode in {0, 130}  # 0: it was done before
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*.part*"))
    with live(store, read_only=True) as memory:
        assert memory.verify().holds
        assert verb == "import" or memory.snapshot().snapshot == before
    if target.exists():
        with live(target, read_only=True) as memory:
            assert memory.snapshot().snapshot == before


def _open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it was closed meanwhile
                found.add(str(entry.readlink()))
    return found
