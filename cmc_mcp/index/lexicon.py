"""The lexicon: what full text says about the terms of a workspace, kept in memory.

Passages are only ever added, so the postings of a term up to a record number never change; an erasure drops the lexicon.
What is in no block yet is read once, term by term as it is written, until it is packed.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.ids import Rid, Ws
from cmc_mcp.store import postings as packed
from cmc_mcp.terms.near import Near, Vocabulary
from cmc_mcp.terms.passage import EXTRA_WEIGHT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.ports import ReadView

    Rids = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.uint8]
    Scores = npt.NDArray[np.float64]
    Indexes = npt.NDArray[np.intp]
    Places = Indexes | slice

_ENTRIES_MAX: Final = 2_000_000  # nine to eleven bytes each
_WORDS_MAX: Final = 4_096  # of which it is kept what is near them
_NEAR_ENTRIES_MAX: Final = 500_000  # of all those together, 24 bytes each


_Row = tuple[int, bytes | bytearray]  # the first record of the block, and the entries


class Postings(NamedTuple):
    """Where a term is: record numbers, ascending, and its counts there; None is a count that is nowhere."""

    rids: Rids
    text: Counts
    heading: Counts | None
    extras: Counts | None

    def upto(self, rid: Rid) -> Postings:
        """Return those up to a record."""
        end = int(self.rids.searchsorted(rid, "right"))
        if end == len(self.rids):
            return self
        heading, extras = (None if one is None else one[:end] for one in (self.heading, self.extras))
        return Postings(self.rids[:end], self.text[:end], heading, extras)

    def whole(self, places: Places, heading_weight: float) -> Scores:
        """Return one count for all, at some places."""
        out = self.text[places].astype("float64")
        if self.heading is not None:
            out += heading_weight * self.heading[places].astype("float64")
        if self.extras is not None:
            out += EXTRA_WEIGHT * self.extras[places].astype("float64")
        return out

    def in_text(self, places: Places) -> Scores:
        """Return the count in the text by itself, at some places."""
        return self.text[places].astype("float64")


class Weighted(NamedTuple):
    """Where something that is looked for is, and how much of it: all together, and in the text by itself."""

    rids: Rids
    all: Scores
    text: Scores

    def whole(self, places: Places, heading_weight: float) -> Scores:
        """Return one count for all, at some places; the weight is in it already."""
        return self.all[places]

    def in_text(self, places: Places) -> Scores:
        """Return the count in the text by itself, at some places."""
        return self.text[places]


def met(wanted: Rids, rids: Rids) -> tuple[Indexes, Indexes]:
    """Return where in `wanted` those are that are in `rids`, and where they are there; both are ascending.

    >>> import numpy as np
    >>> [places.tolist() for places in met(np.array([1, 4, 6]), np.array([2, 4, 5, 6]))]
    [[1, 2], [1, 3]]
    """
    if len(rids) < len(wanted):
        places, there = met(rids, wanted)
        return there, places
    if not len(wanted):
        none = wanted.astype("intp")
        return none, none
    places = rids.searchsorted(wanted)
    there = (rids.take(places, mode="clip") == wanted).nonzero()[0]
    return there, places[there]


class _Known(NamedTuple):
    upto: Rid
    postings: Postings


class _Tail:
    """The passages from a number on that are in no block, by their terms, as a block would hold them."""

    def __init__(self, start: Rid) -> None:
        self.start, self.reached = start, Rid(start - 1)
        self.terms: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.passages: list[tuple[Rid, int, list[str]]] = []  # record, length, terms

    def read(self, view: ReadView, upto: Rid) -> None:
        """Read on up to a record."""
        terms = self.terms
        for rid, length, row in view.unpacked_terms(self.reached, upto):
            every: list[str] = []
            for counts, some in packed.by_counts(row):
                entry = packed.entry(rid - self.start, counts)
                for term in some:
                    terms[term] += entry
                every += some
            self.passages.append((rid, length, every))
        self.reached = upto

    def since(self, rid: Rid) -> list[tuple[Rid, int, list[str]]]:
        """Return the passages after a record."""
        return self.passages[bisect_right(self.passages, rid, key=itemgetter(0)) :]


class Lexicon:
    """Postings of the latest terms, lengths of passages and words of one workspace. Thread-safe."""

    def __init__(self, ws: Ws) -> None:
        import numpy as np

        self._ws, self._low = ws, packed.rid_of(ws, 0)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._size = 0
        self._tail = _Tail(self._low)
        self._lengths: Scores = np.zeros(0, np.float64)
        self._measured = self._low  # up to which lengths are known
        self._vocabulary = Vocabulary()
        self._learnt = self._low  # up to which its words are known
        self._near: dict[tuple[str, Rid, float], Weighted | None] = {}  # where what is near words is, up to a record
        self._near_size = 0

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
            known_now = ((term, self._known[kept]) for term, kept in asked.items())
            found = {t: one.postings if one.upto == upto else one.postings.upto(upto) for t, one in known_now}
            while self._size > _ENTRIES_MAX and len(self._known) > 1:
                self._size -= len(self._known.popitem(last=False)[1].postings.rids)
        return found

    def _read(self, view: ReadView, tail: _Tail, terms: Sequence[str], after: Rid, upto: Rid) -> None:
        """Read where terms are in (after, upto], and keep it behind what is known of them."""
        rows = self._rows(view, tail, terms, after, upto)
        rids, counts = packed.unpacked([row for some in rows.values() for row in some])
        stop = 0
        counted = [bool(column.any()) for column in counts.T]
        for term, some in rows.items():
            start, stop = stop, stop + sum([len(row) for _, row in some]) // packed.ENTRY_BYTES
            inside = slice(start, stop)
            if start < stop and (rids[start] <= after or rids[stop - 1] > upto):
                here = rids[start:stop]
                inside = slice(*(start + int(here.searchsorted(rid, "right")) for rid in (after, upto)))
            known = self._known.get(term)
            read = _postings(rids[inside].copy(), counts[inside], counted)
            postings = read if known is None else _joined((known.postings, read))
            self._size += len(postings.rids) - (0 if known is None else len(known.postings.rids))
            self._known[term] = _Known(upto, postings)

    def _rows(self, view: ReadView, tail: _Tail, terms: Sequence[str], after: Rid, upto: Rid) -> dict[str, list[_Row]]:
        """Return the rows of terms that touch (after, upto], in the order of their records."""
        end = min(upto, Rid(tail.start - 1))
        rows: dict[str, list[_Row]] = {term: [] for term in terms}
        for term, first, row in view.term_entries(terms, after, end) if end > after else ():
            rows[term].append((self._low + first, row))
        for term in terms if upto > end else ():
            if newest := tail.terms.get(term):
                rows[term].append((tail.start, newest))
        return rows

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
            try:
                tail.read(view, last)
            except BaseException:  # a part of it was read: the next read begins anew
                self._tail = _Tail(self._low)
                raise
        return tail

    def lengths(self, view: ReadView, rids: Rids) -> Scores:
        """Return the lengths of passages in terms, heading and text together."""
        import numpy as np

        if not len(rids):
            return np.zeros(0, np.float64)
        with self._lock:
            if rids.max() > self._measured:
                self._measure(view)
            return self._lengths.take(rids - self._low, mode="clip")

    def _measure(self, view: ReadView) -> None:
        import numpy as np

        tail, last = self._caught_up(view), view.head().last_rid
        last = max(last, tail.reached)
        room = packed.ordinal(last) + 1
        if room > len(self._lengths):
            grown = np.zeros(max(room + packed.BLOCK, 3 * len(self._lengths) // 2), np.float64)
            grown[: len(self._lengths)] = self._lengths
            self._lengths = grown
        for first, row in view.packed_lengths(packed.ordinal(self._measured)):
            self._lengths[first : first + packed.BLOCK] = np.maximum(np.frombuffer(row, "<u4").astype("i8") - 1, 0)
        for rid, length, _ in tail.since(self._measured):
            self._lengths[rid - self._low] = length
        self._measured = max(self._measured, last)

    def near(self, view: ReadView, words: Sequence[str], upto: Rid, heading_weight: float) -> dict[str, Weighted]:
        """Return where the terms nearest to words are, in passages recorded up to a record number, as one term a word.

        A word that nothing is near to is left out.
        """
        with self._lock:
            found = {word: self._near[key] for word in words if (key := (word, upto, heading_weight)) in self._near}
        near = {word: self._nearest(view, word, upto) for word in words if word not in found}
        if near:
            made = self._together(view, near, upto, heading_weight)
            found.update(made)
            with self._lock:
                if len(self._near) >= _WORDS_MAX or self._near_size > _NEAR_ENTRIES_MAX:
                    self._near, self._near_size = {}, 0
                self._near_size += sum(len(one.rids) for one in made.values() if one)
                self._near.update({(word, upto, heading_weight): one for word, one in made.items()})
        return {word: one for word, one in found.items() if one is not None}

    def _together(
        self, view: ReadView, near: Mapping[str, Sequence[Near]], upto: Rid, heading_weight: float
    ) -> dict[str, Weighted | None]:
        """Return what is near each word as one term: wherever one of its terms is, as much as the most, each by its share.

        All are read, weighed and brought into order at once.
        """
        import numpy as np

        terms = list(dict.fromkeys(term for some in near.values() for term, _ in some))
        with self._lock:
            rows = self._rows(view, self._caught_up(view), terms, self._low, upto)
        every = [
            (row, share, place)
            for place, some in enumerate(near.values())
            for term, share in some
            for row in rows[term]
        ]  # fmt: skip
        rids, counts = packed.unpacked([row for row, *_ in every])
        sizes = [len(row) // packed.ENTRY_BYTES for (_, row), *_ in every]
        shares, places = np.repeat([one[1] for one in every], sizes), np.repeat([one[2] for one in every], sizes)
        seen = rids <= upto
        keys = (places.astype(np.int64) << packed.NUMBER_BITS) + rids - self._low
        order = keys.argsort(kind="stable")
        order = order[seen[order]]
        keys, shares = keys[order], shares[order]
        found = _postings(rids[order], counts[order], (True, True, True))
        starts = np.concatenate([np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1]]).nonzero()[0]
        whole, text = shares * found.whole(slice(None), heading_weight), shares * found.in_text(slice(None))
        if len(starts) < len(keys):
            whole, text = np.maximum.reduceat(whole, starts), np.maximum.reduceat(text, starts)
        rids, ends = found.rids[starts], (keys[starts] >> packed.NUMBER_BITS).searchsorted(range(1, len(near) + 1))
        out, start = dict[str, Weighted | None](), 0
        for (word, some), end in zip(near.items(), ends.tolist(), strict=True):
            out[word] = Weighted(rids[start:end], whole[start:end], text[start:end]) if some else None
            start = end
        return out

    def _nearest(self, view: ReadView, word: str, upto: Rid) -> tuple[Near, ...]:
        with self._lock:
            last = view.head().last_rid
            if last > self._learnt:
                self._learn(view, last)
        return self._vocabulary.near(word, upto)

    def _learn(self, view: ReadView, last: Rid) -> None:
        tail = self._caught_up(view)
        rids, terms = view.first_words(self._learnt, Rid(tail.start - 1))
        self._vocabulary.add_all(terms, rids)
        for rid, _, some in tail.since(self._learnt):
            self._vocabulary.add(rid, some)
        self._learnt = last


def _postings(rids: Rids, counts: Counts, counted: Sequence[bool]) -> Postings:
    """Return postings of (n, 3) counts; `counted` says which of the three are more than nothing somewhere."""
    text, heading, extras = (counts[:, place].copy() if counted[place] else None for place in range(3))
    return Postings(rids, counts[:, 0].copy() if text is None else text, heading, extras)


def _joined(parts: Sequence[Postings]) -> Postings:
    import numpy as np

    def column(name: str) -> Counts | None:
        columns = [(len(part.rids), getattr(part, name)) for part in parts]
        if all(one is None for _, one in columns):
            return None
        return np.concatenate([np.zeros(size, np.uint8) if one is None else one for size, one in columns])

    rids, text = np.concatenate([part.rids for part in parts]), np.concatenate([part.text for part in parts])
    return Postings(rids, text, column("heading"), column("extras"))
