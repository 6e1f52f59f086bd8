"""The lexicon: what full text says about the terms of a workspace, kept in memory.

Passages are only ever added, so the postings of a term up to a record number never change; an erasure drops the lexicon.
What is in no block yet is read once, term by term as it is written, until it is packed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.ids import Rid, Ws
from cmc_mcp.store import postings as packed
from cmc_mcp.terms.near import Vocabulary
from cmc_mcp.terms.passage import EXTRA_WEIGHT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.ports import ReadView

    Rids = npt.NDArray[np.int64]
    Scores = npt.NDArray[np.float64]

_ENTRIES_MAX: Final = 2_000_000  # eleven bytes each
_WORDS_MAX: Final = 4_096  # of which it is kept what is near them
_TEXT, _HEADING, _EXTRAS = 0, 1, 2


class Postings(NamedTuple):
    """Where a term is: record numbers, ascending, and its counts there: in the text, in the heading, as an addition."""

    rids: Rids
    counts: npt.NDArray[np.uint8]

    def upto(self, rid: Rid) -> Postings:
        """Return those up to a record."""
        end = int(self.rids.searchsorted(rid, "right"))
        return self if end == len(self.rids) else Postings(self.rids[:end], self.counts[:end])

    def weighted(self, heading_weight: float) -> Weighted:
        """Return one count for all, and the count in the text by itself."""
        return Weighted(self.rids, *_weighed(self.counts, heading_weight))

    def of(self, wanted: Rids, heading_weight: float) -> tuple[Scores, Scores]:
        """Return both in some passages (ascending), 0 where it is not."""
        import numpy as np

        every, text = np.zeros(len(wanted)), np.zeros(len(wanted))
        there, places = _met(wanted, self.rids)
        every[there], text[there] = _weighed(self.counts[places], heading_weight)
        return every, text


class Weighted(NamedTuple):
    """Where something that is looked for is, and how much of it: all together, and in the text by itself."""

    rids: Rids
    all: Scores
    text: Scores

    def of(self, wanted: Rids, heading_weight: float) -> tuple[Scores, Scores]:
        """Return both in some passages (ascending), 0 where it is not; the weight is in them already."""
        import numpy as np

        every, text = np.zeros(len(wanted)), np.zeros(len(wanted))
        there, places = _met(wanted, self.rids)
        every[there], text[there] = self.all[places], self.text[places]
        return every, text


def _weighed(counts: npt.NDArray[np.uint8], heading_weight: float) -> tuple[Scores, Scores]:
    text = counts[:, _TEXT].astype("float64")
    above, extras = counts[:, _HEADING].astype("float64"), counts[:, _EXTRAS].astype("float64")
    return text + heading_weight * above + EXTRA_WEIGHT * extras, text


def _met(wanted: Rids, rids: Rids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where in `wanted` (ascending) those are that are in `rids`, and where they are there."""
    import numpy as np

    if not len(wanted) or not len(rids):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    places = np.minimum(np.searchsorted(rids, wanted), len(rids) - 1)
    there = np.flatnonzero(rids[places] == wanted)
    return there, places[there]


def together(parts: Sequence[tuple[Weighted, float]]) -> Weighted:
    """Return terms as one that is wherever one of them is: as much as the most of them, each by its share.

    >>> import numpy as np
    >>> one = Weighted(np.array([1, 3]), np.array([2.0, 1.0]), np.array([2.0, 1.0]))
    >>> other = Weighted(np.array([3]), np.array([4.0]), np.array([0.0]))
    >>> together([(one, 1.0), (other, 0.5)]).all.tolist()
    [2.0, 2.0]
    """
    import numpy as np

    rids = np.concatenate([part.rids for part, _ in parts])
    order = np.argsort(rids, kind="stable")
    rids = rids[order]
    starts = np.flatnonzero(np.concatenate([[True], rids[1:] != rids[:-1]])) if len(rids) else np.zeros(0, np.int64)
    if not len(rids):
        return Weighted(rids, np.zeros(0), np.zeros(0))
    every, text = (
        np.maximum.reduceat(np.concatenate([share * getattr(part, name) for part, share in parts])[order], starts)
        for name in ("all", "text")
    )
    return Weighted(rids[starts], every, text)


class _Known(NamedTuple):
    upto: Rid
    postings: Postings


class _Tail:
    """The passages from a number on that are in no block, by their terms."""

    def __init__(self, start: Rid) -> None:
        self.start, self.reached = start, Rid(start - 1)
        self.terms: dict[str, list[tuple[Rid, packed.Counts]]] = {}
        self.lengths: list[tuple[Rid, int]] = []

    def read(self, view: ReadView, upto: Rid) -> list[tuple[Rid, list[str]]]:
        """Read on up to a record; return the terms of what was read."""
        out = []
        for rid, length, row in view.unpacked_terms(self.reached, upto):
            found = packed.read_forward(row)
            for term, counts in found.items():
                self.terms.setdefault(term, []).append((rid, counts))
            self.lengths.append((rid, length))
            out.append((rid, list(found)))
        self.reached = upto
        return out


