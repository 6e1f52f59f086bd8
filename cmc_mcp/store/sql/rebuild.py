"""Derived tables written anew: the view that `rebuild` works through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from cmc_mcp.store.sql.audit import TRAITS
from cmc_mcp.store.sql.ledger import node_base
from cmc_mcp.store.sql.search import SearchView
from cmc_mcp.store.tables import NODE_SHIFT


class RebuildView(SearchView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    insert: ClassVar[str] = "INSERT"

    def replace(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Replace what a derived table holds of the workspace; rows as `all_index_rows` gives them."""
        if table == TRAITS:
            self._c.executemany(
                "UPDATE atoms SET traits = ?, speaker = ? WHERE ws = ? AND rid = ?",
                [(traits, speaker, self.ws, rid) for rid, traits, speaker in sorted(rows)],
            )
            return
        columns = self.registry.by_name[table].shown
        if table == "state_nodes":
            base = node_base(self.ws, 0)
            rows = [(base + place, body) for place, body in rows]  # type: ignore[operator]
            self._c.execute("DELETE FROM state_nodes WHERE node >= ? AND node < ?", (base, base + (1 << NODE_SHIFT)))
        self._c.execute(f"DELETE FROM {table} WHERE ws = ? OR ws NOT IN (SELECT ws FROM workspaces)", (self.ws,))
        marks = ", ".join("?" * (len(columns) + 1))
        self._c.executemany(
            f"{self.insert} INTO {table}(ws, {', '.join(columns)}) VALUES({marks})",
            [(self.ws, *row) for row in sorted(rows, key=repr)],
        )
