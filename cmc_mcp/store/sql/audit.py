"""Everything there is, for `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from cmc_mcp.kernel.kinds import Record
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.sql.ledger import node_base
from cmc_mcp.store.sql.view import View

INDEXES: Final = {
    "tags": "name, value, facts",
    "claims": "subject, predicate, facts",
    "confidences": "value, facts",
    "witnesses": "writer, witness",
    "sources": "rid, origin",
    "items": "origin, position, rid, atom",
    "edges": "rid, source, type, target",
    "labels": "rid, label",
    "headings": "rid, heading",
    "speakers": "speaker, rid",
    "nodes": "source, path, level, node, tx_from, tx_to",
    "node_vectors": "model, node, seq",
}
"""The indexes that `verify` rebuilds and compares, with their columns."""


class AuditView(View):
    """A view that also gives whole tables, to be replayed and compared."""

    def piece_events(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Give every opening (1) and closing (0) of a piece by transaction: (seq, opens, rid, from, to, facts)."""
        return cast(
            "Iterator[tuple[int, int, int, int, int, int]]",
            self._c.execute(
                "SELECT tx_from AS seq, 1 AS opens, rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1"
                " UNION ALL SELECT tx_to, 0, rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1 AND tx_to < ?2"
                " ORDER BY seq, opens, rid, valid_from",
                (self.ws, OPEN),
            ),
        )

    def all_records(self) -> dict[int, Record]:
        """Give every record by its number."""
        rows = self._c.execute("SELECT rid, kind, key FROM records WHERE ws = ?", (self.ws,))
        return {rid: Record(kind, key) for rid, kind, key in rows}

    def all_state_nodes(self, tree: int) -> dict[int, bytes]:
        """Give every stored node of a tree by its path."""
        base = node_base(self.ws, tree)
        rows = self._c.execute(
            "SELECT node, body FROM state_nodes WHERE ws = ? AND node > ? AND node < ?",
            (self.ws, base, base + (1 << 37)),
        )
        return {node - base: body for node, body in rows}

    def all_log_nodes(self) -> dict[int, bytes]:
        """Give every node of the log by its place in post-order."""
        rows = self._c.execute("SELECT place, hash FROM log_nodes WHERE ws = ?", (self.ws,))
        return dict(rows)

    def all_index_rows(self, table: str) -> set[tuple[object, ...]]:
        """Give the rows of an index over facts or records, without the workspace."""
        columns = INDEXES[table]
        return set(self._c.execute(f"SELECT {columns} FROM {table} WHERE ws = ?", (self.ws,)))
