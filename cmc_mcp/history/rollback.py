"""Rollback: whole, to a state; or selective, undoing only what matches. Both append, and can be undone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from cmc_mcp.canon import Json, canonical, digest, payload_hash
from cmc_mcp.clock import Clock
from cmc_mcp.errors import Conflict, IntegrityError, InvalidInput
from cmc_mcp.history.diff import compare
from cmc_mcp.history.references import PointLike, plain_text, resolve_origin, resolve_point
from cmc_mcp.ids import NO_PAYLOAD, START, Rid, Seq, Ws
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.kernel.intervals import Interval, Intervals, leaf
from cmc_mcp.kernel.transaction import ROLLBACK, UNDO
from cmc_mcp.kernel.undo import Step, effective, replayed
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.calls import Cancel, check_cancelled
from cmc_mcp.model.facts import TAG
from cmc_mcp.model.results import Receipt, RollbackResult, SnapshotPair, SnapshotResult
from cmc_mcp.store.behaviours import Behaviour
from cmc_mcp.store.ports import LedgerView, Store
from cmc_mcp.store.rows import Head, TransactionRow, arguments_of
from cmc_mcp.verbs.check import checked
from cmc_mcp.verbs.models import Rollback


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: a state; or what to undo, all parts given having to match."""

    to: PointLike | None = None
    since: PointLike | None = None
    writer: str | None = None
    source: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Plan:
    verb: str
    arguments: dict[str, Json]
    changes: dict[Rid, tuple[Intervals, Intervals]]
    first: Seq
    orphaned: list[Rid] = field(default_factory=list)
    not_undone: list[int] = field(default_factory=list)
    stale: list[Rid] = field(default_factory=list)
    erased: list[Rid] = field(default_factory=list)
    root: bytes | None = None
    withheld: dict[bytes, bytes] = field(default_factory=dict)  # leaves of the target that an erasure keeps out


def rollback(
    store: Store,
    ws: Ws,
    asked: Rollback,
    *,
    principal: str,
    clock: Clock,
    cancel: Cancel | None = None,
) -> RollbackResult:
    """Roll the memory back, as one appended transaction; control records stay.

    After a whole rollback the state root equals the target's, or that of the target less what was erased since; this
    is checked on every rollback.

    Raises:
        NotFound: the target does not exist.
        Ambiguous: the target could be several states.
        InvalidInput: an argument is wrong.
        Conflict: the head has moved since the dry run whose digest was given.
    """
    target = _target(asked)
    if asked.dry_run:
        with store.reader(ws) as view:
            return _answer(view, view.head(), _plan(view, target), dry_run=True)
    with store.writer(ws) as unit:
        plan = _plan(unit, target)
        preview = _answer(unit, unit.before, plan, dry_run=False)
        if asked.digest is not None and asked.digest != preview.digest:
            raise Conflict(
                "the store has changed since that plan was made; nothing was rolled back. Make a new dry run"
            )
        for rid, (_, after) in plan.changes.items():
            unit.set_intervals(rid, after)
        check_cancelled(cancel)
        arguments = canonical(plan.arguments)
        head = unit.flush(verb=plan.verb, principal=principal, arguments=arguments, clock_us=clock.now_us())
        if plan.root is not None and _with(unit, head.state_root, plan.withheld) != plan.root:
            raise IntegrityError("the state after this rollback would not equal its target; nothing was changed")
    receipt = Receipt(
        transaction=head.seq,
        snapshot=SnapshotPair(before=snapshot_name(unit.before.state_root), after=snapshot_name(head.state_root)),
    )
    return preview.model_copy(update={"receipt": receipt})


def _target(asked: Rollback) -> Target:
    """Check the arguments, and return where to."""
    selective = (asked.since, asked.writer, asked.source)
    if asked.to is not None and (asked.tags or any(part is not None for part in selective)):
        raise InvalidInput.at("to", "give a state to roll back to, or since, writer, source and tags to undo, not both")
    if asked.to is None and not asked.tags and all(part is None for part in selective):
        raise InvalidInput.at("to", "is required: a snapshot id, label, transaction or time; or say what to undo")
    tags: tuple[tuple[str, str], ...] = checked(asked).get("tags", ())
    for name, value in tags:
        plain_text(value, f"tags.{name}")
    to = asked.to.transaction if isinstance(asked.to, SnapshotResult) else asked.to
    return Target(to, asked.since, asked.writer, asked.source, tags)


