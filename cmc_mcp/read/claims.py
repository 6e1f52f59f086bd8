"""Claims: who claims what about a subject and predicate at a read point, and whose claim stands (`docs/design/read.md` §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.model.facts import Claim, FactFields, claim_of
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote
from cmc_mcp.model.time import SINCE_ALWAYS, format_time
from cmc_mcp.read.notes import Notes, clipped
from cmc_mcp.read.point import Point
from cmc_mcp.read.precedence import Relevance, Shares, precedence, since_us
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import AtomRow

_TOPIC_CHARS: Final = 24
_VALUE_CHARS: Final = 40
_JUDGED_MAX: Final = 64  # holders of which the one that stands best is said
_MIDNIGHT: Final = "T00:00:00Z"


class Holder(NamedTuple):
    """A memory that makes a single-valued claim at a read point."""

    rid: Rid
    start: int  # the time from which it does; SINCE_ALWAYS where it names none
    recorded: Seq  # when the memory was first recorded
    claim: Claim
    fields: FactFields

    @property
    def value(self) -> str:
        """What it claims, however spelled."""
        return self.claim.value

    @property
    def is_dated(self) -> bool:
        """Whether it says since when."""
        return self.start != SINCE_ALWAYS


class Topic:
    """The holders of claims about one subject and predicate: who gives way to whom, and in which order they come.

    Of two that name the time from which they hold, the later supersedes the earlier; those that agree with it are no
    losers, whenever they were dated. Any other two are in conflict, and the one recorded later comes first. What is asked
    of one holder costs nothing that grows with the number of the others.
    """

    def __init__(self, holders: list[Holder]) -> None:
        self.since: dict[str, int] = {}  # of a value, the latest time that somebody names for it
        self.counts: dict[str, int] = {}
        for holder in holders:
            self.counts[holder.value] = self.counts.get(holder.value, 0) + 1
            if holder.is_dated:
                self.since[holder.value] = max(self.since.get(holder.value, holder.start), holder.start)
        self.newest = max(self.since.values(), default=SINCE_ALWAYS)
        self.ordered = sorted(holders, key=self._place)
        self.places = {holder.rid: place for place, holder in enumerate(self.ordered)}
        self.winners = [h for h in self.ordered if h.is_dated and h.start == self.newest][:RIVALS_NAMED]
        self._firsts: dict[str, list[Holder]] = {}

    def _place(self, holder: Holder) -> tuple[bool, int, int, int]:
        loses = self.loses(holder)
        return loses, -self.since[holder.value] if loses else 0, -holder.recorded, -holder.rid

    def loses(self, holder: Holder) -> bool:
        """Return whether a holder is superseded by one of another value."""
        return holder.is_dated and self.since[holder.value] < self.newest

    def kind(self, mine: Holder, other: Holder) -> str:
        """Return what another holder is to mine: superseded_by, supersedes, or claim for a conflict."""
        if not (mine.is_dated and other.is_dated) or self.since[mine.value] == self.since[other.value]:
            return "claim"
        return "superseded_by" if self.since[mine.value] < self.since[other.value] else "supersedes"

    def rivals(self, value: str) -> list[Holder]:
        """Return the first few that claim something else, one of each value before another of the same."""
        if value not in self._firsts:
            found: list[Holder] = []
            values: set[str] = set()
            others: list[Holder] = []
            for holder in self.ordered:
                if holder.value == value:
                    continue
                if holder.value not in values:
                    values.add(holder.value)
                    found.append(holder)
                elif len(others) < RIVALS_NAMED:
                    others.append(holder)
                if len(found) == RIVALS_NAMED or (
                    len(found) + len(others) >= RIVALS_NAMED and len(values) == self._others(value)
                ):
                    break
            self._firsts[value] = [*found, *others][:RIVALS_NAMED]
        return self._firsts[value]

    def _others(self, value: str) -> int:
        return len(self.counts) - (value in self.counts)

    def count(self, value: str) -> int:
        """Return how many claim something else."""
        return len(self.ordered) - self.counts.get(value, 0)


class Claims:
    """The single-valued claims that hold at a read point, by subject and predicate, each topic read once."""

    def __init__(self, view: LedgerView, point: Point, relevance: Relevance, settings: Settings) -> None:
        self._view, self._point, self._relevance, self._settings = view, point, relevance, settings
        self._topics: dict[tuple[str, str], Topic] = {}
        self._best: dict[tuple[str, str], tuple[float, Rid] | None] = {}

    def topic(self, claim: Claim) -> Topic:
        """Return the holders of what a claim is about."""
        key = claim.about
        if key not in self._topics:
            self._topics[key] = Topic(self._holders(claim))
        return self._topics[key]

    def _holders(self, mine: Claim) -> list[Holder]:
        view, point = self._view, self._point
        rows = view.holders(view.facts_with_claim(mine.topic), point.head.seq, point.valid_at)
        rids = [row.rid for row in rows]
        atoms, held = view.atoms(rids), view.intervals_of(rids, point.head.seq)
        found = []
        for rid, atom in atoms.items():
            for interval in held.get(rid, ()):
                fields = interval.facts.fields
                claim = claim_of(fields)
                if claim is None or claim.many or claim.about != mine.about:
                    continue
                if interval.valid_from <= point.valid_at < interval.valid_to:
                    found.append(Holder(rid, interval.valid_from, atom.seq, claim, fields))
        return found

    def annotate(self, rid: Rid, claim: Claim, out: Notes) -> None:
        """Note beside a memory who contradicts it, three by name, and who of them stands."""
        topic = self.topic(claim)
        if rid not in topic.places or not (rivals := topic.rivals(claim.value)):
            return
        mine = topic.ordered[topic.places[rid]]
        best = self._winner(claim, topic)
        if topic.loses(mine):
            out.superseded_by += [winner.rid for winner in topic.winners]
            rivals = _each_once([*topic.winners, *rivals])
        elif topic.places[rivals[0].rid] < topic.places[rid]:
            out.after.append(rivals[0].rid)
        for rival in rivals:
            kind = topic.kind(mine, rival)
            reason = self._reason(rival, best if kind == "claim" else None, rid)
            name = atom_name(self._view.record(rival.rid).key)
            out.conflicts.append(ConflictNote.model_validate({"with_id": name, "kind": kind, "reason": reason}))
        out.more += topic.count(claim.value) - len(rivals)

    def order(self, told: Sequence[tuple[Rid, Claim | None]]) -> list[int]:
        """Return the places of memories, those of one topic in the order in which they come among themselves."""
        out = list(range(len(told)))
        topics: dict[tuple[str, str], list[int]] = {}
        for place, (_, claim) in enumerate(told):
            if claim is not None and not claim.many:
                topics.setdefault(claim.about, []).append(place)
        for mine in topics.values():
            if len(mine) > 1:
                claim = told[mine[0]][1]
                assert claim is not None
                places = self.topic(claim).places
                ordered = sorted(mine, key=lambda place: places.get(told[place][0], len(places)))
                for place, other in zip(mine, ordered, strict=True):
                    out[place] = other
        return out

    def is_superseded(self, rid: Rid, claim: Claim) -> bool:
        """Return whether a memory's claim gives way to a later one."""
        topic = self.topic(claim)
        return rid in topic.places and topic.loses(topic.ordered[topic.places[rid]])

    def _reason(self, rival: Holder, best: tuple[float, Rid] | None, mine: Rid) -> str:
        about = f"{clipped(rival.claim.subject, _TOPIC_CHARS)} {clipped(rival.claim.predicate, _TOPIC_CHARS)}"
        said = f"{about}: it says {clipped(rival.claim.object, _VALUE_CHARS)!r}{since_text(rival.start)}"
        if best is not None and best[1] in (rival.rid, mine):
            said += f"; {'it' if best[1] == rival.rid else 'this one'} stands best ({best[0]:.2f})"
        return said

    def _winner(self, claim: Claim, topic: Topic) -> tuple[float, Rid] | None:
        """Return the highest precedence among the first that do not give way; None where they all agree."""
        key = claim.about
        if key not in self._best:
            left = [holder for holder in topic.ordered[:_JUDGED_MAX] if not topic.loses(holder)]
            self._best[key] = self._first(left) if len({holder.value for holder in left}) > 1 else None
        return self._best[key]

    def _first(self, holders: list[Holder]) -> tuple[float, Rid]:
        view, point, settings = self._view, self._point, self._settings
        shares = Shares(settings.wins_relevance, settings.wins_recency, settings.wins_authority)
        rids = [holder.rid for holder in holders]
        match, rows = self._relevance(rids), view.atoms(rids)
        recorded = view.times_of(row.seq for row in rows.values())

        def placed(holder: Holder) -> tuple[float, bytes]:
            row: AtomRow = rows[holder.rid]
            since = since_us(holder.start, recorded[row.seq], point)
            score = precedence(match.get(holder.rid, 0.0), since, holder.fields, point, shares, settings.quality)
            return -score, row.key

        score, winner = min(((placed(holder), holder) for holder in holders), key=lambda entry: entry[0])
        return -score[0], winner.rid


def _each_once(holders: list[Holder]) -> list[Holder]:
    return list({holder.rid: holder for holder in holders}.values())[:RIVALS_NAMED]


def since_text(start: int) -> str:
    """Return since when something holds, as a note says it; nothing where no time is named."""
    return "" if start == SINCE_ALWAYS else f" since {(format_time(start) or '').removesuffix(_MIDNIGHT)}"
