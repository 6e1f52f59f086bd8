"""Migrations of a database: numbered, checksummed, each server's turn by a lock, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from psycopg import errors as pg

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.postgres import partitions
from cmc_mcp.store.postgres.connection import SCHEMA, VECTOR_MIN, Address, Connection, connect, first_line, translated
from cmc_mcp.store.postgres.schema import BOOKKEEPING, MIGRATIONS, rendered_migration
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql import migration_steps
from cmc_mcp.store.sql.migration_steps import Migrations
from cmc_mcp.store.sql.passages import Fetch

EXTENSION: Final = "vector"
_LOCK: Final = 0x434D4332  # of whoever migrates


def version_of(connection: Connection, migrations: Migrations = MIGRATIONS) -> int:
    """Return the version of the tables, or 0 without tables.

    Raises:
        FutureStore: a newer version made them.
        IntegrityError: a migration was edited.
    """
    found = connection.execute("SELECT to_regclass(?)::text", (f"{SCHEMA}.migrations",)).fetchone()
    if found is None or found[0] is None:
        return 0
    applied = dict(connection.execute(f"SELECT number, checksum FROM {SCHEMA}.migrations").fetchall())
    version = max(applied, default=0)
    migration_steps.check(version, applied, migrations)
    return version


def run(
    address: Address,
    clock: Clock,
    registry: Registry,
    *,
    parts: int = 0,
    objects: Objects | None = None,
    progress: Progress | None = None,
) -> None:
    """Migrate a database to the newest version: every missing migration in one transaction, by one server at a time.

    `parts` divides the tables of a new database (`partitions.py`). `progress` is told how far it is.

    Raises:
        FutureStore: a newer version made the tables.
        IntegrityError: a migration was edited.
        StoreError: the database is empty or old and read-only, lacks pgvector, or refuses.
        Conflict: the database has tables and cannot be divided.
    """
    registry = replace(registry, migrations=tuple(map(rendered_migration, registry.migrations)))
    migrations = registry.migrations
    connection = connect(address)
    try:
        with translated(address):
            if parts and version_of(connection, migrations):
                raise _has_tables(address)
            if version_of(connection, migrations) == migrations[-1].number:
                _check_vector(connection, address)
                return
            if address.read_only:
                raise errors.StoreError(
                    "the store is empty, or an older version wrote it: open it once for writing to bring it up to date"
                )
            _prepare(connection, address)
        with translated(address):
            _in_one_transaction(connection, lambda: _up(address, connection, clock, registry, parts, objects, progress))
    finally:
        connection.close()


def down(address: Address, to: int, migrations: Migrations = MIGRATIONS) -> None:
    """Migrate a database back to an older version, in one transaction.

    Raises:
        FutureStore: a newer version made the tables.
        IntegrityError: a migration was edited.
        StoreError: a migration cannot be undone without loss; restore the dump made before it instead.
    """
    connection = connect(address)

    def back() -> None:
        version = version_of(connection, migrations)
        instead = "restore the dump that was made before it"
        steps = migration_steps.steps_down(version, to, migrations, lambda _: instead)
        parts = partitions.count(connection)
        arranged = tuple(
            replace(step, down=tuple(o for s in step.down for o in partitions.arranged(s, parts))) for step in steps
        )
        migration_steps.descend(connection, arranged, _fetch(connection))

    try:
        with translated(address):
            _in_one_transaction(connection, back)
    finally:
        connection.close()


def _has_tables(address: Address) -> errors.Conflict:
    return errors.Conflict(
        f"{address} has tables already, and they are divided before the first memory or never; nothing was changed. Create "
        "a new database, divide that one, and copy the memory over with `cmc migrate`"
    )


def _up(
    address: Address,
    connection: Connection,
    clock: Clock,
    registry: Registry,
    parts: int,
    objects: Objects | None,
    progress: Progress | None,
) -> None:
    version = version_of(connection, registry.migrations)  # again: another server may have been first
    if parts and version:
        raise _has_tables(address)
    parts = parts or partitions.count(connection)
    connection.run(BOOKKEEPING)
    migration_steps.climb(
        connection, version, clock, registry, _fetch(connection) if objects is None else objects.get,
        lambda statement: partitions.arranged(statement, parts, registry.whole), progress,
    )  # fmt: skip


def _fetch(connection: Connection) -> Fetch:
    """Return what reads the objects of the database itself."""

    def fetch(ws: Ws, hash_: PayloadHash) -> bytes:
        row = connection.execute("SELECT body FROM objects WHERE ws = ? AND hash = ?", (ws, hash_)).fetchone()
        return bytes(row[0]) if row else b""

    return fetch


def _in_one_transaction(connection: Connection, work: Callable[[], None]) -> None:
    try:
        connection.run(f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})")
        work()
        connection.run("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _prepare(connection: Connection, address: Address) -> None:
    """Make the extension and the schema, where they are missing."""
    try:
        connection.run(f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})")
        connection.run(f"CREATE EXTENSION IF NOT EXISTS {EXTENSION} SCHEMA public")
        connection.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.run("COMMIT")
    except (pg.FeatureNotSupported, pg.UndefinedFile) as error:
        raise errors.StoreError(
            f"{address} has no pgvector: install the extension on the server (package postgresql-NN-pgvector), "
            "or choose a server that has it; nothing was changed"
        ) from error
    except pg.InsufficientPrivilege as error:
        raise errors.StoreError(
            f"the database user may not prepare {address} ({first_line(error)}): as its owner run `CREATE EXTENSION vector` "
            f"and `CREATE SCHEMA {SCHEMA} AUTHORIZATION` that user; nothing was changed"
        ) from error
    finally:
        connection.rollback()
    connection.learn(address)
    _check_vector(connection, address)


def _check_vector(connection: Connection, address: Address) -> None:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    version = tuple(int(part) for part in str(row[0]).split(".")[:2]) if row else (0, 0)
    if version < VECTOR_MIN:
        raise errors.StoreError(
            f"{address} has pgvector {'.'.join(map(str, version))}; run `ALTER EXTENSION vector UPDATE` for "
            f"{'.'.join(map(str, VECTOR_MIN))} or later"
        )
