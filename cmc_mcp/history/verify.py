"""Verify: replays the ledger from its rows, re-hashes every byte, rebuilds what is derived, and names each fault.

The committed tables (payloads, records, atoms, intervals, transactions) are proved by the hash chain, and against a
checkpoint kept elsewhere; the derived ones are computed again by their indexes (`store/indexes.py`) and compared.
No derived table is checked before the committed ones are sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import BROKEN, IntegrityError, ProofError, StoreError
from cmc_mcp.history.totals import totals
from cmc_mcp.ids import ModelNumber, PayloadHash, Rid, Seq, Ws
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.kernel.intervals import Interval, leaf
from cmc_mcp.kernel.kinds import ATOM, ERASURE, FACTS, KEY_BYTES
from cmc_mcp.kernel.transaction import GENESIS, Change, Header, transaction_hash
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.merkle.checkpoint import Checkpoint, verify_checkpoint
from cmc_mcp.model.calls import Progress
from cmc_mcp.model.facts import Facts
from cmc_mcp.model.results import Fault, VerifyResult
from cmc_mcp.store.audit import Audit, numbered_whole
from cmc_mcp.store.checks import Check, Prepared
from cmc_mcp.store.indexes import Index, Row
from cmc_mcp.store.ports import AuditView, Objects, Store
from cmc_mcp.store.rows import PieceEvent, TransactionRow, is_sound, made_id
from cmc_mcp.store.tables import Role

if TYPE_CHECKING:
    from cmc_mcp.embed.protocol import Embedder
    from cmc_mcp.store.checks import Embed, Reader


Deep = list[tuple[str, "Prepared", "Embed"]]
"""Deep checks that were prepared, by name, and what embeds for them."""


class Verifier:
    """Checks one workspace inside one read transaction, collecting faults."""

    def __init__(self, view: AuditView, objects: Objects) -> None:
        self.view, self.objects, self.registry = view, objects, view.registry
        self.faults: list[Fault] = []
        self.checked: dict[str, int] = {}
        self.notes: list[str] = []
        self.audit = Audit.of(view, objects)
        self.log_root = log.EMPTY_ROOT

    def fault(self, table: str, key: object, reason: str) -> None:
        """Record a fault."""
        self.faults.append(Fault(table=table, key=str(key), reason=reason))

    def run(self, progress: Progress | None = None) -> None:
        """Check everything but full text and what needs the model."""
        if not self.committed(progress):
            return
        self._guarded("derived tables", self._derived)
        for check in self._checks("operational"):
            self._guarded(check.table, check.run, self.audit, self.fault)
        self._guarded("workspaces", self._erasure_count)

    def committed(self, progress: Progress | None = None) -> bool:
        """Check the committed tables; return whether they are sound, since derived ones follow from sound ones alone."""
        self._payloads()
        self._guarded("pieces", self._replay, progress)
        self._guarded("payloads", self._erased)
        self._guarded("payloads", self._referred)
        self._guarded("atoms", self._atoms)
        return not self.faults

    def wanted(self) -> dict[Index, set[Row]]:
        """Return the rows that every index should have; the committed tables must be sound."""
        return {index: self.audit.wanted(index) for index in self.registry.indexes}

    def _derived(self) -> None:
        self._compare()
        self._guarded("transactions", totals, self.audit, self.fault)
        for check in self._checks("derived"):
            self._guarded(check.table, check.run, self.audit, self.fault)

    def _checks(self, role: Role) -> list[Check]:
        return [check for check in self.registry.checks if check.role == role]

    def _compare(self) -> None:
        """Report every row that is missing, or that does not follow from the committed tables."""
        wanted = self.wanted()  # of all, before the first is compared
        for index in self.registry.indexes:
            table, rows = index.table, wanted[index]
            stored = self.audit.stored(index)
            for row in sorted(rows ^ stored, key=repr):
                reason = "is missing" if row in rows else "does not follow from the committed tables"
                self._mendable(table.part_of or table.name, shown(row), reason)
            self.checked[table.name] = len(stored)

    def _guarded(self, table: str, check: Callable[..., object], *arguments: object) -> None:
        """Run a check, which damaged rows may make impossible: that is a fault too."""
        try:
            check(*arguments)
        except IntegrityError as error:
            self.fault(str(error.fields.get("table", table)), error.fields.get("key", ""), error.message)
        except BROKEN as error:
            self.fault(table, "", f"the check failed ({type(error).__name__}: {error})")

    def _mendable(self, table: str, key: object, reason: str) -> None:
        self.fault(table, key, f"{reason}; `cmc rebuild` mends it")

    # ------------------------------------------------------------------ committed tables
    def _payloads(self) -> None:
        for row in self.view.all_payloads():
            if row.body is not None:
                if not is_sound(row, self.registry.domains):
                    self.fault("payloads", row.pid, "its bytes do not match their hash")
                elif len(row.body) != row.size:
                    self.fault("payloads", row.pid, "its recorded size is wrong")
            self.audit.keep(row)
        for rid, record in self.audit.records.items():
            if record.kind not in self.registry.kinds or len(record.key) != KEY_BYTES:
                self.fault("records", rid, "the record is of an unknown kind, or its key has the wrong length")
        self.checked["payloads"] = len(self.audit.payloads)

    def _replay(self, progress: Progress | None) -> None:
        """Recompute every transaction's hash and roots from the intervals."""
        audit, live = self.audit, dict[Rid, dict[int, Interval]]()
        roots = [tree.EMPTY_ROOT, tree.EMPTY_ROOT]
        previous, time_us, atoms = GENESIS, -(1 << 62), 0
        events = groupby(self.view.interval_events(), key=lambda event: event[0])
        pending = next(events, None)
        for expected_seq, row in enumerate(audit.rows, start=1):
            if row.seq != expected_seq:
                self.fault("transactions", f"{expected_seq}, {row.seq}", "a transaction is missing from the ledger")
                break
            changes: list[Change] = []
            while pending is not None and pending[0] < row.seq:
                self._homeless(pending)
                pending = next(events, None)
            if pending is not None and pending[0] == row.seq:
                changes, delta = self._apply(live, list(pending[1]))
                atoms += delta
                pending = next(events, None)
            self._grow(roots, changes)
            principal = audit.payloads.get(row.principal)
            if principal is None:
                self.fault("transactions", row.seq, "its principal is missing")
                break
            header = Header(previous, row.seq, row.recorded_us, principal.hash, row.verb, row.arguments_hash, *roots)
            self._entry(row, header, changes, time_us)
            if row.changes != len(changes) or row.atoms != atoms:
                self.fault("transactions", row.seq, "its totals are wrong")
            for level, position, node in log.append(row.seq - 1, log.leaf_hash(row.hash), lambda a, b: audit.log[a, b]):
                audit.log[level, position] = node
            previous, time_us = row.hash, row.recorded_us
            if progress and row.seq % 64 == 0:
                progress(row.seq, len(audit.rows))
        if pending is not None and not self.faults:
            self._homeless(pending)
        self.checked["transactions"] = len(audit.rows)
        if progress:
            progress(len(audit.rows), len(audit.rows))
        self.log_root = log.root(self._replayed, lambda a, b: audit.log[a, b])
        audit.erased = frozenset(
            PayloadHash(bytes.fromhex(str(interval.facts.fields.get("hash", ""))))
            for rid, intervals in live.items()
            if rid in audit.records and audit.records[rid].kind == ERASURE.code
            for interval in intervals.values()
        )

    @property
    def _replayed(self) -> int:
        return sum(level == 0 for level, _ in self.audit.log)

    def _homeless(self, events: tuple[Seq, Iterable[PieceEvent]]) -> None:
        for seq, _, rid, start, *_ in events[1]:
            self.fault("pieces", f"{rid}/{start}/{seq}", "the piece belongs to a transaction that is not in the ledger")

    def _entry(self, row: TransactionRow, header: Header, changes: list[Change], time_us: int) -> None:
        """Compare one ledger entry with what its intervals, and the entry before it, make it."""
        if row.arguments is not None and payload_hash(row.arguments) != row.arguments_hash:
            self.fault("transactions", row.seq, "its arguments do not match their hash")
        if (row.state_root, row.control_root) != (header.state_root, header.control_root):
            self.fault("transactions", row.seq, "its roots are not those of the pieces up to it")
        elif transaction_hash(header, changes) != row.hash:
            self.fault("transactions", row.seq, "its hash does not match its contents and the chain")
        if row.recorded_us <= time_us:
            self.fault("transactions", row.seq, "its time is not after the one before")

    def _apply(self, live: dict[Rid, dict[int, Interval]], events: list[PieceEvent]) -> tuple[list[Change], int]:
        """Apply one transaction's openings and closings; return its changes, and by how much live atoms grew."""
        audit = self.audit
        changes: list[Change] = []
        delta = 0
        before: dict[Rid, tuple[Interval, ...]] = {}
        for seq, opens, rid, start, end, facts in events:
            intervals = live.setdefault(rid, {})
            before.setdefault(rid, _ordered(intervals))
            payload = audit.payloads.get(facts)
            audit.held.add(facts)
            if payload is None or start >= end:
                self.fault("pieces", f"{rid}/{start}/{seq}", "its facts are missing, or its interval is empty")
                continue
            if opens:
                intervals[start] = Interval(start, end, Facts(payload.hash, payload.body))
                first = audit.first.setdefault(rid, (seq, []))
                if first[0] == seq:
                    first[1].append(facts)
            elif intervals.pop(start, None) is None:
                self.fault("pieces", f"{rid}/{start}/{seq}", "the piece ends without having begun")
        for rid, old in sorted(before.items()):
            new = _ordered(live[rid])
            if any(a.valid_to > b.valid_from for a, b in pairwise(new)):
                self.fault("pieces", rid, "its pieces overlap")
            record = audit.records.get(rid)
            if record is None or record.kind not in self.registry.kinds:
                self.fault("records", rid, "a record of pieces is missing")
                continue
            if old != new:
                changes.append(Change(record, leaf(record, old) if old else b"", leaf(record, new) if new else b""))
                if record.kind == ATOM.code:
                    delta += bool(new) - bool(old)
            else:
                self.fault("pieces", rid, "a transaction replaced its pieces by equal ones")
        return changes, delta

    def _grow(self, roots: list[bytes], changes: list[Change]) -> None:
        """Bring the rebuilt trees (memory, control) and their roots up to one transaction's changes."""
        leaves: tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]] = ({}, {})
        for change in changes:
            kind = self.registry.kind(change.record)
            leaves[0 if kind.memory else 1][kind.tree_key(change.record)] = change.after or None
        for number, mine in enumerate(leaves):
            if not mine:
                continue
            nodes = self.audit.trees[number]
            roots[number], dirty = tree.update(nodes.get, mine)
            for path, body in dirty.items():
                if body is None:
                    nodes.pop(path, None)
                else:
                    nodes[path] = body

    def _erased(self) -> None:
        """Check that bytes are missing only where an erasure says so, or where the object store has them."""
        audit = self.audit
        audit.ever_erased = audit.all_erased()
        for row in audit.payloads.values():
            if row.domain not in self.registry.domains or (row.domain == FACTS.number) != (row.pid in audit.held):
                self.fault(
                    "payloads", row.pid, "the payload is marked as facts but not used as such, or the other way round"
                )
            if row.object and (row.pid in audit.inline or row.hash in audit.erased):
                self.fault(
                    "payloads",
                    row.pid,
                    "the payload is marked as kept in the object store, but its bytes are in the table or erased",
                )
            if row.pid in audit.inline or row.hash in audit.erased:
                continue
            if not row.object:
                self.fault("payloads", row.pid, "its bytes are missing, and no erasure says why")
                continue
            try:
                if len(self.objects.get(self.view.ws, row.hash)) != row.size:
                    self.fault("payloads", row.pid, "its recorded size is wrong")
            except IntegrityError as error:
                self.fault("objects", row.hash.hex(), error.message)
        self.checked["erasures"] = len(audit.erased)

    def _referred(self) -> None:
        """Check that whatever facts or payloads name by its hash has a row, erased or not."""
        audit = self.audit
        known = {row.hash.hex() for row in audit.payloads.values()}
        for behaviour in self.registry.behaviours:
            for rid, _ in audit.of_kind(behaviour.kind):
                for facts in {row[4] for row in self.view.interval_rows(rid)}:
                    for register, said in behaviour.refers(audit.fields(facts)):
                        if said not in known:
                            self.fault("payloads", said[:32], f"the {register} of record {rid} is missing")
        for domain in self.registry.domains.values():
            for pid, body in audit.bodies(domain.number) if domain.number > FACTS.number else ():
                for hash_ in domain.refers(body):
                    if hash_.hex() not in known:
                        self.fault("payloads", hash_.hex()[:32], f"a part of payload {pid} is missing")

    def _atoms(self) -> None:
        audit = self.audit
        for row in audit.atoms:
            try:
                media_type = audit.body(audit.payloads[row.media_type].pid)
                expected = made_id(row, audit.payloads, media_type or b"")
            except (LookupError, UnicodeDecodeError):
                self.fault("atoms", row.rid, "a part of its identity is missing")
                continue
            if expected != row.key:
                self.fault("atoms", row.rid, "its id does not match its identity")
            if row.rid not in audit.first or audit.first[row.rid][0] != row.seq:
                self.fault("atoms", row.rid, "the atom was not first recorded in the transaction that it names")
        seen = {row.rid for row in audit.atoms}
        for rid, record in audit.records.items():
            if record.kind == ATOM.code and rid not in seen:
                self.fault("atoms", rid, "the atom of a record is missing")
        self.checked["atoms"] = len(seen)
        head = self.view.head()
        numbered_whole("records", self.view, audit.records, head.last_rid, self.fault)
        numbered_whole("payloads", self.view, audit.payloads, head.last_pid, self.fault)
        for check in self._checks("committed"):
            check.run(self.audit, self.fault)

    # ------------------------------------------------------------------ what no root covers
    def _erasure_count(self) -> None:
        """Check that the workspace counts the erasures that there were, and the transactions that lifted some."""
        erases = [row for row in self.audit.rows if row.verb == "erase"]  # one of nothing begins no epoch
        most = len(erases) + len(self.audit.lifting())  # older versions did not count those
        if not sum(row.changes > 0 for row in erases) <= self.view.own_row()[1] <= most:
            self.fault("workspaces", self.view.ws, f"its number of erasures is not that of the ledger, {len(erases)}")

    # ------------------------------------------------------------------ what needs more than the tables
    def against(self, text: str, key: bytes, origin: str) -> Checkpoint | None:
        """Compare the store with a signed checkpoint kept elsewhere."""
        try:
            checkpoint = verify_checkpoint(text, key, origin=origin)
        except ProofError as error:
            self.fault("checkpoint", origin, error.message)
            return None
        rows, size = self.audit.rows, self._replayed
        last = rows[-1].seq if rows else 0
        if checkpoint.size > last:
            self.fault(
                "transactions", last, f"the store ends at {last}, the checkpoint has {checkpoint.size}: "
                "the tail was cut, or this is an older copy",
            )  # fmt: skip
            return checkpoint
        if checkpoint.size > size:
            self.fault("transactions", size + 1, f"the ledger breaks off before the checkpoint's {checkpoint.size}")
            return checkpoint
        state = rows[checkpoint.size - 1]
        if log.root(checkpoint.size, lambda a, b: self.audit.log[a, b]) != checkpoint.log_root:
            self.fault(
                "transactions",
                checkpoint.size,
                f"the first {checkpoint.size} of {last} transactions are not those that the checkpoint was made for",
            )
        elif (state.state_root, state.control_root) != (checkpoint.state_root, checkpoint.control_root):
            self.fault(
                "transactions",
                checkpoint.size,
                "the roots at the checkpoint are not those that the checkpoint was made for",
            )
        self.checked["checkpoint"] = 1
        return checkpoint

    def deep(self, embedder: Embedder | None, model: ModelNumber) -> Deep | None:
        """Return what `again` is to embed; None, and a note, where vectors cannot be verified: another model's never can."""
        others = [name for number, name, *_ in self.view.models() if number != model]
        if others:
            self.notes.append(f"the vectors of {', '.join(others)} cannot be verified without that model")
        if embedder is None or not model or not embedder.identity.weights_digest:
            self.notes.append(
                "the vectors cannot be verified: the model is not available here, or is behind an endpoint"
            )
        elif not self.faults:  # texts are made of sound tables alone
            if missing := len(self.view.pending(model)):
                self.notes.append(f"{missing} texts have no vector under this model; `cmc embed` makes them")
            return [(check.name, check.prepared(self.audit, model), embedder.embed) for check in self.registry.deep]
        return None

    def again(self, wanted: Deep, reader: Reader) -> None:
        """Embed every text again and compare (cosine ≥ .999); call it when the view is closed, so that nothing is open."""
        for name, run, embed in wanted:
            self.checked[name] = run(reader, embed, self.fault)


def shown(row: Iterable[object]) -> str:
    """Write the columns of a row for a person; of bytes, how they begin."""
    return "/".join(part.hex()[:32] if isinstance(part, bytes) else str(part) for part in row)


def _ordered(intervals: dict[int, Interval]) -> tuple[Interval, ...]:
    return tuple(intervals[start] for start in sorted(intervals))


def text_and_file(store: Store, ws: Ws, objects: Objects) -> list[Fault]:
    """Check full text, and what belongs to no workspace."""
    found = [*store.text_faults(ws, objects), *store.file_faults()]
    return [Fault(table=table, key=key, reason=reason) for table, key, reason in found]


def unreadable(store: Store, ws: Ws) -> VerifyResult | None:
    """Name the tables and indexes that are not as the migrations made them; None if all are, so that they explain nothing."""
    faults = [Fault(table=table, key=key, reason=reason) for table, key, reason in store.file_faults()]
    if not faults:
        return None
    try:
        with store.reader(ws) as view:
            head = view.head()
    except StoreError:
        return VerifyResult(holds=False, faults=faults, transaction=0, snapshot="", log_root="")
    return VerifyResult(
        holds=False, faults=faults, transaction=head.seq, snapshot=snapshot_name(head.state_root), log_root=""
    )
