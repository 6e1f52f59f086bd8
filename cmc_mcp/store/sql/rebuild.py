"""Derived tables written anew: the view that `rebuild` works through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from cmc_mcp.store.sql.audit import AuditView
from cmc_mcp.store.sql.ledger import node_base
from cmc_mcp.store.sql.search import SearchView
from cmc_mcp.store.tables import NODE_SHIFT


class Replacing(AuditView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    insert: ClassVar[str] = "INSERT"

    def replace(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Replace what a derived table holds of the workspace; rows as `all_index_rows` gives them."""
        described = self.registry.by_name[table]
        columns = described.shown
        if described.part_of:
            (name,) = described.key
            sets = ", ".join(f"{column} = ?" for column in columns if column != name)
            self._c.executemany(
                f"UPDATE {described.part_of} SET {sets} WHERE ws = ? AND {name} = ?",
                [(*row[1:], self.ws, row[0]) for row in sorted(rows)],
            )
            return
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


class RebuildView(Replacing, SearchView):
    """A view that can search and replace."""
