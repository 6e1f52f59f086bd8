"""Full text as rows: which terms a passage has, packed by blocks of record numbers, alike on every database.

A passage is written as one forward row. Once all numbers of a block are given, its forward rows become postings: a row for
each term, five bytes for each passage that holds it. Sixteen blocks become one of the next level, so that looking for a
term reads few rows. What is packed follows from the last record number alone, whoever reads it and whenever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp import limits
from cmc_mcp.ids import Rid, Ws
from cmc_mcp.terms.near import is_looked_for
from cmc_mcp.terms.passage import passage_terms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK: Final = 1_024
FAN: Final = 16  # blocks that become one of the next level
SPANS: Final = (BLOCK, BLOCK * FAN)
"""How many numbers a block of each level holds. The offset in an entry reaches no further level."""
ENTRY_BYTES: Final = 5  # the offset in the block (u16, little-endian), and the three counts
_COUNT_MAX: Final = 255
_ONCE: Final = (1, 0, 0)
NUMBER_BITS: Final = 40
_LENGTH_BYTES: Final = 4

Counts = tuple[int, int, int]
"""How often a passage has a term: in its text, in its heading, and as an addition to either; each at most 255."""
Terms = Mapping[str, Counts]
Text = tuple[Rid, str, str]
"""A record number, a heading and a text."""


class Made(NamedTuple):
    """What a passage is found by, and its length in terms, heading and text together, additions not counted."""

    length: int
    terms: Terms


def made_of(heading: str, text: str) -> Made:
    """Return what a passage is found by.

    >>> made_of("News", "new getUser").terms
    {'new': (1, 1, 0), 'getus': (1, 0, 0), 'get': (0, 0, 1), 'user': (0, 0, 1)}
    """
    body = passage_terms(text)
    if (
        not heading
        and not body.extras
        and max(body.counts.values(), default=0) <= _COUNT_MAX
        and max(map(len, body.counts), default=0) <= limits.TERM_CHARS_MAX
    ):
        counted = body.counts.items()
        return Made(body.length, {term: _ONCE if count == 1 else (count, 0, 0) for term, count in counted})
    head = passage_terms(heading)
    terms: dict[str, Counts] = {}
    for term in dict.fromkeys((*body.counts, *head.counts, *body.extras, *head.extras)):
        extras = body.extras.get(term, 0) + head.extras.get(term, 0)
        counts = body.counts.get(term, 0), head.counts.get(term, 0), extras
        terms[kept(term)] = (min(counts[0], _COUNT_MAX), min(counts[1], _COUNT_MAX), min(counts[2], _COUNT_MAX))
    return Made(body.length + head.length, terms)


def kept(term: str) -> str:
    """Return a term as it is kept: of one that grew beyond a key when it was folded, the beginning."""
    return term if len(term) <= limits.TERM_CHARS_MAX else term[: limits.TERM_CHARS_MAX]


# ---------------------------------------------------------------------- forward rows
def forward(terms: Terms) -> bytes:
    """Write the terms of a passage: a line for all that have the same counts.

    >>> forward({"b": (1, 0, 0), "a": (1, 0, 0), "c": (2, 0, 1)})
    b'1,0,0 a b\\n2,0,1 c'
    """
    groups: defaultdict[Counts, list[str]] = defaultdict(list)
    for term, counts in terms.items():
        groups[counts].append(term)
    lines = [f"{t},{h},{x} {' '.join(sorted(groups[t, h, x]))}" for t, h, x in sorted(groups)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def read_forward(row: bytes) -> dict[str, Counts]:
    """Read the terms of a passage."""
    return {term: counts for counts, terms in by_counts(row) for term in terms}


def by_counts(row: bytes) -> Iterator[tuple[Counts, list[str]]]:
    """Yield the terms of a passage that have the same counts."""
    for line in row.decode("utf-8", "surrogatepass").split("\n") if row else ():
        written, *terms = line.split(" ")
        yield _counts(written), terms


@lru_cache(maxsize=1_024)
def _counts(written: str) -> Counts:
    text, heading, extras = map(int, written.split(","))
    return text, heading, extras


# ---------------------------------------------------------------------- blocks
class Place(NamedTuple):
    """A block: its level, and its number among those of the level."""

    level: int
    block: int

    @property
    def first(self) -> int:
        """The first number in it, without the workspace."""
        return self.block * SPANS[self.level]


def ordinal(rid: Rid) -> int:
    """Return a record number without its workspace."""
    return rid & ((1 << NUMBER_BITS) - 1)


def rid_of(ws: Ws, number: int) -> Rid:
    """Return a record number of a workspace."""
    return Rid((ws << NUMBER_BITS) + number)


def unpacked_from(last: Rid) -> int:
    """Return the first number that is not packed, where a record is the last."""
    return (ordinal(last) + 1) // BLOCK * BLOCK


def places(last: Rid) -> Iterator[Place]:
    """Yield the blocks that are packed where a record is the last, in order of their numbers.

    >>> list(places(Rid(17 * 1024)))
    [Place(level=1, block=0), Place(level=0, block=16)]
    """
    end = ordinal(last) + 1
    merged = end // SPANS[1]
    yield from (Place(1, block) for block in range(merged))
    yield from (Place(0, block) for block in range(merged * FAN, end // BLOCK))


def place_of(number: int, last: Rid) -> Place | None:
    """Return the block that holds a number; None where it is not packed."""
    end = ordinal(last) + 1
    if number < end // SPANS[1] * SPANS[1]:
        return Place(1, number // SPANS[1])
    return Place(0, number // BLOCK) if number < end // BLOCK * BLOCK else None


def entry(offset: int, counts: Counts) -> bytes:
    """Write where in a block a term is, and how often."""
    return bytes((offset & 0xFF, offset >> 8, *counts))


def packed(passages: Iterable[tuple[int, Iterable[tuple[Counts, Iterable[str]]]]], first: int) -> dict[str, bytearray]:
    """Pack passages (number, terms by their counts), ascending, into rows of a block that begins with a number."""
    rows: defaultdict[str, bytearray] = defaultdict(bytearray)
    for number, groups in passages:
        for counts, terms in groups:
            one = entry(number - first, counts)
            for term in terms:
                rows[term] += one
    return rows


def shifted(row: bytes, by: int) -> bytes:
    """Move the offsets of a row: its block becomes a part of a larger one."""
    if not by:
        return row
    out = bytearray(row)
    for at in range(0, len(out), ENTRY_BYTES):
        offset = (out[at] | out[at + 1] << 8) + by
        out[at], out[at + 1] = offset & 0xFF, offset >> 8
    return bytes(out)


def offsets(row: bytes) -> list[int]:
    """Return the offsets of a row, in order."""
    return [row[at] | row[at + 1] << 8 for at in range(0, len(row), ENTRY_BYTES)]


def changed(row: bytes, offset: int, counts: Counts | None) -> bytes:
    """Return a row with another entry at an offset, or with none."""
    entries = {row[at] | row[at + 1] << 8: row[at : at + ENTRY_BYTES] for at in range(0, len(row), ENTRY_BYTES)}
    entries.pop(offset, None)
    if counts is not None:
        entries[offset] = entry(offset, counts)
    return b"".join([entries[at] for at in sorted(entries)])


def unpacked(rows: Sequence[tuple[int, bytes | bytearray]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Read rows (first number of the block, entries), one after the other, as the numbers and (n, 3) counts."""
    import numpy as np

    read = np.frombuffer(b"".join([row for _, row in rows]), np.uint8).reshape(-1, ENTRY_BYTES)
    firsts = np.repeat(np.array([first for first, _ in rows], np.int64), [len(row) // ENTRY_BYTES for _, row in rows])
    offsets = np.ascontiguousarray(read[:, :2]).view("<u2")[:, 0]
    return firsts + offsets, read[:, 2:]


# ---------------------------------------------------------------------- lengths, vocabulary
def packed_lengths(lengths: Mapping[int, int], first: int) -> bytes:
    """Pack the lengths of a block's passages by number, each one more than it is; 0 is no passage."""
    return b"".join([(lengths.get(first + at, -1) + 1).to_bytes(_LENGTH_BYTES, "little") for at in range(BLOCK)])


def with_length(row: bytes, offset: int, length: int | None) -> bytes:
    """Return packed lengths with another one, or with none."""
    at = offset * _LENGTH_BYTES
    return (
        row[:at] + (0 if length is None else length + 1).to_bytes(_LENGTH_BYTES, "little") + row[at + _LENGTH_BYTES :]
    )


def length_at(row: bytes, offset: int) -> int | None:
    """Return a length of those packed; None where there is no passage."""
    at = offset * _LENGTH_BYTES
    kept = int.from_bytes(row[at : at + _LENGTH_BYTES], "little")
    return kept - 1 if kept else None


def words_of(terms: Iterable[str]) -> list[str]:
    """Return those terms that are looked for by others, in order."""
    return sorted(filter(is_looked_for, terms))


def data(term: str) -> bytes:
    """Return a term as a key holds it: bytes have one order, whatever a database makes of text."""
    return term.encode("utf-8", "surrogatepass")


def term_of(key: bytes) -> str:
    """Return the term of a key."""
    return key.decode("utf-8", "surrogatepass")


def terms_of(keys: bytes) -> list[str]:
    """Return the terms of keys that stand in lines: no term holds what ends one."""
    return term_of(keys).split("\n")