def _plan(view: LedgerView, target: Target) -> _Plan:
    if target.to is not None:
        return _whole(view, resolve_point(view, target.to, "to", latest=True))
    return _selective(view, target)


def _answer(view: LedgerView, head: Head, plan: _Plan, *, dry_run: bool) -> RollbackResult:
    leaves = [leaf(view.record(rid), after) for rid, (_, after) in sorted(plan.changes.items())]
    bound = digest("cmc/plan/1", head.hash, canonical(plan.arguments), *leaves).hex()[:32]

    def names(rids: list[Rid]) -> list[str]:
        records = [view.record(rid) for rid in sorted(set(rids))]
        listed = [view.registry.behaviour[record.kind].listed(record) for record in records]
        return [name for name in listed if name is not None]

    return RollbackResult(
        dry_run=dry_run,
        digest=bound,
        diff=compare(view, plan.changes, head.seq, Seq(head.seq + 1)),
        undo_with=snapshot_name(head.state_root),
        orphaned=names(plan.orphaned),
        not_undone=plan.not_undone,
        stale=names(plan.stale),
        erased=names(plan.erased),
    )


# ---------------------------------------------------------------------- whole
def _whole(view: LedgerView, to: Seq) -> _Plan:
    head = view.head()
    plan = _Plan(ROLLBACK, {"to": to}, {}, to, root=view.head_at(to).state_root)
    gone = _erased_since(view, to)
    for rid in view.changed(to, head.seq):
        record = view.record(rid)
        if not _rolls_back(view, rid):
            continue
        now, then = view.intervals(rid), view.intervals(rid, to)
        if then and not now and rid in gone:
            plan.erased.append(rid)
            plan.withheld[view.registry.tree_key(record)] = leaf(record, then)
        elif now != then:
            plan.changes[rid] = (now, then)
    return plan


def _rolls_back(view: LedgerView, rid: Rid) -> bool:
    return view.registry.kind(view.record(rid)).memory


def _with(view: LedgerView, root: bytes, leaves: Mapping[bytes, bytes]) -> bytes:
    """Return the root that the present state tree would have with some leaves added."""
    return tree.update(lambda path: view.state_node(0, path), leaves)[0] if leaves else root


def _erased_since(view: LedgerView, seq: Seq) -> set[Rid]:
    """Return the records whose words were erased after a transaction, and were not told again since."""
    return {rid for one in view.registry.behaviours for rid in one.gone(view, seq)}


# ---------------------------------------------------------------------- selective
class _Matcher:
    """Which changes a selective rollback undoes."""

    def __init__(self, view: LedgerView, arguments: Mapping[str, Json]) -> None:
        self.view = view
        self.since = cast(Seq, arguments.get("since", START))
        self.writer = cast("str | None", arguments.get("writer"))
        self.source = cast("str | None", arguments.get("source"))
        self.tags = [(str(k), str(v)) for k, v in cast("list[list[str]]", arguments.get("tags", []))]
        self._writers: dict[Seq, bool] = {}

    def matches(self, rid: Rid, seq: Seq) -> bool:
        """Return whether to undo the change that transaction `seq` made to a record."""
        return seq > self.since and self._by_writer(seq) and self._by_source(rid) and self._by_tags(rid, seq)

    def _by_writer(self, seq: Seq) -> bool:
        if self.writer is None:
            return True
        if seq not in self._writers:
            row = self.view.transaction(seq)
            body = None if row is None else self.view.payload(row.principal)
            self._writers[seq] = body == self.writer.encode()
        return self._writers[seq]

    def _by_source(self, rid: Rid) -> bool:
        if self.source is None:
            return True
        origin = self._behaviour(rid).origin(self.view, rid)
        # by hash, since the name may have been erased: what an undo matched must stay what it matched
        return bool(origin) and self.view.payload_row(origin or NO_PAYLOAD).hash == payload_hash(self.source.encode())

    def _by_tags(self, rid: Rid, seq: Seq) -> bool:
        if not self.tags:
            return True
        subjects = self._behaviour(rid).subjects(self.view, rid, seq)
        subjects += (other for one in self.view.registry.behaviours for other in one.bound(self.view, rid, seq))
        held: list[Interval] = []
        for subject in subjects:
            held += (*self.view.intervals(subject, Seq(seq - 1)), *self.view.intervals(subject, seq))
        return any(all(p.facts.fields.get(TAG + name) == value for name, value in self.tags) for p in held)

    def _behaviour(self, rid: Rid) -> Behaviour:
        return self.view.registry.behaviour[self.view.record(rid).kind]


