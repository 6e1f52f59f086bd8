"""The embedded store: opening, migrating, reading, writing, copying one file."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.ids import NO_WORKSPACE, Ws
from cmc_mcp.limits import LOCK_WAIT_MS_MAX
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.folders import make_folder
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.rate_limit import CallCount
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import IndexSize
from cmc_mcp.store.sql.audit import lack_a_table
from cmc_mcp.store.sql.collected import Kept
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.store import SqlStore
from cmc_mcp.store.sql.unit import UnitOfWork
from cmc_mcp.store.sqlite import checksums, migrate, rekey, structure
from cmc_mcp.store.sqlite.connection import Location, check_regular, close, connect, prepare_folder, translated
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.readers import Readers, goes_on
from cmc_mcp.store.sqlite.rebuild_view import SqliteRebuild, give_checksums
from cmc_mcp.store.sqlite.search import SqliteView

_CLOSE_WAIT_S: Final = 2.0
_SCRUB_WAIT_MS: Final = 1_000


class SqliteStore(SqlStore):
    """One file, many readers, one writer at a time. Thread-safe; a forked child may go on with it."""

    backend = "sqlite"

    def __init__(self, location: Location, *, clock: Clock, registry: Registry) -> None:
        super().__init__(clock, registry)
        self.location = location
        self._lock = WriteLock(Path(f"{location.path}.lock"))
        self._readers = Readers(location)
        self._writer: apsw.Connection | None = None
        self._in_doubt = False
        self._closed = threading.Event()
        self._lost: list[object] = []  # connections of the parent: not even closing them is allowed in a child
        _STORES.add(self)

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""
        return self.location.read_only

    # ------------------------------------------------------------------ life
    @classmethod
    def open(
        cls,
        location: Location,
        *,
        clock: Clock,
        registry: Registry,
        objects: Objects | None = None,
        progress: Progress | None = None,
    ) -> SqliteStore:
        """Open a store, creating or migrating the file, for which its objects may be read and `progress` is told.

        Raises:
            StoreError: the store cannot be opened.
            FutureStore: as their names say.
            WrongKey: as their names say.
            IntegrityError: as their names say.
        """
        check_regular(location.path)
        store = cls(location, clock=clock, registry=registry)
        rekey.settle(location.path, read_only=location.read_only)
        if location.read_only:
            if not migrate.is_current(location, registry.migrations):
                raise errors.StoreError(
                    "the store is empty, or an older version wrote it: open it once for writing to bring it up to date"
                )
            return store
        prepare_folder(location.path)
        fresh = not location.path.exists() or location.path.stat().st_size == 0
        if not fresh and migrate.is_current(location, registry.migrations):
            return store
        with store._lock.held():
            migrate.run(location, clock, registry, objects, progress)
        return store

    def count_call(self, ws: Ws, principal: str) -> CallCount:
        """Count a call of a principal; return how many it made in this minute of this process, and the seconds left of it."""
        return self._call_counter.count(ws, principal, self._clock.now_us())

    def close(self) -> None:
        """Close every connection. Reads and a write in progress in other threads finish, then close their own."""
        self._closed.set()
        self._readers.close()
        with self._lock.idle(_CLOSE_WAIT_S) as idle:
            if idle:
                self._drop_writer()
                self._lock.close()

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            close(writer)

    # ------------------------------------------------------------------ reading
    @contextmanager
    def reader(self, ws: Ws) -> Iterator[SqliteView]:
        """Open a read transaction on a workspace."""
        self._check_own()
        with self._readers.transaction() as reader:
            yield SqliteView(reader.connection, ws, self._facts.setdefault(ws, FactsCache()), self.registry)

    def _check_own(self) -> None:
        if self._lost:
            raise errors.StoreError(
                "this store was in use when the process was forked, and cannot be used in the child; open it there"
            )

    # ------------------------------------------------------------------ writing
    @contextmanager
    def writer(self, ws: Ws) -> Iterator[UnitOfWork]:
        """Hold the write lock and a write transaction. The block calls `flush`; leaving it commits.

        A COMMIT that the disk failed is looked up before anything is said, so that an answer is the truth.

        Raises:
            Busy: the lock was not free in time.
            StoreError: the write failed and changed nothing.
            OutcomeUnknown: the disk did not confirm the outcome; look up the idempotency key.
        """
        with self._writing() as connection:
            try:
                with translated():
                    connection.execute("BEGIN IMMEDIATE")
                    trees = self._trees.pop(ws, None)
                    facts, kept = self._facts.setdefault(ws, FactsCache()), self._kept.setdefault(ws, Kept())
                    unit = UnitOfWork(connection, ws, facts, self.registry, trees, kept)
                    yield unit
            except BaseException as error:
                self._abandon(connection, ws)
                if isinstance(error.__cause__, apsw.Error):
                    self._drop_writer()
                raise
            self._commit(connection, unit)
            self._trees[ws] = unit.tree_cache
            self._kept[ws].learn(unit)

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        """Hold the write lock; gives the connection that writes."""
        self.check_writable()
        with self._lock.held():
            if self._closed.is_set():
                raise errors.StoreError("this store was closed; open it again")
            try:
                yield self._write_connection()
            finally:
                interrupted = self._writer is not None and self._writer.in_transaction  # just before its ROLLBACK
                if interrupted or self._closed.is_set():  # the store, while this thread was writing
                    self._drop_writer()

    def _write_connection(self) -> apsw.Connection:
        self._check_own()
        self._readers.check_file()
        if self._writer is None:
            with translated():
                self._writer = connect(self.location)
        if self._in_doubt:
            self._settle(self._writer)
        return self._writer

    def _settle(self, connection: apsw.Connection) -> None:
        """After the disk failed: write the log into the file and empty it.

        What a failed COMMIT left in the log may be read now and be gone after the next power loss, taking later
        commits with it; or be overlooked now and be found by the next recovery. An empty log leaves no such doubt.
        """
        try:
            with translated():
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
                if busy:
                    raise errors.Busy("a reader holds the log that a disk error left; try again when it has finished")
            self._sync_log()
        except BaseException:
            self._drop_writer()
            raise
        self._in_doubt = False

    def _sync_log(self) -> None:
        try:
            with suppress(FileNotFoundError):
                descriptor = os.open(f"{self.location.path}-wal", os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise errors.StoreError(f"the disk reported an error ({error.strerror}); nothing was changed") from error

    def _abandon(self, connection: apsw.Connection, ws: Ws) -> None:
        self._facts.pop(ws, None)  # it may hold what only this unit saw
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._in_doubt = True
            self._drop_writer()
            return
        if goes_on(connection):
            self._drop_writer()

    def _commit(self, connection: apsw.Connection, unit: UnitOfWork) -> None:
        try:
            connection.execute("COMMIT")
        except (apsw.BusyError, apsw.FullError):
            # a full disk fails a write, and without its last frame whole in the log there is no commit to be found there
            self._abandon(connection, unit.ws)
            with translated():
                raise
        except apsw.Error as error:
            self._facts.pop(unit.ws, None)
            self._find_out(unit, error)
        except BaseException:  # an interrupt just before it would leave the transaction open, and the store unusable
            self._abandon(connection, unit.ws)
            raise

    def _find_out(self, unit: UnitOfWork, failure: apsw.Error) -> None:
        """Find out whether a COMMIT that failed was kept: the frames may have reached the log although a sync failed.

        The lock is still held, so a transaction of this number can only be this one.
        """
        self._in_doubt = True
        self._drop_writer()
        try:
            connection = self._write_connection()
            with translated():
                kept = connection.execute(
                    "SELECT 1 FROM transactions WHERE ws = ? AND seq = ?", (unit.ws, unit.seq)
                ).fetchone()
        except errors.CmcError as error:
            raise errors.OutcomeUnknown(
                "the disk failed while the change was being committed, so it is not known whether it was kept; "
                "call again with the same idempotency key, or look with `history`",
                transaction=unit.seq,
            ) from error
        if kept is None:
            with translated():
                raise failure

    # ------------------------------------------------------------------ maintenance
    @contextmanager
    def exclusive(self) -> Iterator[apsw.Connection]:
        """Hold the write lock without a transaction, for maintenance."""
        with self._writing() as connection, translated():
            try:
                yield connection
            except (apsw.IOError, apsw.FullError):
                self._in_doubt = True
                self._drop_writer()
                raise

    def scrub(self, ws: Ws, erasure_count: int) -> bool:
        """Truncate the write-ahead log, so that erased pages leave the disk; False when a reader holds it still.

        Then the erasures of a workspace up to an erasure count are finished; a later one, of another process, is not.

        Backups that migrations made hold what was erased since, so they go too; and a journal that a change of the key
        left when it was killed, which nothing reads in the mode of the log.
        """
        with self.exclusive() as connection:
            try:
                migrate.drop_backups(self.location.path)
                Path(f"{self.location.path}-journal").unlink(missing_ok=True)
            except OSError as error:
                raise errors.StoreError(
                    f"an old copy of what was erased cannot be removed ({error.strerror})"
                ) from error
            connection.set_busy_timeout(_SCRUB_WAIT_MS)  # a slow reader must not hold up every writer
            try:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
                if not busy:
                    connection.execute(
                        "UPDATE workspaces SET pages_pending = 0 WHERE ws = ? AND epoch = ?", (ws, erasure_count)
                    )
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.set_busy_timeout(LOCK_WAIT_MS_MAX)
            return not busy

    @contextmanager
    def rebuilding(self, ws: Ws, objects: Objects) -> Iterator[SqliteRebuild]:
        """Hold the write lock and a transaction in which derived tables are written anew; leaving it commits."""
        with self.exclusive() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteRebuild(connection, ws, FactsCache(), self.registry, objects)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._trees.clear()
            self._readers.forget()
            give_checksums(connection)
            self._drop_writer()

    def file_faults(self) -> list[tuple[str, str, str]]:
        """Check what belongs to no workspace, on a connection of its own: pages, structure, tables, stray rows."""
        fresh = self._readers.fresh()
        try:
            with translated():
                view = SqliteView(fresh.connection, NO_WORKSPACE, FactsCache(), self.registry)
                pages = checksums.damaged_pages(fresh.connection, self.location.path) if checksums.available() else ()
                damaged = [("file", f"page {number}", "it does not match its checksum") for number in pages]
                found = damaged or structure.faults(fresh.connection, self.registry.migrations)
                strays = [] if damaged or lack_a_table(found) else view.strays(structure.tables(fresh.connection))
                return [*found, *strays]
        finally:
            close(fresh.connection)

    def index(
        self, ws: Ws, *, drop: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> list[IndexSize]:
        """Refuse: a file is read by the process that searches it.

        Raises:
            InvalidInput: always; a file needs no index.
        """
        raise errors.InvalidInput.at(
            "store", "is a file, which is searched exactly and needs no index; only a PostgreSQL store can be indexed"
        )

    def inspect(self) -> dict[str, str]:
        """Return how the file was opened, for `doctor`."""
        with self.reader(NO_WORKSPACE) as view:
            settings = view.settings() | {"erased_pages_pending": str(view.pages_pending()).lower()}
        cipher = settings.pop("cipher")  # the default one is named where there is none too
        if self.location.key is None:
            return settings | {"encrypted": "false"}
        return settings | {
            "encrypted": "true",
            "cipher": f"{cipher}, objects aes-256-gcm",
            "page_checksums": "by the cipher",
        }

    def backup(
        self, target: Path, beside: Callable[[], None], progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Copy the live store, as it is at one instant, to a new file, while others read and write.

        `beside` copies what the file refers to, before the file has its name: an interrupted backup does not appear.

        Raises:
            Conflict: the target exists.
            StoreError: the backup cannot be written.
        """
        if target.exists():
            raise errors.Conflict(f"{target} exists; a backup never overwrites, so give another name")
        try:
            make_folder(target.parent)
            with self.reader(NO_WORKSPACE) as view:
                migrate.copy_to(view.file, target, self.location.key, progress, beside)
        except OSError as error:
            raise errors.StoreError(f"the backup cannot be written ({error.strerror})") from error


# A SQLite connection must not cross a fork, not even to be closed (https://sqlite.org/howtocorrupt.html, 2.6): they are
# closed before it, and parent and child open their own when next they need one.
_STORES: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_AROUND_FORK: list[ExitStack] = []


def is_open_here(path: Path) -> bool:
    """Return whether this process has a file open as a store: its locks keep others out, and this process not."""
    for store in list(_STORES):
        if not store._closed.is_set() and store.location.path.exists() and store.location.path.samefile(path):
            return True
    return False


def _before_fork() -> None:
    stack = ExitStack()
    for store in list(_STORES):
        if stack.enter_context(store._lock.idle(_CLOSE_WAIT_S)):
            store._drop_writer()
            store._lock.close()
        stack.enter_context(store._readers.still())
    _AROUND_FORK.append(stack)


def _after_in_parent() -> None:
    _AROUND_FORK.pop().close()


def _after_in_child() -> None:
    _AROUND_FORK.pop().pop_all()  # what it would release belongs to the parent
    for store in list(_STORES):
        store._lock.forked()
        if store._readers.forked() or store._writer is not None:
            store._lost.append(store._writer)
            store._writer = None


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
