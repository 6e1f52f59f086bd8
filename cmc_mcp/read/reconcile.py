"""Reconcile: disagreements are annotated on both sides; nothing is dropped (`docs/design/read.md` §6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import claim_of
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote
from cmc_mcp.read.claims import since_text
from cmc_mcp.read.detect import Possible
from cmc_mcp.read.echoes import Echo, Known, echoes_of, holds
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.point import Point
from cmc_mcp.read.slots import Pairing
from cmc_mcp.store.ports import LedgerView

_PREMISES_DEPTH_MAX: Final = 10


def reconcile(view: LedgerView, point: Point, loaded: Sequence[Loaded], known: Known) -> dict[Rid, Notes]:
    """Find conflicts by claim and by edge, echoes, and stale premises, of memories at a read point.

    Only what holds at the point's `valid_at` is compared: intervals that do not overlap are a history, not a conflict.
    `known` is what was found of other memories at the same point.
    """
    notes = {item.row.rid: Notes() for item in loaded}
    echoes = echoes_of(view, loaded, known)
    for item in loaded:
        rid, claim, out = item.row.rid, claim_of(item.fields), notes[item.row.rid]
        if rid in echoes:
            _note_echo(view, out, echoes[rid])
        if claim is not None and not claim.many:
            known.claims.annotate(rid, claim, out)
        if item.derived_from:
            out.stale = _stale_premises(view, point, item.derived_from, known)
    _by_edge(view, point, loaded, notes, known)
    for loser, echo in echoes.items():
        for winner in echo.standing:
            if winner in notes:
                name = atom_name(view.record(loser).key)
                notes[winner].conflicts = [note for note in notes[winner].conflicts if note.with_id != name]
                notes[winner].add(ConflictNote(with_id=name, kind="supersedes", reason="it repeats what this replaced"))
                notes[winner].after = [rid for rid in notes[winner].after if rid != loser]
    for out in notes.values():
        out.bound()
    return notes


def _note_echo(view: LedgerView, out: Notes, echo: Echo) -> None:
    for rid in echo.standing[:RIVALS_NAMED]:
        name = atom_name(view.record(rid).key)
        out.superseded_by.append(rid)
        why = "revised by it" if echo.is_itself else "it replaced what this repeats"
        out.conflicts.append(ConflictNote(with_id=name, kind="superseded_by", reason=why))
    out.more += max(0, len(echo.standing) - RIVALS_NAMED)


def _by_edge(
    view: LedgerView, point: Point, loaded: Sequence[Loaded], notes: Mapping[Rid, Notes], known: Known
) -> None:
    rids = [item.row.rid for item in loaded]
    for incoming in (False, True):
        for edge in view.edges(rids, incoming=incoming):
            if edge.type not in ("supersedes", "contradicts") or not holds(view, point, edge.rid):
                continue
            mine, other = (edge.target, edge.source) if incoming else (edge.source, edge.target)
            if not holds(view, point, other):
                continue
            name = atom_name(view.record(other).key)
            if edge.type == "contradicts":
                notes[mine].add(ConflictNote(with_id=name, kind="contradicts", reason="marked as contradicting"))
            elif not incoming and mine in known.succession.standing(other):
                notes[mine].add(ConflictNote(with_id=name, kind="supersedes", reason="a revision of it"))


def _stale_premises(view: LedgerView, point: Point, premises: Sequence[str], known: Known) -> list[str]:
    """Return the premises, transitively, that were retracted or superseded at a read point."""
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
            if not holds(view, point, rid) or _superseded(view, point, rid, known):
                stale[name] = None
            following += [
                atom_name(view.record(edge.target).key)
                for edge in view.edges([rid])
                if edge.type == "derives" and view.intervals(edge.rid, point.head.seq)
            ]
        if not following:
            break
        layer = following
    return list(stale)


def _superseded(view: LedgerView, point: Point, rid: Rid, known: Known) -> bool:
    """Return whether a memory that holds is superseded, by a revision or by a later claim."""
    if known.succession.standing(rid):
        return True
    for interval in view.intervals(rid, point.head.seq):
        claim = claim_of(interval.facts.fields)
        if claim is not None and not claim.many and interval.valid_from <= point.valid_at < interval.valid_to:
            return known.claims.is_superseded(rid, claim)
    return False


def are_keyed(one: Loaded, other: Loaded) -> bool:
    """Return whether two memories claim something of one subject and predicate: then their claims say if they disagree."""
    mine, theirs = claim_of(one.fields), claim_of(other.fields)
    return mine is not None and theirs is not None and mine.about == theirs.about


def note_possible(found: Iterable[Possible], items: Mapping[Rid, Loaded], notes: Mapping[Rid, Notes]) -> int:
    """Mark possible conflicts on both sides, unless the two are known to disagree; return how many were marked."""
    marked = 0
    for first, second, score, reason in found:
        one, two = items[first], items[second]
        if any(note.with_id == two.name for note in notes[first].conflicts) or are_keyed(one, two):
            continue
        marked += 1
        for mine, other in ((first, two), (second, one)):
            said = reason + since_text(other.interval.valid_from)
            notes[mine].add(ConflictNote(with_id=other.name, kind="possible", reason=said, score=score))
    return marked


def note_newer(pairs: Sequence[Pairing], items: Sequence[Loaded], notes: Sequence[Notes]) -> int:
    """Mark both statements of each pair, of which one has a newer value; return the number of pairs."""
    for older, newer, score, reason in pairs:
        new, old = items[newer].name, items[older].name
        notes[newer].add(ConflictNote(with_id=old, kind="newer", reason=reason, score=score))
        notes[older].add(ConflictNote(with_id=new, kind="older", reason=reason, score=score))
    return len(pairs)
