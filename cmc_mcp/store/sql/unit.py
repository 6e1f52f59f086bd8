"""The unit of work: everything one call writes, in one transaction.

Changes are collected as records with their new pieces, whatever their kind; `commit` writes the net difference, brings
the state trees, the ledger and the log up to date, and leaves the indexes equal to the facts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import ClassVar, Protocol, cast

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import DimensionMismatch, IntegrityError
from cmc_mcp.kernel.kinds import KINDS, AtomKind, ErasureKind, Record, SourceKind
from cmc_mcp.kernel.pieces import NOTHING, Pieces, leaf
from cmc_mcp.kernel.transaction import OPEN, Change, Header, next_time, transaction_hash
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.facts import Facts, claim_of, number_of, tags_of
from cmc_mcp.model.traits import derived_traits
from cmc_mcp.model.witness import Witness
from cmc_mcp.store.codes import SEGMENT_VECTORS, pack
from cmc_mcp.store.manifest import Manifest, decode_manifest
from cmc_mcp.store.rows import TEXTUAL, Head, erased_key, post_order
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache, node_base
from cmc_mcp.store.sql.schema import WORKSPACE_SHIFT
from cmc_mcp.store.sql.statements import STATEMENTS
from cmc_mcp.store.sql.view import View

_MEMORY_TREE, _CONTROL_TREE = 0, 1
_CACHED_NODES_MAX = 20_000
_KEPT_PAYLOADS_MAX = 10_000


class Passages(Protocol):
    """Full text as a unit writes it."""

    def count(self, text: str) -> int:
        """Count the tokens it makes of a text."""
        ...

    def add(self, rows: Sequence[tuple[int, str, str]]) -> None:
        """Add passages: (record number, heading, text)."""
        ...

    def drop(self, rid: int, heading: str, text: str) -> None:
        """Take a passage out, which it is told as it was added."""
        ...

    def tidy(self) -> None:
        """Leave no trace of what was taken out."""
        ...


@dataclass(slots=True)
class TreeCache:
    """Nodes of one workspace's state trees as of a transaction, kept between writes of one process."""

    seq: int
    nodes: dict[int, bytes | None]


@dataclass(slots=True)
class Kept:
    """Numbers of payloads that are used again and again, and of models: once committed they never change."""

    payloads: dict[bytes, int] = field(default_factory=dict)
    models: dict[tuple[str, str, str, int], int] = field(default_factory=dict)

    def learn(self, unit: UnitOfWork) -> None:
        """Keep what a committed unit found."""
        if len(self.payloads) > _KEPT_PAYLOADS_MAX:
            self.payloads.clear()
        self.payloads.update(unit._found)
        self.models.update(unit._models)


@dataclass(slots=True)
class _Pending:
    record: Record
    before: Pieces
    after: Pieces


