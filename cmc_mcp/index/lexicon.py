"""The lexicon: what full text said about the terms of a workspace, kept in memory.

Passages are only ever added, so the postings of a term up to a record number never change; an erasure drops the lexicon.
What it answers is what full text would answer, only sooner.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.ids import Rid, Ws

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.ports import ReadView

_POSTINGS_MAX: Final = 1_000_000  # ten bytes each
_FREQUENT_MAX: Final = 10_000
_HEADING: Final = 8  # bits by which the count in the heading is shifted


class Postings(NamedTuple):
    """Where a term is: record numbers, ascending, and its counts there (heading << 8 | text, each at most 255)."""

    rids: npt.NDArray[np.int64]
    counts: npt.NDArray[np.uint16]

    def tf(self, wanted: npt.NDArray[np.int64], heading_weight: float) -> npt.NDArray[np.float64]:
        """Return the weighted count of the term in some passages (ascending), 0 where it is not."""
        return weighted(self.of(wanted), heading_weight)

    def of(self, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
        """Return the counts of the term in some passages (ascending), 0 where it is not."""
        import numpy as np

        out = np.zeros(len(wanted), np.uint16)
        if not len(wanted) or not len(self.rids):
            return out
        places = np.minimum(np.searchsorted(self.rids, wanted), len(self.rids) - 1)
        there = np.flatnonzero(self.rids[places] == wanted)
        out[there] = self.counts[places[there]]
        return out


def in_text(counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """Return the counts in the text alone."""
    import numpy as np

    return (counts & 0xFF).astype(np.float64)


def weighted(counts: npt.NDArray[np.uint16], heading_weight: float) -> npt.NDArray[np.float64]:
    """Return one count for heading and text together."""
    import numpy as np

    return heading_weight * (counts >> _HEADING).astype(np.float64) + (counts & 0xFF).astype(np.float64)


class _Known(NamedTuple):
    upto: Rid
    postings: Postings


class Lexicon:
    """Postings of the latest terms, and lengths of passages, of one workspace. Thread-safe."""

    def __init__(self, ws: Ws) -> None:
        import numpy as np

        self._low = Rid(ws << 40)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._size = 0
        self._frequent: dict[tuple[str, int], int] = {}
        self._lengths: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # plus one; 0 is not known yet

    def frequency(self, view: ReadView, term: str, upto: Rid, cap: int) -> int:
        """Count the passages recorded up to a record number that hold a term, at most `cap`."""
        with self._lock:
            known = self._known.get(term)
            if known is not None and known.upto >= upto:
                return min(cap, int(known.postings.rids.searchsorted(upto, "right")))
            reached = self._frequent.get((term, cap))
            if reached is not None and reached <= upto:
                return cap
        count = view.frequency(term, upto, cap)
        if count >= cap:
            with self._lock:
                if len(self._frequent) >= _FREQUENT_MAX:
                    self._frequent.clear()
                self._frequent[term, cap] = min(upto, self._frequent.get((term, cap), upto))
        return count

    def postings(self, view: ReadView, term: str, upto: Rid) -> Postings:
        """Return where a term is, in passages recorded up to a record number."""
        import numpy as np

        with self._lock:
            known = self._known.get(term)
            if known is None or known.upto < upto:
                rows = view.postings(term, self._low if known is None else known.upto, upto)
                rids = np.array([row[0] for row in rows], np.int64)
                counts = np.array([row[1] for row in rows], np.uint16)
                if known is not None:
                    rids = np.concatenate([known.postings.rids, rids])
                    counts = np.concatenate([known.postings.counts, counts])
                    self._size -= len(known.postings.rids)
                known = self._known[term] = _Known(upto, Postings(rids, counts))
                self._size += len(rids)
                while self._size > _POSTINGS_MAX and len(self._known) > 1:
                    self._size -= len(self._known.popitem(last=False)[1].postings.rids)
            self._known.move_to_end(term)
        end = int(known.postings.rids.searchsorted(upto, "right"))
        return Postings(known.postings.rids[:end], known.postings.counts[:end])

    def lengths(self, view: ReadView, rids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the lengths of passages in tokens, heading and text together."""
        import numpy as np

        if not len(rids):
            return np.zeros(0, np.int32)
        places = rids - self._low
        with self._lock:
            top = int(places.max()) + 1
            if top > len(self._lengths):
                grown = np.zeros(max(top, 2 * len(self._lengths)), np.int32)
                grown[: len(self._lengths)] = self._lengths
                self._lengths = grown
            missing = rids[self._lengths[places] == 0].tolist()
            if missing:
                found = view.lengths(missing)
                self._lengths[np.array(missing, np.int64) - self._low] = [found.get(rid, 0) + 1 for rid in missing]
            answer: npt.NDArray[np.int32] = self._lengths[places] - 1
        return answer
