from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cmc_mcp.errors import Busy, StoreError
from cmc_mcp.store.sqlite.lock import WriteLock
from tests.support import reach
from tests.support.locks import is_free
from tests.support.stores import memory

HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.pwrite(descriptor, f"{os.getpid():<11}\\n".encode(), 0)
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_lock_is_held_inside_and_free_outside(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock")
    with lock.held():
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")
    lock.close()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock.held():
        _ = 1 / 0
    assert is_free(tmp_path / "lock")
    with lock.held():
        pass
    lock.close()


def test_one_thread_at_a_time_in_the_order_in_which_they_asked(tmp_path: Path) -> None:
    lock, order, inside = WriteLock(tmp_path / "lock"), [], []
    asked = [threading.Event() for _ in range(12)]

    def work(number: int) -> None:
        asked[number].set()
        with lock.held():
            inside.append(number)
            assert [number] == inside
            order.append(number)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    with lock.held():
        for number, thread in enumerate(threads):
            thread.start()
            asked[number].wait(10)
            while len(lock._queue._waiting) <= number:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert list(range(12)) == order
    lock.close()


def test_a_thread_that_waits_too_long_is_told_and_does_no_harm(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock", wait_ms=50)
    caught: list[Busy] = []

    def wait() -> None:
        with pytest.raises(Busy) as error, lock.held():
            pass
        caught.append(error.value)

    with lock.held():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert "another thread" in caught[0].message and "nothing was changed" in caught[0].message
    with lock.held():
        pass
    lock.close()


def test_another_process_is_waited_for_then_named(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock", wait_ms=100)
    process = holder(tmp_path / "lock")
    try:
        with pytest.raises(Busy) as caught, lock.held():
            pass
        assert f"process {process.pid} " in caught.value.message
        assert "nothing was changed. Try again" in caught.value.message
        assert str(tmp_path / "lock") == caught.value.fields["lock"]
    finally:
        end(process)
    with lock.held():  # the descriptor given up is closed by its waiter, not left with the lock
        pass
    assert is_free(tmp_path / "lock")
    lock.close()


def test_a_killed_holder_frees_the_lock_for_who_waits(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock", wait_ms=20_000)
    process = holder(tmp_path / "lock")
    killer = threading.Timer(0.05, lambda: os.kill(process.pid, signal.SIGKILL))
    killer.start()
    with lock.held():
        assert not is_free(tmp_path / "lock")
    killer.join()
    process.communicate()
    assert is_free(tmp_path / "lock")
    lock.close()


def test_a_waiter_given_up_never_keeps_the_lock(tmp_path: Path) -> None:
    for _ in range(20):  # the holder goes about when the waiter gives up: every order of the two must be sound
        lock = WriteLock(tmp_path / "lock", wait_ms=20)
        descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        releaser = threading.Timer(0.02, lambda d=descriptor: os.close(d))
        releaser.start()
        try:
            with lock.held():
                assert not is_free(tmp_path / "lock")
        except Busy:
            pass
        releaser.join()
        patient = WriteLock(tmp_path / "lock", wait_ms=5_000)
        with patient.held():
            pass
        patient.close()
        lock.close()


def test_a_forked_child_has_a_lock_of_its_own(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "lock", wait_ms=100)
    with lock.held():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                lock.forked()
                with lock.held():
                    status = 2  # both hold it
            except Busy:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")
    lock.close()


def test_a_lock_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere.lock cannot be opened.*writable"):
        with WriteLock(tmp_path / "nowhere" / "nowhere.lock").held():
            pass


def test_a_write_behind_a_locked_store_changes_nothing_and_reads_go_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        opened.remember("before")
        reach.store(opened)._lock = WriteLock(Path(f"{path}.lock"), wait_ms=50)
        process = holder(Path(f"{path}.lock"))
        try:
            root = opened.snapshot().root
            with pytest.raises(Busy):
                opened.remember("meanwhile")
            assert root == opened.snapshot().root
            assert len(opened.recall("before").items) == 1
        finally:
            end(process)
        opened.remember("after")
        assert opened.verify().holds


def test_who_waited_for_a_lock_file_that_was_removed_holds_the_one_that_others_find(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second, third = WriteLock(path), WriteLock(path), WriteLock(path, wait_ms=50)
    waiting, got, leave = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        second._open()  # the file that is about to go
        waiting.set()
        with second.held():
            got.set()
            leave.wait(30)

    thread = threading.Thread(target=wait)
    with first.held():
        thread.start()
        assert waiting.wait(30)
        first.remove()
    try:
        assert got.wait(30)
        assert not is_free(path), "the one that waited holds a file that nobody can find"
        with pytest.raises(Busy), third.held():
            pass
    finally:
        leave.set()
        thread.join()
    for lock in (first, second, third):
        lock.close()
