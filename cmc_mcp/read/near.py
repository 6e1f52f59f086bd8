"""Near: how close the vectors of what a window shows are. The cosine tells what to compare, and merges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cmc_mcp.ids import Rid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Cosine = Callable[[Rid, Rid], float | None]
"""Returns the cosine of two memories; None when one of them has no vector."""


class Closeness:
    """The cosines among memories, from their unit vectors (float32). Rounded to 1e-6."""

    def __init__(self, vectors: Mapping[Rid, bytes]) -> None:
        import numpy as np

        self._rows: dict[Rid, npt.NDArray[np.float64]] = {
            rid: np.frombuffer(data, np.float32).astype(np.float64) for rid, data in vectors.items()
        }

    def __call__(self, a: Rid, b: Rid) -> float | None:
        """Return the cosine of two memories; None when one of them has no vector."""
        if a not in self._rows or b not in self._rows:
            return None
        return round(float(self._rows[a] @ self._rows[b]), 6)
