"""Calls of each principal in the present minute, counted over every server that uses the database.

One row a principal in a table that is written to no log, so a call costs one round trip and no wait for the disk. It
is made when a limit is first asked for, and is empty after a crash, which counts the minute anew. Minutes are those of
the database's clock, whatever the servers' own say.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg
from psycopg import errors as pg

from cmc_mcp.ids import Ws
from cmc_mcp.store.postgres.connection import is_lost
from cmc_mcp.store.postgres.pool import Pool
from cmc_mcp.store.rate_limit import CallCount

TABLE: Final = "rates"
_MAKE: Final = (
    f'CREATE UNLOGGED TABLE IF NOT EXISTS {TABLE}(ws bigint NOT NULL, principal text COLLATE "C" NOT NULL,'
    " minute bigint NOT NULL, calls bigint NOT NULL, PRIMARY KEY(ws, principal)) WITH (fillfactor = 50)"
)
_COUNT: Final = (
    f"INSERT INTO {TABLE} AS r SELECT ?, ?, s / 60, 1 FROM (SELECT floor(extract(epoch FROM clock_timestamp()))::bigint)"
    " AS now(s) ON CONFLICT(ws, principal) DO UPDATE SET minute = excluded.minute,"
    " calls = CASE WHEN r.minute = excluded.minute THEN r.calls + 1 ELSE 1 END"
    " RETURNING calls, (minute + 1) * 60 - floor(extract(epoch FROM clock_timestamp()))::bigint"
)


def count(pool: Pool, ws: Ws, principal: str) -> CallCount:
    """Count a call; return how many this makes in the present minute, and the seconds until the next."""
    while True:
        connection = pool.take()
        fresh = not connection.since_s
        try:
            row = connection.execute(_COUNT, (ws, principal)).fetchone()
            assert row is not None
            return CallCount(int(row[0]), max(1, int(row[1])))
        except pg.UndefinedTable:
            with suppress(pg.UniqueViolation, pg.DuplicateTable):  # another server was first
                connection.run(_MAKE)
        except psycopg.Error as error:
            if fresh or not is_lost(error):
                raise
            pool.forget()  # the database was restarted
        finally:
            pool.give(connection)
