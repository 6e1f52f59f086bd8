"""The file itself: whether its structure holds, and its tables and indexes are those that the migrations make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apsw

from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.sql.audit import MISSING, lack_a_table
from cmc_mcp.store.sql.schema import BOOKKEEPING


def faults(connection: apsw.Connection, migrations: Iterable[Migration]) -> list[tuple[str, str, str]]:
    """Check what a file has beside rows of a workspace; gives (table, key, reason)."""
    schema = list(_schema(connection, migrations))
    if lack_a_table(schema):
        return schema
    return [
        *(("file", "", line) for (line,) in connection.execute("PRAGMA integrity_check(20)") if line != "ok"),
        *schema,
    ]


def tables(connection: apsw.Connection) -> list[tuple[str, str]]:
    """Name the tables that have a workspace, each with the first other column of its key."""
    found = connection.execute(
        "SELECT t.name, (SELECT name FROM pragma_table_info(t.name) WHERE pk > 0 AND name <> 'ws' ORDER BY pk)"
        " FROM pragma_table_list t JOIN pragma_table_info(t.name) c ON c.name = 'ws' WHERE t.type = 'table'"
        " AND t.name <> 'workspaces'"
    )
    return [(str(table), str(key)) for table, key in found]


def _schema(connection: apsw.Connection, migrations: Iterable[Migration]) -> Iterator[tuple[str, str, str]]:
    """Compare tables, indexes, views and triggers with those that the migrations make."""
    fresh = apsw.Connection(":memory:")
    try:
        for statement in (BOOKKEEPING, *(s for migration in migrations for s in migration.up)):
            fresh.execute(statement).fetchall()
        wanted, found = _objects(fresh), _objects(connection)
    finally:
        fresh.close()
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            yield "sqlite_schema", name, MISSING if name not in found else "is not what the migrations made"


def _objects(connection: apsw.Connection) -> dict[str, object]:
    rows: Iterable[tuple[object, object]] = connection.execute(
        "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return {str(name): sql for name, sql in rows}
