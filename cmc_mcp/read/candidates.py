"""Candidates in order: one ranking by meaning and words together, read as far as a reader goes.

The first block holds the best by either and who stands around them; the next, of twice the depth, what the first did not
have, and so on. A score does not depend on the depth, and neither does the order of a block, so that pages never overlap
and never skip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.names import unread_by
from cmc_mcp.ids import Rid
from cmc_mcp.read.clues import Clues, phrase_share
from cmc_mcp.read.lexical import LexicalSearch
from cmc_mcp.read.rank import Candidacy, Hit, Pool, Scale
from cmc_mcp.read.reading import Reading
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.rows import AtomRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CHUNK: Final = 16
Found = list[tuple[Rid, float]]
"""What a search found, best first, each with its cosine or its BM25."""


class Candidates:
    """The candidates of one question, best first."""

    def __init__(
        self,
        reading: Reading,
        selection: Selection,
        words: LexicalSearch,
        clues: Clues,
        query: npt.NDArray[np.float32] | None,
        depth: int,
        trace: Trace,
        above: Callable[[], Mapping[Rid, float]] = dict,
    ) -> None:
        self._selection, self._words, self._clues = selection, words, clues
        self._settings, self._trace, self._above = reading.settings, trace, above
        self._model, self._query = reading.model, query if reading.model else None
        self._unread = unread_by(reading.workspace.embedder, clues.text)
        self._depth = depth
        self._rows: dict[Rid, AtomRow] = {}  # of the very first
        self._known: set[Rid] = set()
        self._scale: Scale | None = None
        self._pool: Pool | None = None
        self._first: tuple[Found, Found] | None = None
        self.size = 0

    def __iter__(self) -> Iterator[tuple[Hit, AtomRow]]:
        """Yield every candidate once, ties by atom id."""
        while block := self._block():
            start = 0
            while start < len(block):
                end = min(start + _CHUNK, len(block))
                while end < len(block) and block[end].score == block[end - 1].score:
                    end += 1
                missing = [hit.rid for hit in block[start:end] if hit.rid not in self._rows]
                rows = self._rows | (self._selection.view.atoms(missing) if missing else {})
                part = sorted(block[start:end], key=lambda hit: (-hit.score, rows[hit.rid].key))
                yield from ((hit, rows[hit.rid]) for hit in part)
                start = end

    def first(self) -> tuple[Found, Found]:
        """Return what meaning and words find first, however many are asked for."""
        if self._first is None:
            self._first = self._found(self._settings.dense_candidates)
        return self._first

    def _found(self, depth: int) -> tuple[Found, Found]:
        dense = [] if self._query is None else self._selection.dense(self._model, self._query, depth)
        by = {"approximate": "HNSW index"} if self._selection.approximate else {}
        self._trace.lap("dense", len(dense), **by)
        words = self._words.best(depth)
        self._trace.lap("lexical", len(words), terms=dict(self._words.terms), frequent=list(self._words.frequent))
        return dense, words

    def _block(self) -> list[Hit]:
        """Return the new candidates that twice the depth finds; empty if none remain."""
        while self._depth:
            dense, words = self.first() if self._depth == self._settings.dense_candidates else self._found(self._depth)
            more = max(len(dense), len(words)) >= self._depth
            self._depth = 2 * self._depth if more else 0
            hits = self._ranked(dict(dense), [rid for rid, _ in words])
            self._known.update(hit.rid for hit in hits)
            self.size = len(self._known)
            self._trace.lap("rank", self.size)
            if hits:
                return hits
        return []

    def _ranked(self, cosines: dict[Rid, float], found: list[Rid]) -> list[Hit]:
        """Score new candidates every way: one that was found by a single search is looked up in the others."""
        import numpy as np

        linked = self._linked([*cosines][: self._settings.linked_depth], found[: self._settings.linked_depth])
        above = self._above() if self._pool is None and self._query is not None else {}
        rids = np.array(sorted({*cosines, *found, *linked, *above} - self._known), np.int64)
        if not len(rids):
            return []
        rids, around, candidacy = self._with_neighbours(rids)
        lengths = self._words.lengths(rids)
        words = self._words.in_context(rids, around, candidacy.context(lengths), candidacy.turn)
        near, shares = self._cosines(rids, cosines), self._words.shares(rids)
        if self._scale is None:
            # where no passage holds much of the question, its words say little and must not count in full
            ideal, best = self._words.ideal(), float(words.max())
            divisor = max(best, self._settings.lexical_ideal_min * ideal) if best > 0 else 0.0
            sure = min(1.0, float(shares.max()) / self._settings.lexical_sure)
            nearest = max(cosines.values(), default=0.0)
            nearest = max(nearest, self._settings.cosine_min) if nearest > 0 else 0.0
            self._scale = Scale(nearest, divisor, sure, self._unread)
        base, near, words = candidacy.match(near, words, self._scale)
        if not self._words.asks_only:
            base = base + candidacy.held(shares, lengths)
        holds_year = self._words.holds_any(self._clues.year_terms, rids)
        candidacy.add(self._clues, lengths, holds_year, self._concerned(rids, around))
        candidacy.note("linked", dict.fromkeys(linked, self._settings.linked))
        candidacy.placed(above, self._settings.node_weight)
        first = self._pool is None
        if self._pool is None:
            self._pool = Pool.of(candidacy.origins, candidacy.total(base), self._settings.pool_depth)
        candidacy.pooled(self._pool)
        if first:
            self._phrases(candidacy, candidacy.total(base))
        return candidacy.hits(base, near, words, explained=self._trace.explained)

    def _concerned(self, rids: npt.NDArray[np.int64], around: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which passages name a speaker whom the question names, or stand beside what one of them said."""
        import numpy as np

        if not self._clues.named:
            return np.zeros(len(rids), np.bool_)
        beside = np.unique(around[around > 0])
        named = np.array(sorted(self._clues.named), np.int64)
        spoken = beside[np.isin(self._selection.described(beside).speaker, named)]
        concerned: npt.NDArray[np.bool_] = np.isin(around, spoken).any(axis=1) | self._words.names_any(rids)
        return concerned

    def _with_neighbours(
        self, rids: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Candidacy]:
        """Add the neighbours of turns: an answer is often said beside the words that find it."""
        import numpy as np

        candidacy = Candidacy(rids, self._selection.described(rids), self._settings)
        if not candidacy.weight("context").any():
            return rids, np.zeros((len(rids), 4), np.int64), candidacy
        around = self._selection.neighbours(rids)
        beside = around[candidacy.turn & (candidacy.weight("context") > 0)][:, 1:3]
        wider = np.union1d(rids, beside[beside > 0])
        if self._known:
            wider = np.setdiff1d(wider, np.fromiter(self._known, np.int64), assume_unique=True)
        if len(wider) > len(rids):
            rids = wider
            candidacy = Candidacy(rids, self._selection.described(rids), self._settings)
            around = self._selection.neighbours(rids)
        return rids, around, candidacy

    def _linked(self, *found: list[Rid]) -> set[Rid]:
        """Return the memories linked to the first candidates, either way: a second piece of evidence may share no words."""
        import numpy as np

        if self._pool is not None or not self._settings.linked:
            return set()
        view, seq = self._selection.view, self._selection.point.head.seq
        seeds = sorted({rid for each in found for rid in each})
        edges = [edge for incoming in (False, True) for edge in view.edges(seeds, incoming=incoming)]
        held = view.intervals_of([edge.rid for edge in edges], seq) if edges else {}
        rids = {rid for edge in edges if held.get(edge.rid) for rid in (edge.source, edge.target)}
        ends = np.array(sorted(rids.difference(seeds)), np.int64)
        return set(ends[self._selection.passing(ends)].tolist())

    def _cosines(self, rids: npt.NDArray[np.int64], known: dict[Rid, float]) -> npt.NDArray[np.float64]:
        import numpy as np

        if self._query is None:
            return np.zeros(len(rids))
        missing = [rid for rid in rids.tolist() if rid not in known]
        known |= self._selection.cosines(self._model, self._query, missing)
        return np.fromiter((known.get(rid, np.nan) for rid in rids.tolist()), np.float64, len(rids))

    def _phrases(self, candidacy: Candidacy, scores: npt.NDArray[np.float64]) -> None:
        """Record which of the best candidates hold the question's phrases."""
        import numpy as np

        weight = candidacy.weight("phrase")
        shares = np.zeros(len(scores))
        if self._clues.phrases and weight.any():
            # rounded, so that an order by the last bits of a sum decides nothing
            best = np.argsort(-np.round(scores, 6), kind="stable")[: self._settings.phrase_depth].tolist()
            self._rows = self._selection.view.atoms([Rid(int(candidacy.rids[place])) for place in best])
            texts = self._selection.texts(self._rows)
            for place in best:
                shares[place] = phrase_share(texts.get(Rid(int(candidacy.rids[place])), ""), self._clues.phrases)
        candidacy.extra["phrase"] = weight * shares
