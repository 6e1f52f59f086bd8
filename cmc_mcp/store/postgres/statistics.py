"""Statistics: the planner is shown a workspace each time it has doubled.

Autovacuum looks within a minute, and at tables that changed by a tenth. Until then a database that was just filled is planned
for as an empty one, where a join of two thousand rows may take seconds.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg

from cmc_mcp.errors import CmcError
from cmc_mcp.store.postgres import structure
from cmc_mcp.store.postgres.pool import Pool
from cmc_mcp.store.rows import Head
from cmc_mcp.store.tables import WORKSPACE_SHIFT

RECORDS_MIN: Final = 128  # below it every plan is quick
RECORDS_MAX: Final = 1 << 20  # above it autovacuum has had its turn long since
_ORDINAL: Final = (1 << WORKSPACE_SHIFT) - 1


def outgrown(before: Head, after: Head) -> bool:
    """Return whether a workspace has passed a power of two of records.

    >>> from cmc_mcp.store.sql.ledger import NO_HEAD
    >>> outgrown(NO_HEAD._replace(last_rid=100), NO_HEAD._replace(last_rid=140))
    True
    >>> outgrown(NO_HEAD._replace(last_rid=140), NO_HEAD._replace(last_rid=200))
    False
    """
    had, has = before.last_rid & _ORDINAL, after.last_rid & _ORDINAL
    return RECORDS_MIN <= has < RECORDS_MAX and had.bit_length() < has.bit_length()


def renew(pool: Pool) -> None:
    """Refresh the planner's statistics of every table, unless another process is doing so."""
    with suppress(psycopg.Error, CmcError):  # a slow plan is no reason to say that a write failed
        connection = pool.take()
        try:
            names = ", ".join(name for name, _ in structure.tables(connection))
            connection.run(f"ANALYZE (SKIP_LOCKED) {names}")
        finally:
            connection.rollback()
            pool.give(connection)
