"""Retrieve: candidates by meaning and by words, filtered first on both clocks and on everything asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmc_mcp.config import Settings
from cmc_mcp.read.point import Point
from cmc_mcp.store.matrix import Matrix
from cmc_mcp.store.protocol import ReadView
from cmc_mcp.store.rows import Filter, Head, Match

_FEW = 5_000  # a selection this small is told to full text
_EVERY_MAX = 4  # of a query of frequent words only, the rarest must all occur

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Selection:
    """Who may be found: by the matrix in memory, or, without one, by SQL. Both give the same answers."""

    def __init__(self, view: ReadView, point: Point, limits: Filter, matrix: Matrix | None) -> None:
        self.view, self.point, self.limits, self.matrix = view, point, limits, matrix
        if matrix is not None:
            head = view.head()
            matrix.catch_up(view, head.seq, head.last_rid)
            self._chosen = matrix.select(point.head.seq, point.valid_at, limits)

    def passing(self, rids: Sequence[int]) -> list[bool]:
        """Say which of some atoms may be found."""
        if self.matrix is not None:
            return self.matrix.holds(self._chosen, rids)
        if not rids:
            return []
        mine = set(rids) if self.limits.rids is None else set(rids) & set(self.limits.rids)
        limits = self.limits._replace(rids=tuple(sorted(mine)))
        found = set(self.view.selected(self.point.head.seq, self.point.valid_at, limits))
        return [rid in found for rid in rids]

    def few(self) -> list[int] | None:
        """Give who may be found when a filter lets few through, else None."""
        if self.limits.is_open:
            return None
        if self.matrix is not None:
            rids = self.matrix.rids(self._chosen)
        else:
            rids = self.view.selected(self.point.head.seq, self.point.valid_at, self.limits)
        return rids if len(rids) <= _FEW else None

    def dense(
        self, model: int, query: npt.NDArray[np.float32], k: int
    ) -> list[tuple[int, float]]:
        """Find the `k` nearest as (rid, cosine): exact, whichever way."""
        found = None
        if self.matrix is not None and self.matrix.model == model:
            found = self.matrix.nearest(self.view, query, k, self._chosen)
        if found is None:
            found = self._by_sql(model, query, k)
        keys = {rid: row.key for rid, row in self.view.atoms([rid for rid, _ in found]).items()}
        return sorted(found, key=lambda hit: (-hit[1], keys[hit[0]]))[:k]

    def _by_sql(self, model: int, query: npt.NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        import numpy as np

        from cmc_mcp.store.codes import exact

        point = self.point
        want = k
        while True:  # rows within float32 error of the k-th may be ordered otherwise by the database
            rows = self.view.nearest(model, query.tobytes(), want + 16, point.head.seq, point.valid_at, self.limits)
            if len(rows) < want + 16 or rows[-1][1] < rows[k - 1][1] - 1e-5:
                break
            want *= 2
        vectors = self.view.vectors_of(model, [rid for rid, _ in rows])
        if not vectors:
            return []
        order = [rid for rid, _ in rows if rid in vectors]
        scores = exact(query, np.frombuffer(b"".join(vectors[rid] for rid in order), np.float32).reshape(len(order), -1))
        return list(zip(order, scores.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Words:
    """What full text made of a query."""

    hits: list[tuple[int, float]]  # (rid, BM25), best first
    terms: dict[str, int]  # passages each term is in, up to the cap
    frequent: tuple[str, ...]


def lexical(selection: Selection, query: str, k: int, settings: Settings) -> Words:
    """Find the `k` best passages by BM25 over the workspace's own statistics at the read point.

    Terms in more passages than a cap are frequent: they are counted, but bring no candidates, unless the query has no
    others. Among the rest the rarest bring theirs first, until a number of postings is reached.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009).
    """
    view, head = selection.view, selection.point.head
    words = view.terms(query)
    if not words or not head.passages:
        return Words([], {}, ())
    cap = max(settings.frequent_min, head.passages // 200)
    asked = list(words.items())[: settings.terms_max]
    counts = {stem: view.frequency(word, head.last_rid, cap) for stem, word in asked}
    known = sorted((stem for stem, n in counts.items() if n), key=lambda stem: (counts[stem], stem))
    rare = [stem for stem in known if counts[stem] < cap]
    if not known:
        return Words([], counts, ())
    if rare:
        drivers = _drivers([counts[stem] for stem in rare], settings.lexical_candidates)
        found = view.matches(
            [words[stem] for stem in known], head.last_rid, required=drivers, among=selection.few()
        )
    else:
        known = known[:_EVERY_MAX]
        terms = [words[stem] for stem in known]
        found = view.matches(
            terms, head.last_rid, required=len(terms), every=True, among=selection.few(), limit=settings.frequent_min
        )
    passing = selection.passing([match.rid for match in found])
    mine = [match for match, ok in zip(found, passing, strict=True) if ok]
    scored = _bm25(mine, [counts[stem] for stem in known], selection.point.head, settings)
    return Words(sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:k], counts, tuple(known[len(rare) :]))


def _drivers(counts: Sequence[int], postings: int) -> int:
    """Say how many of the rarest terms bring candidates: at least one, then while the postings stay in bounds."""
    total = 0
    for number, count in enumerate(counts):
        total += count
        if total > postings and number:
            return number
    return len(counts)


def _bm25(matches: Sequence[Match], counts: Sequence[int], head: Head, settings: Settings) -> list[tuple[int, float]]:
    """Score passages; a word in the heading counts as `heading_weight` of one in the text."""
    average = head.tokens / head.passages
    weights = [math.log(1 + (head.passages - n + 0.5) / (n + 0.5)) for n in counts]
    k1, b, heading = settings.bm25_k1, settings.bm25_b, settings.heading_weight
    out = []
    for rid, blob, length in matches:
        norm = k1 * (1 - b + b * length / average)
        score = 0.0
        for place, weight in enumerate(weights):
            tf = heading * blob[2 * place] + blob[2 * place + 1]
            if tf:
                score += weight * tf * (k1 + 1) / (tf + norm)
        out.append((rid, score))
    return out
