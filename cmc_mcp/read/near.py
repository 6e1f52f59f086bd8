"""Near: how close the vectors of the candidates in a window are. It finds what to compare, and merges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cmc_mcp.ids import Rid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Cosine = Callable[[Rid, Rid], float | None]
"""Returns the cosine of two candidates; None when one of them has no vector."""


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
