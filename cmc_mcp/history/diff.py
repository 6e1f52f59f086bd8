"""Diffs: what differs between two states, record by record and field by field. Costs what changed, not what exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pydantic import JsonValue

from cmc_mcp.canon import Json
from cmc_mcp.ids import Rid, Seq
from cmc_mcp.kernel.intervals import Intervals
from cmc_mcp.model.results import Diff, FieldChange, RecordChange
from cmc_mcp.model.time import format_time
from cmc_mcp.store.ports import LedgerView


def diff(view: LedgerView, first: Seq, second: Seq) -> Diff:
    """Compare the memory states after two transactions; `second` may be the earlier one."""
    low, high = min(first, second), max(first, second)
    rids = [rid for rid in view.changed(low, high) if view.registry.kind(view.record(rid)).memory]
    return compare(
        view, {rid: (view.intervals(rid, first), view.intervals(rid, second)) for rid in rids}, first, second
    )


def compare(view: LedgerView, changes: Mapping[Rid, tuple[Intervals, Intervals]], first: Seq, second: Seq) -> Diff:
    """Describe records that go from some intervals to others."""
    added: list[RecordChange] = []
    removed: list[RecordChange] = []
    changed: list[RecordChange] = []
    for rid, (before, after) in sorted(changes.items()):
        if before == after:
            continue
        into = added if not before else removed if not after else changed
        fields = _fields(before, after) if before and after else []
        into.append(describe(view, rid, fields))
    return Diff(from_transaction=first, to_transaction=second, added=added, removed=removed, changed=changed)


def describe(view: LedgerView, rid: Rid, changes: Iterable[FieldChange] = ()) -> RecordChange:
    """Name a record as people know it."""
    record = view.record(rid)
    named = view.registry.behaviour[record.kind].describe(view, rid)
    return RecordChange(id=named.id, kind=view.registry.kind(record).name, text=named.text, changes=list(changes))


def _fields(before: Intervals, after: Intervals) -> list[FieldChange]:
    out: list[FieldChange] = []
    if len(before) == len(after) == 1:
        (old,), (new,) = before, after
        for name, a, b in (
            ("valid_from", old.valid_from, new.valid_from),
            ("valid_to", old.valid_to, new.valid_to),
        ):
            if a != b:
                out.append(FieldChange(field=name, before=format_time(a), after=format_time(b)))
        was, now = old.facts.fields, new.facts.fields
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                out.append(FieldChange(field=name, before=_plain(was.get(name)), after=_plain(now.get(name))))
        return out
    return [FieldChange(field="validity", before=_spans(before), after=_spans(after))]


def _plain(value: Json) -> JsonValue:
    return cast(JsonValue, value)


def _spans(intervals: Intervals) -> list[JsonValue]:
    return [
        {
            "valid_from": format_time(p.valid_from),
            "valid_to": format_time(p.valid_to),
            "facts": cast(JsonValue, dict(p.facts.fields)),
        }
        for p in intervals
    ]
