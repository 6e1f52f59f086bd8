"""The tables as data describe those of a new database too."""

from __future__ import annotations

from pathlib import Path

from cmc_mcp.products import REGISTRY
from cmc_mcp.store.postgres.schema import OWN_TABLES
from tests.pg.backend import Databases
from tests.support.stores import run_sql

COLUMNS = (
    "SELECT relname::text, array_agg(attname::text ORDER BY attnum) FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid"
    " AND attnum > 0 AND NOT attisdropped WHERE relnamespace = 'cmc'::regnamespace AND relkind IN ('r', 'p')"
    " AND relpersistence = 'p' AND NOT relispartition GROUP BY relname"
)
KEYS = (
    "SELECT c.relname::text, array_agg(attname::text) FROM pg_class c JOIN pg_index i ON indrelid = c.oid AND indisprimary"
    " JOIN pg_attribute a ON attrelid = c.oid AND attnum = ANY(indkey) WHERE relnamespace = 'cmc'::regnamespace"
    " GROUP BY c.relname"
)


def test_every_table_of_a_new_database_is_described_with_its_columns_and_its_key(
    tmp_path: Path, databases: Databases
) -> None:
    url = databases.of(tmp_path / "memory.db")
    tables = {table.name: table for table in (*REGISTRY.tables, *OWN_TABLES)}
    found = {str(name): list(columns) for name, columns in run_sql(url, COLUMNS)}  # type: ignore[call-overload]
    assert found == {name: list(table.names) for name, table in tables.items()}
    keys = {str(name): set(columns) - {"ws"} for name, columns in run_sql(url, KEYS)}  # type: ignore[call-overload]
    for name, table in tables.items():
        wanted = {table.own} if table.own else set(table.key if table.server_key is None else table.server_key)
        assert keys.get(name, set()) == wanted, name