class UnitOfWork(View):
    """A write in progress. Reads see the state before it; `pieces` of a record it changed gives the new ones."""

    statements: ClassVar[Mapping[str, str]] = STATEMENTS

    def __init__(
        self,
        connection: Connection,
        ws: int,
        facts: FactsCache,
        cache: TreeCache | None,
        kept: Kept,
        text: Passages,
    ) -> None:
        super().__init__(connection, ws, facts)
        self.before = self.head()
        self.seq = self.before.seq + 1
        self._cache = cache if cache is not None and cache.seq == self.before.seq else TreeCache(self.before.seq, {})
        self._shared = kept.payloads
        self._models = dict(kept.models)
        self._text = text
        low = ws << WORKSPACE_SHIFT
        self._next_rid = max(self.before.last_rid, low) + 1
        self._next_pid = max(self.before.last_pid, low) + 1
        self._next_vid = max(self.before.last_vid, low) + 1
        self._pending: dict[int, _Pending] = {}
        self._pids: dict[bytes, int] = {}
        self._found: dict[bytes, int] = {}
        self._absent: set[bytes] = set()
        self._revived: set[int] = set()
        self._rids: dict[Record, int] = {}
        self._unknown: set[Record] = set()
        self._inserts: dict[str, list[tuple[object, ...]]] = {}
        self._passages: list[tuple[int, str, str]] = []
        self._tokens = 0
        self._renoded: set[int] = set()
        self.after: Head | None = None

    # ------------------------------------------------------------------ payloads and records
    def put(self, body: bytes, *, hash_: bytes | None = None, object_: bool = False) -> int:
        """Store bytes under their hash, once; with `object_`, only their hash (the bytes are in the object store)."""
        key = payload_hash(body) if hash_ is None else hash_
        return self._put(key, 0, len(body), object_, None if object_ else body)

    def foresee(self, hashes: Sequence[bytes]) -> None:
        """Note payloads that will be put; a file is asked for them one by one as quickly as together."""

    def put_witness(self, witness: Witness) -> int:
        """Store a witness, and index its writer."""
        first = self._next_pid
        pid = self._put(witness.key, 0, len(witness.body), False, witness.body)
        if pid == first:
            self._insert("witnesses", (self.ws, witness.writer, pid))
        return pid

    def put_facts(self, facts: Facts) -> int:
        """Store a body of facts, and index its tags and its claim."""
        if facts.body is None:
            found = self.pid(facts.hash)
            if found is None:
                raise IntegrityError("facts that were erased cannot be asserted", table="payloads")
            return found
        first = self._next_pid
        pid = self._put(facts.hash, 1, len(facts.body), False, facts.body)
        if pid == first or pid in self._revived:
            self._revived.discard(pid)
            registers = facts.registers
            for name, value in tags_of(registers).items():
                self._insert("tags", (self.ws, name, value, pid))
            if claim := claim_of(registers):
                self._insert("claims", (self.ws, claim.subject, claim.predicate, pid))
            if (confidence := number_of(registers, "confidence")) is not None:
                self._insert("confidences", (self.ws, round(confidence * 1_000_000), pid))
        return pid

    def _put(self, key: bytes, domain: int, size: int, object_: bool, body: bytes | None) -> int:
        found = self.pid(key)
        if found is None:
            found = self._next_pid
            self._next_pid += 1
            self._insert("payloads", (found, self.ws, key, domain, size, int(object_), body))
        elif self._any_erased:
            self._revive(found, key, body)
        self._pids[key] = found
        return found

    @cached_property
    def _any_erased(self) -> bool:
        return self.epoch() > 0

    def _revive(self, pid: int, key: bytes, body: bytes | None) -> None:
        """Bytes that were erased and are told again are there again, and their erasure is no longer in force."""
        rid = self.rid(ErasureKind.record(key))
        if rid is None or not self.pieces(rid):
            return
        self.set_pieces(rid, NOTHING)
        self._revived.add(pid)
        self._c.execute(
            "UPDATE payloads SET body = ?, object = ? WHERE ws = ? AND pid = ?", (body, int(body is None), self.ws, pid)
        )
        if self._facts is not None:
            self._facts.pop(pid, None)
        spoken = self._c.execute(
            "SELECT a.rid, p.body FROM atoms a JOIN payloads p ON p.ws = a.ws AND p.pid = a.content WHERE a.ws = ?1"
            " AND a.discriminator > 0 AND a.discriminator = ?2 AND a.modality < ?3 AND (p.object = 1 OR p.body IS NOT NULL)",
            (self.ws, pid, TEXTUAL),
        ).fetchall()
        for atom, text in spoken:  # who said it is known again
            self.set_traits(cast(int, atom), *derived_traits(cast("bytes | None", text) or b"", body))

    def intern(self, record: Record, *, unknown: bool = False) -> tuple[int, bool]:
        """Give the number of a record, and whether it is new to the workspace; `unknown` spares looking it up."""
        known = self._rids.get(record)
        if known is not None:
            return known, False
        found = None if unknown else self.rid(record)
        new = found is None
        if found is None:
            found = self._next_rid
            self._next_rid += 1
            self._insert("records", (found, self.ws, record.kind, record.key))
        self._rids[record] = found
        if new:
            self._pending[found] = _Pending(record, NOTHING, NOTHING)
        return found, new

    def pid(self, hash_: bytes) -> int | None:
        """Give the number of a payload, those this unit added included; each is looked up once."""
        found = self._pids.get(hash_, self._shared.get(hash_))
        if found is None and hash_ not in self._absent:
            found = super().pid(hash_)
            if found is None:
                self._absent.add(hash_)
            else:
                self._pids[hash_] = self._found[hash_] = found
        return found

    def rid(self, record: Record) -> int | None:
        """Give the number of a record, those this unit added included."""
        known = self._rids.get(record)
        if known is None and record not in self._unknown:
            known = super().rid(record)
            if known is None:
                self._unknown.add(record)
        return known

    def record(self, rid: int) -> Record:
        """Give the record of a number, those this unit added included."""
        pending = self._pending.get(rid)
        return pending.record if pending is not None else super().record(rid)

    def pieces(self, rid: int, seq: int | None = None) -> Pieces:
        """Give the pieces of a record as this unit would leave them, or as they were after `seq`."""
        if seq is None or seq >= self.seq:
            pending = self._pending.get(rid)
            if pending is not None:
                return pending.after
            return super().pieces(rid)
        return super().pieces(rid, seq)

    def set_pieces(self, rid: int, pieces: Pieces) -> None:
        """Give a record its new pieces; only the net difference is written."""
        pending = self._pending.get(rid)
        if pending is None:
            before = super().pieces(rid)
            self._pending[rid] = _Pending(super().record(rid), before, pieces)
        else:
            pending.after = pieces

    # ------------------------------------------------------------------ rows of the indexes
    def add_atom(self, rid: int, row: tuple[int, int, int, int, int, int], traits: int, speaker: int) -> None:
        """Add the immutable part of a new atom: modality, then payload numbers as in `AtomRow`, and its traits."""
        self._insert("atoms", (rid, self.ws, *row, self.seq, traits, speaker))
        if speaker:
            self._insert("speakers", (self.ws, speaker, rid))

    def set_traits(self, rid: int, traits: int, speaker: int) -> None:
        """Give an atom its traits again, whose content was erased and came back."""
        self._c.execute(
            "UPDATE atoms SET traits = ?, speaker = ? WHERE ws = ? AND rid = ?", (traits, speaker, self.ws, rid)
        )
        if speaker:
            self._insert("speakers", (self.ws, speaker, rid))

    def add_passage(self, rid: int, heading: str, text: str) -> None:
        """Add an atom to full text."""
        if heading:
            self._insert("headings", (rid, self.ws, heading))
            self._tokens += self._text.count(heading)
        self._passages.append((rid, heading, text))
        self._tokens += self._text.count(text)

    def add_source(self, rid: int, origin: int) -> None:
        """Add the head of a document to its index."""
        self._insert("sources", (rid, self.ws, origin))

    def add_item(self, rid: int, origin: int, position: int, atom: int) -> None:
        """Add an atom at a position of a conversation to its index."""
        self._insert("items", (self.ws, origin, position, rid, atom))

    def add_edge(self, rid: int, source: int, kind: str, target: int) -> None:
        """Add an edge to its index."""
        self._insert("edges", (rid, self.ws, source, kind, target))

    def add_label(self, rid: int, label: str) -> None:
        """Add a label to its index."""
        self._insert("labels", (rid, self.ws, label))

    def add_quarantine(self, rid: int, request: int) -> None:
        """Add a quarantined request to its index."""
        self._insert("quarantine", (rid, self.ws, request))

    def add_vector(self, model: int, content: int, vector: bytes) -> None:
        """Add the vector of a content (fp32, unit length) under a model."""
        self._insert("vectors", (self._next_vid, self.ws, model, content, self.seq, vector))
        self._next_vid += 1

    def model_number(self, name: str, digest: str, precision: str, dimension: int) -> int:
        """Give the number of an embedding model, adding it when it is new to the workspace."""
        key = (name, digest, precision, dimension)
        if key not in self._models:
            self._models[key] = self._model_number(*key)
        return self._models[key]

    def _model_number(self, name: str, digest: str, precision: str, dimension: int) -> int:
        key = (self.ws, name, digest, precision)
        for _ in range(2):
            for number, found in self._c.execute(
                "SELECT model, dimension FROM embedding_models WHERE ws = ? AND name = ? AND digest = ? AND precision = ?",
                key,
            ):
                if found != dimension:
                    raise DimensionMismatch(
                        f"the model {name} has {dimension} dimensions, and the vectors stored under it {found}; "
                        "give the model another name, or the embedder the right dimension"
                    )
                return cast(int, number)
            self._c.execute(
                "INSERT INTO embedding_models(ws, name, digest, precision, dimension) VALUES(?, ?, ?, ?, ?)",
                (*key, dimension),
            )
        raise AssertionError("the model was just added")

    def embedded(self, model: int, contents: Sequence[int]) -> set[int]:
        """Give those contents that have a vector under a model."""
        rows = self._c.execute(
            "SELECT content FROM vectors WHERE ws = ?1 AND model = ?2 AND content IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(contents)),
        )
        return {cast(int, pid) for (pid,) in rows}

    def nodes_embedded(self, model: int, keys: Sequence[bytes]) -> set[bytes]:
        """Give those nodes that have a vector under a model."""
        return nodes.embedded(self._c, self.ws, model, keys)

    def add_node_vector(self, model: int, key: bytes, vector: bytes) -> None:
        """Add the vector of a node's text (fp32, unit length) under a model, unless it has one."""
        nodes.add_vector(self._c, self.ws, model, key, self.seq, vector)

    def erase_nodes(self, source: int, keys: Collection[bytes]) -> None:
        """Destroy the vectors of nodes above something erased; the source's index is written anew at the end."""
        nodes.drop_vectors(self._c, self.ws, sorted(keys))
        self._renoded.add(source)

    def drop_quarantine(self, rid: int) -> None:
        """Take something out of the quarantine's index."""
        self._c.execute("DELETE FROM quarantine WHERE ws = ? AND rid = ?", (self.ws, rid))

    def erase(self, pids: Sequence[int], rids: Sequence[int], texts: dict[int, tuple[str, str]]) -> None:
        """Destroy payload bytes, and the full text, vectors and codes made of them; the hashes stay.

        `texts` gives each record's (heading, text) as they were indexed: full text must be told what to delete.
        """
        for rid in rids:
            self._text.drop(rid, *texts[rid])
            self._c.execute("DELETE FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid))
            self._c.execute("UPDATE atoms SET traits = 0, speaker = 0 WHERE ws = ? AND rid = ?", (self.ws, rid))
        self._c.execute("DELETE FROM speakers WHERE ws = ?", (self.ws,))
        self._c.execute(
            "INSERT INTO speakers SELECT ws, speaker, min(rid) FROM atoms WHERE ws = ? AND speaker <> 0"
            " GROUP BY ws, speaker",
            (self.ws,),
        )
        for pid in pids:
            for (vid,) in self._c.execute(
                "SELECT vid FROM vectors WHERE ws = ? AND content = ?", (self.ws, pid)
            ).fetchall():
                segment = (cast(int, vid) - (self.ws << WORKSPACE_SHIFT)) // SEGMENT_VECTORS
                self._c.execute("DELETE FROM codes WHERE ws = ? AND segment >= ?", (self.ws, segment))
            self._c.execute("DELETE FROM vectors WHERE ws = ? AND content = ?", (self.ws, pid))
            for table in ("tags", "claims", "confidences"):
                self._c.execute(f"DELETE FROM {table} WHERE ws = ? AND facts = ?", (self.ws, pid))
            self._c.execute("UPDATE payloads SET body = NULL, object = 0 WHERE ws = ? AND pid = ?", (self.ws, pid))
        self._text.tidy()
        self._c.execute("UPDATE workspaces SET epoch = epoch + 1, pages_pending = 1 WHERE ws = ?", (self.ws,))

    def rehead(self, rid: int, old: str, new: str, text: str) -> None:
        """Change what full text shows beside an atom, whose text it must be told to find what to delete."""
        self._text.drop(rid, old, text)
        self._c.execute("DELETE FROM headings WHERE ws = ? AND rid = ?", (self.ws, rid))
        if new:
            self._c.execute("INSERT INTO headings VALUES(?, ?, ?)", (rid, self.ws, new))
        self._text.add([(rid, new, text)])

    def receipts(self) -> list[tuple[str, bytes]]:
        """Give the receipts that idempotency keys keep, as (key, receipt)."""
        return list(self._c.execute("SELECT key, receipt FROM idempotency_keys WHERE ws = ?", (self.ws,)))

    def replace_receipt(self, key: str, receipt: bytes) -> None:
        """Replace the receipt that an idempotency key keeps, after an erase, and the words of the key by their hash."""
        self._c.execute(
            "UPDATE idempotency_keys SET receipt = ?, key = ? WHERE ws = ? AND key = ?",
            (receipt, erased_key(key), self.ws, key),
        )

    def erase_arguments(self, seqs: Sequence[int]) -> None:
        """Destroy the arguments of transactions; their hashes stay."""
        self._c.executemany(
            "UPDATE transactions SET arguments = NULL WHERE ws = ? AND seq = ?", [(self.ws, seq) for seq in seqs]
        )

    def add_key(self, key: str, request: bytes, receipt: bytes) -> None:
        """Claim an idempotency key for this transaction."""
        self._insert("idempotency_keys", (self.ws, key, request, self.seq, receipt))

    def _insert(self, table: str, row: tuple[object, ...]) -> None:
        self._inserts.setdefault(table, []).append(row)

    # ------------------------------------------------------------------ commit
    def flush(self, *, verb: str, principal: str, arguments: bytes, clock_us: int) -> Head:
        """Write everything collected and the ledger entry; the caller commits."""
        if self._any_erased:  # facts that come back change control records too
            for pending in list(self._pending.values()):
                for piece in pending.after:
                    if piece not in pending.before:
                        self.put_facts(piece.facts)
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
            self.before.passages + len(self._passages),
            self.before.tokens + self._tokens,
            self._next_rid - 1,
            self._next_pid - 1,
            self._next_vid - 1,
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
        self._index_nodes()
        self.after = head
        return head

    def _net(self) -> tuple[list[Change], tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]], int]:
        changes: list[Change] = []
        leaves: tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]] = ({}, {})
        atoms = 0
        for rid, (record, before, after) in sorted(
            (rid, (p.record, p.before, p.after)) for rid, p in self._pending.items() if p.before != p.after
        ):
            kept = set(before) & set(after)
            for piece in before:
                if piece not in kept:
                    self._insert("closed", (self.seq, self.ws, rid, piece.valid_from, OPEN))
            for piece in after:
                if piece not in kept:
                    self._insert(
                        "pieces",
                        (self.ws, rid, piece.valid_from, self.seq, piece.valid_to, OPEN, self.put_facts(piece.facts)),
                    )
            new = leaf(record, after) if after else None
            changes.append(Change(record, leaf(record, before) if before else b"", new or b""))
            leaves[_MEMORY_TREE if KINDS[record.kind].memory else _CONTROL_TREE][record.tree_key] = new
            if record.kind == AtomKind.code:
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

    def _index_nodes(self) -> None:
        """Leave the nodes' index equal to the manifests of the sources this unit changed."""
        for rid, pending in sorted((rid, p) for rid, p in self._pending.items() if p.record.kind == SourceKind.code):
            if pending.before != pending.after and rid not in self._renoded:
                nodes.follow(self._c, self.ws, rid, self.seq, self._manifest(pending.after))
        for rid in sorted(self._renoded):
            nodes.rebuild(self._c, self.ws, rid)
        if self._renoded:
            nodes.drop_unused_vectors(self._c, self.ws)

    def _manifest(self, pieces: Pieces) -> Manifest | None:
        pid = super().pid(bytes.fromhex(str(pieces[0].facts.registers["manifest"]))) if pieces else None
        body = None if pid is None else self.payload(pid)
        return None if body is None else decode_manifest(body)

    def _write_state(self, state: dict[int, bytes | None]) -> None:
        gone = [(self.ws, node) for node, body in state.items() if body is None]
        if gone:
            self._c.executemany("DELETE FROM state_nodes WHERE ws = ? AND node = ?", gone)
        for node, body in state.items():
            if body is not None:
                self._insert("state_nodes", (node, self.ws, body))
        self._cache.nodes.update(state)
        self._cache.seq = self.seq

    def _write_rows(self) -> None:
        for table, statement in self.statements.items():
            rows = self._inserts.get(table)
            if rows:
                self._c.executemany(statement, rows)
        if self._passages:
            self._text.add(self._passages)

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
            for model, packed in pack(cast("list[tuple[int, int, int, bytes]]", found)).items():
                self._c.execute(
                    "INSERT INTO codes VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(ws, model, segment) DO UPDATE SET"
                    " vids = excluded.vids, seqs = excluded.seqs, errors = excluded.errors, codes = excluded.codes",
                    (self.ws, model, segment, *packed),
                )

    @property
    def tree_cache(self) -> TreeCache:
        """The nodes as this unit leaves them, to be kept when it commits."""
        return self._cache
