"""A view: one workspace, seen inside one read transaction (or from inside a write)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

import apsw

from cmc_mcp.canon import facts_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.kernel.kinds import AtomKind, Record
from cmc_mcp.kernel.pieces import NOTHING, Piece, Pieces, leaf
from cmc_mcp.kernel.transaction import GENESIS, OPEN, Change
from cmc_mcp.merkle.state import EMPTY_ROOT
from cmc_mcp.model.facts import Facts
from cmc_mcp.store.rows import AtomRow, EdgeRow, Head, PayloadRow, TransactionRow, checked, post_order
from cmc_mcp.store.sqlite.schema import WORKSPACE_SHIFT

NO_HEAD: Final = Head(0, 0, GENESIS, EMPTY_ROOT, EMPTY_ROOT, 0, 0, 0, 0, 0, 0)
_CACHED_FACTS_MAX: Final = 50_000
_TX = (
    "seq, recorded_us, principal, verb, arguments_hash, arguments, hash, state_root, control_root, changes, atoms,"
    " passages, tokens, last_rid, last_pid, last_vid"
)
_HEAD = "seq, recorded_us, hash, state_root, control_root, atoms, passages, tokens, last_rid, last_pid, last_vid"
_ATOM = "a.rid, r.key, a.modality, a.media_type, a.content, a.origin, a.discriminator, a.witness, a.seq"


class FactsCache:
    """Decoded facts of one workspace, shared by its views; an erasure starts a new epoch and drops it."""

    def __init__(self) -> None:
        self._known: tuple[int, dict[int, Facts]] = (-1, {})  # one value, so that threads see both halves or neither

    def at(self, epoch: int) -> dict[int, Facts]:
        """Give what is known in an epoch."""
        known = self._known
        if epoch != known[0]:
            known = self._known = (epoch, {})
        return known[1]


class View:
    """Reads of one workspace. Everything it answers belongs to one committed state."""

    def __init__(self, connection: apsw.Connection, ws: int, cache: FactsCache) -> None:
        self._c = connection
        self.ws = ws
        self._cache_of_facts = cache
        self._facts: dict[int, Facts] | None = None

    @property
    def connection(self) -> apsw.Connection:
        """The connection, inside its transaction, for what the store does with a whole file."""
        return self._c

    def epoch(self) -> int:
        """Give the number of erasures so far: what was cached before one is dropped."""
        row = self._c.execute("SELECT epoch FROM workspaces WHERE ws = ?", (self.ws,)).fetchone()
        return cast(int, row[0]) if row else 0

    # ------------------------------------------------------------------ ledger
    def head(self) -> Head:
        """Give the last transaction, or the empty state before the first."""
        row = self._c.execute(
            f"SELECT {_HEAD} FROM transactions WHERE ws = ? ORDER BY seq DESC LIMIT 1",
            (self.ws,),
        ).fetchone()
        return Head(*row) if row else NO_HEAD

    def head_at(self, seq: int) -> Head:
        """Give the state that transaction `seq` left."""
        if seq == 0:
            return NO_HEAD
        row = self._c.execute(
            f"SELECT {_HEAD} FROM transactions WHERE ws = ? AND seq = ?",
            (self.ws, seq),
        ).fetchone()
        if row is None:
            raise IntegrityError(f"transaction {seq} is missing from the ledger", table="transactions", key=str(seq))
        return Head(*row)

    def transaction(self, seq: int) -> TransactionRow | None:
        """Give one ledger entry."""
        row = self._c.execute(f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq = ?", (self.ws, seq)).fetchone()
        return TransactionRow(*row) if row else None

    def transactions(self, *, before: int = OPEN, after: int = 0, limit: int = -1) -> Iterator[TransactionRow]:
        """Give ledger entries with after < seq < before, newest first."""
        for row in self._c.execute(
            f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq < ? AND seq > ? ORDER BY seq DESC LIMIT ?",
            (self.ws, before, after, limit),
        ):
            yield TransactionRow(*row)

    def rollbacks(self, after: int = 0) -> list[TransactionRow]:
        """Give every rollback and undo, oldest first."""
        rows = self._c.execute(
            f"SELECT {_TX} FROM transactions WHERE ws = ? AND seq > ? AND verb IN ('rollback', 'undo') ORDER BY seq",
            (self.ws, after),
        )
        return [TransactionRow(*row) for row in rows]

    def transactions_by(self, principal: int, after: int) -> list[int]:
        """Give the numbers of a principal's transactions, oldest first; a scan, since selective rollbacks are rare."""
        rows = self._c.execute(
            "SELECT seq FROM transactions WHERE ws = ? AND principal = ? AND seq > ? ORDER BY seq",
            (self.ws, principal, after),
        )
        return [seq for (seq,) in rows]

    def seq_at(self, time_us: int) -> int:
        """Give the last transaction at or before a time; 0 for none."""
        row = self._c.execute(
            "SELECT seq FROM transactions WHERE ws = ? AND recorded_us <= ? ORDER BY seq DESC LIMIT 1",
            (self.ws, time_us),
        ).fetchone()
        return int(row[0]) if row else 0

    def roots(self, low: bytes, high: bytes) -> list[tuple[bytes, int, int]]:
        """Give the state roots in a range with the first and the last transaction that left each."""
        return list(
            self._c.execute(
                "SELECT state_root, min(seq), max(seq) FROM transactions WHERE ws = ? AND state_root BETWEEN ? AND ?"
                " GROUP BY state_root LIMIT 3",
                (self.ws, low, high),
            )
        )

    def log_node(self, level: int, position: int) -> bytes:
        """Give one node of the RFC 9162 log."""
        row = self._c.execute(
            "SELECT hash FROM log_nodes WHERE ws = ? AND place = ?", (self.ws, post_order(level, position))
        ).fetchone()
        if row is None:
            raise IntegrityError("a node of the log is missing", table="log_nodes", key=f"{level}/{position}")
        node: bytes = row[0]
        return node

    def state_node(self, tree: int, path: int) -> bytes | None:
        """Give one node of the state tree (0) or the control tree (1)."""
        node = node_base(self.ws, tree) + path
        row = self._c.execute("SELECT body FROM state_nodes WHERE node = ?", (node,)).fetchone()
        return row[0] if row else None

    # ------------------------------------------------------------------ records and pieces
    def rid(self, record: Record) -> int | None:
        """Give the number of a record, if it was ever seen."""
        row = self._c.execute(
            "SELECT rid FROM records WHERE ws = ? AND kind = ? AND key = ?", (self.ws, record.kind, record.key)
        ).fetchone()
        return int(row[0]) if row else None

    def record(self, rid: int) -> Record:
        """Give the record of a number."""
        row = self._c.execute("SELECT kind, key FROM records WHERE ws = ? AND rid = ?", (self.ws, rid)).fetchone()
        if row is None:
            raise IntegrityError(f"record {rid} is missing", table="records", key=str(rid))
        return Record(*row)

    def records(self, kind: int) -> list[tuple[int, bytes]]:
        """Give every record of a kind as (rid, key), in order of first recording."""
        return list(
            self._c.execute("SELECT rid, key FROM records WHERE ws = ? AND kind = ? ORDER BY rid", (self.ws, kind))
        )

    def keys_between(self, kind: int, low: bytes, high: bytes, limit: int = 3) -> list[tuple[int, bytes]]:
        """Give records of a kind whose key lies in a range, for references by prefix."""
        return list(
            self._c.execute(
                "SELECT rid, key FROM records WHERE ws = ? AND kind = ? AND key BETWEEN ? AND ? ORDER BY key LIMIT ?",
                (self.ws, kind, low, high, limit),
            )
        )

    def pieces(self, rid: int, seq: int | None = None) -> Pieces:
        """Give the pieces of a record: live ones, or those live after transaction `seq`."""
        if seq is None:
            rows = self._c.execute(
                "SELECT valid_from, valid_to, facts FROM pieces WHERE ws = ? AND rid = ? AND tx_to = ?"
                " ORDER BY valid_from",
                (self.ws, rid, OPEN),
            )
        else:
            rows = self._c.execute(
                "SELECT valid_from, valid_to, facts FROM pieces WHERE ws = ? AND rid = ? AND tx_from <= ?"
                " AND tx_to > ? ORDER BY valid_from",
                (self.ws, rid, seq, seq),
            )
        found = tuple([Piece(a, b, self.facts(pid)) for a, b, pid in rows])
        return found or NOTHING

    def pieces_of(self, rids: Sequence[int], seq: int) -> dict[int, Pieces]:
        """Give the pieces of several records that were live after transaction `seq`; records without any are left out."""
        rows = self._c.execute(
            "SELECT rid, valid_from, valid_to, facts FROM pieces WHERE ws = ?1 AND rid IN (SELECT value FROM json_each(?2))"
            " AND +tx_from <= ?3 AND +tx_to > ?3 ORDER BY rid, valid_from",  # by record, not by the indexes over time
            (self.ws, json.dumps(rids), seq),
        )
        found = cast("list[tuple[int, int, int, int]]", rows.fetchall())
        self._load_facts({row[3] for row in found})
        out: dict[int, Pieces] = {}
        for rid, start, end, pid in found:
            out[rid] = (*out.get(rid, ()), Piece(start, end, self.facts(pid)))
        return out

    def _load_facts(self, pids: set[int]) -> None:
        """Load bodies of facts that are not at hand, in one query."""
        if self._facts is None:
            self._facts = self._cache_of_facts.at(self.epoch())
        missing = [pid for pid in pids if pid not in self._facts]
        if len(missing) > 1 and len(self._facts) + len(missing) < _CACHED_FACTS_MAX:
            for pid, row in self.payload_rows(missing).items():
                if row.body is not None and facts_hash(row.body) == row.hash:  # the rest is looked at one by one
                    self._facts[pid] = Facts(row.hash, row.body)

    def piece_rows(self, rid: int) -> list[tuple[int, int, int, int, int]]:
        """Give every piece a record ever had: (valid_from, valid_to, tx_from, tx_to, facts number), in order."""
        return list(
            self._c.execute(
                "SELECT valid_from, valid_to, tx_from, tx_to, facts FROM pieces WHERE ws = ? AND rid = ?"
                " ORDER BY tx_from, valid_from",
                (self.ws, rid),
            )
        )

    def changed(self, after: int, upto: int) -> list[int]:
        """Give the numbers of records with a piece opened or closed in (after, upto], in order."""
        rows = self._c.execute(
            "SELECT rid FROM pieces WHERE ws = ?1 AND tx_from > ?2 AND tx_from <= ?3 UNION"
            " SELECT rid FROM pieces WHERE ws = ?1 AND tx_to > ?2 AND tx_to <= ?3 AND tx_to < 4611686018427387903"
            " ORDER BY 1",
            (self.ws, after, upto),
        )
        return [rid for (rid,) in rows]

    def change_seqs(self, rid: int) -> list[int]:
        """Give the transactions that changed a record, oldest first."""
        seqs = {s for _, _, a, b, _ in self.piece_rows(rid) for s in (a, b) if s < OPEN}
        return sorted(seqs)

    def changes_of(self, seq: int) -> list[Change]:
        """Rebuild the changes of a transaction from the pieces."""
        out = []
        for rid in self.changed(seq - 1, seq):
            record = self.record(rid)
            before, after = self.pieces(rid, seq - 1), self.pieces(rid, seq)
            out.append(Change(record, leaf(record, before) if before else b"", leaf(record, after) if after else b""))
        return out

    # ------------------------------------------------------------------ everything, for verify
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
            "SELECT node, body FROM state_nodes WHERE node > ? AND node < ?", (base, base + (1 << 37))
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

    # ------------------------------------------------------------------ payloads
    def facts(self, pid: int) -> Facts:
        """Give a body of facts; its bytes are None when they were erased."""
        if self._facts is None:
            self._facts = self._cache_of_facts.at(self.epoch())
        found = self._facts.get(pid)
        if found is None:
            row = self.payload_row(pid)
            if row.body is not None and facts_hash(row.body) != row.hash:
                raise IntegrityError(
                    "stored facts do not match their hash; run `cmc verify`", table="payloads", key=str(pid)
                )
            found = Facts(row.hash, row.body)
            if len(self._facts) >= _CACHED_FACTS_MAX:
                self._facts.clear()
            self._facts[pid] = found
        return found

    def payload_row(self, pid: int) -> PayloadRow:
        """Give a payload row as it is stored, unchecked."""
        row = self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE ws = ? AND pid = ?", (self.ws, pid)
        ).fetchone()
        if row is None:
            raise IntegrityError(f"payload {pid} is missing", table="payloads", key=str(pid))
        return PayloadRow(*row)

    def payload_rows(self, pids: Iterable[int]) -> dict[int, PayloadRow]:
        """Give several payload rows at once."""
        rows = self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE +ws = ?1"  # by number, not by workspace
            " AND pid IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(list(pids))),
        )
        return {row[0]: PayloadRow(*row) for row in rows}

    def payload(self, pid: int) -> bytes | None:
        """Give inline bytes, checked against their hash; None when erased or kept as an object."""
        return checked(self.payload_row(pid))

    def pid(self, hash_: bytes) -> int | None:
        """Give the number of the payload with a hash."""
        row = self._c.execute("SELECT pid FROM payloads WHERE ws = ? AND hash = ?", (self.ws, hash_)).fetchone()
        return int(row[0]) if row else None

    def all_payloads(self) -> Iterator[PayloadRow]:
        """Give every payload row of the workspace."""
        for row in self._c.execute(
            "SELECT pid, hash, domain, bytes, object, body FROM payloads WHERE ws = ? ORDER BY pid", (self.ws,)
        ):
            yield PayloadRow(*row)

    # ------------------------------------------------------------------ atoms, sources, links
    def atom(self, rid: int) -> AtomRow | None:
        """Give an atom by its record number."""
        row = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r ON r.rid = a.rid WHERE a.ws = ? AND a.rid = ?", (self.ws, rid)
        ).fetchone()
        return AtomRow(*row) if row else None

    def atoms(self, rids: Sequence[int]) -> dict[int, AtomRow]:
        """Give several atoms at once."""
        rows = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r ON r.rid = a.rid WHERE +a.ws = ?1"  # by number, as above
            " AND a.rid IN (SELECT value FROM json_each(?2))",
            (self.ws, json.dumps(rids)),
        )
        return {row[0]: AtomRow(*row) for row in rows}

    def all_atoms(self) -> Iterator[AtomRow]:
        """Give every atom ever recorded, in order."""
        for row in self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r ON r.rid = a.rid WHERE a.ws = ? ORDER BY a.rid", (self.ws,)
        ):
            yield AtomRow(*row)

    def atoms_of(self, contents: Sequence[int]) -> list[tuple[int, bytes, int]]:
        """Give the atoms of several contents as (rid, id, content), in order of first recording."""
        return list(
            self._c.execute(
                "SELECT a.rid, r.key, a.content FROM atoms a JOIN records r ON r.rid = a.rid WHERE a.ws = ?1"
                " AND a.content IN (SELECT value FROM json_each(?2)) ORDER BY a.rid",
                (self.ws, json.dumps(contents)),
            )
        )

    def atoms_with(self, column: str, pid: int) -> list[AtomRow]:
        """Give the atoms whose `content` or `origin` is a payload, in order of first recording."""
        where = {"content": "a.content", "origin": "a.origin > 0 AND a.origin"}[column]
        rows = self._c.execute(
            f"SELECT {_ATOM} FROM atoms a JOIN records r ON r.rid = a.rid WHERE a.ws = ? AND {where} = ? ORDER BY a.rid",
            (self.ws, pid),
        )
        return [AtomRow(*row) for row in rows]

    def used_elsewhere(self, pids: Sequence[int], rids: Sequence[int]) -> set[int]:
        """Give those payloads that atoms other than some use in any role, or that name a principal; a scan."""
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

    def heading(self, rid: int) -> str:
        """Give what full text shows beside the content of an atom."""
        row = self._c.execute("SELECT heading FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid)).fetchone()
        return str(row[0]) if row else ""

    def origins(self) -> list[int]:
        """Give the origins of documents and conversations, in order of first recording."""
        rows = self._c.execute(
            "SELECT origin FROM (SELECT origin, rid FROM sources WHERE ws = ?1 UNION ALL"
            " SELECT origin, rid FROM items WHERE ws = ?1 AND position = 0) ORDER BY rid",
            (self.ws,),
        )
        return [pid for (pid,) in rows]

    def items(self, origin: int) -> list[tuple[int, int]]:
        """Give the positions of a conversation as (position, rid), retracted ones included."""
        rows = self._c.execute(
            "SELECT DISTINCT position, rid FROM items WHERE ws = ? AND origin = ? ORDER BY position", (self.ws, origin)
        )
        return list(rows)

    def last_item(self, origin: int) -> tuple[int, int] | None:
        """Give the last live position of a conversation as (position, rid)."""
        before = OPEN
        while True:  # one row a query: a cursor that is left half-read would keep the log from being truncated
            rows = self._c.execute(
                "SELECT position, rid FROM items WHERE ws = ? AND origin = ? AND position < ? ORDER BY position DESC LIMIT 1",
                (self.ws, origin, before),
            ).fetchall()
            if not rows:
                return None
            before, rid = cast("tuple[int, int]", rows[0])
            if self.pieces(rid):
                return before, rid

    def items_of(self, atoms: Sequence[int]) -> list[tuple[int, int, int]]:
        """Give the places several atoms ever had in conversations as (atom, position, rid of the item)."""
        return list(
            self._c.execute(
                "SELECT atom, position, rid FROM items WHERE ws = ?1 AND atom IN (SELECT value FROM json_each(?2))"
                " ORDER BY atom, rid",
                (self.ws, json.dumps(atoms)),
            )
        )

    def item_of(self, atom: int) -> list[tuple[int, int]]:
        """Give the places an atom ever had in conversations as (position, rid of the item)."""
        return list(
            self._c.execute("SELECT position, rid FROM items WHERE ws = ? AND atom = ? ORDER BY rid", (self.ws, atom))
        )

    def origin_of(self, rid: int) -> int | None:
        """Give the origin of an atom, source head or conversation item."""
        row = self._c.execute(
            "SELECT origin FROM atoms WHERE ws = ?1 AND rid = ?2 UNION ALL SELECT origin FROM sources WHERE ws = ?1"
            " AND rid = ?2 UNION ALL SELECT origin FROM items WHERE ws = ?1 AND rid = ?2 LIMIT 1",
            (self.ws, rid),
        ).fetchone()
        return int(row[0]) if row else None

    def edges(self, rids: Sequence[int], *, incoming: bool = False) -> list[EdgeRow]:
        """Give the edges from (or to) atoms, retracted ones included, in order."""
        column = "target" if incoming else "source"
        rows = self._c.execute(
            f"SELECT rid, source, type, target FROM edges WHERE ws = ?1 AND {column} IN"
            " (SELECT value FROM json_each(?2)) ORDER BY rid",
            (self.ws, json.dumps(rids)),
        )
        return [EdgeRow(*row) for row in rows]

    def edge(self, rid: int) -> EdgeRow | None:
        """Give an edge by its record number."""
        row = self._c.execute(
            "SELECT rid, source, type, target FROM edges WHERE ws = ? AND rid = ?", (self.ws, rid)
        ).fetchone()
        return EdgeRow(*row) if row else None

    def labels(self) -> list[tuple[str, int]]:
        """Give every label as (label, rid), sorted."""
        return list(self._c.execute("SELECT label, rid FROM labels WHERE ws = ? ORDER BY label", (self.ws,)))

    def label(self, name: str) -> int | None:
        """Give the record of a label."""
        row = self._c.execute("SELECT rid FROM labels WHERE ws = ? AND label = ?", (self.ws, name)).fetchone()
        return int(row[0]) if row else None

    def idempotency(self, key: str) -> tuple[bytes, int, bytes] | None:
        """Give what an idempotency key was used for: request hash, transaction, receipt."""
        row = self._c.execute(
            "SELECT request, seq, receipt FROM idempotency_keys WHERE ws = ? AND key = ?", (self.ws, key)
        ).fetchone()
        return (row[0], row[1], row[2]) if row else None

    def quarantined(self) -> list[tuple[int, int]]:
        """Give what is in quarantine as (rid of the gate record, payload of the request), in order."""
        return list(self._c.execute("SELECT rid, request FROM quarantine WHERE ws = ? ORDER BY rid", (self.ws,)))

    def witnesses_of(self, writer: str) -> list[int]:
        """Give the witness payloads of a writer."""
        rows = self._c.execute("SELECT witness FROM witnesses WHERE ws = ? AND writer = ?", (self.ws, writer))
        return [pid for (pid,) in rows]

    # ------------------------------------------------------------------ indexes over facts
    def facts_with_tag(self, name: str, value: str) -> list[int]:
        """Give the bodies of facts that carry a tag."""
        rows = self._c.execute("SELECT facts FROM tags WHERE ws = ? AND name = ? AND value = ?", (self.ws, name, value))
        return [pid for (pid,) in rows]

    def facts_with_confidence(self, minimum: int) -> list[int]:
        """Give the bodies of facts whose confidence is at least `minimum` millionths."""
        rows = self._c.execute("SELECT facts FROM confidences WHERE ws = ? AND value >= ?", (self.ws, minimum))
        return [pid for (pid,) in rows]

    def facts_with_claim(self, subject: str, predicate: str) -> list[int]:
        """Give the bodies of facts that make a claim about a subject and predicate."""
        rows = self._c.execute(
            "SELECT facts FROM claims WHERE ws = ? AND subject = ? AND predicate = ?", (self.ws, subject, predicate)
        )
        return [pid for (pid,) in rows]

    def holders(self, facts: Sequence[int], seq: int, valid_at: int | None = None) -> list[tuple[int, int, int, int]]:
        """Give who holds any of some facts at a read point: (rid, valid_from, valid_to, facts), in order."""
        at = "" if valid_at is None else " AND valid_from <= ?4 AND valid_to > ?4"
        bindings = (self.ws, json.dumps(facts), seq) + (() if valid_at is None else (valid_at,))
        return list(
            self._c.execute(
                "SELECT rid, valid_from, valid_to, facts FROM pieces INDEXED BY pieces_facts WHERE ws = ?1 AND facts IN"
                f" (SELECT value FROM json_each(?2)) AND +tx_from <= ?3 AND +tx_to > ?3{at} ORDER BY rid, valid_from",
                bindings,
            )
        )

    def facts_used(self, pid: int) -> list[int]:
        """Give the records that ever held a body of facts."""
        rows = self._c.execute("SELECT DISTINCT rid FROM pieces WHERE ws = ? AND facts = ?", (self.ws, pid))
        return [rid for (rid,) in rows]

    def live_atoms(self, seq: int, valid_at: int) -> list[int]:
        """Give every atom that holds at a read point: the slow, obvious way, and the oracle of the fast one."""
        rows = self._c.execute(
            "SELECT DISTINCT p.rid FROM pieces p JOIN records r ON r.rid = p.rid WHERE p.ws = ?1 AND r.kind = ?4"
            " AND p.tx_from <= ?2 AND p.tx_to > ?2 AND p.valid_from <= ?3 AND p.valid_to > ?3 ORDER BY p.rid",
            (self.ws, seq, valid_at, AtomKind.code),
        )
        return [rid for (rid,) in rows]


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
}
"""The indexes that `verify` rebuilds and compares, with their columns."""


def node_base(ws: int, tree: int) -> int:
    """Give the number that paths of a workspace's tree are added to."""
    return ws << (WORKSPACE_SHIFT - 2) | tree << (WORKSPACE_SHIFT - 3)
