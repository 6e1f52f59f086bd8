"""Rebuilding a file: indexes made anew, and pages given checksums."""

from __future__ import annotations

from typing import Final

import apsw

from cmc_mcp.store.sql.rebuild_view import RebuildView
from cmc_mcp.store.sqlite import checksums
from cmc_mcp.store.sqlite.search import SqliteView

_WAIT_MS: Final = 500


class SqliteRebuild(RebuildView, SqliteView):
    """A view of a file inside a write transaction, which can replace whole tables of its workspace."""

    # a row that was moved to another workspace keeps its number there, and is taken back
    insert = "INSERT OR REPLACE"

    def refill(self) -> None:
        """Fill full text again from its content, and SQL indexes from their tables; drop vectors that belong to no node."""
        super().refill()
        self._c.execute("REINDEX")


def give_checksums(connection: apsw.Connection) -> None:
    """Rewrite a file that has no checksums of pages so that it has; left as it is while anybody else has it open.

    A connection learns that there are checksums when it opens the file, so there must be none that did not.
    """
    if connection.open_vfs != checksums.VFS or connection.reserve_bytes("main") >= checksums.RESERVED_BYTES:
        return
    connection.set_busy_timeout(_WAIT_MS)
    try:
        if connection.pragma("journal_mode", "delete") == "delete":
            connection.reserve_bytes("main", checksums.RESERVED_BYTES)
            connection.execute("VACUUM").fetchall()
    except apsw.BusyError:
        return
    finally:
        connection.pragma("journal_mode", "wal")
