"""Candidates in order: one ranking by meaning and words together, read as far as a reader goes.

The first block holds the best by either; the next, of twice the depth, what the first did not have, and so on. A score
does not depend on the depth, and neither does the order of a block, so that pages never overlap and never skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cmc_mcp.config import Settings
from cmc_mcp.read.lexical import Words
from cmc_mcp.read.rank import Hit, Scale, fuse
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.rows import AtomRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CHUNK: Final = 16


class Candidates:
    """The candidates of one question, best first."""

    def __init__(
        self,
        selection: Selection,
        words: Words,
        model: int,
        query: npt.NDArray[np.float32] | None,
        depth: int,
        settings: Settings,
        trace: Trace,
    ) -> None:
        self._selection, self._words, self._settings, self._trace = selection, words, settings, trace
        self._model, self._query = model, query if model else None
        self._depth = depth
        self._known: set[int] = set()
        self._scale: Scale | None = None
        self.size = 0

    def __iter__(self) -> Iterator[tuple[Hit, AtomRow]]:
        """Give every candidate once, ties by atom id."""
        while block := self._block():
            start = 0
            while start < len(block):
                end = min(start + _CHUNK, len(block))
                while end < len(block) and block[end].score == block[end - 1].score:
                    end += 1
                rows = self._selection.view.atoms([hit.rid for hit in block[start:end]])
                part = sorted(block[start:end], key=lambda hit: (-hit.score, rows[hit.rid].key))
                yield from ((hit, rows[hit.rid]) for hit in part)
                start = end

    def _block(self) -> list[Hit]:
        """Give what twice the depth finds that was not found before; nothing when that is all."""
        while self._depth:
            dense = [] if self._query is None else self._selection.dense(self._model, self._query, self._depth)
            self._trace.lap("dense", len(dense))
            words = self._words.best(self._depth)
            self._trace.lap("lexical", len(words), terms=dict(self._words.terms), frequent=list(self._words.frequent))
            if self._scale is None:
                # where no passage holds much of the question, its words say little and must not count in full
                least = self._settings.lexical_ideal_min * self._words.ideal()
                best = max(words[0][1], least) if words else 0.0
                self._scale = Scale(dense[0][1] if dense else 0.0, best)
            more = max(len(dense), len(words)) >= self._depth
            self._depth = 2 * self._depth if more else 0
            hits = self._fused(dict(dense), dict(words), self._scale)
            self._known.update(hit.rid for hit in hits)
            self.size = len(self._known)
            self._trace.lap("rank", self.size)
            if hits:
                return hits
        return []

    def _fused(self, cosines: dict[int, float], words: dict[int, float], scale: Scale) -> list[Hit]:
        """Score what is new both ways: whoever was found one way alone is looked up the other."""
        rids = [rid for rid in {**cosines, **words} if rid not in self._known]
        if self._query is not None:
            cosines |= self._selection.cosines(self._model, self._query, [rid for rid in rids if rid not in cosines])
        if scale.bm25 > 0:
            words |= self._words.scores([rid for rid in rids if rid not in words])
        modalities = dict(zip(rids, self._selection.modalities(rids), strict=True)) if rids else {}
        return fuse(cosines, words, modalities, scale, self._settings)
