from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from cmc_mcp.errors import CmcError
from tests.crash.subject import opened
from tests.crash.writers import Call, check_history

WRITES = [Call(0, 1, 1, "a"), Call(0.5, 3, 3, "b"), Call(2, 2.5, 2, "a")]


def test_a_sound_history_has_no_violation() -> None:
    reads = [Call(0, 4, 0, "r"), Call(1.5, 1.6, 1, "r"), Call(2.2, 2.9, 3, "r"), Call(3.5, 3.6, 3, "r")]
    assert check_history(WRITES, reads, 3) == []


@pytest.mark.parametrize(
    ("writes", "reads", "length", "said"),
    [
        (WRITES[:2], [], 3, "missing \\[2\\]"),
        ([*WRITES, Call(5, 6, 3, "c")], [], 3, "twice \\[3\\]"),
        ([Call(0, 1, 2, "a"), Call(2, 3, 1, "b")], [], 2, "b has 1, though 2 had returned before"),
        (WRITES, [Call(4, 5, 2, "r")], 3, "r has 2, though 3 had returned before"),
        (WRITES, [Call(0.1, 0.2, 3, "r")], 3, "saw transaction 3 before it was written"),
    ],
)
def test_every_kind_of_violation_is_found(writes: list[Call], reads: list[Call], length: int, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert not (found := check_history(writes, reads, length)), found


def test_many_threads_of_one_memory_are_strictly_serializable(tmp_path: Path) -> None:
    writes: list[Call] = []
    reads: list[Call] = []
    odd: list[CmcError] = []
    stop = threading.Event()
    with opened(tmp_path / "memory.db") as subject:

        def write(number: int) -> None:
            for n in range(30):
                invoked = time.monotonic()
                try:
                    receipt = subject.memory.remember(f"thread {number} says {n}")
                except CmcError as error:
                    odd.append(error)
                    return
                writes.append(Call(invoked, time.monotonic(), receipt.transaction, f"thread {number}"))

        def read() -> None:
            while not stop.wait(0.005):
                invoked = time.monotonic()
                with subject.store.reader(subject.ws) as view:
                    seq = view.head().seq
                    assert list(range(seq, 0, -1)) == [row.seq for row in view.transactions()]
                reads.append(Call(invoked, time.monotonic(), seq, "reader"))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(32)]
        watcher = threading.Thread(target=read)
        for thread in (*threads, watcher):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        watcher.join()
        assert odd == []
        assert check_history(writes, reads, subject.head()[0]) == []
        assert 32 * 30 == subject.head()[0] == len(writes)
        assert max(call.returned - call.invoked for call in writes) < 2.0
        assert reads and subject.memory.verify().holds


def test_a_server_and_a_command_beside_it_see_each_other_at_once(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as server, opened(tmp_path / "memory.db") as command:
        for number in range(10):
            first = server.memory.remember(f"from the server {number}")
            assert first.transaction == command.head()[0]
            second = command.memory.remember(f"from the command {number}")
            assert second.transaction == first.transaction + 1 == server.head()[0]
            assert server.memory.recall(f"command {number}").items
        assert server.memory.verify().holds and command.memory.verify().holds
