"""Derived tables written anew: the view that `rebuild` works through, and the file given checksums of pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import apsw

from cmc_mcp.store.sqlite import checksums, nodes
from cmc_mcp.store.sqlite.audit import INDEXES
from cmc_mcp.store.sqlite.ledger import node_base
from cmc_mcp.store.sqlite.search import SearchView

_WAIT_MS: Final = 500


class RebuildView(SearchView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    def replace(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Replace what a derived table holds of the workspace; rows as `all_index_rows` gives them."""
        if table == "traits":
            self._c.executemany(
                "UPDATE atoms SET traits = ?, speaker = ? WHERE rid = ?",
                [(traits, speaker, rid) for rid, traits, speaker in sorted(rows)],
            )
            return
        columns = INDEXES[table].replace("node - (ws << 38)", "node")
        if table == "state_nodes":
            base = node_base(self.ws, 0)
            rows = [(base + place, body) for place, body in rows]  # type: ignore[operator]
            self._c.execute("DELETE FROM state_nodes WHERE node >= ? AND node < ?", (base, base + (1 << 38)))
        self._c.execute(f"DELETE FROM {table} WHERE ws = ? OR ws NOT IN (SELECT ws FROM workspaces)", (self.ws,))
        marks = ", ".join("?" * (columns.count(",") + 2))
        # a row that was moved to another workspace keeps its number there, and is taken back
        self._c.executemany(
            f"INSERT OR REPLACE INTO {table}(ws, {columns}) VALUES({marks})",
            [(self.ws, *row) for row in sorted(rows, key=repr)],
        )

    def refill(self) -> None:
        """Fill full text anew from what it shows, and SQL indexes from their tables; drop vectors of what is no node."""
        nodes.drop_unused_vectors(self._c, self.ws)
        self._c.execute("DELETE FROM passages_config")
        self._c.execute("INSERT INTO passages_config VALUES('version', 4), ('secure-delete', 1)")
        self._c.execute("INSERT INTO passages(passages) VALUES('rebuild')")
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
