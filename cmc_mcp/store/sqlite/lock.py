"""The write lock: threads in the order in which they asked, then `flock` on a side file, then BEGIN IMMEDIATE.

SQLite's busy handler polls and is unfair: with it alone the worst wait of eight writers was 19.7 s, with a blocking
file lock in front 0.3 s.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cmc_mcp.errors import Busy, StoreError
from cmc_mcp.limits import LOCK_WAIT_MS_MAX

_PID_CHARS = 12


class WriteLock:
    """One writer at a time, over threads and processes. A killed holder releases it: the kernel closes its file."""

    def __init__(self, path: Path, *, wait_ms: int = LOCK_WAIT_MS_MAX) -> None:
        self._path = path
        self._wait_s = wait_ms / 1000
        self._queue = _Queue()
        self._descriptor: int | None = None
        self._pid = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the block.

        Raises:
            Busy: somebody else held it for the whole time allowed.
            StoreError: the side file cannot be opened.
        """
        if not self._queue.acquire(self._wait_s):
            raise self._busy("another thread of this process")
        try:
            descriptor = self._taken()
            try:
                # a hint for whoever waits in vain; the lock itself is the kernel's
                os.pwrite(descriptor, f"{os.getpid():<{_PID_CHARS - 1}}\n".encode(), 0)
                yield
            finally:
                if self._descriptor == descriptor and self._pid == os.getpid():
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            self._queue.release()

    @contextmanager
    def idle(self, wait_s: float) -> Iterator[bool]:
        """Keep other threads of this process from writing; gives False when one still was after `wait_s` seconds."""
        got = self._queue.acquire(wait_s)
        try:
            yield got
        finally:
            if got:
                self._queue.release()

    def remove(self) -> None:
        """Remove the side file while it is held: it is of a store that was not made. Whoever waits for it opens another."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the side file, when no thread writes. It stays on disk, for whoever has it open."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.close(self._descriptor)
        self._descriptor = None

    def forked(self) -> None:
        """Start afresh in a forked child: the descriptor is the parent's lock, the queue held the parent's threads."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = None
        self._queue = _Queue()

    def _taken(self) -> int:
        """Open the side file and lock it; again, if it was removed before the lock came."""
        while True:
            descriptor = self._open()
            self._lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            self.close()

    def _open(self) -> int:
        if self._descriptor is None or self._pid != os.getpid():  # a forked child must not share the parent's lock
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreError(
                    f"the lock file {self._path} cannot be opened ({error.strerror}); check that its folder exists and "
                    "is writable, or open the store read-only"
                ) from error
            self._pid = os.getpid()
        return self._descriptor

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._unlockable(error) from error
        # Polling would be unfair, and flock has no time-out: wait in a thread that the kernel queues.
        waiter = _Waiter(descriptor)
        try:
            got = waiter.wait(self._wait_s)
        except BaseException:
            if waiter.abandon():
                self._descriptor = None
            raise
        if not got and waiter.abandon():
            self._descriptor = None  # the waiting thread closes the old one; the next writer opens its own
            raise self._busy(self._holder())
        if waiter.failure is not None:
            raise self._unlockable(waiter.failure)

    def _holder(self) -> str:
        with suppress(OSError, ValueError):
            return f"process {int(self._path.read_bytes()[:_PID_CHARS])}"
        return "another process"

    def _busy(self, who: str) -> Busy:
        return Busy(
            f"{who} has held the write lock of this store for over {self._wait_s:.3g} s; nothing was changed. Try again, "
            "or end that process: the lock goes with it",
            lock=str(self._path),
        )

    def _unlockable(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._path} cannot be locked ({error.strerror}); keep the store on a local file system",
            lock=str(self._path),
        )


class _Waiter:
    """A blocking `flock` in a thread of its own, which can be given up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self.failure: OSError | None = None
        threading.Thread(target=self._run, daemon=True, name="cmc-write-lock").start()

    def _run(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self.failure = error
        with self._guard:
            if self._abandoned:
                os.close(self._descriptor)  # and the lock with it
            else:
                self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the lock."""
        return self._done.wait(seconds)

    def abandon(self) -> bool:
        """Give up waiting; return False if the lock arrived at the last moment."""
        with self._guard:
            self._abandoned = not self._done.is_set()
            return self._abandoned


class _Queue:
    """A lock that threads get in the order in which they asked for it; the standard one lets a fast thread starve others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def acquire(self, seconds: float) -> bool:
        """Acquire the lock, waiting at most `seconds`."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=seconds):
                return True
        except BaseException:
            if not self._leave(turn):
                self.release()
            raise
        return not self._leave(turn)

    def _leave(self, turn: threading.Lock) -> bool:
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
            return False  # it was handed over in the last moment

    def release(self) -> None:
        """Hand the lock to whoever has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False
