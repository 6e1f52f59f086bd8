"""Arrange: candidates become what a reader sees in order: each statement once, what supersedes before what it supersedes.

The order is made window by window. A window takes candidates, best first, until they form `near_window` groups, so that a
group may be of any size, and its bounds follow from the order alone: pages cut from the sequence never change it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.ids import Pid, Rid
from cmc_mcp.model.facts import claim_of
from cmc_mcp.read import navigate
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.dedupe import first_of_each
from cmc_mcp.read.detect import Detector, by_words
from cmc_mcp.read.near import Closeness, Grouping
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.precedence import Relevance, Shares, irrelevant, precedence, since_us
from cmc_mcp.read.rank import Hit
from cmc_mcp.read.reading import Reading
from cmc_mcp.read.reconcile import note_newer, note_possible, reconcile
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.slots import Candidate, reordered, slot_pairs
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.rows import MODALITIES, AtomRow

if TYPE_CHECKING:
    pass

_WINNERS_DEPTH_MAX = 10
_COMPARED = frozenset(map(MODALITIES.index, ("text", "event")))  # in code and in calls every sign may matter


@dataclass(frozen=True, slots=True)
class Placed:
    """One memory in its place, and those it stands for besides itself."""

    hit: Hit
    loaded: Loaded
    notes: Notes
    others: tuple[Loaded, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedHit:
    """A candidate as it was loaded, and its text (None when it is not compared) and vector as they are compared."""

    hit: Hit
    loaded: Loaded
    notes: Notes
    statement: Statement | None
    vector: bytes | None


class Arranged:
    """The sequence that pages are cut from: a function of the question and the read point alone."""

    def __init__(
        self,
        reading: Reading,
        selection: Selection,
        candidates: Iterator[navigate.Candidate],
        chunk: int,
        trace: Trace,
        *,
        query: str = "",
        relevance: Relevance = irrelevant,
        detector: Detector = by_words,
    ) -> None:
        self._view, self._objects, self._point = reading.view, reading.objects, reading.point
        self._settings = settings = reading.settings
        self._selection, self._candidates, self._trace = selection, candidates, trace
        self._chunk = max(chunk, settings.near_window)
        self._model, self._relevance, self._detector, self._query = reading.model, relevance, detector, query
        self._statements = reading.statements
        self._read: set[Pid] = set()  # contents
        self._seen: set[Pid] = set()  # contents
        self._placed: set[Rid] = set()
        self._ahead: deque[LoadedHit] = deque()
        self._said: dict[Rid, Notes] = {}  # in this window
        self._closeness = Closeness(min(settings.near_cosine, settings.possible_cosine))
        self.merged = self.annotated = 0

    def __iter__(self) -> Iterator[Placed]:
        """Yield every memory once, in order; it reads on only as far as it is read."""
        while groups := self._window():
            shown = [self._who_stands(group) for group in groups]
            self._said = {found.hit.rid: found.notes for found in shown}
            if not self._placed:
                order = self._newer_first(shown)
                shown, groups = [shown[place] for place in order], [groups[place] for place in order]
            self._mark_possible(shown)
            self._trace.lap("reconcile", len(shown), annotated=self.annotated)
            for found, group in zip(shown, groups, strict=True):
                if not self._is_shown(found.loaded.row):
                    others = tuple(other.loaded for other in group if other is not found)
                    hit = group[0].hit._replace(rid=found.hit.rid)  # a group is as good a match as its best
                    yield from self._with_winners(hit, found.loaded, found.notes, others)

    def _window(self) -> list[list[LoadedHit]]:
        """Take candidates until there are enough groups of them."""
        settings, members = self._settings, dict[Rid, LoadedHit]()
        self._closeness = Closeness(min(settings.near_cosine, settings.possible_cosine))
        near = 0  # how many of those ahead are in it
        grouping = Grouping(self._closeness, settings, lambda a, b: are_apart(members[a], members[b]))
        while len(grouping.groups) < settings.near_window and len(members) < settings.near_window_max:
            if not self._ahead and not self._read_on():
                break
            if not near:
                part = list(islice(self._ahead, settings.near_window))
                self._closeness.add({each.hit.rid: each.vector for each in part if each.vector is not None})
                near = len(part)
            near -= 1
            found = self._ahead.popleft()
            if not self._is_shown(found.loaded.row):
                members[found.hit.rid] = found
                merges = settings.near_dedupe and found.notes.is_empty  # who is disputed stands for itself
                grouping.add(found.hit.rid, found.statement if merges else None)
        self.merged += len(members) - len(grouping.groups)
        return [[members[rid] for rid in group] for group in grouping.groups]

    def _read_on(self) -> bool:
        """Load more candidates; say whether there were any."""
        while chunk := list(islice(self._candidates, self._chunk)):
            loaded = self._loaded(chunk)
            self._trace.lap("load", len(loaded))
            notes = self._notes(list(loaded.values()))
            found = self._to_compare([(hit, loaded[hit.rid]) for hit, _ in chunk if hit.rid in loaded], notes)
            self._ahead.extend(found)
            if found:
                return True
        return False

    def _loaded(self, chunk: list[tuple[Hit, AtomRow]]) -> dict[Rid, Loaded]:
        rids = [hit.rid for hit, _ in chunk]
        if self._settings.dedupe:
            rids = first_of_each([(hit.rid, row.content) for hit, row in chunk], self._read | self._seen)
            self._read.update(row.content for _, row in chunk)
            self.merged += len(chunk) - len(rids)
        rows = {row.rid: row for _, row in chunk}
        found = load(self._view, self._objects, rids, self._point.head.seq, self._point.valid_at, rows)
        return {rid: item for rid, item in found.items() if item.data is not None}

    def _to_compare(self, loaded: list[tuple[Hit, Loaded]], notes: dict[Rid, Notes]) -> list[LoadedHit]:
        settings, statements = self._settings, self._statements
        wanted = settings.near_dedupe or (settings.reconcile and (settings.possible_conflicts or settings.supersede))
        compared = [(hit.rid, item) for hit, item in loaded if wanted and item.row.modality in _COMPARED]
        said = {rid: statements.of(item.row.content, item.text) for rid, item in compared}
        vectors: dict[Rid, bytes] = {}
        if said and self._model:
            vectors = self._view.vectors_of(self._model, list(said), self._point.head.seq)
        return [LoadedHit(hit, item, notes[hit.rid], said.get(hit.rid), vectors.get(hit.rid)) for hit, item in loaded]

    def _notes(self, loaded: list[Loaded]) -> dict[Rid, Notes]:
        if not self._settings.reconcile:
            return {item.row.rid: Notes() for item in loaded}
        notes = reconcile(self._view, self._point, loaded, self._relevance, self._settings)
        self.annotated += sum(1 for said in notes.values() if said.conflicts or said.stale)
        return notes

    def _who_stands(self, group: list[LoadedHit]) -> LoadedHit:
        """Choose the member that represents a group: the highest precedence, then the first."""
        if len(group) == 1:
            return group[0]
        settings, point = self._settings, self._point
        shares = Shares(settings.stands_relevance, settings.stands_recency, settings.stands_authority)
        recorded = self._view.times_of(found.loaded.row.seq for found in group)

        def stands(found: LoadedHit) -> float:
            item = found.loaded
            occurred = item.discriminator.get("occurred_at")
            since = since_us(item.interval.valid_from, recorded[item.row.seq], point)
            since = since if occurred is None else int(str(occurred))
            return precedence(found.hit.score, since, item.fields, point, shares, settings.quality)

        return max(group, key=lambda found: (stands(found), -group.index(found)))

    def _newer_first(self, shown: list[LoadedHit]) -> list[int]:
        """Put a statement before an older one of its slot, and mark both; return the order of what is shown first."""
        if not self._settings.supersede or not self._settings.reconcile:
            return list(range(len(shown)))
        told = [self._told(found) for found in shown]
        kept = [place for place, each in enumerate(told) if each is not None]
        pairs = slot_pairs(
            self._query,
            [each for each in told if each is not None],
            lambda a, b: self._closeness.cosine(shown[kept[a]].hit.rid, shown[kept[b]].hit.rid),
            self._settings.slots,
        )
        pairs = [pair._replace(older=kept[pair.older], newer=kept[pair.newer]) for pair in pairs]
        self.annotated += note_newer(pairs, [found.loaded for found in shown], [found.notes for found in shown])
        return reordered(len(shown), pairs)

    def _told(self, found: LoadedHit) -> Candidate | None:
        """Return a statement as slots compare it, in the order of time; None for what supersedes nothing by itself."""
        loaded, said = found.loaded, found.statement
        if said is None or not found.notes.is_empty or (loaded.row.origin and "session" not in loaded.discriminator):
            return None
        occurred = loaded.discriminator.get("occurred_at")
        order = (loaded.row.seq, loaded.row.rid) if occurred is None else (int(str(occurred)), loaded.row.rid)
        return Candidate(said, order, str(_speaker(loaded) or ""), found.hit.score)

    def _mark_possible(self, shown: list[LoadedHit]) -> None:
        settings = self._settings
        if not (settings.reconcile and settings.possible_conflicts):
            return
        texts = {found.hit.rid: found.statement for found in shown if found.statement is not None}
        if len(texts) > 1:
            loaded = {found.hit.rid: found.loaded for found in shown}
            possible = self._detector(texts, self._closeness, settings)
            said_by_one = [each for each in possible if _speaker(loaded[each.first]) == _speaker(loaded[each.second])]
            self.annotated += note_possible(said_by_one, loaded, self._said)

    def _is_shown(self, row: AtomRow) -> bool:
        return row.rid in self._placed or (self._settings.dedupe and row.content in self._seen)

    def _with_winners(
        self, hit: Hit, loaded: Loaded, notes: Notes, others: tuple[Loaded, ...] = (), depth: int = 0
    ) -> Iterator[Placed]:
        """Put what supersedes a memory right before it, drawing it in when it was not found by itself."""
        self._placed.add(hit.rid)
        self._placed.update(other.row.rid for other in others)
        self._seen.update(item.row.content for item in (loaded, *others))
        winners = [rid for rid in notes.superseded_by if rid not in self._placed]
        if winners and depth < _WINNERS_DEPTH_MAX:
            yield from self._drawn_in(winners, hit, depth)
        yield Placed(hit, loaded, notes, others)

    def _drawn_in(self, winners: list[Rid], loser: Hit, depth: int) -> Iterator[Placed]:
        import numpy as np

        passing = self._selection.passing(np.array(winners, np.int64)).tolist()
        mine = [rid for rid, ok in zip(winners, passing, strict=True) if ok]
        found = load(self._view, self._objects, mine, self._point.head.seq, self._point.valid_at)
        notes = self._notes([item for item in found.values() if item.data is not None]) | self._said
        for rid in mine:
            if rid in notes and not self._is_shown(found[rid].row):
                hit = Hit(rid, loser.score, 0.0, 0.0)
                yield from self._with_winners(hit, found[rid], notes[rid], depth=depth + 1)


def _speaker(loaded: Loaded) -> object:
    return loaded.discriminator.get("speaker")


def are_apart(a: LoadedHit, b: LoadedHit) -> bool:
    """Return whether two memories stay apart whatever their words are.

    What two speakers say, what different claims state, and what two days call "yesterday" is not the same.
    """
    one, two = a.loaded, b.loaded
    if one.row.modality != two.row.modality or _speaker(one) != _speaker(two):
        return True
    if claim_of(one.fields) != claim_of(two.fields):
        return True
    if one.discriminator.get("occurred_at") == two.discriminator.get("occurred_at"):
        return False
    return any(found.statement is not None and found.statement.asserted.speaks_of_now for found in (a, b))
