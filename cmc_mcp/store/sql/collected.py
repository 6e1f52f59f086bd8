"""What a unit of work collects before it is written: payloads, records with their new intervals, rows of the indexes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from cmc_mcp.errors import DimensionMismatch, IntegrityError
from cmc_mcp.ids import ModelNumber, NodeKey, PayloadHash, Pid, Rid, Seq, Vid, Ws
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.kernel.intervals import NOTHING, Intervals
from cmc_mcp.kernel.kinds import CONTENT, ERASURE, FACTS, Domain, Record
from cmc_mcp.model.facts import Facts
from cmc_mcp.model.traits import derived_traits
from cmc_mcp.model.witness import Witness
from cmc_mcp.store.indexes import WITNESS, Index, Row
from cmc_mcp.store.postings import forward, made_of
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import TEXTUAL, Head
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.postings import Postings, Rewritten
from cmc_mcp.store.sql.view import View
from cmc_mcp.store.tables import WORKSPACE_SHIFT, Table

_KEPT_PAYLOADS_MAX = 10_000


@dataclass(slots=True)
class Kept:
    """Numbers of payloads that are used again and again, and of models: once committed they never change."""

    payloads: dict[PayloadHash, Pid] = field(default_factory=dict)
    models: dict[tuple[str, str, str, int], ModelNumber] = field(default_factory=dict)

    def learn(self, unit: Collected) -> None:
        """Keep the findings of a committed unit."""
        if len(self.payloads) > _KEPT_PAYLOADS_MAX:
            self.payloads.clear()
        self.payloads.update(unit._found)
        self.models.update(unit._models)


@dataclass(slots=True)
class Pending:
    """A record that changes, with its intervals before and after."""

    record: Record
    before: Intervals
    after: Intervals


class Collected(View):
    """What was collected so far. Reads see the state before it; `pieces` of a record it changed gives the new ones."""

    def __init__(self, connection: Connection, ws: Ws, facts: FactsCache, registry: Registry, kept: Kept) -> None:
        super().__init__(connection, ws, facts, registry)
        self.before = self.head()
        self.seq = Seq(self.before.seq + 1)
        self.after: Head | None = None
        self._shared = kept.payloads
        self._models = dict(kept.models)
        self._text = Postings(connection, ws)
        low = ws << WORKSPACE_SHIFT
        self._next_rid = Rid(max(self.before.last_rid, low) + 1)
        self._next_pid = Pid(max(self.before.last_pid, low) + 1)
        self._next_vid = Vid(max(self.before.last_vid, low) + 1)
        self._pending: dict[Rid, Pending] = {}
        self._pids: dict[PayloadHash, Pid] = {}
        self._found: dict[PayloadHash, Pid] = {}
        self._absent: set[PayloadHash] = set()
        self._revived: set[Pid] = set()
        self._lifts = False  # an erasure is no longer in force
        self._rids: dict[Record, Rid] = {}
        self._unknown: set[Record] = set()
        self._inserts: dict[str, list[tuple[object, ...]]] = {}
        self._passages = self._tokens = 0
        self._changed_texts: dict[Rid, Rewritten] = {}  # of records that are written already

    # ------------------------------------------------------------------ payloads and records
    def put(
        self, body: bytes, *, hash_: PayloadHash | None = None, object_: bool = False, domain: Domain = CONTENT
    ) -> Pid:
        """Store bytes under their hash, once; with `object_`, only their hash (the bytes are in the object store)."""
        key, first = domain.hash(body) if hash_ is None else hash_, self._next_pid
        pid = self._put(key, domain, len(body), None if object_ and not domain.inline_only else body)
        if domain is not CONTENT:
            self._feed(domain.number, pid, body, fresh=pid == first)
        return pid

    def prefetch(self, hashes: Sequence[PayloadHash]) -> None:
        """Prefetch payloads that will be put; on a file this does nothing, since single queries are as fast."""

    def put_witness(self, witness: Witness) -> Pid:
        """Store a witness, and index its writer."""
        first = self._next_pid
        pid = self._put(witness.key, CONTENT, len(witness.body), witness.body)
        if pid == first:
            self._feed(WITNESS, pid, witness.body, fresh=True)
        return pid

    def put_facts(self, facts: Facts) -> Pid:
        """Store a body of facts, and index what it says."""
        if facts.body is None:
            found = self.pid(facts.hash)
            if found is None:
                raise IntegrityError("facts that were erased cannot be asserted", table="payloads")
            return found
        first = self._next_pid
        pid = self._put(facts.hash, FACTS, len(facts.body), facts.body)
        self._feed(FACTS.number, pid, facts.body, fresh=pid == first)
        return pid

    def _feed(self, feed: int, pid: Pid, body: bytes, *, fresh: bool) -> None:
        """Index a payload that is new, or back after an erase."""
        if fresh or pid in self._revived:
            self._revived.discard(pid)
            for index in self.registry.fed.get(feed, ()):
                for row in index.of_payload(pid, body):
                    self.tell(index, row)

    def _put(self, key: PayloadHash, domain: Domain, size: int, body: bytes | None) -> Pid:
        found = self.pid(key)
        if found is None:
            found = self._next_pid
            self._next_pid = Pid(found + 1)
            self._insert("payloads", (found, self.ws, key, domain.number, size, int(body is None), body))
        elif self._any_erased and domain.revives:
            self._revive(found, key, body)
        self._pids[key] = found
        return found

    @cached_property
    def _any_erased(self) -> bool:
        return self.erasure_count() > 0

    def _revive(self, pid: Pid, key: PayloadHash, body: bytes | None) -> None:
        """Bytes that were erased and are told again are there again, and their erasure is no longer in force."""
        rid = self.rid(ERASURE.record(key))
        if rid is None or not self.intervals(rid):
            return
        self.set_intervals(rid, NOTHING)
        self._revived.add(pid)
        self._lifts = True
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
            self.set_traits(cast(Rid, atom), *derived_traits(text_of(cast("bytes | None", text) or b""), body))

    def intern(self, record: Record, *, unknown: bool = False) -> tuple[Rid, bool]:
        """Return the number of a record, and whether it is new to the workspace; `unknown` spares looking it up."""
        known = self._rids.get(record)
        if known is not None:
            return known, False
        found = None if unknown else self.rid(record)
        new = found is None
        if found is None:
            found = self._next_rid
            self._next_rid = Rid(found + 1)
            self._insert("records", (found, self.ws, record.kind, record.key))
        self._rids[record] = found
        if new:
            self._pending[found] = Pending(record, NOTHING, NOTHING)
        return found, new

    def pid(self, hash_: PayloadHash) -> Pid | None:
        """Return the number of a payload, those this unit added included; each is looked up once."""
        found = self._pids.get(hash_, self._shared.get(hash_))
        if found is None and hash_ not in self._absent:
            found = super().pid(hash_)
            if found is None:
                self._absent.add(hash_)
            else:
                self._pids[hash_] = self._found[hash_] = found
        return found

    def rid(self, record: Record) -> Rid | None:
        """Return the number of a record, those this unit added included."""
        known = self._rids.get(record)
        if known is None and record not in self._unknown:
            known = super().rid(record)
            if known is None:
                self._unknown.add(record)
        return known

    def record(self, rid: Rid) -> Record:
        """Return the record of a number, those this unit added included."""
        pending = self._pending.get(rid)
        return pending.record if pending is not None else super().record(rid)

    def intervals(self, rid: Rid, seq: Seq | None = None) -> Intervals:
        """Return the intervals of a record as this unit would leave them, or as they were after `seq`."""
        if seq is None or seq >= self.seq:
            pending = self._pending.get(rid)
            if pending is not None:
                return pending.after
            return super().intervals(rid)
        return super().intervals(rid, seq)

    def set_intervals(self, rid: Rid, intervals: Intervals) -> None:
        """Set a record's intervals; only the net difference is written."""
        pending = self._pending.get(rid)
        if pending is None:
            before = super().intervals(rid)
            self._pending[rid] = Pending(super().record(rid), before, intervals)
        else:
            pending.after = intervals

    # ------------------------------------------------------------------ rows of the indexes
    def add_atom(self, rid: Rid, row: tuple[int, Pid, Pid, Pid, Pid, Pid], traits: int, speaker: int) -> None:
        """Add the immutable part of a new atom: modality, then payload numbers as in `AtomRow`, and its traits."""
        self._insert("atoms", (rid, self.ws, *row, self.seq, traits, speaker))
        if speaker:
            self._insert("speakers", (self.ws, speaker, rid))

    def set_traits(self, rid: Rid, traits: int, speaker: int) -> None:
        """Set the traits of an atom whose erased content was restored."""
        self._c.execute(
            "UPDATE atoms SET traits = ?, speaker = ? WHERE ws = ? AND rid = ?", (traits, speaker, self.ws, rid)
        )
        if speaker:
            self._insert("speakers", (self.ws, speaker, rid))

    def add_passage(self, rid: Rid, heading: str, text: str) -> None:
        """Add an atom to full text."""
        if heading:
            self._insert("headings", (rid, self.ws, heading))
        made = made_of(heading, text)
        if rid > self.before.last_rid:
            self._insert("passage_terms", (rid, self.ws, made.length, forward(made.terms)))
        else:
            self._change_text(rid, Rewritten(None, made))
        self._passages += 1
        self._tokens += made.length

    def _change_text(self, rid: Rid, change: Rewritten) -> None:
        before = self._changed_texts.get(rid, change).before
        self._changed_texts[rid] = Rewritten(before, change.after)

    def tell(self, index: Index, row: Row) -> None:
        """Add a row that facts do not say to an index."""
        self.keep(index.table, row)

    def keep(self, table: Table, row: Row) -> None:
        """Write a row, without the workspace, of a table that a product registered."""
        self._insert(table.name, (self.ws, *row))

    def remove(self, table: Table, **equal: int | str) -> None:
        """Delete, at once, the rows of a product's table whose columns equal what is given."""
        where = "".join(f" AND {name} = ?" for name in equal)
        self._c.execute(f"DELETE FROM {table.name} WHERE ws = ?{where}", (self.ws, *equal.values()))

    def add_vector(self, model: ModelNumber, content: Pid, vector: bytes) -> None:
        """Add the vector of a content (fp32, unit length) under a model."""
        self._insert("vectors", (self._next_vid, self.ws, model, content, self.seq, vector))
        self._next_vid = Vid(self._next_vid + 1)

    def model_number(self, name: str, digest: str, precision: str, dimension: int) -> ModelNumber:
        """Return the number of an embedding model, adding it when it is new to the workspace."""
        key = (name, digest, precision, dimension)
        if key not in self._models:
            self._models[key] = self._model_number(*key)
        return self._models[key]

    def _model_number(self, name: str, digest: str, precision: str, dimension: int) -> ModelNumber:
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
                return cast(ModelNumber, number)
            self._c.execute(
                "INSERT INTO embedding_models(ws, name, digest, precision, dimension) VALUES(?, ?, ?, ?, ?)",
                (*key, dimension),
            )
        raise AssertionError("the model was just added")

    def embedded(self, model: ModelNumber, contents: Sequence[Pid]) -> set[Pid]:
        """Return those contents that have a vector under a model."""
        rows = self._c.execute(
            "SELECT content FROM vectors WHERE ws = ?1 AND model = ?2 AND content IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(contents)),
        )
        return {cast(Pid, pid) for (pid,) in rows}

    def pids(self, hashes: Sequence[PayloadHash]) -> dict[PayloadHash, Pid]:
        """Return the numbers of payloads by their hashes."""
        return {hash_: pid for hash_ in hashes if (pid := self.pid(hash_)) is not None}

    def content_vectors(self, model: ModelNumber, contents: Sequence[Pid]) -> dict[Pid, bytes]:
        """Return the vectors of contents under a model as fp32."""
        rows = self._c.execute(
            "SELECT content, vector FROM vectors WHERE ws = ?1 AND model = ?2 AND content IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(contents)),
        )
        return {cast(Pid, pid): cast(bytes, vector) for pid, vector in rows}

    def nodes_embedded(self, model: ModelNumber, keys: Sequence[NodeKey]) -> set[NodeKey]:
        """Return those nodes that have a vector under a model."""
        return nodes.embedded(self._c, self.ws, model, keys)

    def add_node_vector(self, model: ModelNumber, key: NodeKey, vector: bytes) -> None:
        """Add the vector of a node's text (fp32, unit length) under a model, unless it has one."""
        nodes.add_vector(self._c, self.ws, model, key, self.seq, vector)

    def add_key(self, key: str, request: bytes, receipt: bytes) -> None:
        """Claim an idempotency key for this transaction."""
        self._insert("idempotency_keys", (self.ws, key, request, self.seq, receipt))

    def _insert(self, table: str, row: tuple[object, ...]) -> None:
        self._inserts.setdefault(table, []).append(row)
