"""Verify: replays the ledger from its rows, re-hashes every byte, rebuilds what is derived, and names each fault.

The committed tables (payloads, records, atoms, pieces, transactions) are proved by the hash chain, and against a
checkpoint kept elsewhere; the derived ones (state tree, log nodes, indexes, full text) are rebuilt and compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

from cmc_mcp.canon import facts_hash, payload_hash
from cmc_mcp.errors import CmcError, IntegrityError, ProofError
from cmc_mcp.history import derived
from cmc_mcp.kernel.identity import atom_id
from cmc_mcp.kernel.kinds import KINDS, AtomKind, EdgeKind, ErasureKind, ItemKind, LabelKind, Record, SourceKind
from cmc_mcp.kernel.pieces import Piece, leaf
from cmc_mcp.kernel.transaction import GENESIS, Change, Header, transaction_hash
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.merkle.checkpoint import Checkpoint, verify_checkpoint
from cmc_mcp.model.facts import Facts, claim_of, number_of, tags_of
from cmc_mcp.model.results import Fault
from cmc_mcp.store.protocol import Objects, ReadView, Store
from cmc_mcp.store.rows import MODALITIES, PayloadRow, TransactionRow, post_order

if TYPE_CHECKING:
    from cmc_mcp.embed.protocol import Embedder

Progress = Callable[[int, int], None]


class _Ledger(NamedTuple):
    """What the replay needs of every payload and record."""

    payloads: dict[int, PayloadRow]
    records: dict[int, Record]


class Verifier:
    """Checks one workspace inside one read transaction, collecting faults."""

    def __init__(self, view: ReadView, objects: Objects) -> None:
        self.view, self.objects = view, objects
        self.faults: list[Fault] = []
        self.checked: dict[str, int] = {}
        self.notes: list[str] = []
        self.log_root = log.EMPTY_ROOT

    def fault(self, table: str, key: object, reason: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(table=table, key=str(key), reason=reason))

    def run(self, progress: Progress | None = None) -> None:
        """Check everything but full text and vectors."""
        payloads = {row.pid: row for row in self.view.all_payloads()}
        ledger = _Ledger(payloads, self.view.all_records())
        self._payloads(ledger)
        erased_seen = self._replay(ledger, progress)
        self._erased(ledger, erased_seen)
        self._atoms(ledger)
        self._indexes(ledger)
        rows = sorted(self.view.transactions(), key=lambda row: row.seq)
        derived.totals(self.view, self.objects, rows, ledger.payloads, ledger.records, self.fault)
        self.checked["codes"] = derived.codes(self.view, self.fault)
        if not self.faults:  # these read facts, which only sound tables let them do
            derived.places(self.view, ledger.records, self.fault)
            derived.quarantine(self.view, ledger.records, self.fault)
            derived.traits(self.view, ledger.payloads, self.fault)
            self.checked["nodes"] = derived.nodes(self.view, ledger.records, self.fault)

    # ------------------------------------------------------------------ committed tables
    def _payloads(self, ledger: _Ledger) -> None:
        for row in ledger.payloads.values():
            if row.body is not None:
                expected = facts_hash(row.body) if row.domain else payload_hash(row.body)
                if expected != row.hash:
                    self.fault("payloads", row.pid, "its bytes do not match their hash")
                elif len(row.body) != row.size:
                    self.fault("payloads", row.pid, "its recorded size is wrong")
        self.checked["payloads"] = len(ledger.payloads)

    def _replay(self, ledger: _Ledger, progress: Progress | None) -> set[bytes]:
        """Recompute every transaction's hash and roots from the pieces; give the hashes of what was erased."""
        live: dict[int, dict[int, Piece]] = {}
        nodes: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        roots = [tree.EMPTY_ROOT, tree.EMPTY_ROOT]
        previous, time_us, atoms = GENESIS, -(1 << 62), 0
        log_nodes: dict[tuple[int, int], bytes] = {}
        events = groupby(self.view.piece_events(), key=lambda event: event[0])
        pending = next(events, None)
        rows = sorted(self.view.transactions(), key=lambda row: row.seq)
        for expected_seq, row in enumerate(rows, start=1):
            if row.seq != expected_seq:
                self.fault("transactions", expected_seq, "a transaction is missing from the ledger")
                break
            changes: list[Change] = []
            while pending is not None and pending[0] < row.seq:
                self.fault("pieces", pending[0], "pieces belong to a transaction that is not in the ledger")
                pending = next(events, None)
            if pending is not None and pending[0] == row.seq:
                changes, delta = self._apply(ledger, live, list(pending[1]))
                atoms += delta
                pending = next(events, None)
            _grow(nodes, roots, changes)
            principal = ledger.payloads.get(row.principal)
            if principal is None:
                self.fault("transactions", row.seq, "its principal is missing")
                break
            header = Header(previous, row.seq, row.recorded_us, principal.hash, row.verb, row.arguments_hash, *roots)
            self._entry(row, header, changes, time_us)
            if row.changes != len(changes) or row.atoms != atoms:
                self.fault("transactions", row.seq, "its totals are wrong")
            for level, position, node in log.append(row.seq - 1, log.leaf_hash(row.hash), lambda a, b: log_nodes[a, b]):
                log_nodes[level, position] = node
            previous, time_us = row.hash, row.recorded_us
            if progress and row.seq % 64 == 0:
                progress(row.seq, len(rows))
        if pending is not None and not self.faults:
            self.fault("pieces", pending[0], "pieces belong to a transaction that is not in the ledger")
        self.checked["transactions"] = len(rows)
        if progress:
            progress(len(rows), len(rows))
        size = sum(level == 0 for level, _ in log_nodes)
        self.log_root = log.root(size, lambda a, b: log_nodes[a, b]) if size else log.EMPTY_ROOT
        self._derived_nodes(nodes, log_nodes)
        return {
            bytes.fromhex(str(piece.facts.registers.get("hash", "")))
            for rid, pieces in live.items()
            if rid in ledger.records and ledger.records[rid].kind == ErasureKind.code
            for piece in pieces.values()
        }

    def _entry(self, row: TransactionRow, header: Header, changes: list[Change], time_us: int) -> None:
        """Compare one ledger entry with what its pieces, and the entry before it, make it."""
        if row.arguments is not None and payload_hash(row.arguments) != row.arguments_hash:
            self.fault("transactions", row.seq, "its arguments do not match their hash")
        if (row.state_root, row.control_root) != (header.state_root, header.control_root):
            self.fault("transactions", row.seq, "its roots are not those of the pieces up to it")
        elif transaction_hash(header, changes) != row.hash:
            self.fault("transactions", row.seq, "its hash does not match its contents and the chain")
        if row.recorded_us <= time_us:
            self.fault("transactions", row.seq, "its time is not after the one before")

    def _apply(
        self, ledger: _Ledger, live: dict[int, dict[int, Piece]], events: list[tuple[int, int, int, int, int, int]]
    ) -> tuple[list[Change], int]:
        """Apply one transaction's openings and closings; give its changes, and by how much live atoms grew."""
        changes: list[Change] = []
        delta = 0
        before: dict[int, tuple[Piece, ...]] = {}
        for seq, opens, rid, start, end, facts in events:
            pieces = live.setdefault(rid, {})
            before.setdefault(rid, _ordered(pieces))
            payload = ledger.payloads.get(facts)
            if payload is None or start >= end:
                self.fault("pieces", f"{rid}/{start}/{seq}", "its facts are missing, or its interval is empty")
                continue
            if opens:
                pieces[start] = Piece(start, end, Facts(payload.hash, payload.body))
            elif pieces.pop(start, None) is None:
                self.fault("pieces", f"{rid}/{start}/{seq}", "it ends without having begun")
        for rid, old in sorted(before.items()):
            new = _ordered(live[rid])
            if any(a.valid_to > b.valid_from for a, b in pairwise(new)):
                self.fault("pieces", rid, "its pieces overlap")
            record = ledger.records.get(rid)
            if record is None or record.kind not in KINDS:
                self.fault("records", rid, "a record of pieces is missing")
                continue
            if old != new:
                changes.append(Change(record, leaf(record, old) if old else b"", leaf(record, new) if new else b""))
                if record.kind == AtomKind.code:
                    delta += bool(new) - bool(old)
            else:
                self.fault("pieces", rid, "a transaction changed it without changing anything")
        return changes, delta

    def _derived_nodes(
        self, nodes: tuple[dict[int, bytes], dict[int, bytes]], log_nodes: dict[tuple[int, int], bytes]
    ) -> None:
        for number, expected in enumerate(nodes):
            stored = self.view.all_state_nodes(number)
            for path in sorted(expected.keys() | stored.keys()):
                if expected.get(path) != stored.get(path):
                    self.fault("state_nodes", f"{number}/{path:x}", "it is not the node of the live records")
            self.checked["state_nodes"] = self.checked.get("state_nodes", 0) + len(stored)
        stored_log = self.view.all_log_nodes()
        expected_log = {post_order(*place): node for place, node in log_nodes.items()}
        for place in sorted(expected_log.keys() | stored_log.keys()):
            if expected_log.get(place) != stored_log.get(place):
                self.fault("log_nodes", place, "it is not the node of the transactions' hashes")
        self.checked["log_nodes"] = len(stored_log)

    def _erased(self, ledger: _Ledger, erased: set[bytes]) -> None:
        """Bytes may be missing only where an erasure says so, or where the object store has them."""
        for row in ledger.payloads.values():
            if row.object and (row.body is not None or row.hash in erased):
                self.fault("payloads", row.pid, "it says that the object store has it, which cannot be")
            if row.body is not None or row.hash in erased:
                continue
            if not row.object:
                self.fault("payloads", row.pid, "its bytes are missing, and no erasure says why")
                continue
            try:
                self.objects.get(self.view.ws, row.hash)
            except IntegrityError as error:
                self.fault("objects", row.hash.hex(), error.message)
        self.checked["erasures"] = len(erased)

    def _atoms(self, ledger: _Ledger) -> None:
        count = 0
        seen = set()
        nothing = payload_hash(b"")
        for row in self.view.all_atoms():
            count += 1
            seen.add(row.rid)
            try:
                media = ledger.payloads[row.media_type].body or b""
                content = ledger.payloads[row.content].hash
                origin = (
                    ledger.payloads[row.origin].hash if row.origin else payload_hash(b"note:" + content.hex().encode())
                )
                discriminator = ledger.payloads[row.discriminator].hash if row.discriminator else nothing
                witness = ledger.payloads[row.witness].hash
                expected = atom_id(MODALITIES[row.modality], media.decode(), content, origin, discriminator, witness)
            except (KeyError, IndexError, UnicodeDecodeError):
                self.fault("atoms", row.rid, "a part of its identity is missing")
                continue
            if expected != row.key:
                self.fault("atoms", row.rid, "its id does not match its identity")
            pieces = self.view.piece_rows(row.rid)
            if not pieces or pieces[0][2] != row.seq:
                self.fault("atoms", row.rid, "it was first recorded in another transaction than it says")
        for rid, record in ledger.records.items():
            if record.kind == AtomKind.code and rid not in seen:
                self.fault("atoms", rid, "the atom of a record is missing")
        self.checked["atoms"] = count
        derived.headings(self.view, seen, self.fault)

    # ------------------------------------------------------------------ indexes
    def _indexes(self, ledger: _Ledger) -> None:
        expected = self._expected_indexes(ledger)
        for table, rows in expected.items():
            stored = self.view.all_index_rows(table)
            for row in sorted(rows ^ stored, key=repr):
                self.fault(table, row, "is missing" if row in rows else "does not follow from the facts")
            self.checked[table] = len(stored)

    def _expected_indexes(self, ledger: _Ledger) -> dict[str, set[tuple[object, ...]]]:
        out: dict[str, set[tuple[object, ...]]] = {
            name: set() for name in ("tags", "claims", "confidences", "witnesses")
        }
        for pid, row in ledger.payloads.items():
            if row.domain != 1 or row.body is None or facts_hash(row.body) != row.hash:
                continue
            registers = Facts(row.hash, row.body).registers
            out["tags"].update((name, value, pid) for name, value in tags_of(registers).items())
            if claim := claim_of(registers):
                out["claims"].add((claim.subject, claim.predicate, pid))
            if (confidence := number_of(registers, "confidence")) is not None:
                out["confidences"].add((round(confidence * 1_000_000), pid))
        for atom in self.view.all_atoms():
            witness = ledger.payloads.get(atom.witness)
            if witness is not None and witness.body is not None and witness.body.startswith(b"{"):
                out["witnesses"].add((str(json.loads(witness.body).get("writer")), atom.witness))
        self._index_keys(ledger)
        return out

    def _index_keys(self, ledger: _Ledger) -> None:
        """Check that each row of an index over records has the key that its columns make."""
        hashes = {pid: row.hash for pid, row in ledger.payloads.items()}
        rows: list[tuple[str, tuple[object, ...], int, Record]] = []
        for rid, origin in cast("set[tuple[int, int]]", self.view.all_index_rows("sources")):
            rows.append(("sources", (rid, origin), rid, SourceKind.record(hashes.get(origin, b""))))
        for row in cast("set[tuple[int, int, int, int]]", self.view.all_index_rows("items")):
            origin, position, rid, _ = row
            record = ItemKind.record(hashes.get(origin, b""), position.to_bytes(8, "big"))
            rows.append(("items", row, rid, record))
        for rid, label in cast("set[tuple[int, str]]", self.view.all_index_rows("labels")):
            rows.append(("labels", (rid, label), rid, LabelKind.record(label.encode())))
        for edge in cast("set[tuple[int, int, str, int]]", self.view.all_index_rows("edges")):
            rid, source, kind, target = edge
            record = EdgeKind.record(self._key(ledger, source), kind.encode(), self._key(ledger, target))
            rows.append(("edges", edge, rid, record))
        seen: dict[str, set[int]] = {"sources": set(), "items": set(), "labels": set(), "edges": set()}
        for table, columns, rid, record in rows:
            seen[table].add(rid)
            if ledger.records.get(rid) != record:
                self.fault(table, columns, "does not follow from its record")
        for code, table in (
            (SourceKind.code, "sources"), (ItemKind.code, "items"), (LabelKind.code, "labels"), (EdgeKind.code, "edges"),
        ):  # fmt: skip
            for rid, known in ledger.records.items():
                if known.kind == code and rid not in seen[table]:
                    self.fault(table, rid, "the row of a record is missing")
            self.checked[table] = len(seen[table])

    def _key(self, ledger: _Ledger, rid: object) -> bytes:
        record = ledger.records.get(rid) if isinstance(rid, int) else None
        return b"" if record is None else record.key

    # ------------------------------------------------------------------ what needs more than the tables
    def against(self, text: str, key: bytes, origin: str) -> Checkpoint | None:
        """Compare the store with a signed checkpoint kept elsewhere."""
        try:
            checkpoint = verify_checkpoint(text, key, origin=origin)
        except ProofError as error:
            self.fault("checkpoint", origin, error.message)
            return None
        head = self.view.head()
        if checkpoint.size > head.seq:
            self.fault(
                "transactions", head.seq, f"the store ends at {head.seq}, the checkpoint has {checkpoint.size}: "
                "the tail was cut, or this is an older copy",
            )  # fmt: skip
            return checkpoint
        try:
            root = log.root(checkpoint.size, self.view.log_node)
            state = self.view.head_at(checkpoint.size)
        except CmcError as error:
            self.fault("log_nodes", checkpoint.size, error.message)
            return checkpoint
        if root != checkpoint.log_root:
            self.fault(
                "transactions", checkpoint.size, "the ledger up to the checkpoint is not the one it was made for"
            )
        elif (state.state_root, state.control_root) != (checkpoint.state_root, checkpoint.control_root):
            self.fault("transactions", checkpoint.size, "the roots at the checkpoint are not the ones it was made for")
        self.checked["checkpoint"] = 1
        return checkpoint

    def vectors(self, embedder: Embedder | None, model: int, progress: Progress | None = None) -> None:
        """Embed every text again and compare (cosine ≥ .999); another model's vectors cannot be verified."""
        import numpy as np

        others = [name for number, name, *_ in self.view.models() if number != model]
        if others:
            self.notes.append(f"the vectors of {', '.join(others)} cannot be verified without that model")
        if embedder is None or not model or not embedder.identity.weights_digest:
            self.notes.append("the vectors cannot be verified: the model is not at hand, or behind an endpoint")
            return
        rows = {row.rid: row for row in self.view.all_atoms() if row.modality < 5}
        rids = sorted(rows)
        for start in range(0, len(rids), 64):
            part = self.view.vectors_of(model, rids[start : start + 64], self.view.head().seq)
            bodies = {rid: self.view.payload(rows[rid].content) for rid in part}
            known = [rid for rid, body in bodies.items() if body is not None]
            if known:
                made = embedder.embed([(bodies[rid] or b"").decode() for rid in known])
                for rid, vector in zip(known, made, strict=True):
                    stored = np.frombuffer(part[rid], np.float32)
                    if stored.shape != vector.shape or float(stored @ vector) < derived.COSINE_MIN:
                        self.fault("vectors", rid, "it is not the vector of its text")
            if progress:
                progress(min(start + 64, len(rids)), len(rids))
        self.checked["vectors"] = len(rids)
        if not self.faults:  # texts of nodes are made of sound manifests and atoms alone
            self.checked["node_vectors"] = derived.node_vectors(self.view, self.objects, embedder, model, self.fault)


def _grow(nodes: tuple[dict[int, bytes], dict[int, bytes]], roots: list[bytes], changes: list[Change]) -> None:
    """Bring the rebuilt trees (memory, control) and their roots up to one transaction's changes."""
    for number in (0, 1):
        mine = {c.record.tree_key: c.after or None for c in changes if c.record.is_memory == (number == 0)}
        if not mine:
            continue
        roots[number], dirty = tree.update(nodes[number].get, mine)
        for path, body in dirty.items():
            if body is None:
                nodes[number].pop(path, None)
            else:
                nodes[number][path] = body


def _ordered(pieces: dict[int, Piece]) -> tuple[Piece, ...]:
    return tuple(pieces[start] for start in sorted(pieces))


def text_and_file(store: Store, ws: int, objects: Objects) -> list[Fault]:
    """Check full text, and the structure of the file."""
    faults = [Fault(table="passages", key=str(ws), reason=reason) for reason in store.text_faults(ws, objects)]
    return faults + [Fault(table="file", key="", reason=reason) for reason in store.file_faults()]
