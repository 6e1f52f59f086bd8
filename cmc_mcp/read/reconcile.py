"""Reconcile: disagreements are annotated on both sides; nothing is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import Claim, claim_of
from cmc_mcp.model.results import ConflictNote
from cmc_mcp.model.time import SINCE_ALWAYS, format_time
from cmc_mcp.read.point import Point
from cmc_mcp.store.loading import Loaded
from cmc_mcp.store.protocol import LedgerView

_PREMISES_DEPTH_MAX = 10


@dataclass(slots=True)
class Notes:
    """What is to be said beside one memory."""

    conflicts: list[ConflictNote] = field(default_factory=list)
    superseded_by: list[int] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


def reconcile(view: LedgerView, point: Point, loaded: Sequence[Loaded]) -> dict[int, Notes]:
    """Find conflicts by claim and by edge, and stale premises, of memories at a read point."""
    notes = {item.row.rid: Notes() for item in loaded}
    for item in loaded:
        claim = claim_of(item.registers)
        if claim is not None and not claim.many:
            _by_claim(view, point, item, claim, notes[item.row.rid])
        if item.derived_from:
            notes[item.row.rid].stale = stale_premises(view, point, item.derived_from)
    _by_edge(view, point, loaded, notes)
    return notes


def _by_claim(view: LedgerView, point: Point, item: Loaded, claim: Claim, out: Notes) -> None:
    """The latest explicit `valid_from` ranks first and supersedes; equal ones conflict (`spec/cmc.md` §7)."""
    facts = view.facts_with_claim(claim.subject, claim.predicate)
    rivals = []
    for rid, start, _, pid in view.holders(facts, point.head.seq, point.valid_at):
        theirs = claim_of(view.facts(pid).registers)
        if rid != item.row.rid and theirs is not None and not theirs.many and theirs.object != claim.object:
            rivals.append((start, rid, theirs))
    mine = item.piece.valid_from
    newest = max((start for start, _, _ in rivals), default=mine)
    for start, rid, theirs in sorted(rivals, key=lambda rival: (-rival[0], rival[1])):
        name = atom_name(view.record(rid).key)
        what = f"{claim.subject} · {claim.predicate}: it says {theirs.object!r}{_since(start)}"
        if start == mine:
            out.conflicts.append(ConflictNote(with_id=name, kind="claim", reason=f"{what}, for the same time"))
        elif start > mine:
            if start == newest:
                out.superseded_by.append(rid)
            out.conflicts.append(ConflictNote(with_id=name, kind="superseded_by", reason=what))
        else:
            out.conflicts.append(ConflictNote(with_id=name, kind="supersedes", reason=what))


def _since(start: int) -> str:
    return "" if start == SINCE_ALWAYS else f" since {format_time(start)}"


def _by_edge(view: LedgerView, point: Point, loaded: Sequence[Loaded], notes: dict[int, Notes]) -> None:
    rids = [item.row.rid for item in loaded]
    for incoming in (False, True):
        for edge in view.edges(rids, incoming=incoming):
            if edge.type not in ("supersedes", "contradicts") or not holds(view, point, edge.rid):
                continue
            mine, other = (edge.target, edge.source) if incoming else (edge.source, edge.target)
            if not holds(view, point, other):
                continue
            name = atom_name(view.record(other).key)
            out = notes[mine]
            if edge.type == "contradicts":
                out.conflicts.append(ConflictNote(with_id=name, kind="contradicts", reason="marked as contradicting"))
            elif incoming:
                if other not in out.superseded_by:
                    out.superseded_by.append(other)
                    out.conflicts.append(ConflictNote(with_id=name, kind="superseded_by", reason="revised by it"))
            elif not any(note.with_id == name for note in out.conflicts):
                out.conflicts.append(ConflictNote(with_id=name, kind="supersedes", reason="a revision of it"))


def holds(view: LedgerView, point: Point, rid: int) -> bool:
    """Say whether a record holds at a read point."""
    return any(p.valid_from <= point.valid_at < p.valid_to for p in view.pieces(rid, point.head.seq))


def stale_premises(view: LedgerView, point: Point, premises: Sequence[str]) -> list[str]:
    """Give the premises, transitively, that were retracted or superseded at a read point."""
    stale: dict[str, None] = {}
    seen: set[str] = set()
    layer = list(premises)
    for _ in range(_PREMISES_DEPTH_MAX):
        following: list[str] = []
        for name in layer:
            if name in seen:
                continue
            seen.add(name)
            rid = view.rid(atom_record(bytes.fromhex(name.removeprefix("atom_"))))
            if rid is None:
                continue
            if not holds(view, point, rid) or _superseded(view, point, rid):
                stale[name] = None
            following += [
                atom_name(view.record(edge.target).key)
                for edge in view.edges([rid])
                if edge.type == "derives" and view.pieces(edge.rid, point.head.seq)
            ]
        if not following:
            break
        layer = following
    return list(stale)


def _superseded(view: LedgerView, point: Point, rid: int) -> bool:
    return any(
        edge.type == "supersedes" and holds(view, point, edge.rid) and holds(view, point, edge.source)
        for edge in view.edges([rid], incoming=True)
    )