class Lexicon:
    """Postings of the latest terms, lengths of passages and words of one workspace. Thread-safe."""

    def __init__(self, ws: Ws) -> None:
        import numpy as np

        self._ws, self._low = ws, packed.rid_of(ws, 0)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._size = 0
        self._tail = _Tail(self._low)
        self._lengths: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # plus one; 0 is no passage
        self._measured = self._low  # up to which lengths are known
        self._vocabulary = Vocabulary()
        self._learnt = self._low  # up to which its words are known
        self._found: dict[tuple[str, Rid], tuple[tuple[str, float], ...]] = {}  # what is near words up to a record

    def postings(self, view: ReadView, terms: Iterable[str], upto: Rid) -> dict[str, Postings]:
        """Return where terms are, in passages recorded up to a record number; each is looked up once."""
        asked = {term: packed.kept(term) for term in terms}
        wanted = list(dict.fromkeys(asked.values()))
        with self._lock:
            tail = self._caught_up(view)
            missing: dict[Rid, list[str]] = {}
            for term in wanted:
                known = self._known.get(term)
                if known is None or known.upto < upto:
                    missing.setdefault(self._low if known is None else known.upto, []).append(term)
            for after, some in missing.items():
                self._read(view, tail, some, after, upto)
            for term in wanted:
                self._known.move_to_end(term)
            found = {term: self._known[kept].postings.upto(upto) for term, kept in asked.items()}
            while self._size > _ENTRIES_MAX and len(self._known) > 1:
                self._size -= len(self._known.popitem(last=False)[1].postings.rids)
        return found

    def _read(self, view: ReadView, tail: _Tail, terms: Sequence[str], after: Rid, upto: Rid) -> None:
        """Read where terms are in (after, upto], and keep it behind what is known of them."""
        import numpy as np

        rows: dict[str, list[tuple[int, bytes]]] = {}
        end = min(upto, Rid(tail.start - 1))
        for term, first, row in view.term_entries(terms, after, end) if end > after else ():
            rows.setdefault(term, []).append((first, row))
        for term in terms:
            numbers, counts = packed.unpacked(rows.get(term, ()))
            rids = numbers + self._low
            if len(rids) and (rids[0] <= after or rids[-1] > end):
                inside = (rids > after) & (rids <= end)
                rids, counts = rids[inside], counts[inside]
            newest = [one for one in tail.terms.get(term, ()) if after < one[0] <= upto]
            known = self._known.get(term)
            parts = [] if known is None else [known.postings]
            parts.append(Postings(rids, counts))
            if newest:
                parts.append(
                    Postings(
                        np.array([rid for rid, _ in newest], np.int64),
                        np.array([counts for _, counts in newest], np.uint8),
                    )
                )
            if len(parts) > 1:
                parts = [
                    Postings(
                        np.concatenate([part.rids for part in parts]), np.concatenate([part.counts for part in parts])
                    )
                ]
            self._size += len(parts[0].rids) - (0 if known is None else len(known.postings.rids))
            self._known[term] = _Known(upto, parts[0])

    def _caught_up(self, view: ReadView) -> _Tail:
        """Return what is in no block of a view's state; of an older state than the last, read for it alone."""
        last = view.head().last_rid
        start = packed.rid_of(self._ws, packed.unpacked_from(last)) if last else self._low
        tail = self._tail
        if start < tail.start:
            tail = _Tail(start)
            tail.read(view, last)
            return tail
        if start > tail.start:
            tail = self._tail = _Tail(start)
        if last > tail.reached:
            tail.read(view, last)
        return tail

    def lengths(self, view: ReadView, rids: Rids) -> Rids:
        """Return the lengths of passages in terms, heading and text together."""
        import numpy as np

        if not len(rids):
            return np.zeros(0, np.int64)
        with self._lock:
            if rids.max() > self._measured:
                self._measure(view)
            places = np.minimum(rids - self._low, len(self._lengths) - 1)
            answer: Rids = np.maximum(self._lengths[places] - 1, 0)
        return answer

    def _measure(self, view: ReadView) -> None:
        import numpy as np

        tail, last = self._caught_up(view), view.head().last_rid
        last = max(last, tail.reached)
        room = packed.ordinal(last) + 1
        if room > len(self._lengths):
            grown = np.zeros(max(room + packed.BLOCK, 3 * len(self._lengths) // 2), np.int64)
            grown[: len(self._lengths)] = self._lengths
            self._lengths = grown
        for first, row in view.packed_lengths(packed.ordinal(self._measured)):
            self._lengths[first : first + packed.BLOCK] = np.frombuffer(row, "<u4")
        for rid, length in tail.lengths:
            self._lengths[rid - self._low] = length + 1
        self._measured = max(self._measured, last)

    def near(self, view: ReadView, word: str, upto: Rid) -> tuple[tuple[str, float], ...]:
        """Return the terms nearest to a word among those of passages recorded up to a record number, with their similarity."""
        with self._lock:
            last = view.head().last_rid
            if last > self._learnt:
                self._learn(view, last)
            found = self._found.get((word, upto))
        if found is None:
            found = self._vocabulary.near(word, upto)
            with self._lock:
                if len(self._found) >= _WORDS_MAX:
                    self._found.clear()
                self._found[word, upto] = found
        return found

    def _learn(self, view: ReadView, last: Rid) -> None:
        tail = self._caught_up(view)
        for rid, words in view.first_words(self._learnt, Rid(tail.start - 1)):
            self._vocabulary.add(rid, words)
        newest: dict[Rid, list[str]] = {}
        for term, places in tail.terms.items():
            for rid, _ in places:
                if rid > self._learnt:
                    newest.setdefault(rid, []).append(term)
                    break
        for rid in sorted(newest):
            self._vocabulary.add(rid, newest[rid])
        self._learnt = last
