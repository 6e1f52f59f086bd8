"""Snapshots: the id of a state, and labels that name one."""

from __future__ import annotations

from cmc_mcp.canon import Json, canonical
from cmc_mcp.clock import Clock
from cmc_mcp.errors import Conflict, InvalidInput
from cmc_mcp.ids import Seq, Ws
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import LABEL
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.results import SnapshotResult
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, format_time
from cmc_mcp.store.ports import Store
from cmc_mcp.store.rows import Head
from cmc_mcp.verbs.check import checked
from cmc_mcp.verbs.models import Snapshot


def snapshot(store: Store, ws: Ws, asked: Snapshot, *, principal: str, clock: Clock) -> SnapshotResult:
    """Return the id of the present state; with a label, name it. Without one nothing is written.

    Raises:
        Conflict: the label names another state, and `force` is not set.
        InvalidInput: an argument is wrong.
    """
    checked(asked)
    label, note, force = asked.label, asked.note, asked.force
    if label is None:
        if note is not None:
            raise InvalidInput.at("note", "goes with a label; without one nothing is written")
        with store.reader(ws) as view:
            return result(view.head())
    with store.writer(ws) as unit:
        rid, _ = unit.intern(LABEL.record(label.encode()))
        seq = unit.before.seq
        for interval in unit.intervals(rid):
            named = Seq(int(str(interval.facts.fields["seq"])))
            if unit.head_at(named).state_root == unit.before.state_root and not force:
                return result(unit.head_at(named), label)
            if not force:
                raise Conflict(
                    f"the label {label!r} names transaction {named} already; take another, or move it with force",
                    label=label,
                    transaction=named,
                )
        fields: dict[str, Json] = {"label": label, "seq": seq}
        if note:
            fields["note"] = note
        unit.set_intervals(rid, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts_of(fields)),))
        named_head = unit.before
        unit.flush(verb="label", principal=principal, arguments=canonical({"seq": seq}), clock_us=clock.now_us())
    return result(named_head, label)


def result(head: Head, label: str | None = None) -> SnapshotResult:
    """Return a state as a snapshot."""
    return SnapshotResult(
        snapshot=snapshot_name(head.state_root),
        root=head.state_root.hex(),
        transaction=head.seq,
        recorded_at=format_time(head.recorded_us) if head.seq else None,
        label=label,
        counts={"atoms": head.atoms, "passages": head.passages},
    )
