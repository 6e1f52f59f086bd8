"""The unit of work: everything one call writes, in one transaction.

Changes are collected as records with their new intervals, whatever their kind; `flush` writes the net difference, brings
the state trees, the ledger and the log up to date, and leaves the indexes equal to the facts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from cmc_mcp.canon import payload_hash
from cmc_mcp.ids import ModelNumber, NodeKey, Pid, Rid, Seq, Vid, Ws
from cmc_mcp.kernel.intervals import leaf
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.kernel.transaction import OPEN, Change, Header, next_time, transaction_hash
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.store.codes import SEGMENT_VECTORS, pack
from cmc_mcp.store.indexes import Changed, Delta, Index, Row, difference
from cmc_mcp.store.postings import made_of
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import Head, erased_key, post_order
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.collected import Collected, Kept
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache, node_base
from cmc_mcp.store.sql.postings import Rewritten
from cmc_mcp.store.statements import CLOSED
from cmc_mcp.store.tables import WORKSPACE_SHIFT

_MEMORY_TREE, _CONTROL_TREE = 0, 1
_CACHED_NODES_MAX = 20_000


@dataclass(slots=True)
class TreeCache:
    """Nodes of one workspace's state trees as of a transaction, kept between writes of one process."""

    seq: Seq
    nodes: dict[int, bytes | None]


