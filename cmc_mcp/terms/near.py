"""Near terms: the words of a vocabulary that a word may stand for. Inflections, compounds, typos, beginnings.

They take the place of stemmers and dictionaries, in every alphabet: what was never written is never looked for. Words are
compared by signatures of their pairs of letters first, and the few that share most of these letter by letter.
Identifiers (letters with digits) are found by their beginning alone: of two that differ in a digit neither means the other.
"""

from __future__ import annotations

import heapq
import re
import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

from cmc_mcp import limits
from cmc_mcp.ids import Rid
from cmc_mcp.terms import characters
from cmc_mcp.terms.similarity import SIMILARITY_MIN, begins, letters_min, similarity

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bits = npt.NDArray[np.uint64]
    _Scalar = TypeVar("_Scalar", bound=np.generic)

Near = tuple[str, float]
"""A term, and its similarity to the word, at most 1."""

_CHARS_MIN: Final = 3  # of a term
_COMPARED: Final = 12  # terms that share most of all letters, and as many that share most of the shorter word's
_SLAB: Final = 4_096  # words whose signatures are made at once: what is made on the way stays near the processor
_DIGITS_MIN: Final = 7  # of a word without letters, which may begin a hash
_FEW: Final = 64  # identifiers that are sorted in one by one
_BEGIN, _END = "\x01", "\x02"
_ALL: Final = 0xFFFFFFFF
_HALF: Final = 0xFFFFFFFFFFFFFFFF


class Vocabulary:
    """The terms of a workspace in the order of their first record, so that a read point sees its own alone. Thread-safe.

    It holds words with letters, and identifiers, each up to `VOCABULARY_TERMS_MAX`: the first that were written.

    >>> vocabulary = Vocabulary()
    >>> vocabulary.add(1, ["sicherung", "backup"])
    >>> vocabulary.add(2, ["datenbanksicherungen"])
    >>> [term for term, _ in vocabulary.near("datenbanksicherung", upto=2)]
    ['datenbanksicherungen']
    >>> vocabulary.near("datenbanksicherung", upto=1)
    ()
    """

    def __init__(self) -> None:
        import numpy as np

        self._lock = threading.Lock()
        self._reached = 0
        self._firsts: dict[str, int] = {}  # of all terms
        self._words: list[str] = []
        self._signed = 0  # words whose signatures are made
        self._low: Bits = np.zeros(0, np.uint64)
        self._high: Bits = np.zeros(0, np.uint64)
        self._both: Bits = np.zeros(0, np.uint64)
        self._sizes: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # of the signatures, in bits
        self._shares: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # bits of it that a longer word must share
        self._records: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._identifiers: list[str] = []
        self._sorted = 0

    def add(self, rid: Rid | int, terms: Iterable[str]) -> None:
        """Add the terms of a record; records come in ascending order. What is no word, or known, is left out."""
        with self._lock:
            self._reached = max(self._reached, rid)
            for term in sorted({term for term in terms if len(term) >= _CHARS_MIN and term not in self._firsts}):
                kind = _kind(term)
                among = self._words if kind == "word" else self._identifiers
                if kind and len(among) < limits.VOCABULARY_TERMS_MAX:
                    self._firsts[term] = self._reached
                    among.append(term)

    def add_all(self, terms: Sequence[str], rids: Sequence[Rid]) -> None:
        """Add terms that are looked for, each with its first record, ascending; those of one record in order."""
        with self._lock:
            firsts, words, identifiers = self._firsts, self._words, self._identifiers
            for term, rid in zip(terms, rids, strict=True):
                among = words if term.isalpha() or not _has_digit(term) else identifiers
                if len(among) < limits.VOCABULARY_TERMS_MAX and term not in firsts:
                    firsts[term] = rid
                    among.append(term)
            self._reached = max(self._reached, rids[-1] if rids else 0)

    def near(self, word: str, upto: Rid | int) -> tuple[Near, ...]:
        """Return the terms nearest to a word among those recorded up to a record number, best first, ties by term."""
        if not letters_min(word) <= len(word) <= limits.TERM_CHARS_MAX:
            return ()
        if word.isdigit() and len(word) < _DIGITS_MIN:
            return ()
        with self._lock:
            self._sort()
            found = self._beginning(word, upto)
            if not _has_digit(word) and self._words:
                found += self._alike(word, upto)
        return tuple(sorted(found, key=lambda near: (-near[1], near[0]))[: limits.NEAR_TERMS_MAX])

    def _sort(self) -> None:
        """Bring the identifiers that were added into order."""
        added = self._identifiers[self._sorted :]
        if len(added) > _FEW:
            self._identifiers.sort()
        elif added:
            del self._identifiers[self._sorted :]
            for term in added:
                insort(self._identifiers, term)
        self._sorted = len(self._identifiers)

    def _beginning(self, word: str, upto: int) -> list[Near]:
        """Return the shortest identifiers that begin with a word."""
        start = bisect_left(self._identifiers, word)
        end = bisect_left(self._identifiers, word + "\U0010ffff", start)
        seen = (one for one in self._identifiers[start:end] if one != word and self._firsts[one] <= upto)
        return [(one, begins(word, one)) for one in heapq.nsmallest(limits.NEAR_TERMS_MAX, seen, _by_length)]

    def _alike(self, word: str, upto: int) -> list[Near]:
        import numpy as np

        self._sign()
        end = int(self._records[: self._signed].searchsorted(upto, "right"))
        signature = _signature(word)
        mine = signature.bit_count()
        both = self._both[:end]  # not made anew for each word: memory that is new to a process costs more than the bits
        shared = np.bitwise_count(np.bitwise_and(self._low[:end], np.uint64(signature & _HALF), out=both))
        shared += np.bitwise_count(np.bitwise_and(self._high[:end], np.uint64(signature >> 64), out=both))
        some = (shared >= np.minimum(self._shares[:end], _share(mine))).nonzero()[0]
        common, sizes = shared[some].astype(np.float64), self._sizes[some].astype(np.float64)
        compared = self._best(some, 2 * common / (mine + sizes)) | self._best(some, common / np.minimum(mine, sizes))
        compared.discard(word)
        alike = [(term, similarity(word, term)) for term in compared]
        return [near for near in alike if near[1] >= SIMILARITY_MIN]

    def _best(self, places: npt.NDArray[np.intp], shares: npt.NDArray[np.float64]) -> set[str]:
        """Return the terms at the places with the largest shares, ties by term."""
        words, surplus = self._words, len(places) - _COMPARED
        if surplus <= 0:
            return {words[place] for place in places.tolist()}
        ranked = shares.copy()
        ranked.partition(surplus)
        first = (shares >= ranked[surplus]).nonzero()[0]
        some = [words[place] for place in places[first].tolist()]
        if len(some) > _COMPARED:  # the last of them are equal
            best_first = sorted(zip((-shares[first]).tolist(), some, strict=True))
            return {term for _, term in best_first[:_COMPARED]}
        return set(some)

    def _sign(self) -> None:
        """Make the signatures of the words that were added."""
        import numpy as np

        while self._signed < len(self._words):
            added = self._words[self._signed : self._signed + _SLAB]
            end = self._signed + len(added)
            if end > len(self._low):
                room = max(1024, 2 * len(self._low), len(self._words))
                self._low, self._high = _grown(self._low, room), _grown(self._high, room)
                self._both = np.zeros(room, np.uint64)
                self._sizes, self._shares = _grown(self._sizes, room), _grown(self._shares, room)
                self._records = _grown(self._records, room)
            low, high = _signatures(added)
            sizes = np.bitwise_count(low) + np.bitwise_count(high)
            self._low[self._signed : end], self._high[self._signed : end] = low, high
            self._sizes[self._signed : end] = sizes
            self._shares[self._signed : end] = _shares()[sizes]
            self._records[self._signed : end] = list(map(self._firsts.__getitem__, added))
            self._signed = end


