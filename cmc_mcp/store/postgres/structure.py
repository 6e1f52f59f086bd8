"""The database itself: damage that the server knows of, and whether tables and indexes are those that the migrations make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import psycopg
from psycopg import errors as pg

from cmc_mcp.store.postgres import hnsw, partitions
from cmc_mcp.store.postgres.connection import Address, connect, first_line
from cmc_mcp.store.postgres.schema import BOOKKEEPING, rendered_migration
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql.audit import MISSING
from cmc_mcp.store.sql.connection import Connection

_CATALOGUE: Final = """
    WITH mine AS (
        SELECT c.oid, c.relname, c.relkind, c.relpersistence, n.nspname FROM pg_class c JOIN pg_namespace n
        ON n.oid = c.relnamespace WHERE n.oid = {schema} AND NOT c.relispartition
            AND relname NOT IN ('rates', 'rates_pkey')
    )
    SELECT 'table ' || relname, concat(pg_get_partkeydef(mine.oid), ' ') || (relpersistence = 'u')::text || ': ' ||
        string_agg(concat_ws(' ', attname,
        format_type(atttypid, atttypmod), collname, CASE WHEN attnotnull THEN 'NOT NULL' END, attidentity::text,
        pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
        FROM mine JOIN pg_attribute a ON attrelid = mine.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_collation l ON l.oid = attcollation LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
        WHERE relkind IN ('r', 'p') GROUP BY mine.oid, relname, relpersistence
    UNION ALL SELECT 'index ' || relname, indisvalid::text || ': ' ||
        replace(replace(pg_get_indexdef(mine.oid), nspname || '.', ''), ' ON ONLY ', ' ON ')
        FROM mine JOIN pg_index ON indexrelid = mine.oid
    UNION ALL SELECT 'trigger ' || tgname, relname || ' ' || tgfoid::regproc::text
        FROM mine JOIN pg_trigger ON tgrelid = mine.oid WHERE NOT tgisinternal
    UNION ALL SELECT 'rule ' || rulename, relname FROM mine JOIN pg_rewrite ON ev_class = mine.oid
    UNION ALL SELECT relkind::text || ' ' || relname, '' FROM mine WHERE relkind NOT IN ('r', 'p', 'i', 'I')
"""
_PARTS: Final = """
    SELECT c.relname::text, count(i.inhrelid) FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'p' GROUP BY c.relname ORDER BY 1
"""
_INDEXES: Final = """
    SELECT count(bt_index_check(i.indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am m ON m.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND m.amname = 'btree' AND c.relkind = 'i'
"""


def damage(connection: Connection) -> list[tuple[str, str, str]]:
    """Ask the server for damage it knows of; with the amcheck extension, check the indexes too."""
    row = connection.execute(
        "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    if row and row[0]:
        return [("database", "", f"the server met {row[0]} pages whose checksum does not hold; restore the database")]
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone():
        try:
            connection.execute(_INDEXES).fetchall()
        except psycopg.Error as error:
            return [("database", "", first_line(error))]
    return []


def tables(connection: Connection) -> list[tuple[str, str]]:
    """Name the tables that have a workspace, each with the next column of its key."""
    return [
        (table, key)
        for table, key in connection.execute(
            "SELECT c.relname::text, (SELECT k.attname::text FROM pg_attribute k WHERE k.attrelid = c.oid"
            " AND k.attnum = i.indkey[1]) FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
            " WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition AND i.indnkeyatts > 1"
            " AND c.relpersistence = 'p' ORDER BY 1"
        )
    ]


def faults(connection: Connection, wanted: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Compare tables, indexes and what else there is with those that the migrations make."""
    found = _catalogue(connection, "current_schema()::regnamespace")
    found = {name: words for name, words in found.items() if not hnsw.is_ours(name, words)}
    for name in sorted(wanted.keys() | found.keys()) if wanted else ():
        if wanted.get(name) != found.get(name):
            yield "pg_catalog", name, MISSING if name not in found else "is not what the migrations made"
    parts = partitions.count(connection)
    for table, count in connection.execute(_PARTS):
        if count != parts:
            yield "pg_catalog", f"table {table}", f"has {count} partitions, but pieces has {parts}"


def wanted(address: Address, parts: int, registry: Registry) -> dict[str, str]:
    """Return the catalogue of the tables as the migrations make them, by having this server make them for a moment.

    Nothing where it lets nobody make even temporary tables: on a standby, or for a user without the right.
    """
    connection = connect(address)
    try:
        connection.run(
            "BEGIN; SELECT set_config('search_path', 'pg_temp' || substr(s, strpos(s, ',')), true)"
            " FROM current_setting('search_path') AS s"
        )
        for statement in (
            BOOKKEEPING,
            *(s for migration in map(rendered_migration, registry.migrations) for s in migration.up),
        ):
            for own in partitions.arranged(statement, parts, registry.whole, empty=True):
                connection.run(own)
        return _catalogue(connection, "pg_my_temp_schema()")
    except (pg.ReadOnlySqlTransaction, pg.InsufficientPrivilege):
        return {}
    finally:
        connection.close()


def _catalogue(connection: Connection, schema: str) -> dict[str, str]:
    return {name: words.replace("pg_temp.", "") for name, words in connection.execute(_CATALOGUE.format(schema=schema))}
