"""The embedded store: opening, migrating, reading, writing, copying one file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.store.rows import Head
from cmc_mcp.store.sqlite import fulltext, migrate
from cmc_mcp.store.sqlite.connection import Location, connect, prepare_folder, protect, sync_folder, translated
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.search import SearchView
from cmc_mcp.store.sqlite.unit import Kept, TreeCache, UnitOfWork
from cmc_mcp.store.sqlite.view import FactsCache

_IDLE_READERS_MAX = 8


class _Reader:
    """A connection for reading, with what is prepared on it."""

    def __init__(self, location: Location) -> None:
        self.connection = connect(location)
        self.tokens = fulltext.prepare(self.connection)


class SqliteStore:
    """One file, many readers, one writer at a time. Thread-safe."""

    backend = "sqlite"

    def __init__(self, location: Location, *, clock: Clock) -> None:
        self.location = location
        self._clock = clock
        self._lock = WriteLock(Path(f"{location.path}.lock"))
        self._idle: list[_Reader] = []
        self._guard = threading.Lock()
        self._writer: apsw.Connection | None = None
        self._count: Callable[[str], int] | None = None
        self._facts: dict[int, FactsCache] = {}
        self._trees: dict[int, TreeCache] = {}
        self._kept: dict[int, Kept] = {}
        self._closed = False

    # ------------------------------------------------------------------ life
    @classmethod
    def open(cls, location: Location, *, clock: Clock) -> SqliteStore:
        """Open a store, creating or migrating the file.

        Raises:
            StoreError: it cannot be opened; FutureStore, WrongKey, IntegrityError as their names say.
        """
        prepare_folder(location.path)
        store = cls(location, clock=clock)
        fresh = not location.path.exists() or location.path.stat().st_size == 0
        if fresh and location.read_only:
            raise errors.NotFound(f"there is no store at {location.path}")
        if not fresh and migrate.is_current(location):
            store._finish_erasures()
            return store
        with store._lock.held():
            migrate.run(location, clock)
        if fresh:
            protect(location.path)
        return store

    def _finish_erasures(self) -> None:
        """An erase that a reader held up is finished by the next open."""
        if self.location.read_only:
            return
        with self.reader(0) as view:
            pending = view.pages_pending()
        if pending:
            self.scrub()

    def close(self) -> None:
        """Close every connection. Reads in progress in other threads finish first or fail cleanly."""
        self._closed = True
        with self._guard:
            readers, self._idle = self._idle, []
        for reader in readers:
            reader.connection.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.close()

    # ------------------------------------------------------------------ reading
    @contextmanager
    def reader(self, ws: int) -> Iterator[SearchView]:
        """Open a read transaction on a workspace."""
        reader = self._take()
        try:
            with translated():
                reader.connection.execute("BEGIN")
                try:
                    yield SearchView(reader.connection, ws, self._facts.setdefault(ws, FactsCache()), reader.tokens)
                finally:
                    with suppress(apsw.Error):
                        reader.connection.execute("ROLLBACK")
        except BaseException:
            self._give(reader)
            raise
        self._give(reader)

    def _take(self) -> _Reader:
        if self._closed:
            raise errors.StoreError("this store was closed; open it again")
        with self._guard:
            if self._idle:
                return self._idle.pop()
        return _Reader(self.location)

    def _give(self, reader: _Reader) -> None:
        with self._guard:
            if not self._closed and len(self._idle) < _IDLE_READERS_MAX:
                self._idle.append(reader)
                return
        reader.connection.close()

    # ------------------------------------------------------------------ writing
    @contextmanager
    def writer(self, ws: int) -> Iterator[UnitOfWork]:
        """Hold the write lock and a write transaction. The block calls `flush`; leaving it commits.

        Raises:
            Busy: the lock could not be had; OutcomeUnknown: COMMIT failed, look the idempotency key up.
        """
        with self._lock.held():
            connection = self._writing()
            with translated():
                connection.execute("BEGIN IMMEDIATE")
            try:
                with translated():
                    assert self._count is not None
                    unit = UnitOfWork(
                        connection, ws, self._facts.setdefault(ws, FactsCache()), self._trees.pop(ws, None),
                        self._kept.setdefault(ws, Kept()), self._count,
                    )
                    yield unit
            except BaseException:
                self._abandon(connection)
                raise
            self._commit(connection)
            self._trees[ws] = unit.tree_cache
            self._kept[ws].learn(unit)

    def _writing(self) -> apsw.Connection:
        if self._closed:
            raise errors.StoreError("this store was closed; open it again")
        if self.location.read_only:
            raise errors.StoreError("this store was opened read-only")
        if self._writer is None:
            self._writer = connect(self.location)
            self._count = fulltext.counter(self._writer)
        return self._writer

    def _abandon(self, connection: apsw.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            connection.close()
            self._writer = None

    def _commit(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except apsw.BusyError as error:
            self._abandon(connection)
            raise errors.Busy("the store is held by another process; nothing was changed, try again") from error
        except apsw.Error as error:
            # the frames may have reached the log although the sync failed: only reopening tells
            with suppress(apsw.Error):
                connection.close()
            self._writer = None
            raise errors.OutcomeUnknown(
                "the disk failed while the change was being committed, so it is not known whether it was kept; "
                "call again with the same idempotency key, or look with `history`"
            ) from error

    # ------------------------------------------------------------------ workspaces
    def workspace(self, name: str, *, create: bool) -> int:
        """Give the number of a workspace; 0 when it does not exist and is not to be created."""
        with self.reader(0) as view:
            number = view.workspace_number(name)
        if number or not create or self.location.read_only:
            return number
        with self._lock.held(), translated():
            connection = self._writing()
            connection.execute("INSERT OR IGNORE INTO workspaces(name) VALUES(?)", (name,))
            row = connection.execute("SELECT ws FROM workspaces WHERE name = ?", (name,)).fetchone()
            assert row is not None
            return int(row[0])

    def workspaces(self) -> list[tuple[int, str]]:
        """Give every workspace as (number, name), by name."""
        with self.reader(0) as view:
            return view.workspace_names()

    # ------------------------------------------------------------------ maintenance
    @contextmanager
    def exclusive(self) -> Iterator[apsw.Connection]:
        """Hold the write lock without a transaction, for maintenance."""
        with self._lock.held(), translated():
            yield self._writing()

    def scrub(self) -> bool:
        """Truncate the write-ahead log, so that erased pages leave the disk; False when a reader holds it still."""
        with self.exclusive() as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
            if not busy:
                connection.execute("UPDATE workspaces SET pages_pending = 0 WHERE pages_pending = 1")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return not busy

    def text_faults(self, ws: int) -> list[str]:
        """Compare full text with what it was made of; its own check covers every workspace."""
        if self.location.read_only:
            return []
        with self._lock.held():
            connection = self._writing()
            try:
                connection.execute("INSERT INTO passages(passages, rank) VALUES('integrity-check', 1)")
            except apsw.CorruptError:
                return ["full text does not match what it was made of"]
        return []

    def file_faults(self) -> list[str]:
        """Run SQLite's own check of the file's structure."""
        with self.reader(0) as view:
            return view.integrity()

    def inspect(self) -> dict[str, str]:
        """Say how the file is opened, for `doctor`."""
        with self.reader(0) as view:
            return view.settings() | {"encrypted": str(self.location.key is not None).lower()}

    def backup(self, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy the live store to a new file, page by page, while others read and write.

        Raises:
            Conflict: the target exists; StoreError: it cannot be written.
        """
        if target.exists():
            raise errors.Conflict(f"{target} exists; a backup never overwrites")
        part = target.with_name(target.name + ".part")
        part.unlink(missing_ok=True)
        reader = self._take()
        try:
            prepare_folder(target)
            with translated():
                copy = connect(Location(part, self.location.key), create=True)
                try:
                    with copy.backup("main", reader.connection, "main") as job:
                        while not job.done:
                            job.step(4096)
                            if progress:
                                progress(job.page_count - job.remaining, job.page_count)
                    copy.pragma("journal_mode", "delete")
                finally:
                    copy.close()
            protect(part)
            part.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            raise errors.StoreError(f"the backup cannot be written ({error.strerror})") from error
        finally:
            part.unlink(missing_ok=True)
            self._give(reader)

    def head(self, ws: int) -> Head:
        """Give the last transaction of a workspace."""
        with self.reader(ws) as view:
            return view.head()
