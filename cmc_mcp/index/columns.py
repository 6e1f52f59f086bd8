"""Columns: typed arrays that grow, and what is asked of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cmc_mcp.kernel.transaction import OPEN

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SAMPLED_ABOVE: Final = 20_000  # scores that are worth a sampled threshold


class Column:
    """A typed array that grows at its end. Memory it reserved but did not use is not resident."""

    def __init__(self, dtype: str, width: int = 0) -> None:
        import numpy as np

        self._shape = (width,) if width else ()
        self._data: npt.NDArray[Any] = np.empty((1024, *self._shape), dtype)
        self.size = 0

    def extend(self, values: npt.NDArray[Any]) -> None:
        """Append rows."""
        end = self.size + len(values)
        if end > len(self._data):
            self.reserve(max(end, len(self._data) + len(self._data) // 2))
        self._data[self.size : end] = values
        self.size = end

    def reserve(self, size: int) -> None:
        """Make room for so many rows at once: growing step by step leaves holes that no other column fits into."""
        import numpy as np

        if size > len(self._data):
            grown = np.empty((size, *self._shape), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The rows in use."""
        return self._data[: self.size]


def window(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], valid_at: int) -> tuple[int, int]:
    """Return the valid times around `valid_at` in which no interval begins or ends."""
    low = max(int(starts[starts <= valid_at].max(initial=-OPEN)), int(ends[ends <= valid_at].max(initial=-OPEN)))
    high = min(int(starts[starts > valid_at].min(initial=OPEN)), int(ends[ends > valid_at].min(initial=OPEN)))
    return low, high


def best(
    scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None, count: int, passing: int
) -> npt.NDArray[np.int64]:
    """Return the places of the best `count` scores that pass; a sampled threshold spares sorting a million."""
    import numpy as np

    if passing <= count:
        return np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    places: npt.NDArray[np.int64] | None = None
    if passing > _SAMPLED_ABOVE:
        sample = scores[::16] if mask is None else scores[::16][mask[::16]]
        keep = max(8, count // 4)
        places = np.flatnonzero(scores >= np.partition(sample, -keep)[-keep])
        if mask is not None:
            places = places[mask[places]]
        if len(places) < count:
            places = None
    if places is None:
        places = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    return places[np.argpartition(-scores[places], count - 1)[:count]]
