"""What migrating is on every database: the version that is there, the steps that are missing, the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.kernel.kinds import DOMAINS, KINDS
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql import fts5
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.passages import Fetch
from cmc_mcp.store.sql.rebuild_view import Replacing
from cmc_mcp.store.tables import TABLES

Migrations = tuple[Migration, ...]
_NO_PRODUCT: Final = Registry(KINDS, DOMAINS, (), (), (), (), TABLES, (), {})


def check(version: int, applied: Mapping[int, str], migrations: Migrations) -> None:
    """Refuse tables of a version that this code does not know, or that are not those it would have made.

    Raises:
        FutureStore: a newer version made them.
        IntegrityError: a migration was edited.
    """
    if version > migrations[-1].number:
        raise errors.FutureStore(
            f"the store has format {version}, and this version knows up to {migrations[-1].number}; "
            "upgrade cmc-mcp (nothing was written)",
            format=version,
        )
    known = {m.number: m.checksum for m in migrations if m.number <= version}
    for number in sorted(known.keys() | applied.keys()):
        if known.get(number) != applied.get(number):
            raise errors.IntegrityError(
                f"migration {number} of this store is not the one this version ships; restore a backup",
                table="migrations",
                key=str(number),
            )


def climb(
    connection: Connection,
    version: int,
    clock: Clock,
    registry: Registry,
    fetch: Fetch,
    arranged: Callable[[str], Sequence[str]] = lambda statement: (statement,),
    progress: Progress | None = None,
) -> None:
    """Run every step that is missing, inside the caller's transaction; `arranged` says how a statement is put there.

    `progress` is told of the passages that a step reads, of all of the store.
    """
    # never before what it migrates, whatever the clock says: `verify` tells by it what is older than a table
    last = connection.execute("SELECT max(recorded_us) FROM transactions").fetchone() if version else None
    now_us = max(clock.now_us(), int(last[0] or 0) if last else 0)
    for migration in registry.migrations:
        if migration.number <= version:
            continue
        for statement in migration.up:
            for own in arranged(statement):
                connection.execute(own)
        if fill := registry.fills.get(migration.title):
            for view in _views(connection, registry):
                fill(cast(Any, view))
        elif migration.title == fts5.TITLE:
            step = _counting(connection, progress)
            for view in _views(connection, registry):
                fts5.fill(view, fetch, step)
        connection.execute(
            "INSERT INTO migrations VALUES(?, ?, ?, ?)",
            (migration.number, migration.title, migration.checksum, now_us),
        )


def _counting(connection: Connection, progress: Progress | None) -> Callable[[int], None]:
    """Return what adds up the passages that were read, and tells how many of how many."""
    if progress is None:
        return lambda count: None
    (total,) = connection.execute(
        "SELECT count(*) FROM atoms a JOIN payloads p ON p.ws = a.ws AND p.pid = a.content"
        " WHERE p.object = 1 OR p.body IS NOT NULL"
    ).fetchall()[0]
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return step


def steps_down(version: int, to: int, migrations: Migrations, instead: Callable[[int], str]) -> Migrations:
    """Return the steps to undo, the last first; `instead` names what holds a version that cannot be gone back to.

    Raises:
        StoreError: no such older version exists, or a step cannot be undone without loss.
    """
    later = tuple(m for m in reversed(migrations) if to < m.number <= version)
    if to < 1 or not later:
        raise errors.StoreError(f"the store has format {version}; it can be taken back to 1 to {version - 1}")
    if fixed := [m for m in later if not m.down]:
        raise errors.StoreError(
            f"migration {fixed[0].number} ({fixed[0].title}) cannot be undone without losing something; "
            f"{instead(fixed[0].number - 1)}"
        )
    return later


def descend(connection: Connection, steps: Migrations, fetch: Fetch) -> None:
    """Undo steps, inside the caller's transaction."""
    for migration in steps:
        for statement in migration.down:
            connection.execute(statement)
        for view in _views(connection, _NO_PRODUCT) if migration.title == fts5.TITLE else ():
            fts5.restore(view, fetch)
        connection.execute("DELETE FROM migrations WHERE number = ?", (migration.number,))


def _views(connection: Connection, registry: Registry) -> Iterator[Replacing]:
    for (ws,) in connection.execute("SELECT ws FROM workspaces ORDER BY ws").fetchall():
        yield Replacing(connection, ws, FactsCache(), registry)