def _grown(array: npt.NDArray[_Scalar], room: int) -> npt.NDArray[_Scalar]:
    import numpy as np

    out = np.zeros(room, array.dtype)
    out[: len(array)] = array
    return out


def _share(bits: int) -> int:
    """Return how many bits two signatures must share at least, of which the shorter has so many: three of five, or less.

    >>> _share(4), _share(9)
    (2, 5)
    """
    return max(0, -((2 - 3 * bits) // 5))


@cache
def _shares() -> npt.NDArray[np.uint8]:
    import numpy as np

    return np.array([_share(bits) for bits in range(129)], np.uint8)


def _signatures(words: Sequence[str]) -> tuple[Bits, Bits]:
    """Return 128 bits a word, of which each pair of neighbouring letters sets one, the ends of the word being letters too."""
    import numpy as np

    text = f"{_BEGIN}{f'{_END}{_BEGIN}'.join(words)}{_END}"
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    mixed = codes[:-1] * np.uint32(0x9E3779B1) + codes[1:] * np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(15)
    bits = (mixed * np.uint32(0x2C1B3C6D)) >> np.uint32(25)
    flags = np.uint64(1) << (bits & np.uint32(63)).astype(np.uint64)
    flags[codes[:-1] == ord(_END)] = 0  # from one word to the next
    starts = np.flatnonzero(codes == ord(_BEGIN))
    low, high = np.where(bits < 64, flags, np.uint64(0)), np.where(bits >= 64, flags, np.uint64(0))
    return np.bitwise_or.reduceat(low, starts), np.bitwise_or.reduceat(high, starts)


def _signature(word: str) -> int:
    """Return the bits of one word, as `_signatures` makes them."""
    out = 0
    codes = [ord(_BEGIN), *map(ord, word), ord(_END)]
    for one, other in pairwise(codes):
        mixed = one * 0x9E3779B1 + other * 0x85EBCA6B & _ALL
        mixed ^= mixed >> 15
        out |= 1 << ((mixed * 0x2C1B3C6D & _ALL) >> 25)
    return out


def _by_length(term: str) -> tuple[int, str]:
    return len(term), term


def is_looked_for(term: str) -> bool:
    """Return whether a term may be near a word: all others need not be known to a vocabulary."""
    return len(term) >= _CHARS_MIN and bool(_kind(term))


def _kind(term: str) -> str:
    """Return whether a term is a "word", an "identifier", or nothing that is looked for by others.

    >>> _kind("sicherung"), _kind("550e8400"), _kind("2026"), _kind("4·21"), _kind("東京都")
    ('word', 'identifier', '', '', '')
    """
    if term.isascii():
        if term.isalpha():
            return "word" if term.islower() else ""
        return "identifier" if term.isalnum() and not term.isdigit() else ""
    if _no_word().search(term):
        return ""
    return "identifier" if _has_digit(term) else "word"


def _has_digit(term: str) -> bool:
    return any("0" <= sign <= "9" for sign in term)


@cache
def _no_word() -> re.Pattern[str]:
    return re.compile(f"[·{characters.CJK}{characters.UNSPACED}{characters.REGIONS}]")
