"""The store on a server: opening, migrating, reading, writing, looking after one database that many processes share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import errors as pg

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.ids import NO_WORKSPACE, Ws
from cmc_mcp.limits import LOCK_WAIT_MS_MAX
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.postgres import hnsw, migrate, partitions, rates, statistics, structure
from cmc_mcp.store.postgres.connection import Address, Connection, is_lost, patient, translated
from cmc_mcp.store.postgres.pool import Pool
from cmc_mcp.store.postgres.rebuild_view import PostgresRebuild
from cmc_mcp.store.postgres.schema import OWN_TABLES
from cmc_mcp.store.postgres.search import PostgresUnit, PostgresView
from cmc_mcp.store.postgres.writing import LOCK_CLASS, Writing
from cmc_mcp.store.rate_limit import CallCount
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import IndexSize
from cmc_mcp.store.sql.audit import lack_a_table
from cmc_mcp.store.sql.collected import Kept
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.store import SqlStore
from cmc_mcp.store.tables import POSTINGS, VOCABULARY

_SEEN: Final = (  # by whom rows may be seen that the erasure, the last to change the workspace's row, took away
    "SELECT count(*) FROM workspaces w, (SELECT backend_xmin FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND (datname = current_database() OR datname IS NULL) UNION ALL SELECT xmin FROM pg_replication_slots"
    " UNION ALL SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()) AS held(since)"
    " WHERE w.ws = ? AND held.since IS NOT NULL AND age(held.since) >= age(w.xmin)"
)


class PostgresStore(SqlStore):
    """One database, many servers, one writer of a workspace at a time. Thread-safe."""

    backend = "postgres"

    def __init__(self, address: Address, *, clock: Clock, registry: Registry, pool: Pool | None = None) -> None:
        super().__init__(clock, registry)
        self.address = address
        self.pool = pool or Pool(address)
        self._guard = threading.Lock()
        self._turns: dict[Ws, threading.Lock] = {}

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""
        return self.address.read_only

    # ------------------------------------------------------------------ life
    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Clock,
        registry: Registry,
        read_only: bool = False,
        objects: Objects | None = None,
        progress: Progress | None = None,
    ) -> PostgresStore:
        """Open a store, making or migrating its tables, for which objects kept elsewhere may be read and `progress` is told.

        Raises:
            InvalidInput: the address.
            StoreError: the store cannot be opened.
            FutureStore: as their names say.
            IntegrityError: as their names say.
        """
        address = Address.of(url, read_only=read_only)
        migrate.run(address, clock, registry, objects=objects, progress=progress)
        return cls(address, clock=clock, registry=registry)

    def close(self) -> None:
        """Close every connection; those in use are closed when they are given back."""
        self.pool.close()

    # ------------------------------------------------------------------ reading
    @contextmanager
    def reader(self, ws: Ws) -> Iterator[PostgresView]:
        """Open a read transaction on a workspace: everything in it belongs to one state."""
        with translated(self.address):
            connection = self._begun()
            try:
                cache = self._facts.setdefault(ws, FactsCache())
                yield PostgresView(connection, ws, cache, self.registry)
            finally:
                connection.rollback()
                self.pool.give(connection)

    def _begun(self) -> Connection:
        """Take a connection into a read transaction; those that a restart of the server left behind are put away."""
        while True:
            connection = self.pool.take()
            fresh = not connection.since_s
            try:
                connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return connection
            except BaseException as error:
                connection.close()
                self.pool.give(connection)
                if fresh or not isinstance(error, psycopg.Error) or not is_lost(error):
                    raise
                self.pool.forget()

    # ------------------------------------------------------------------ writing
    @contextmanager
    def writer(self, ws: Ws) -> Iterator[PostgresUnit]:
        """Hold the workspace's lock and a write transaction. The block calls `flush`; leaving it commits.

        Raises:
            Busy: the lock was not free in time.
            StoreError: the write failed and changed nothing.
            OutcomeUnknown: the server did not confirm the outcome; look up the idempotency key.
        """
        self.check_writable()
        with self._turn(ws), translated(self.address):
            connection = Writing(self.pool, ws)
            trees = self._trees.pop(ws, None)
            try:
                facts, kept = self._facts.setdefault(ws, FactsCache()), self._kept.setdefault(ws, Kept())
                unit = PostgresUnit(connection, ws, facts, self.registry, trees, kept)
                connection.begun_at(unit.before)
                yield unit
                connection.commit(unit.after)
            except BaseException:
                self._facts.pop(ws, None)  # it may hold what only this unit saw
                connection.abandon()
                raise
            self._trees[ws] = unit.tree_cache
            kept.learn(unit)
        if unit.after and statistics.outgrown(unit.before, unit.after):
            statistics.renew(self.pool)

    @contextmanager
    def _turn(self, ws: Ws) -> Iterator[None]:
        """Wait for the threads of this process in a row of their own, so that they do not all hold a connection."""
        with self._guard:
            turn = self._turns.setdefault(ws, threading.Lock())
        if not turn.acquire(timeout=LOCK_WAIT_MS_MAX / 1000):
            raise errors.Busy("another thread writes to this workspace; nothing was changed, try again")
        try:
            yield
        finally:
            turn.release()

    # ------------------------------------------------------------------ maintenance
    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """Yield a connection without a transaction, for maintenance; each statement is committed by itself."""
        self.check_writable()
        with translated(self.address):
            connection = self._begun()
            connection.rollback()
            try:
                yield connection
            finally:
                connection.rollback()
                self.pool.give(connection)

    def index(self, ws: Ws, *, drop: bool = False, progress: Progress | None = None) -> list[IndexSize]:
        """Make, or drop, what finds the nearest vectors of a workspace approximately; return (model, bytes) of each.

        Raises:
            InvalidInput: the workspace is too small to gain by it; as `hnsw.make` besides.
        """
        self.check_writable()
        found = hnsw.drop(self.address, ws) if drop else hnsw.make(self.address, ws, progress=progress)
        return [IndexSize(graph.model, graph.bytes) for graph in found]

    def scrub(self, ws: Ws, erasure_count: int) -> bool:
        """Vacuum what was erased, so that dead rows leave the tables; False when a reader may still see them.

        The planner's statistics, which hold values of the rows that there were, are made anew.

        Then the erasures of a workspace up to an erasure count are finished; a later one, of another server, is not.
        """
        with self.exclusive() as connection:
            row = connection.execute(_SEEN, (ws,)).fetchone()
            tables = (*self.registry.tables, *OWN_TABLES)
            names = ", ".join(table.name for table in tables if table.erasable)
            connection.run(f"VACUUM (INDEX_CLEANUP ON, ANALYZE) {names}")
            seen = bool(row and row[0])
            if not seen:
                for table in (POSTINGS, VOCABULARY):  # their indexes keep words that are gone, as bounds between pages
                    connection.run(f"REINDEX TABLE {table.name}")
                connection.execute(
                    "UPDATE workspaces SET pages_pending = 0 WHERE ws = ? AND epoch = ?", (ws, erasure_count)
                )
            return not seen

    def file_faults(self) -> list[tuple[str, str, str]]:
        """Check what belongs to no workspace: what the server knows of damage, tables, stray rows."""
        with self.reader(NO_WORKSPACE) as view:
            parts = partitions.count(view.connection)
            if damage := structure.damage(view.connection):
                return damage
            found = [*structure.faults(view.connection, structure.wanted(self.address, parts, self.registry))]
            return found if lack_a_table(found) else [*found, *view.strays(structure.tables(view.connection))]

    @contextmanager
    def rebuilding(self, ws: Ws, objects: Objects) -> Iterator[PostgresRebuild]:
        """Hold the workspace's lock and a transaction in which derived tables are written anew; leaving it commits."""
        with self._turn(ws), self.exclusive() as connection:
            connection.run(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {int(ws)})")
            yield PostgresRebuild(connection, ws, FactsCache(), self.registry, objects)
            connection.run("COMMIT")
            self._trees.pop(ws, None)
        with translated(self.address), patient(self.address) as connection:
            for table, _ in structure.tables(connection):
                connection.run(f"REINDEX TABLE {table}")

    def count_call(self, ws: Ws, principal: str) -> CallCount:
        """Count a call of a principal; return how many it made in this minute over all servers, and the seconds left of it.

        Where nothing can be written, a standby, each server counts for itself.
        """
        with translated(self.address):
            try:
                return rates.count(self.pool, ws, principal)
            except (pg.ReadOnlySqlTransaction, pg.FeatureNotSupported):  # a standby has no unlogged tables
                return self._call_counter.count(ws, principal, self._clock.now_us())

    def inspect(self) -> dict[str, str]:
        """Return the connection and the settings of the database, for `doctor`."""
        with self.reader(NO_WORKSPACE) as view:
            row = view.connection.execute(
                "SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
                " current_setting('fsync'), current_setting('synchronous_commit'), current_setting('data_checksums'),"
                " current_setting('full_page_writes'), pg_database_size(current_database()),"
                " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, (SELECT max(number) FROM migrations)"
            ).fetchone()
            pending = view.pages_pending()
            parts = partitions.count(view.connection)
            graphs, named = hnsw.graphs(view.connection), dict(view.workspace_names())
        assert row is not None
        names = ("server", "pgvector", "fsync", "synchronous_commit", "data_checksums", "full_page_writes", "bytes")
        skew_ms = (self._clock.now_us() - int(row[7])) / 1000
        return {
            "database": str(self.address),
            **{name: str(value) for name, value in zip(names, row[:7], strict=True)},
            **({"partitions": str(parts)} if parts else {}),
            "clock_ahead_ms": f"{skew_ms:.0f}",
            "user_version": str(row[8]),
            "psycopg": psycopg.__version__,
            "encrypted": "false",
            "erased_pages_pending": str(pending).lower(),
            "approximate": ", ".join(
                f"{named.get(graph.ws, graph.ws)} ({graph.bytes / 1e6:.1f} MB{'' if graph.valid else ', unfinished'})"
                for graph in graphs
            ),
        }

    def backup(
        self, target: Path, beside: Callable[[], None], progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Refuse: a database is copied by its own tools.

        Raises:
            StoreError: always; the message says which.
        """
        raise errors.StoreError(
            f"a PostgreSQL store is copied by its own tools: `pg_dump -Fc` of {self.address} to a file, or continuous "
            "archiving; objects that are kept elsewhere are copied by theirs"
        )
