"""Reconcile: disagreements are annotated on both sides; nothing is dropped (`docs/design/read.md` §6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cmc_mcp.config import Settings
from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import Claim, FactFields, claim_of
from cmc_mcp.model.results import ConflictNote
from cmc_mcp.model.time import SINCE_ALWAYS, format_time
from cmc_mcp.read.detect import Possible
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.point import Point
from cmc_mcp.read.precedence import Relevance, Shares, irrelevant, precedence, since_us
from cmc_mcp.read.slots import Pairing
from cmc_mcp.store.ports import LedgerView

_PREMISES_DEPTH_MAX = 10


class Holder(NamedTuple):
    """A memory that makes a single-valued claim at a read point, the time from which it does, and its other facts."""

    rid: Rid
    start: int
    claim: Claim
    fields: FactFields


class Claims:
    """The single-valued claims of a subject and predicate that hold at a read point, and which of their values stand.

    A value stands since the latest explicit `valid_from` of those that say it, so that agreeing with the winner
    never loses. The latest value supersedes; equal ones conflict, and the one said with the higher precedence wins.
    """

    def __init__(self, view: LedgerView, point: Point, relevance: Relevance, settings: Settings) -> None:
        self._view, self._point, self._relevance, self._settings = view, point, relevance, settings
        self._known: dict[tuple[str, str], list[Holder]] = {}

    def holders(self, subject: str, predicate: str) -> list[Holder]:
        """Return the holders of a claim about a subject and predicate, latest first, then as recorded."""
        key = (subject, predicate)
        if key not in self._known:
            view, found = self._view, []
            facts = view.facts_with_claim(subject, predicate)
            for rid, start, _, pid in view.holders(facts, self._point.head.seq, self._point.valid_at):
                fields = view.facts(pid).fields
                claim = claim_of(fields)
                if claim is not None and not claim.many:
                    found.append(Holder(rid, start, claim, fields))
            self._known[key] = sorted(found, key=lambda holder: (-holder.start, holder.rid))
        return self._known[key]

    def annotate(self, rid: Rid, claim: Claim, out: Notes) -> None:
        """Say beside a memory who says otherwise, and which of them stands."""
        holders = self.holders(claim.subject, claim.predicate)
        rivals = [holder for holder in holders if holder.rid != rid and holder.claim.object != claim.object]
        if not rivals:
            return
        since = _since_when(holders)
        mine = since.get(claim.object, SINCE_ALWAYS)
        newest = max(since.values())
        if mine < newest:
            out.superseded_by += [h.rid for h in rivals if h.start == newest]
        tied = {value for value, start in since.items() if start == mine}
        best = self._best([h for h in holders if h.claim.object in tied]) if len(tied) > 1 else None
        for holder in rivals:
            theirs = since[holder.claim.object]
            what = f"{claim.subject} · {claim.predicate}: it says {holder.claim.object!r}{_since(holder.start)}"
            name = atom_name(self._view.record(holder.rid).key)
            if theirs > mine:
                out.conflicts.append(ConflictNote(with_id=name, kind="superseded_by", reason=what))
            elif theirs < mine:
                out.conflicts.append(ConflictNote(with_id=name, kind="supersedes", reason=what))
            else:
                what += f", for the same time{self._verdict(best)}"
                out.conflicts.append(ConflictNote(with_id=name, kind="claim", reason=what))

    def is_superseded(self, claim: Claim) -> bool:
        """Return whether another value stands since later than the one that a memory claims."""
        since = _since_when(self.holders(claim.subject, claim.predicate))
        return since.get(claim.object, SINCE_ALWAYS) < max(since.values(), default=SINCE_ALWAYS)

    def _best(self, holders: list[Holder]) -> tuple[float, Holder]:
        """Return the winner among equals: the highest precedence, then the first by id."""
        view, point, settings = self._view, self._point, self._settings
        shares = Shares(settings.wins_relevance, settings.wins_recency, settings.wins_authority)
        match = self._relevance([holder.rid for holder in holders])
        rows = view.atoms([holder.rid for holder in holders])
        recorded = view.times_of(row.seq for row in rows.values())
        scored = []
        for holder in holders:
            since = since_us(holder.start, recorded[rows[holder.rid].seq], point)
            score = precedence(match.get(holder.rid, 0.0), since, holder.fields, point, shares, settings.quality)
            scored.append((-score, rows[holder.rid].key, holder))
        score, _, winner = min(scored, key=lambda entry: entry[:2])
        return -score, winner

    def _verdict(self, best: tuple[float, Holder] | None) -> str:
        if best is None:
            return ""
        score, winner = best
        return (
            f"; {atom_name(self._view.record(winner.rid).key)} stands best, with {winner.claim.object!r} ({score:.2f})"
        )


def _since_when(holders: Iterable[Holder]) -> dict[str, int]:
    since: dict[str, int] = {}
    for holder in holders:
        since[holder.claim.object] = max(since.get(holder.claim.object, holder.start), holder.start)
    return since


def _since(start: int) -> str:
    return "" if start == SINCE_ALWAYS else f" since {format_time(start)}"


def reconcile(
    view: LedgerView,
    point: Point,
    loaded: Sequence[Loaded],
    relevance: Relevance = irrelevant,
    settings: Settings | None = None,
) -> dict[Rid, Notes]:
    """Find conflicts by claim and by edge, and stale premises, of memories at a read point.

    Only what holds at the point's `valid_at` is compared: intervals that do not overlap are a history, not a conflict.
    """
    notes = {item.row.rid: Notes() for item in loaded}
    claims = Claims(view, point, relevance, settings or Settings())
    for item in loaded:
        claim = claim_of(item.fields)
        if claim is not None and not claim.many:
            claims.annotate(item.row.rid, claim, notes[item.row.rid])
        if item.derived_from:
            notes[item.row.rid].stale = stale_premises(view, point, item.derived_from, claims)
    _by_edge(view, point, loaded, notes)
    return notes


def _by_edge(view: LedgerView, point: Point, loaded: Sequence[Loaded], notes: Mapping[Rid, Notes]) -> None:
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
                if not any(note.with_id == name and note.kind == "contradicts" for note in out.conflicts):
                    what = "marked as contradicting"
                    out.conflicts.append(ConflictNote(with_id=name, kind="contradicts", reason=what))
            elif incoming:
                if other not in out.superseded_by:
                    out.superseded_by.append(other)
                    out.conflicts.append(ConflictNote(with_id=name, kind="superseded_by", reason="revised by it"))
            elif not any(note.with_id == name for note in out.conflicts):
                out.conflicts.append(ConflictNote(with_id=name, kind="supersedes", reason="a revision of it"))


def holds(view: LedgerView, point: Point, rid: Rid) -> bool:
    """Return whether a record holds at a read point."""
    return any(p.valid_from <= point.valid_at < p.valid_to for p in view.intervals(rid, point.head.seq))


def stale_premises(view: LedgerView, point: Point, premises: Sequence[str], claims: Claims | None = None) -> list[str]:
    """Return the premises, transitively, that were retracted or superseded at a read point."""
    claims = claims or Claims(view, point, irrelevant, Settings())
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
            if not holds(view, point, rid) or _superseded(view, point, rid, claims):
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


def _superseded(view: LedgerView, point: Point, rid: Rid, claims: Claims) -> bool:
    """Return whether a memory that holds is superseded, by a revision or by a later claim."""
    if any(
        edge.type == "supersedes" and holds(view, point, edge.rid) and holds(view, point, edge.source)
        for edge in view.edges([rid], incoming=True)
    ):
        return True
    for interval in view.intervals(rid, point.head.seq):
        claim = claim_of(interval.facts.fields)
        if claim is not None and not claim.many and interval.valid_from <= point.valid_at < interval.valid_to:
            return claims.is_superseded(claim)
    return False


def note_possible(found: Iterable[Possible], items: Mapping[Rid, Loaded], notes: Mapping[Rid, Notes]) -> int:
    """Mark possible conflicts on both sides, unless the two are known to disagree; return how many were marked."""
    marked = 0
    for first, second, score, reason in found:
        one, two = items[first], items[second]
        if any(note.with_id == two.name for note in notes[first].conflicts):
            continue
        marked += 1
        for mine, other in ((first, two), (second, one)):
            said = reason + _since(other.interval.valid_from)
            notes[mine].conflicts.append(ConflictNote(with_id=other.name, kind="possible", reason=said, score=score))
    return marked


def note_newer(pairs: Sequence[Pairing], items: Sequence[Loaded], notes: Sequence[Notes]) -> int:
    """Mark both statements of each pair, of which one has a newer value; return the number of pairs."""
    for older, newer, score, reason in pairs:
        new, old = items[newer].name, items[older].name
        notes[newer].conflicts.append(ConflictNote(with_id=old, kind="newer", reason=reason, score=score))
        notes[older].conflicts.append(ConflictNote(with_id=new, kind="older", reason=reason, score=score))
    return len(pairs)