def _selective(view: LedgerView, target: Target) -> _Plan:
    head = view.head()
    since = START if target.since is None else resolve_point(view, target.since, "since", latest=True)
    arguments: dict[str, Json] = {"since": since}
    if target.writer is not None:
        arguments["writer"] = target.writer
    if target.source is not None:
        arguments["source"] = resolve_origin(view, target.source)
    if target.tags:
        arguments["tags"] = [list(pair) for pair in target.tags]
    matcher = _Matcher(view, arguments)
    rolls = [(row, _arguments(row)) for row in view.rollbacks()]
    rolled = {row.seq for row, _ in rolls}
    plan = _Plan(UNDO, arguments, {}, since)
    plan.not_undone = [
        row.seq for row, _ in rolls if row.seq > since and matcher.writer and matcher._by_writer(row.seq)
    ]
    gone = _erased_since(view, since)
    for rid in _touched(view, matcher, since, head.seq, rolled):
        now = view.intervals(rid)
        then, orphaned = _without(view, rid, matcher, rolls)
        if then and not now and rid in gone:
            plan.erased.append(rid)
            continue
        if now != then:
            plan.changes[rid] = (now, then)
        if orphaned:
            plan.orphaned.append(rid)
    plan.stale = _resting_on(view, plan)
    return plan


def _touched(view: LedgerView, matcher: _Matcher, since: Seq, head: Seq, rolled: set[Seq]) -> list[Rid]:
    """Return the memory records with a matching change."""
    if matcher.writer is not None:
        principal = view.pid(payload_hash(matcher.writer.encode()))
        seqs = [] if principal is None else view.transactions_by(principal, since)
        found = {rid for seq in seqs if seq not in rolled for rid in view.changed(Seq(seq - 1), seq)}
    else:
        found = set(view.changed(since, head))
    out = []
    for rid in sorted(found):
        if _rolls_back(view, rid) and any(
            seq not in rolled and matcher.matches(rid, seq) for seq in view.change_seqs(rid) if seq > since
        ):
            out.append(rid)
    return out


def _without(
    view: LedgerView, rid: Rid, matcher: _Matcher, rolls: list[tuple[TransactionRow, Mapping[str, Json]]]
) -> tuple[Intervals, bool]:
    """Replay a record's effective history without the changes that match."""
    steps = {seq: Step(seq, "write") for seq in view.change_seqs(rid)}
    for row, arguments in rolls:
        if row.verb == ROLLBACK:
            steps[row.seq] = Step(row.seq, ROLLBACK, target=cast(Seq, arguments["to"]))
        else:
            steps[row.seq] = Step(row.seq, UNDO, matches=partial(_Matcher(view, arguments).matches, rid))
    force = [seq for seq in effective(steps[seq] for seq in sorted(steps)) if not matcher.matches(rid, seq)]
    changes = ((seq, view.intervals(rid, Seq(seq - 1)), view.intervals(rid, seq)) for seq in force)
    outcome = replayed(changes, assigned=view.registry.kind(view.record(rid)).assigned)
    return outcome.intervals, bool(outcome.orphaned)


def _arguments(row: TransactionRow) -> Mapping[str, Json]:
    body = arguments_of(row)
    if body is None:
        raise IntegrityError("the arguments of a rollback are missing", table="transactions", key=str(row.seq))
    return cast("Mapping[str, Json]", json.loads(body))


def _resting_on(view: LedgerView, plan: _Plan) -> list[Rid]:
    """Return the live records that rest on something the plan takes away."""
    taken = [rid for rid, (_, after) in plan.changes.items() if not after]

    def stays(rid: Rid) -> bool:
        return bool(plan.changes[rid][1] if rid in plan.changes else view.intervals(rid))

    return [rid for one in view.registry.behaviours for rid in one.resting(view, taken, stays)]
