"""The pool: idle connections of one process, a bound on them, and a breaker in front of a server that is down."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from cmc_mcp import errors
from cmc_mcp.store.postgres.connection import Address, Connection, connect

CONNECTIONS_MAX: Final = 16
WAIT_S: Final = 30.0
IDLE_S: Final = 300.0  # firewalls forget a silent connection
FAILURES_MAX: Final = 3
OPEN_S: Final = 5.0


class Breaker:
    """Fails fast while a server is down: after a few failures in a row nobody waits for it, but one try in a while."""

    def __init__(self, address: Address, now_s: Callable[[], float] = time.monotonic) -> None:
        self._address, self._now_s = address, now_s
        self._lock = threading.Lock()
        self._failures = 0
        self._until_s = 0.0

    def check(self) -> None:
        """Allow an attempt, or refuse it.

        Raises:
            StoreError: the server did not answer the last few times; the message says when it is tried again.
        """
        with self._lock:
            left_s = self._until_s - self._now_s()
            if self._failures >= FAILURES_MAX and left_s > 0:
                raise errors.StoreError(
                    f"{self._address} did not answer {self._failures} times in a row, so it is not asked again for"
                    f" {left_s:.1f} s; nothing was changed. Check that the server runs"
                )
            if self._failures >= FAILURES_MAX:
                self._until_s = self._now_s() + OPEN_S  # this try decides; others wait for what it finds

    def failed(self) -> None:
        """Record that the server could not be reached."""
        with self._lock:
            self._failures += 1
            self._until_s = self._now_s() + OPEN_S

    def passed(self) -> None:
        """Record that the server answers."""
        with self._lock:
            self._failures = 0


class Pool:
    """Connections of one process to one database. Thread-safe; a forked child makes its own."""

    def __init__(self, address: Address, breaker: Breaker | None = None, *, size: int = CONNECTIONS_MAX) -> None:
        self.address = address
        self.breaker = breaker or Breaker(address)
        self._size = size
        self._wait_s = WAIT_S
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._size)
        self._idle: list[Connection] = []
        weakref.finalize(self, _close, self._idle, self._process)  # a store that is let go of is closed
        self._left: list[Connection] = []
        self.closed = False

    def take(self) -> Connection:
        """Return a connection, waiting for one if all are in use.

        Raises:
            Busy: all were in use for too long.
            StoreError: the server cannot be reached, or the store was closed.
        """
        if os.getpid() != self._process:
            left = self._idle
            self._start()
            self._left = left
        if self.closed:
            raise errors.StoreError("this store was closed; open it again")
        if not self._places.acquire(timeout=self._wait_s):
            raise errors.Busy(
                f"all {self._size} connections of this server were in use for {self._wait_s:.0f} s; nothing was changed, "
                "try again"
            )
        try:
            return self._idle_one() or self._new()
        except BaseException:
            self._places.release()
            raise

    def _idle_one(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                found = self._idle.pop()
            if found.sound and time.monotonic() - found.since_s < IDLE_S:
                return found
            found.close()

    def _new(self) -> Connection:
        self.breaker.check()
        try:
            made = connect(self.address)
        except errors.StoreError:
            self.breaker.failed()
            raise
        self.breaker.passed()
        return made

    def give(self, connection: Connection) -> None:
        """Return a connection to the pool; close an unsound one."""
        connection.since_s = time.monotonic()
        with self._lock:
            keep = connection.sound and not self.closed and os.getpid() == self._process
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        self._places.release()

    def forget(self) -> None:
        """Close what is idle: the server was restarted, and none of it will work."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        _close(idle, self._process)

    def close(self) -> None:
        """Close every connection; those in use are closed when they are given back."""
        self.closed = True
        if os.getpid() == self._process:
            self.forget()


def _close(idle: list[Connection], process: int) -> None:
    if os.getpid() == process:  # a parent's connections are not even to be closed
        for connection in idle:
            connection.close()
