"""Near: which of the candidates in a window say the same in other words (`docs/design/scores.md` §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.read.agree import Kind, Statement, differences

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Cosine = Callable[[Rid, Rid], float | None]
"""Gives the cosine of two candidates; None when one of them has no vector."""


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of the shingles of both that they have in common, in [0, 1]."""
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def likeness(cosine: float | None, overlap: float, settings: Settings) -> float:
    """Return how alike two texts are: the cosine, or the overlap on the cosine's scale if that says more.

    `overlap` is scaled so that its bar (.8) lies where the cosine's does (.88).
    """
    scaled = min(1.0, overlap * settings.near_cosine / settings.near_jaccard)
    return scaled if cosine is None else max(cosine, scaled)


def duplicate_score(like: float, differing: frozenset[Kind], settings: Settings) -> float:
    """Return how sure it is that two texts say the same: how alike they are, less what they differ in.

    A number, a date or a negation says more than a name, which may be a title or an epithet.
    """
    firm = sum(kind in ("number", "date", "negation") for kind in differing)
    return round(like - settings.near_firm_cost * firm - settings.near_name_cost * (len(differing) - firm), 6)


def similarity(a: Statement, b: Statement, cosine: float | None, settings: Settings) -> float:
    """Return the duplicate score of two texts. They are merged when it reaches `near_cosine` and nothing differs.

    >>> similarity(Statement("the limit is 10"), Statement("the limit is 100"), 0.97, Settings())
    0.87
    """
    overlap = jaccard(a.shingles, b.shingles)
    return duplicate_score(likeness(cosine, overlap, settings), differences(a.asserted, b.asserted), settings)


def is_duplicate(a: Statement, b: Statement, cosine: float | None, settings: Settings) -> bool:
    """Return whether one of two texts may stand for the other: alike, and in agreement on all that they assert.

    A vector sees the first 256 word pieces only, so of longer texts (`near_cosine_chars`) the words must say it.
    """
    if cosine is not None and cosine < settings.near_far:
        return False
    is_close = cosine is not None and cosine >= settings.near_cosine
    if not is_close or max(len(a.text), len(b.text)) > settings.near_cosine_chars:
        is_close = jaccard(a.shingles, b.shingles) >= settings.near_jaccard
    return is_close and not differences(a.asserted, b.asserted)


@dataclass(slots=True)
class Grouping:
    """Groups of candidates that say the same, built in their order.

    A candidate joins the first group whose every member it duplicates, so that any member may represent
    the group. The size of a group has no bound. `apart` says which pairs never merge, whatever their words are.
    """

    cosine: Cosine
    settings: Settings
    apart: Callable[[Rid, Rid], bool] = lambda _a, _b: False
    groups: list[list[Rid]] = field(default_factory=list)
    _statements: dict[Rid, Statement] = field(default_factory=dict)

    def add(self, name: Rid, statement: Statement | None) -> None:
        """Put a candidate into the first group that it belongs to; without a statement, into one of its own."""
        if statement is not None:
            known, like = self._statements, self._alike(name)
            known[name] = statement
            for group in self.groups if like else ():
                if like.issuperset(group) and all(self._merges(other, name) for other in group):
                    group.append(name)
                    return
        self.groups.append([name])

    def _alike(self, name: Rid) -> set[Rid]:
        """Return those that may be duplicates: the words of texts whose vectors are far apart need no comparing."""
        close = {other: self.cosine(name, other) for other in self._statements}
        return {other for other, cosine in close.items() if cosine is None or cosine >= self.settings.near_far}

    def _merges(self, a: Rid, b: Rid) -> bool:
        mine, theirs = self._statements[a], self._statements[b]
        return is_duplicate(mine, theirs, self.cosine(a, b), self.settings) and not self.apart(a, b)


class Closeness:
    """The cosines among candidates that are compared, each computed once. What is below `least` counts as 0."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._rows: dict[Rid, npt.NDArray[np.float64]] = {}
        self._pairs: dict[tuple[Rid, Rid], float] = {}

    def add(self, vectors: Mapping[Rid, bytes]) -> None:
        """Take in unit vectors (float32, by candidate), and compare them with all that are here. Rounded to 1e-6."""
        import numpy as np

        if not vectors:
            return
        self._rows |= {name: np.frombuffer(data, np.float32).astype(np.float64) for name, data in vectors.items()}
        mine, names = list(vectors), list(self._rows)
        scores = np.round(np.stack([self._rows[n] for n in mine]) @ np.stack(list(self._rows.values())).T, 6)
        rows, columns = np.nonzero(scores >= self._least)
        for row, column, score in zip(rows.tolist(), columns.tolist(), scores[rows, columns].tolist(), strict=True):
            self._pairs[mine[row], names[column]] = self._pairs[names[column], mine[row]] = score

    def cosine(self, a: Rid, b: Rid) -> float | None:
        """Return the cosine of two candidates, however far apart they are; None when one of them has no vector."""
        if a not in self._rows or b not in self._rows:
            return None
        return round(float(self._rows[a] @ self._rows[b]), 6)

    def __call__(self, a: Rid, b: Rid) -> float | None:
        """Return the cosine of two candidates; None when one of them has no vector."""
        if a not in self._rows or b not in self._rows:
            return None
        return self._pairs.get((a, b), 0.0)
