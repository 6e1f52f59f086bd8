"""Migrations: numbered, checksummed, preceded by a backup, applied in one transaction."""

from __future__ import annotations

from pathlib import Path

import apsw

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.store.sqlite.connection import APPLICATION_ID, Location, connect, protect, translated
from cmc_mcp.store.sqlite.schema import BOOKKEEPING, MIGRATIONS, Migration


def is_current(location: Location) -> bool:
    """Say whether a file has the newest tables; refuse one that is not ours or from the future.

    Raises:
        WrongKey: it is no store; FutureStore: a newer version wrote it; IntegrityError: a migration was edited.
    """
    connection = connect(location)
    try:
        with translated():
            return _version(connection) == MIGRATIONS[-1].number
    finally:
        connection.close()


def run(location: Location, clock: Clock, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring a file to the newest version: backup, then every missing migration in one transaction."""
    connection = connect(location, create=True)
    try:
        with translated():
            version = _version(connection, migrations)
            missing = [m for m in migrations if m.number > version]
            if not missing:
                return
            if version:
                _backup(connection, location, version)
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(BOOKKEEPING)
                for migration in missing:
                    for statement in migration.up:
                        connection.execute(statement)
                    connection.execute(
                        "INSERT INTO migrations VALUES(?, ?, ?, ?)",
                        (migration.number, migration.title, migration.checksum, clock.now_us()),
                    )
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", missing[-1].number)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    finally:
        connection.close()


def _version(connection: apsw.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if tables is not None and not tables[0] and not version:
        return 0
    if application != APPLICATION_ID:
        raise errors.WrongKey("the file is a SQLite database, but no CMC store; choose another path")
    if version > migrations[-1].number:
        raise errors.FutureStore(
            f"the store has format {version}, and this version knows up to {migrations[-1].number}; "
            "upgrade cmc-mcp (nothing was written)",
            format=version,
        )
    known = {m.number: m.checksum for m in migrations}
    for number, checksum in connection.execute("SELECT number, checksum FROM migrations"):
        if known.get(number) != checksum:
            raise errors.IntegrityError(
                f"migration {number} of this store is not the one this version ships; restore a backup",
                table="migrations",
                key=str(number),
            )
    return int(version)


def _backup(connection: apsw.Connection, location: Location, version: int) -> None:
    target = Path(f"{location.path}.v{version}.backup")
    if target.exists():
        return  # an earlier attempt made it before anything was changed
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    copy = connect(Location(part, location.key), create=True)
    try:
        with copy.backup("main", connection, "main") as job:
            job.step(-1)
        copy.pragma("journal_mode", "delete")
    finally:
        copy.close()
    protect(part)
    part.rename(target)
