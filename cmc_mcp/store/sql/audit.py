"""Everything there is, for `verify` and `rebuild`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cmc_mcp.ids import Rid, Seq, Vid
from cmc_mcp.kernel.kinds import ATOM, Record
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import TEXTUAL, NodeVectorRow, OwnRow, PieceEvent, VectorRow
from cmc_mcp.store.sql.view import View
from cmc_mcp.store.tables import WORKSPACE_SHIFT

MISSING: Final = "is missing"


def lack_a_table(faults: Iterable[tuple[str, str, str]]) -> bool:
    """Return whether what differs from the migrations is a whole table; then no check that reads rows can run."""
    return any(name.startswith("table ") and reason == MISSING for _, name, reason in faults)


class AuditView(View):
    """A view that also gives whole tables, to be replayed and compared."""

    def interval_events(self) -> Iterator[PieceEvent]:
        """Yield every opening (1) and closing (0) of a piece by transaction: (seq, opens, rid, from, to, facts)."""
        return map(
            PieceEvent._make,
            self._c.execute(
                "SELECT tx_from AS seq, 1 AS opens, rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1"
                " UNION ALL SELECT tx_to, 0, rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1 AND tx_to <> ?2"
                " ORDER BY seq, opens, rid, valid_from",
                (self.ws, OPEN),
            ),
        )

    def all_records(self) -> dict[Rid, Record]:
        """Return every record by its number."""
        rows = self._c.execute("SELECT rid, kind, key FROM records WHERE ws = ?", (self.ws,))
        return {rid: Record(kind, key) for rid, kind, key in rows}

    def all_vectors(self) -> Iterator[VectorRow]:
        """Yield every vector as (vid, model, content, seq, fp32), in order."""
        return map(
            VectorRow._make,
            self._c.execute(
                "SELECT vid, model, content, seq, vector FROM vectors WHERE ws = ? ORDER BY vid", (self.ws,)
            ),
        )

    def next_vector(self, after: Vid) -> Vid | None:
        """Return the number of the first vector after another, or None without one."""
        row = self._c.execute(
            "SELECT vid FROM vectors WHERE +ws = ?1 AND vid > ?2 AND vid < (?1 + 1) << 40 ORDER BY vid LIMIT 1",
            (self.ws, after),
        ).fetchone()
        return Vid(row[0]) if row else None

    def all_node_vectors(self) -> Iterator[NodeVectorRow]:
        """Yield every vector of a node as (nid, model, key, seq, fp32), in order of making."""
        return map(
            NodeVectorRow._make,
            self._c.execute(
                "SELECT nid, model, node, seq, vector FROM node_vectors WHERE ws = ? ORDER BY nid", (self.ws,)
            ),
        )

    def all_keys(self) -> Iterator[tuple[str, bytes, Seq, bytes]]:
        """Yield every idempotency key as (key, request, seq, receipt)."""
        return iter(
            self._c.execute(
                "SELECT key, request, seq, receipt FROM idempotency_keys WHERE ws = ? ORDER BY key", (self.ws,)
            )
        )

    def spoken_texts(self) -> Iterator[tuple[Rid, bytes, bytes | None]]:
        """Yield every text that was not erased as (rid, bytes, discriminator), in order; of an object no bytes."""
        rows = self._c.execute(
            "SELECT a.rid, p.body, d.body FROM atoms a JOIN payloads p ON p.ws = a.ws AND p.pid = a.content"
            " LEFT JOIN payloads d ON d.ws = a.ws AND d.pid = a.discriminator"
            " WHERE a.ws = ? AND a.modality < ? AND (p.object <> 0 OR p.body IS NOT NULL) ORDER BY a.rid",
            (self.ws, TEXTUAL),
        )
        return ((rid, body or b"", said) for rid, body, said in rows)

    def own_row(self) -> OwnRow:
        """Return the workspace's own row: its name, its number of erasures, whether pages wait to be destroyed."""
        row = self._c.execute("SELECT name, epoch, pages_pending FROM workspaces WHERE ws = ?", (self.ws,)).fetchone()
        return OwnRow(*row) if row else OwnRow("", 0, 0)

    def nodes_since_us(self) -> int:
        """Return when the table of nodes was made: with the store, or by a migration of an older one."""
        row = self._c.execute("SELECT applied_us FROM migrations WHERE title = 'nodes of documents'").fetchone()
        return int(row[0]) if row else 0

    # ------------------------------------------------------------------ every workspace
    def strays(self, tables: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
        """Yield rows of workspaces that do not exist, or whose number is of another one, as (table, key, reason).

        `tables` names each that has a workspace, with the column that tells its rows.
        """
        for table, key in tables:
            rows = self._c.execute(
                f"SELECT ws, {key} FROM {table} WHERE ws NOT IN (SELECT ws FROM workspaces) LIMIT 20"
            ).fetchall()
            yield from ((table, f"{ws}/{found}", "it belongs to no workspace") for ws, found in rows)
        numbered = [(table.name, table.numbered) for table in self.registry.tables if table.numbered]
        for table, key in numbered:
            rows = self._c.execute(
                f"SELECT {key}, ws FROM {table} WHERE {key} >> {WORKSPACE_SHIFT} <> ws LIMIT 20"
            ).fetchall()
            yield from ((table, str(found), f"its number is not one of workspace {ws}") for found, ws in rows)
        rows = self._c.execute(
            "SELECT rid FROM atoms a WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.rid = a.rid AND r.ws = a.ws"
            " AND r.kind = ?) LIMIT 20",
            (ATOM.code,),
        ).fetchall()
        yield from (("atoms", str(rid), "it is the atom of no record") for (rid,) in rows)
        rows = self._c.execute("SELECT ws FROM workspaces WHERE pages_pending NOT IN (0, 1)").fetchall()
        yield from (("workspaces", str(ws), "pages_pending is neither 0 nor 1") for (ws,) in rows)
        titles = {migration.number: migration.title for migration in self.registry.migrations}
        for number, title in self._c.execute("SELECT number, title FROM migrations").fetchall():
            if titles.get(number) != title:
                yield "migrations", str(number), "its title is not the one that was released"
