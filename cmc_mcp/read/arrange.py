"""Arrange: candidates become what a reader sees in order, what supersedes before what it supersedes.

The order is made window by window. A window takes candidates, best first, until they form `near_window` groups of what is
equal in everything (`read/dedupe.py`). Its bounds follow from the order alone: pages cut from the sequence never change
it. The same words of others, or of other days, are items of their own; where there are many, `occurrences_max` of them come
in a window, and the rest in those after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.ids import Rid
from cmc_mcp.model.facts import claim_of, tags_of
from cmc_mcp.read import navigate
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.dedupe import PROSE, Occurrences, Same, same_of, words_key
from cmc_mcp.read.detect import by_words
from cmc_mcp.read.echoes import Known
from cmc_mcp.read.near import Closeness
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.precedence import Relevance
from cmc_mcp.read.rank import Hit
from cmc_mcp.read.reading import Reading
from cmc_mcp.read.reconcile import are_keyed, note_newer, note_possible, reconcile
from cmc_mcp.read.retold import note_retold
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.slots import Candidate, brought_forward, reordered, slot_pairs
from cmc_mcp.read.trace import Trace

_WINNERS_DEPTH_MAX = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """One memory in its place, and those it stands for besides itself."""

    hit: Hit
    loaded: Loaded
    notes: Notes
    others: tuple[Loaded, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedHit:
    """A loaded candidate: its text as a statement to compare (None for what is not compared), and the key of its words."""

    hit: Hit
    loaded: Loaded
    notes: Notes
    statement: Statement | None
    text: str


class Arranged:
    """The sequence that pages are cut from: a function of the question and the read point alone."""

    def __init__(
        self,
        reading: Reading,
        selection: Selection,
        candidates: Iterator[navigate.Candidate],
        chunk: int,
        trace: Trace,
        query: str,
        relevance: Relevance,
    ) -> None:
        self._view, self._objects, self._point = reading.view, reading.objects, reading.point
        self._settings = settings = reading.settings
        self._selection, self._candidates, self._trace = selection, candidates, trace
        self._chunk = max(chunk, settings.near_window)
        self._model, self._query = reading.model, query
        self._statements = reading.statements
        self._placed: set[Rid] = set()
        self._ahead: deque[LoadedHit | navigate.Candidate] = deque()  # what need not be loaded yet, as a candidate
        self._occurrences = Occurrences(settings.occurrences_max)
        self._said: dict[Rid, Notes] = {}  # in this window
        self._closeness = Closeness({})
        self._known = Known.at(self._view, self._point, relevance, settings, reading.superseded)
        self.merged = self.annotated = 0

    def __iter__(self) -> Iterator[Placed]:
        """Yield every memory once, in order; it reads on only as far as it is read."""
        while groups := self._window():
            shown = _firsts(groups)
            self._said = {found.hit.rid: found.notes for found in shown}
            self._measure(shown)
            self._mark_retold(shown)  # first: what was superseded and is told again is not the newer value
            if not self._placed:
                groups = [groups[place] for place in self._newer_first(shown)]
            groups = [groups[place] for place in self._claimed_later_first(_firsts(groups))]
            self._mark_possible(_firsts(groups))
            self._trace.lap("reconcile", len(groups), annotated=self.annotated)
            for group in groups:
                left = [each for each in group if each.hit.rid not in self._placed]
                if left:  # else it was drawn in meanwhile
                    stands_for = tuple(other.loaded for other in left[1:])
                    yield from self._with_winners(left[0].hit, left[0].loaded, left[0].notes, stands_for)

    def _window(self) -> list[list[LoadedHit]]:
        """Take candidates until there are enough groups of them; what one text has too many of waits for the next."""
        groups: list[list[LoadedHit]] = []
        while not groups and (self._ahead or self._occurrences or self._read_on()):
            self._fill(groups)
        self.merged += sum(map(len, groups)) - len(groups)
        return groups

    def _fill(self, groups: list[list[LoadedHit]]) -> None:
        settings, group_of, looked_at = self._settings, dict[Same, list[LoadedHit]](), 0
        waiting = self._occurrences.released()
        while len(groups) < settings.near_window:
            if waiting:
                candidate: LoadedHit | navigate.Candidate = waiting.popleft()[1]
            elif looked_at < settings.near_window_max and (self._ahead or self._read_on()):
                candidate = self._ahead.popleft()
                looked_at += 1
            else:
                break
            found = self._taken(candidate)
            if found is None:
                continue
            folds = settings.dedupe and found.notes.is_empty  # a disputed memory is shown by itself
            same = same_of(found.loaded, found.text) if folds else None
            if same is not None and same in group_of:
                group_of[same].append(found)
                continue
            groups.append([found])
            self._occurrences.take(found.text)
            if same is not None:
                group_of[same] = groups[-1]
        self._occurrences.give_back(waiting)

    def _taken(self, candidate: LoadedHit | navigate.Candidate) -> LoadedHit | None:
        """Return a candidate as it is loaded; None if it has its place, has to wait, or is not there."""
        loaded = candidate if isinstance(candidate, LoadedHit) else None
        plain = candidate if not isinstance(candidate, LoadedHit) else (candidate.hit, candidate.loaded.row)
        if plain[0].rid in self._placed:
            return None
        if self._occurrences.is_too_many(plain[1]):
            self._occurrences.hold_back(plain)
            return None
        return loaded or next(iter(self._loaded([plain])), None)

    def _read_on(self) -> bool:
        """Read more candidates; say whether there were any. What has to wait anyway is not loaded."""
        while chunk := list(islice(self._candidates, self._chunk)):
            wanted = [each for each in chunk if not self._occurrences.is_too_many(each[1])]
            loaded = {found.hit.rid: found for found in self._loaded(wanted)}
            self._trace.lap("load", len(loaded))
            later = {hit.rid for hit, _ in chunk} - {hit.rid for hit, _ in wanted}
            found = [loaded.get(each[0].rid, each) for each in chunk if each[0].rid in loaded or each[0].rid in later]
            self._ahead.extend(found)
            if found:
                return True
        return False

    def _loaded(self, chunk: list[navigate.Candidate]) -> list[LoadedHit]:
        """Load candidates, without those that were erased, and find what is to be said of each."""
        if not chunk:
            return []
        rows = {row.rid: row for _, row in chunk}
        found = load(self._view, self._objects, list(rows), self._point.head.seq, self._point.valid_at, rows)
        here = {rid: item for rid, item in found.items() if item.data is not None}
        notes, out = self._notes(list(here.values())), []
        for hit, row in chunk:
            if hit.rid in here:
                item = here[hit.rid]
                text = words_key(item, self._statements)
                self._occurrences.know(row, text)
                said = self._statements.of(row.content, item.text) if row.modality in PROSE else None
                out.append(LoadedHit(hit, item, notes[hit.rid], said, text))
        return out

    def _measure(self, shown: list[LoadedHit]) -> None:
        """Take in the vectors of what a window shows, where they are compared."""
        settings, said = self._settings, [found.hit.rid for found in shown if found.statement is not None]
        compared = settings.reconcile and (settings.possible_conflicts or settings.supersede)
        wanted = len(said) > 1 and self._model and compared
        self._closeness = Closeness(self._view.vectors_of(self._model, said, self._point.head.seq) if wanted else {})

    def _notes(self, loaded: list[Loaded]) -> dict[Rid, Notes]:
        if not self._settings.reconcile:
            return {item.row.rid: Notes() for item in loaded}
        notes = reconcile(self._view, self._point, loaded, self._known)
        self.annotated += sum(1 for said in notes.values() if said.conflicts or said.stale)
        return notes

    def _claimed_later_first(self, shown: list[LoadedHit]) -> list[int]:
        """Return the order of what is shown, with whoever claims something later before whom that contradicts."""
        if not self._settings.reconcile:
            return list(range(len(shown)))
        told = [(found.hit.rid, claim_of(found.loaded.fields) if found.notes.conflicts else None) for found in shown]
        return self._known.claims.order(told)

    def _newer_first(self, shown: list[LoadedHit]) -> list[int]:
        """Put a statement before an older one of its slot, and mark both; return the order of what is shown first."""
        if not self._settings.supersede or not self._settings.reconcile:
            return list(range(len(shown)))
        told = [self._told(found) for found in shown]
        kept = [place for place, each in enumerate(told) if each is not None]
        pairs = slot_pairs(
            self._query,
            [each for each in told if each is not None],
            lambda a, b: self._closeness(shown[kept[a]].hit.rid, shown[kept[b]].hit.rid),
            self._settings.slots,
        )
        pairs = [pair._replace(older=kept[pair.older], newer=kept[pair.newer]) for pair in pairs]
        pairs = [pair for pair in pairs if not are_keyed(shown[pair.older].loaded, shown[pair.newer].loaded)]
        self.annotated += note_newer(pairs, [found.loaded for found in shown], [found.notes for found in shown])
        texts = [found.loaded.text for found in shown]
        return reordered(len(shown), brought_forward(self._query, pairs, texts))

    def _told(self, found: LoadedHit) -> Candidate | None:
        """Return a statement as slots compare it, in the order of time; None for what supersedes nothing by itself."""
        loaded, said = found.loaded, found.statement
        if said is None or not found.notes.is_empty or (loaded.row.origin and "session" not in loaded.discriminator):
            return None
        when = loaded.occurred_us
        order = (loaded.row.seq if when is None else when, loaded.row.rid)
        return Candidate(
            said, order, loaded.speaker or "", found.hit.score, when is not None,
            valid_from=loaded.interval.valid_from, title=cast("str | None", loaded.fields.get("title")),
            tags=tags_of(loaded.fields),
        )  # fmt: skip

    def _mark_possible(self, shown: list[LoadedHit]) -> None:
        settings = self._settings
        if not (settings.reconcile and settings.possible_conflicts):
            return
        texts = {found.hit.rid: found.statement for found in shown if found.statement is not None}
        if len(texts) > 1:
            loaded = {found.hit.rid: found.loaded for found in shown}
            possible = by_words(texts, self._closeness, settings)
            said_by_one = [each for each in possible if loaded[each.first].speaker == loaded[each.second].speaker]
            self.annotated += note_possible(said_by_one, loaded, self._said)

    def _mark_retold(self, shown: list[LoadedHit]) -> None:
        if self._settings.reconcile and self._settings.possible_conflicts:
            told = [(found.loaded, found.statement, found.notes) for found in shown]
            self.annotated += note_retold(self._view, self._point, told, self._known)

    def _with_winners(
        self, hit: Hit, loaded: Loaded, notes: Notes, others: tuple[Loaded, ...] = (), depth: int = 0
    ) -> Iterator[Placed]:
        """Put what supersedes a memory right before it, drawing it in when it was not found by itself."""
        self._placed.add(hit.rid)
        self._placed.update(other.row.rid for other in others)
        winners = [rid for rid in (*notes.superseded_by, *notes.after) if rid not in self._placed]
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
            if rid in notes and rid not in self._placed:
                hit = Hit(rid, loser.score, 0.0, 0.0)
                yield from self._with_winners(hit, found[rid], notes[rid], depth=depth + 1)


def _firsts(groups: list[list[LoadedHit]]) -> list[LoadedHit]:
    return [group[0] for group in groups]
