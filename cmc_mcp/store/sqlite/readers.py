"""Connections for reading one file: kept while they are idle, put away when they are no longer sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import apsw

from cmc_mcp import errors
from cmc_mcp.store.sqlite.connection import Location, close, connect, has_log, translated

IDLE_MAX: Final = 8
CACHE_KIB: Final = 8 * 1024  # pages with checksums cannot be mapped, so each reader has copies of its own


class Reader:
    """A connection for reading."""

    def __init__(self, location: Location) -> None:
        self.connection = connect(location)
        self.connection.pragma("cache_size", -CACHE_KIB)
        self.seen = _fingerprint(location.path) if location.immutable else None

    def is_stale(self, path: Path) -> bool:
        """Return whether a file that was taken for immutable has changed after all."""
        return self.seen is not None and (has_log(path) or _fingerprint(path) != self.seen)


class Readers:
    """The readers of one file. Thread-safe."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._guard = threading.Lock()
        self._idle: list[Reader] = []
        self._busy = 0

    @contextmanager
    def transaction(self) -> Iterator[Reader]:
        """Yield a reader inside a read transaction.

        Raises:
            StoreError: the store was closed, or its file cannot be read or is another now.
        """
        reader = self._take()
        sound = False
        try:
            with translated():
                reader.connection.execute("BEGIN")
                try:
                    yield reader
                    sound = True
                except apsw.Error:
                    raise
                except BaseException:
                    sound = True  # the failure is the caller's, not the connection's
                    raise
                finally:
                    with suppress(apsw.Error):
                        reader.connection.execute("ROLLBACK")
                    sound = sound and not goes_on(reader.connection)
        finally:
            # an interrupt may come just before the ROLLBACK
            self._give(reader, sound and not reader.connection.in_transaction)

    def fresh(self) -> Reader:
        """Make a reader of the caller's own, who closes it."""
        try:
            with translated():
                return Reader(self._location)
        except errors.NotFound:
            raise
        except errors.StoreError:
            if not self._location.read_only or has_log(self._location.path):
                raise
            # SQLite cannot make its side files in a read-only folder, and without a log beside it nobody is writing
            return Reader(replace(self._location, immutable=True))

    def forget(self) -> None:
        """Close those that are idle."""
        with self._guard:
            readers, self._idle = self._idle, []
        for reader in readers:
            close(reader.connection)

    def close(self) -> None:
        """Close every reader; those in use are closed when they are given back."""
        self._closed = True
        self.forget()

    def check_file(self) -> None:
        """See that the path still names the file that was opened: else writes would go where nobody looks again.

        Raises:
            StoreError: the file was removed or replaced.
        """
        try:
            found = self._location.path.stat()
        except OSError as error:
            if self._file is None:
                return  # opening says what is wrong
            raise self._replaced() from error
        if self._file is None:
            self._file = found.st_dev, found.st_ino
        elif self._file != (found.st_dev, found.st_ino):
            raise self._replaced()

    def _replaced(self) -> errors.StoreError:
        return errors.StoreError(
            f"{self._location.path} was moved or replaced while it was open; nothing was changed. Open it again: a server "
            "must be started again"
        )

    def _take(self) -> Reader:
        stale: list[Reader] = []
        with self._guard:
            if self._closed:
                raise errors.StoreError("this store was closed; open it again")
            self.check_file()
            self._busy += 1
            while self._idle:
                reader = self._idle.pop()
                if not reader.is_stale(self._location.path):
                    return reader
                stale.append(reader)
        try:
            for reader in stale:
                close(reader.connection)
            return self.fresh()
        except BaseException:
            with self._guard:
                self._busy -= 1
            raise

    def _give(self, reader: Reader, sound: bool) -> None:
        with self._guard:
            self._busy -= 1
            if sound and not self._closed and len(self._idle) < IDLE_MAX:
                self._idle.append(reader)
                return
        close(reader.connection)

    # ------------------------------------------------------------------ around a fork
    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep others from taking or giving one, with none idle: none may cross a fork."""
        with self._guard:
            for reader in self._idle:
                close(reader.connection)
            self._idle.clear()
            yield

    def forked(self) -> bool:
        """Begin anew in a child; say whether a reader of the parent was in use."""
        self._guard = threading.Lock()
        return self._busy > 0


def goes_on(connection: apsw.Connection) -> bool:
    """Return whether a statement that somebody left half read goes on: then what is read next would be of its old state."""
    return connection.txn_state() != apsw.SQLITE_TXN_NONE


def _fingerprint(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
