"""Derived tables written anew: the view that `rebuild` works through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from cmc_mcp.ids import Ws
from cmc_mcp.store.indexes import Row
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.audit import AuditView
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache, node_base
from cmc_mcp.store.sql.passages import passages_of
from cmc_mcp.store.sql.search import SearchView
from cmc_mcp.store.tables import NODE_SHIFT, Table


class Replacing(AuditView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    insert: ClassVar[str] = "INSERT"

    def replace(self, table: Table, rows: Iterable[Row]) -> None:
        """Replace what a derived table holds of the workspace; rows as `index_rows` returns them."""
        columns = table.shown
        if table.part_of:
            (name,) = table.key
            sets = ", ".join(f"{column} = ?" for column in columns if column != name)
            self._c.executemany(
                f"UPDATE {table.part_of} SET {sets} WHERE ws = ? AND {name} = ?",
                [(*row[1:], self.ws, row[0]) for row in sorted(rows)],
            )
            return
        if table.name == "state_nodes":
            base = node_base(self.ws, 0)
            rows = [(base + place, body) for place, body in rows]  # type: ignore[operator]
            self._c.execute("DELETE FROM state_nodes WHERE node >= ? AND node < ?", (base, base + (1 << NODE_SHIFT)))
        self._c.execute(f"DELETE FROM {table.name} WHERE ws = ? OR ws NOT IN (SELECT ws FROM workspaces)", (self.ws,))
        marks = ", ".join("?" * (len(columns) + 1))
        self._c.executemany(
            f"{self.insert} INTO {table.name}(ws, {', '.join(columns)}) VALUES({marks})",
            [(self.ws, *row) for row in sorted(rows, key=repr)],
        )


class RebuildView(Replacing, SearchView):
    """A view that can search and replace."""

    def __init__(self, connection: Connection, ws: Ws, facts: FactsCache, registry: Registry, objects: Objects) -> None:
        super().__init__(connection, ws, facts, registry)
        self._objects = objects

    def refill(self) -> None:
        """Fill full text again from its content; drop vectors that belong to no node."""
        nodes.drop_unused_vectors(self._c, self.ws)
        self.postings.fill(passages_of(self, self._objects.get), self.head().last_rid)
