"""Diffs: what differs between two states, record by record and field by field. Costs what changed, not what exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pydantic import JsonValue

from cmc_mcp.canon import Json
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ATOM, EDGE
from cmc_mcp.kernel.pieces import Pieces
from cmc_mcp.model.results import Diff, FieldChange, RecordChange
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.store.protocol import LedgerView
from cmc_mcp.store.rows import BINARY, MODALITIES, checked

_PREVIEW_CHARS = 160


def diff(view: LedgerView, first: int, second: int) -> Diff:
    """Compare the memory states after two transactions; `second` may be the earlier one."""
    low, high = min(first, second), max(first, second)
    rids = [rid for rid in view.changed(low, high) if view.registry.kind(view.record(rid)).memory]
    return compare(view, {rid: (view.pieces(rid, first), view.pieces(rid, second)) for rid in rids}, first, second)


def compare(view: LedgerView, changes: Mapping[int, tuple[Pieces, Pieces]], first: int, second: int) -> Diff:
    """Describe records that go from some pieces to others."""
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


def describe(view: LedgerView, rid: int, changes: Iterable[FieldChange] = ()) -> RecordChange:
    """Name a record as people know it."""
    record = view.record(rid)
    kind, name, text = view.registry.kind(record).name, record.key.hex(), None
    if record.kind == ATOM.code:
        name, text = atom_name(record.key), _preview(view, rid)
    elif record.kind == EDGE.code and (edge := view.edge(rid)) is not None:
        source, target = atom_name(view.record(edge.source).key), atom_name(view.record(edge.target).key)
        name, text = f"edge_{name}", f"{source} {edge.type} {target}"
    else:
        name = f"{kind}_{name}"
        origin = view.origin_of(rid)
        body = None if origin is None else view.payload(origin)
        text = body.decode() if body is not None else None
    return RecordChange(id=name, kind=kind, text=text, changes=list(changes))


def _preview(view: LedgerView, rid: int) -> str | None:
    row = view.atom(rid)
    if row is None:
        return None
    payload = view.payload_row(row.content)
    if MODALITIES[row.modality] in BINARY or payload.object:
        return f"[{MODALITIES[row.modality]}, {payload.size:,} bytes]"
    body = checked(payload)
    if body is None:
        return ERASED
    text = body.decode()
    return text if len(text) <= _PREVIEW_CHARS else text[: _PREVIEW_CHARS - 1] + "…"


def _fields(before: Pieces, after: Pieces) -> list[FieldChange]:
    out: list[FieldChange] = []
    if len(before) == len(after) == 1:
        (old,), (new,) = before, after
        for name, a, b in (
            ("valid_from", old.valid_from, new.valid_from),
            ("valid_to", old.valid_to, new.valid_to),
        ):
            if a != b:
                out.append(FieldChange(field=name, before=format_time(a), after=format_time(b)))
        was, now = old.facts.registers, new.facts.registers
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                out.append(FieldChange(field=name, before=_plain(was.get(name)), after=_plain(now.get(name))))
        return out
    return [FieldChange(field="validity", before=_spans(before), after=_spans(after))]


def _plain(value: Json) -> JsonValue:
    return cast(JsonValue, value)


def _spans(pieces: Pieces) -> list[JsonValue]:
    return [
        {
            "valid_from": format_time(p.valid_from),
            "valid_to": format_time(p.valid_to),
            "facts": cast(JsonValue, dict(p.facts.registers)),
        }
        for p in pieces
    ]