class UnitOfWork(Collected):
    """A write in progress: what is collected is written by `flush`, what is erased is gone at once."""

    def __init__(
        self,
        connection: Connection,
        ws: Ws,
        facts: FactsCache,
        registry: Registry,
        cache: TreeCache | None,
        kept: Kept,
    ) -> None:
        super().__init__(connection, ws, facts, registry, kept)
        self._cache = cache if cache is not None and cache.seq == self.before.seq else TreeCache(self.before.seq, {})
        self._renewed: dict[tuple[Index, Rid], None] = {}
        self._followed: dict[int, list[Changed]] = {}
        self._erases = False

    # ------------------------------------------------------------------ erasing
    def drop_node_vectors(self, keys: Collection[NodeKey]) -> None:
        """Destroy the vectors of nodes above something erased."""
        nodes.drop_vectors(self._c, self.ws, sorted(keys))

    def renew(self, index: Index, rid: Rid) -> None:
        """Have the rows of a record written anew at the end, from all that is left of it."""
        self._renewed[index, rid] = None

    def erase(self, pids: Sequence[Pid], rids: Sequence[Rid], texts: dict[Rid, tuple[str, str]]) -> None:
        """Destroy payload bytes, and the full text, vectors and codes made of them; the hashes stay.

        `texts` gives each record's (heading, text) as they were indexed: they tell in which rows of full text it is.
        """
        for rid in rids:
            self._change_text(rid, Rewritten(made_of(*texts[rid]), None))
            self._c.execute("DELETE FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid))
            self._c.execute("UPDATE atoms SET traits = 0, speaker = 0 WHERE ws = ? AND rid = ?", (self.ws, rid))
        self._erases = True
        for pid in pids:
            for (vid,) in self._c.execute(
                "SELECT vid FROM vectors WHERE ws = ? AND content = ?", (self.ws, pid)
            ).fetchall():
                segment = (cast(int, vid) - (self.ws << WORKSPACE_SHIFT)) // SEGMENT_VECTORS
                self._c.execute("DELETE FROM codes WHERE ws = ? AND segment >= ?", (self.ws, segment))
            self._c.execute("DELETE FROM vectors WHERE ws = ? AND content = ?", (self.ws, pid))
            for table, column in self.registry.erased_by_payload:
                self._c.execute(f"DELETE FROM {table} WHERE ws = ? AND {column} = ?", (self.ws, pid))
            self._c.execute("UPDATE payloads SET body = NULL, object = 0 WHERE ws = ? AND pid = ?", (self.ws, pid))
        self._c.execute("UPDATE workspaces SET epoch = epoch + 1, pages_pending = 1 WHERE ws = ?", (self.ws,))

    def rehead(self, rid: Rid, old: str, new: str, text: str) -> None:
        """Change what an atom is found by beside its text."""
        self._c.execute("DELETE FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid))
        if new:
            self._c.execute("INSERT INTO headings VALUES(?, ?, ?)", (rid, self.ws, new))
        self._change_text(rid, Rewritten(made_of(old, text), made_of(new, text)))

    def receipts(self) -> list[tuple[str, bytes]]:
        """Return the receipts that idempotency keys keep, as (key, receipt)."""
        return list(self._c.execute("SELECT key, receipt FROM idempotency_keys WHERE ws = ?", (self.ws,)))

    def replace_receipt(self, key: str, receipt: bytes) -> None:
        """Replace the receipt that an idempotency key keeps, after an erase, and the words of the key by their hash."""
        self._c.execute(
            "UPDATE idempotency_keys SET receipt = ?, key = ? WHERE ws = ? AND key = ?",
            (receipt, erased_key(key), self.ws, key),
        )

    def erase_arguments(self, seqs: Sequence[Seq]) -> None:
        """Destroy the arguments of transactions; their hashes stay."""
        self._c.executemany(
            "UPDATE transactions SET arguments = NULL WHERE ws = ? AND seq = ?", [(self.ws, seq) for seq in seqs]
        )

    # ------------------------------------------------------------------ commit
    def flush(self, *, verb: str, principal: str, arguments: bytes, clock_us: int) -> Head:
        """Write everything collected and the ledger entry; the caller commits."""
        if self._any_erased:  # facts that come back change control records too
            for pending in list(self._pending.values()):
                for interval in pending.after:
                    if interval not in pending.before:
                        self.put_facts(interval.facts)
        changes, leaves, atoms = self._net()
        state, roots = self._grow(leaves)
        recorded = next_time(clock_us, self.before.recorded_us)
        who, arguments_hash = payload_hash(principal.encode()), payload_hash(arguments)
        principal_pid = self.put(principal.encode(), hash_=who)
        header = Header(self.before.hash, self.seq, recorded, who, verb, arguments_hash, *roots)
        hash_ = transaction_hash(header, changes)
        head = Head(
            self.seq,
            recorded,
            hash_,
            *roots,
            self.before.atoms + atoms,
            self.before.passages + self._passages,
            self.before.tokens + self._tokens,
            Rid(self._next_rid - 1),
            Pid(self._next_pid - 1),
            Vid(self._next_vid - 1),
        )
        self._insert(
            "transactions",
            (
                self.ws,
                self.seq,
                recorded,
                principal_pid,
                verb,
                arguments_hash,
                arguments,
                hash_,
                *roots,
                len(changes),
                *head[5:],
            ),
        )
        for level, position, node in log.append(self.before.seq, log.leaf_hash(hash_), self.log_node):
            self._insert("log_nodes", (self.ws, post_order(level, position), node))
        self._write_state(state)
        self._write_rows()
        self._pack_codes()
        self._follow()
        if self._lifts:  # what is kept in memory does not know what is back among old records
            self._c.execute("UPDATE workspaces SET epoch = epoch + 1 WHERE ws = ?", (self.ws,))
        self.after = head
        return head

    def _net(self) -> tuple[list[Change], tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]], int]:
        changes: list[Change] = []
        leaves: tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]] = ({}, {})
        atoms, kinds = 0, self.registry.kinds
        for rid, (record, before, after) in sorted(
            (rid, (p.record, p.before, p.after)) for rid, p in self._pending.items() if p.before != p.after
        ):
            kept = set(before) & set(after)
            for interval in before:
                if interval not in kept:
                    self._insert(CLOSED, (self.seq, self.ws, rid, interval.valid_from, OPEN))
            for interval in after:
                if interval not in kept:
                    self._insert(
                        "pieces",
                        (
                            self.ws,
                            rid,
                            interval.valid_from,
                            self.seq,
                            interval.valid_to,
                            OPEN,
                            self.put_facts(interval.facts),
                        ),
                    )
            if record.kind in self.registry.followed:
                change = Changed(rid, record, before, after, rid > self.before.last_rid)
                self._followed.setdefault(record.kind, []).append(change)
            new = leaf(record, after) if after else None
            changes.append(Change(record, leaf(record, before) if before else b"", new or b""))
            kind = kinds[record.kind]
            leaves[_MEMORY_TREE if kind.memory else _CONTROL_TREE][kind.tree_key(record)] = new
            if record.kind == ATOM.code:
                atoms += bool(after) - bool(before)
        return changes, leaves, atoms

    def _grow(
        self, leaves: tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]
    ) -> tuple[dict[int, bytes | None], tuple[bytes, bytes]]:
        nodes: dict[int, bytes | None] = {}
        roots = [self.before.state_root, self.before.control_root]
        for number, changed in enumerate(leaves):
            if changed:
                base = node_base(self.ws, number)
                roots[number], dirty = tree.update(partial(self._node, base), changed)
                nodes.update({base + path: body for path, body in dirty.items()})
        return nodes, (roots[0], roots[1])

    def _node(self, base: int, path: int) -> bytes | None:
        nodes, node = self._cache.nodes, base + path
        if node not in nodes:
            row = self._c.execute("SELECT body FROM state_nodes WHERE ws = ? AND node = ?", (self.ws, node)).fetchone()
            if len(nodes) >= _CACHED_NODES_MAX:
                nodes.clear()
            nodes[node] = row[0] if row else None
        return nodes[node]

    def _follow(self) -> None:
        """Leave every index that follows facts as the changes of this unit make it."""
        for index in self.registry.stepping if self._followed else ():
            changes = [change for kind in index.kinds for change in self._followed.get(kind.code, ())]
            changes = [change for change in changes if (index, change.rid) not in self._renewed]
            if changes:
                self._apply(index, index.step(self, changes))
        for index, rid in self._renewed:
            stored = self.index_rows(index.table, **{index.table.by: rid})
            self._apply(index, difference(stored, index.of_record(self, rid)))
        if self._renewed:
            nodes.drop_unused_vectors(self._c, self.ws)
        if self._erases:
            for index in self.registry.indexes:
                self._apply(index, index.erased(self))

    def _apply(self, index: Index, delta: Delta) -> None:
        """Write a delta; a row whose key stays is changed where it is."""
        name = index.table.name
        places, delete, change = self.registry.keyed[name]
        gone = {tuple([row[place] for place in places]) for row in delta.gone}
        changed: list[Row] = []
        made: list[Row] = []
        for row in delta.made:
            key = tuple([row[place] for place in places])
            if key in gone:
                gone.remove(key)
                changed.append((*row, self.ws, *key))
            else:
                made.append((self.ws, *row))
        if gone:
            self._c.executemany(delete, [(self.ws, *key) for key in sorted(gone, key=repr)])
        if changed:
            self._c.executemany(change, changed)
        if made:
            self._c.executemany(self._statements[name], made)

    def _write_state(self, state: dict[int, bytes | None]) -> None:
        gone = [(self.ws, node) for node, body in state.items() if body is None]
        if gone:
            self._c.executemany("DELETE FROM state_nodes WHERE ws = ? AND node = ?", gone)
        for node, body in state.items():
            if body is not None:
                self._insert("state_nodes", (node, self.ws, body))
        self._cache.nodes.update(state)
        self._cache.seq = self.seq

    @property
    def _statements(self) -> Mapping[str, str]:
        return self.registry.statements

    def _write_rows(self) -> None:
        for table, statement in self._statements.items():
            rows = self._inserts.get(table)
            if rows:
                self._c.executemany(statement, rows)
        if self._changed_texts:
            self._text.change(self._changed_texts, self.before.last_rid)
        self._text.pack(self.before.last_rid, Rid(self._next_rid - 1))

    def _pack_codes(self) -> None:
        """Keep the int8 codes of every full run of vector numbers as one row, so that loading them is one read."""
        rows = self._inserts.get("vectors")
        if not rows:
            return
        low = self.ws << WORKSPACE_SHIFT
        first, end = (self._next_vid - len(rows) - low) // SEGMENT_VECTORS, (self._next_vid - low) // SEGMENT_VECTORS
        for segment in range(first, end):
            start = low + segment * SEGMENT_VECTORS
            found = self._c.execute(
                "SELECT model, vid, seq, vector FROM vectors WHERE +ws = ? AND vid >= ? AND vid < ? ORDER BY model, vid",
                (self.ws, start, start + SEGMENT_VECTORS),
            ).fetchall()
            for model, packed in pack(cast("list[tuple[ModelNumber, Vid, Seq, bytes]]", found)).items():
                self._c.execute(
                    "INSERT INTO codes VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(ws, model, segment) DO UPDATE SET"
                    " vids = excluded.vids, seqs = excluded.seqs, errors = excluded.errors, codes = excluded.codes",
                    (self.ws, model, segment, *packed),
                )

    @property
    def tree_cache(self) -> TreeCache:
        """The nodes as this unit leaves them, to be kept when it commits."""
        return self._cache
