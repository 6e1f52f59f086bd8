"""A view: one workspace, seen inside one read transaction (or from inside a write)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import cast

from cmc_mcp.ids import Pid, Rid, Seq
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import AtomRow, EdgeRow, GateEntry, Holder, ItemPlace, ItemRow, KeyUse, erased_key
from cmc_mcp.store.sql.ledger import LedgerRows
from cmc_mcp.store.tables import NODE_SHIFT, WORKSPACE_SHIFT, Table

_ATOM = "a.rid, r.key, a.modality, a.media_type, a.content, a.origin, a.discriminator, a.witness, a.seq"


class View(LedgerRows):
    """Reads of one workspace. Everything it answers belongs to one committed state."""

    # ------------------------------------------------------------------ atoms, sources, links
    def atom(self, rid: Rid) -> AtomRow | None:
        """Return an atom by its record number."""
        row = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r USING(ws, rid) WHERE a.ws = ? AND a.rid = ?",
            (self.ws, rid),
        ).fetchone()
        return AtomRow(*row) if row else None

    def atoms(self, rids: Sequence[Rid]) -> dict[Rid, AtomRow]:
        """Return several atoms at once."""
        rows = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r USING(ws, rid) WHERE +a.ws = ?1"  # by number, as above
            " AND a.rid IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(rids)),
        )
        return {row[0]: AtomRow(*row) for row in rows}

    def all_atoms(self) -> Iterator[AtomRow]:
        """Yield every atom ever recorded, in order."""
        for row in self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r USING(ws, rid) WHERE a.ws = ? ORDER BY a.rid",
            (self.ws,),
        ):
            yield AtomRow(*row)

    def atoms_with_content(self, content: Pid) -> list[AtomRow]:
        """Return the atoms of a content, in order of first recording."""
        return self._atoms_where("a.content", content)

    def atoms_with_origin(self, origin: Pid) -> list[AtomRow]:
        """Return the atoms of an origin, in order of first recording."""
        return self._atoms_where("a.origin > 0 AND a.origin", origin)

    def _atoms_where(self, column: str, pid: Pid) -> list[AtomRow]:
        rows = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r USING(ws, rid) WHERE a.ws = ? AND {column} = ? ORDER BY a.rid",
            (self.ws, pid),
        )
        return [AtomRow(*row) for row in rows]

    def entries(self, origin: Pid, discriminators: Sequence[Pid]) -> list[AtomRow]:
        """Return the atoms of an origin with one of some discriminators, in order of first recording."""
        rows = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a INDEXED BY atoms_discriminator JOIN records r USING(ws, rid) WHERE a.ws = ?1"
            " AND a.discriminator > 0 AND a.discriminator IN (SELECT value FROM json_each(?3)) AND a.origin = ?2"
            " ORDER BY a.rid",
            (self.ws, origin, json.dumps(discriminators)),
        )
        return [AtomRow(*row) for row in rows]

    def used_elsewhere(self, pids: Sequence[Pid], rids: Sequence[Rid]) -> set[Pid]:
        """Return those payloads that atoms other than some use in any role, or that name a principal; a scan."""
        within = "IN (SELECT value FROM json_each(?2))"
        others = "rid NOT IN (SELECT value FROM json_each(?3))"
        rows = self._c.execute(
            " UNION ".join(
                f"SELECT {column} FROM atoms WHERE ws = ?1 AND {column} {within} AND {others}"
                for column in ("content", "media_type", "origin", "discriminator", "witness")
            )
            + f" UNION SELECT media_type FROM atoms WHERE ws = ?1 AND media_type {within}"
            f" UNION SELECT principal FROM transactions WHERE ws = ?1 AND principal {within}",
            (self.ws, json.dumps(pids), json.dumps(rids)),
        )
        return {pid for (pid,) in rows}

    def heading(self, rid: Rid) -> str:
        """Return the heading of an atom for full text."""
        row = self._c.execute("SELECT heading FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid)).fetchone()
        return str(row[0]) if row else ""

    def origins(self) -> list[Pid]:
        """Return the origins of documents and conversations, in order of first recording."""
        rows = self._c.execute(
            "SELECT origin FROM (SELECT origin, rid FROM sources WHERE ws = ?1 UNION ALL"
            " SELECT origin, rid FROM items WHERE ws = ?1 AND position = 0) AS either ORDER BY rid",
            (self.ws,),
        )
        return [pid for (pid,) in rows]

    def items(self, origin: Pid) -> list[ItemRow]:
        """Return the positions of a conversation as (position, rid), retracted ones included."""
        rows = self._c.execute(
            "SELECT DISTINCT position, rid FROM items WHERE ws = ? AND origin = ? ORDER BY position", (self.ws, origin)
        )
        return list(map(ItemRow._make, rows))

    def items_between(self, origin: Pid, low: int, high: int) -> list[ItemRow]:
        """Return the positions `low` to `high` of a conversation as (position, rid), retracted ones included."""
        rows = self._c.execute(
            "SELECT DISTINCT position, rid FROM items WHERE ws = ? AND origin = ? AND position BETWEEN ? AND ?"
            " ORDER BY position",
            (self.ws, origin, low, high),
        )
        return list(map(ItemRow._make, rows))

    def last_item(self, origin: Pid) -> ItemRow | None:
        """Return the last live position of a conversation as (position, rid)."""
        before = OPEN
        while True:  # one row a query: a cursor that is left half-read would keep the log from being truncated
            rows = self._c.execute(
                "SELECT position, rid FROM items WHERE ws = ? AND origin = ? AND position < ? ORDER BY position DESC LIMIT 1",
                (self.ws, origin, before),
            ).fetchall()
            if not rows:
                return None
            before, rid = cast("tuple[int, Rid]", rows[0])
            if self.intervals(rid):
                return ItemRow(before, rid)

    def items_of(self, atoms: Sequence[Rid]) -> list[ItemPlace]:
        """Return the places several atoms ever had in conversations as (atom, position, rid of the item)."""
        rows = self._c.execute(
            "SELECT atom, position, rid FROM items WHERE ws = ?1 AND atom IN (SELECT value FROM json_each(?2))"
            " ORDER BY atom, rid",
            (self.ws, json.dumps(atoms)),
        )
        return list(map(ItemPlace._make, rows))

    def item_of(self, atom: Rid) -> list[ItemRow]:
        """Return the places an atom ever had in conversations as (position, rid of the item)."""
        return list(
            map(
                ItemRow._make,
                self._c.execute(
                    "SELECT position, rid FROM items WHERE ws = ? AND atom = ? ORDER BY rid", (self.ws, atom)
                ),
            )
        )

    def origin_of(self, rid: Rid) -> Pid | None:
        """Return the origin of an atom, source head or conversation item."""
        row = self._c.execute(
            "SELECT origin FROM atoms WHERE ws = ?1 AND rid = ?2 UNION ALL SELECT origin FROM sources WHERE ws = ?1"
            " AND rid = ?2 UNION ALL SELECT origin FROM items WHERE ws = ?1 AND rid = ?2 LIMIT 1",
            (self.ws, rid),
        ).fetchone()
        return Pid(row[0]) if row else None

    def edges(self, rids: Sequence[Rid], *, incoming: bool = False) -> list[EdgeRow]:
        """Return the edges from (or to) atoms, retracted ones included, in order."""
        column = "target" if incoming else "source"
        rows = self._c.execute(
            f"SELECT rid, source, type, target FROM edges WHERE ws = ?1 AND {column} IN"
            " (SELECT value FROM json_each(?2)) ORDER BY rid",
            (self.ws, json.dumps(rids)),
        )
        return [EdgeRow(*row) for row in rows]

    def edge(self, rid: Rid) -> EdgeRow | None:
        """Return an edge by its record number."""
        row = self._c.execute(
            "SELECT rid, source, type, target FROM edges WHERE ws = ? AND rid = ?", (self.ws, rid)
        ).fetchone()
        return EdgeRow(*row) if row else None

    def labels(self) -> list[tuple[str, Rid]]:
        """Return every label as (label, rid), sorted."""
        return list(self._c.execute("SELECT label, rid FROM labels WHERE ws = ? ORDER BY label", (self.ws,)))

    def label(self, name: str) -> Rid | None:
        """Return the record of a label."""
        row = self._c.execute("SELECT rid FROM labels WHERE ws = ? AND label = ?", (self.ws, name)).fetchone()
        return Rid(row[0]) if row else None

    def idempotency(self, key: str) -> KeyUse | None:
        """Return the use of an idempotency key: request hash, transaction, receipt."""
        row = self._c.execute(
            "SELECT request, seq, receipt FROM idempotency_keys WHERE ws = ? AND key IN (?, ?)",
            (self.ws, key, erased_key(key)),
        ).fetchone()
        return KeyUse(*row) if row else None

    def quarantined(self) -> list[GateEntry]:
        """Return the entries in quarantine as (rid of the gate record, payload of the request), in order."""
        rows = self._c.execute("SELECT rid, request FROM quarantine WHERE ws = ? ORDER BY rid", (self.ws,))
        return list(map(GateEntry._make, rows))

    def witnesses_of(self, writer: str) -> list[Pid]:
        """Return the witness payloads of a writer."""
        rows = self._c.execute("SELECT witness FROM witnesses WHERE ws = ? AND writer = ?", (self.ws, writer))
        return [pid for (pid,) in rows]

    def origins_like(self, key: str) -> list[Pid]:
        """Return the origins that may be spelled like a name, by its key, in order of first recording."""
        rows = self._c.execute(
            "SELECT origin FROM (SELECT origin, rid FROM sources WHERE ws = ?1 UNION ALL"
            " SELECT origin, rid FROM items WHERE ws = ?1 AND position = 0) AS either"
            " JOIN payloads p ON +p.ws = ?1 AND p.pid = either.origin WHERE p.body IS NOT NULL"
            " AND (lower(CAST(p.body AS TEXT)) = ?2 OR length(p.body) > length(CAST(p.body AS TEXT))) ORDER BY either.rid",
            (self.ws, key),
        )
        return [pid for (pid,) in rows]

    def writers(self) -> list[str]:
        """Return the writers there are, in order; reads the index of witnesses."""
        return [
            name
            for (name,) in self._c.execute("SELECT DISTINCT writer FROM witnesses WHERE ws = ? ORDER BY 1", (self.ws,))
        ]

    def tag_names(self) -> list[str]:
        """Return the names of tags there are, in order; reads the index of tags."""
        return [
            name for (name,) in self._c.execute("SELECT DISTINCT name FROM tags WHERE ws = ? ORDER BY 1", (self.ws,))
        ]

    def tag_values_like(self, name: str, key: str) -> list[str]:
        """Return the values of a tag that may be spelled like another, by its key, in order."""
        rows = self._c.execute(
            "SELECT DISTINCT value FROM tags WHERE ws = ?1 AND name = ?2"
            " AND (lower(value) = ?3 OR length(CAST(value AS BLOB)) > length(value)) ORDER BY 1",
            (self.ws, name, key),
        )
        return [value for (value,) in rows]

    # ------------------------------------------------------------------ indexes
    def index_rows(self, table: Table, **equal: int | str) -> list[tuple[object, ...]]:
        """Return the rows of a derived table as they are compared, those whose columns equal what is given."""
        nodes = table.numbers("node")
        shown = ", ".join(f"{name} - (ws << {NODE_SHIFT})" if name in nodes else name for name in table.shown)
        where = "".join(f" AND {name} = ?" for name in equal)
        return list(
            self._c.execute(
                f"SELECT {shown} FROM {table.part_of or table.name} WHERE ws = ?{where}", (self.ws, *equal.values())
            )
        )

    def first_spoken(self) -> list[tuple[int, Rid]]:
        """Return the first atom of every speaker as (speaker, rid)."""
        return list(
            self._c.execute(
                "SELECT speaker, min(rid) FROM atoms WHERE ws = ? AND speaker <> 0 GROUP BY ws, speaker", (self.ws,)
            )
        )

    def facts_with_tag(self, name: str, value: str) -> list[Pid]:
        """Return the bodies of facts that carry a tag."""
        rows = self._c.execute("SELECT facts FROM tags WHERE ws = ? AND name = ? AND value = ?", (self.ws, name, value))
        return [pid for (pid,) in rows]

    def facts_with_confidence(self, minimum: int) -> list[Pid]:
        """Return the bodies of facts whose confidence is at least `minimum` millionths."""
        rows = self._c.execute("SELECT facts FROM confidences WHERE ws = ? AND value >= ?", (self.ws, minimum))
        return [pid for (pid,) in rows]

    def facts_with_claim(self, topic: int) -> list[Pid]:
        """Return the bodies of facts that make a claim about a topic."""
        rows = self._c.execute("SELECT facts FROM claims WHERE ws = ? AND topic = ?", (self.ws, topic))
        return [pid for (pid,) in rows]

    def facts_naming(self, prefix: str) -> list[Pid]:
        """Return the bodies of facts with a field whose name begins so (ASCII letters and colons), in order; a scan."""
        rows = self._c.execute(
            "SELECT pid FROM payloads WHERE +ws = ?1 AND pid >= ?2 AND pid < ?3 AND domain = 1"
            " AND instr(body, ?4) > 0 ORDER BY pid",
            (self.ws, self.ws << WORKSPACE_SHIFT, self.ws + 1 << WORKSPACE_SHIFT, f'"{prefix}'.encode()),
        )
        found = [pid for (pid,) in rows]
        return [pid for pid in found if any(name.startswith(prefix) for name in self.facts(pid).fields)]

    def holders(self, facts: Sequence[Pid], seq: Seq, valid_at: int | None = None) -> list[Holder]:
        """Return the holders of any of some facts at a read point: (rid, valid_from, valid_to, facts), in order."""
        at = "" if valid_at is None else " AND valid_from <= ?4 AND valid_to > ?4"
        bindings = (self.ws, json.dumps(facts), seq) + (() if valid_at is None else (valid_at,))
        return list(
            map(
                Holder._make,
                self._c.execute(
                    "SELECT rid, valid_from, valid_to, facts FROM pieces INDEXED BY pieces_facts WHERE ws = ?1 AND facts IN"
                    f" (SELECT value FROM json_each(?2)) AND +tx_from <= ?3 AND +tx_to > ?3{at} ORDER BY rid, valid_from",
                    bindings,
                ),
            )
        )

    def facts_used(self, pid: Pid) -> list[Rid]:
        """Return the records that ever held a body of facts."""
        rows = self._c.execute("SELECT DISTINCT rid FROM pieces WHERE ws = ? AND facts = ?", (self.ws, pid))
        return [rid for (rid,) in rows]

    def live_atoms(self, seq: Seq, valid_at: int) -> list[Rid]:
        """Return every atom that holds at a read point: the slow, obvious way, and the oracle of the fast one."""
        rows = self._c.execute(
            "SELECT DISTINCT p.rid FROM pieces p JOIN records r USING(ws, rid) WHERE p.ws = ?1 AND r.kind = ?4"
            " AND p.tx_from <= ?2 AND p.tx_to > ?2 AND p.valid_from <= ?3 AND p.valid_to > ?3 ORDER BY p.rid",
            (self.ws, seq, valid_at, ATOM.code),
        )
        return [rid for (rid,) in rows]
