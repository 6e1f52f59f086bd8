"""Migrations: numbered, checksummed, preceded by a backup, applied in one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.folders import sync_folder
from cmc_mcp.store.objects import open_objects
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql import migration_steps
from cmc_mcp.store.sql.migration_steps import Migrations
from cmc_mcp.store.sql.passages import Fetch
from cmc_mcp.store.sql.schema import BOOKKEEPING, MIGRATIONS
from cmc_mcp.store.sqlite import checksums
from cmc_mcp.store.sqlite.connection import APPLICATION_ID, Location, close, connect, has_log, look, translated

_BACKUP: Final = re.compile(r"\.v[0-9]+\.backup(\.part)?")


def is_current(location: Location, migrations: Migrations = MIGRATIONS) -> bool:
    """Return whether a file has the newest tables; refuse one that is not ours or from the future. Changes no byte of it.

    Raises:
        WrongKey: the file is not a store.
        FutureStore: a newer version wrote the file.
        IntegrityError: a migration was edited.
    """
    return version_of(location, migrations) == migrations[-1].number


def run(
    location: Location,
    clock: Clock,
    registry: Registry,
    objects: Objects | None = None,
    progress: Progress | None = None,
) -> None:
    """Migrate a file to the newest version: backup, then every missing migration in one transaction.

    Without `objects`, those beside the file are read. `progress` is told how far it is.

    Raises:
        WrongKey: the file is not a store.
        FutureStore: a newer version wrote the file.
        IntegrityError: a migration was edited.
        StoreError: a statement failed, and the file is unchanged.
    """
    migrations = registry.migrations
    if location.path.exists() and location.path.stat().st_size:
        version_of(location, migrations)  # before the first setting is written into a file that may not be ours

    def apply(connection: apsw.Connection, version: int) -> None:
        connection.execute(BOOKKEEPING)
        migration_steps.climb(connection, version, clock, registry, _fetch(location, objects), progress=progress)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", migrations[-1].number)

    connection = connect(location, create=True)
    try:
        with translated():
            version = _version(connection, migrations)
            if version < migrations[-1].number:
                _in_one_transaction(connection, location, version, apply)
    finally:
        close(connection)


def down(location: Location, to: int, migrations: Migrations = MIGRATIONS) -> None:
    """Migrate a file back to an older version: backup, then every later migration's way back, in one transaction.

    Raises:
        WrongKey: the file is not a store.
        FutureStore: a newer version wrote the file.
        IntegrityError: a migration was edited.
        StoreError: a migration cannot be undone without loss; open the backup made before it instead.
    """
    version = version_of(location, migrations)
    steps = migration_steps.steps_down(
        version, to, migrations, lambda v: f"open the backup that was made before it, {backup_path(location, v)}"
    )

    def apply(connection: apsw.Connection, _: int) -> None:
        migration_steps.descend(connection, steps, _fetch(location, None))
        connection.pragma("user_version", to)

    connection = connect(location)
    try:
        with translated():
            _in_one_transaction(connection, location, version, apply)
    finally:
        close(connection)


def _fetch(location: Location, objects: Objects | None) -> Fetch:
    """Return what reads the objects of a file, opened once one is asked for."""

    def fetch(ws: Ws, hash_: PayloadHash) -> bytes:
        nonlocal objects
        if objects is None:
            objects = open_objects(f"{location.path}.objects", location.key)
        return objects.get(ws, hash_)

    return fetch


def backup_path(location: Location, version: int) -> Path:
    """Name the backup that is made of a store of a version before it is migrated."""
    return Path(f"{location.path}.v{version}.backup")


def drop_backups(path: Path) -> None:
    """Remove the backups that were made of a store before it was migrated: their contents must go."""
    for found in path.parent.iterdir():
        if _BACKUP.fullmatch(found.name.removeprefix(path.name)) and found.name.startswith(path.name):
            found.unlink(missing_ok=True)


def _in_one_transaction(
    connection: apsw.Connection, location: Location, version: int, apply: Callable[[apsw.Connection, int], None]
) -> None:
    if version:
        _backup(connection, location, version)
    connection.execute("BEGIN IMMEDIATE")
    try:
        apply(connection, version)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(location: Location, migrations: Migrations = MIGRATIONS) -> int:
    """Return the version of a file's tables, 0 for a file without any; refuse one as `is_current` does.

    Raises:
        WrongKey: the file is not a store.
        FutureStore: a newer version wrote the file.
        IntegrityError: a migration was edited.
    """
    connection = look(location)
    try:
        with translated():
            return _version(connection, migrations)
    except errors.CmcError:
        if not has_log(location.path):
            raise
    finally:
        close(connection)
    # somebody began to write between our glance at the log and our reading: look again, with their locks
    connection = look(location)
    try:
        with translated():
            return _version(connection, migrations)
    finally:
        close(connection)


def _version(connection: apsw.Connection, migrations: Migrations) -> int:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    application, version = connection.pragma("application_id"), int(connection.pragma("user_version"))
    if tables is not None and not tables[0] and not version:
        return 0
    if application != APPLICATION_ID:
        raise errors.WrongKey("the file is a SQLite database, but not a CMC store; choose another path")
    migration_steps.check(version, dict(connection.execute("SELECT number, checksum FROM migrations")), migrations)
    return version


def _backup(connection: apsw.Connection, location: Location, version: int) -> None:
    target = backup_path(location, version)
    if target.exists():
        return  # an earlier attempt made it before anything was changed
    try:
        copy_to(connection, target, location.key)
    except OSError as error:
        raise errors.StoreError(
            f"the backup before a migration, {target}, cannot be written ({error.strerror}); nothing was changed"
        ) from error


def copy_to(
    source: apsw.Connection,
    target: Path,
    key: bytes | None,
    progress: Callable[[int, int], None] | None = None,
    beside: Callable[[], None] | None = None,
) -> None:
    """Copy a database as it is at one instant to a new file, durably; the target appears whole or not at all.

    `beside` is called in between, to copy what the file refers to.

    Others may write meanwhile: the copy holds a read transaction, so that it never has to begin again.
    """
    part = target.with_name(target.name + ".part")
    _drop(part)
    own = not source.in_transaction
    try:
        copy = connect(Location(part, key), create=True, checksums=checksums.are_on(source))
        try:
            if own:
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            job = copy.backup("main", source, "main")
            try:
                while not job.done:
                    job.step(4096)
                    if progress:
                        progress(job.page_count - job.remaining, job.page_count)
                job.finish()
            finally:
                job.close(True)
            copy.pragma("journal_mode", "delete")
        finally:
            close(copy)
            if own and source.in_transaction:
                source.execute("ROLLBACK")
        if beside:
            beside()
        part.rename(target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            _drop(part)


def _drop(part: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        Path(f"{part}{end}").unlink(missing_ok=True)
