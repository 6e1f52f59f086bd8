"""Arrange: candidates become what a reader sees in order: each content once, what supersedes before what it supersedes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cmc_mcp.read.candidates import Candidates
from cmc_mcp.read.dedupe import first_of_each
from cmc_mcp.read.point import Point
from cmc_mcp.read.rank import Hit
from cmc_mcp.read.reconcile import Notes, reconcile
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.loading import Loaded, load
from cmc_mcp.store.protocol import Objects, ReadView
from cmc_mcp.store.rows import AtomRow

if TYPE_CHECKING:
    from cmc_mcp.config import Settings

_WINNERS_DEPTH_MAX = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """One memory in its place."""

    hit: Hit
    loaded: Loaded
    notes: Notes


class Arranged:
    """The sequence that pages are cut from: a function of the question and the read point alone."""

    def __init__(
        self,
        view: ReadView,
        objects: Objects,
        point: Point,
        selection: Selection,
        candidates: Candidates,
        settings: Settings,
        chunk: int,
        trace: Trace,
    ) -> None:
        self._view, self._objects, self._point, self._selection = view, objects, point, selection
        self._candidates, self._settings, self._chunk, self._trace = iter(candidates), settings, chunk, trace
        self._seen: set[int] = set()  # contents
        self._placed: set[int] = set()
        self.merged = self.annotated = 0

    def __iter__(self) -> Iterator[Placed]:
        """Give every memory once, in order; it reads on only as far as it is read."""
        while chunk := list(islice(self._candidates, self._chunk)):
            found = self._loaded(chunk)
            self._trace.lap("load", len(found))
            notes = self._notes(list(found.values()))
            self._trace.lap("reconcile", len(found), annotated=self.annotated)
            for hit, row in chunk:
                if hit.rid in found and not self._is_shown(row):
                    yield from self._with_winners(hit, found[hit.rid], notes[hit.rid])

    def _loaded(self, chunk: list[tuple[Hit, AtomRow]]) -> dict[int, Loaded]:
        rids = [hit.rid for hit, _ in chunk]
        if self._settings.dedupe:
            rids = first_of_each([(hit.rid, row.content) for hit, row in chunk], self._seen)
            self.merged += len(chunk) - len(rids)
        rows = {row.rid: row for _, row in chunk}
        found = load(self._view, self._objects, rids, self._point.head.seq, self._point.valid_at, rows)
        return {rid: item for rid, item in found.items() if item.data is not None}

    def _notes(self, loaded: list[Loaded]) -> dict[int, Notes]:
        if not self._settings.reconcile:
            return {item.row.rid: Notes() for item in loaded}
        notes = reconcile(self._view, self._point, loaded)
        self.annotated += sum(1 for said in notes.values() if said.conflicts or said.stale)
        return notes

    def _is_shown(self, row: AtomRow) -> bool:
        return row.rid in self._placed or (self._settings.dedupe and row.content in self._seen)

    def _with_winners(self, hit: Hit, loaded: Loaded, notes: Notes, depth: int = 0) -> Iterator[Placed]:
        """Put what supersedes a memory right before it, drawing it in when it was not found by itself."""
        self._placed.add(hit.rid)
        self._seen.add(loaded.row.content)
        winners = [rid for rid in notes.superseded_by if rid not in self._placed]
        if winners and depth < _WINNERS_DEPTH_MAX:
            yield from self._drawn_in(winners, hit, depth)
        yield Placed(hit, loaded, notes)

    def _drawn_in(self, winners: list[int], loser: Hit, depth: int) -> Iterator[Placed]:
        import numpy as np

        passing = self._selection.passing(np.array(winners, np.int64)).tolist()
        mine = [rid for rid, ok in zip(winners, passing, strict=True) if ok]
        found = load(self._view, self._objects, mine, self._point.head.seq, self._point.valid_at)
        notes = self._notes([item for item in found.values() if item.data is not None])
        for rid in mine:
            if rid in notes and not self._is_shown(found[rid].row):
                hit = Hit(rid, loser.score, 0.0, 0.0)
                yield from self._with_winners(hit, found[rid], notes[rid], depth + 1)
