"""The terms of a stored text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from cmc_mcp.terms.normal import normalised
from cmc_mcp.terms.numbers import has_digits, numbers, signed_names
from cmc_mcp.terms.porter import stem
from cmc_mcp.terms.runs import CJK, SYMBOL, UNSPACED, runs
from cmc_mcp.terms.unspaced import pairs, singles, threes
from cmc_mcp.terms.words import words

EXTRA_WEIGHT: Final = 0.3
"""What an addition counts beside a term of the text."""

_KEPT_CHUNKS: Final = 16_384
_KEPT_CHARS_MAX: Final = 24
_MANY: Final = 32
_FIRST_CJK: Final = "\u2e80"


class PassageTerms(NamedTuple):
    """What a text is found by. A term may be in both counts."""

    length: int  # terms of the text, additions not counted
    counts: Mapping[str, int]
    extras: Mapping[str, int]  # additions; each counts `EXTRA_WEIGHT`


class _More(NamedTuple):
    """What a part of a text gives beside the terms that it is made of."""

    extras: list[str]
    capitals: list[str]
    digital: bool


def passage_terms(text: str) -> PassageTerms:
    """Return the terms of a text.

    The time is linear in the text, whatever is in it.

    >>> found = passage_terms("We deployed v4.21 to the US.")
    >>> found.length, sorted(found.counts)
    (7, ['21', 'deploi', 'the', 'to', 'us', 'v4', 'we'])
    >>> sorted(found.extras)
    ['4', '4·21', 'US']
    """
    text = normalised(text)
    terms: list[str] = []
    extras: list[str] = []
    capitals: list[str] = []
    digital = False
    chunks = text.split()
    short = text.isascii() and max(map(len, chunks), default=0) <= _KEPT_CHARS_MAX
    for made, more in map(_kept if short else _read, chunks):
        terms += made
        if more:
            extras += more.extras
            capitals += more.capitals
            digital |= more.digital
    if digital:
        extras += numbers(text)
    if capitals and not shouted(text):
        extras += capitals
    return PassageTerms(len(terms), _counted(terms), _counted(extras))


def shouted(text: str) -> bool:
    """Return whether a text is all in capitals, so that those of a word say nothing."""
    return text.isascii() and text.isupper()


def _counted(terms: list[str]) -> dict[str, int]:
    if len(terms) > _MANY:
        return Counter(terms)
    counts: dict[str, int] = {}  # faster than a Counter, if they are few
    for term in terms:
        counts[term] = counts.get(term, 0) + 1
    return counts


def _made(chunk: str) -> tuple[list[str], _More | None]:
    """Return what a part of a text without blanks gives."""
    if len(chunk) <= _KEPT_CHARS_MAX and chunk.isascii() and chunk.isalpha() and chunk.islower():
        return [stem(chunk)], None
    terms: list[str] = []
    extras: list[str] = signed_names(chunk)
    capitals: list[str] = []
    for writing, run in runs(chunk):
        if writing == CJK:
            terms += pairs(run)
            extras += singles(run)
        elif writing == UNSPACED:
            terms += threes(run)
        elif writing == SYMBOL:
            extras.append(run)
        else:
            for piece in words(writing, run):
                if piece.term:
                    terms.append(piece.term)
                extras += [term for term, _ in piece.extras]
                if piece.capitals:
                    capitals.append(piece.capitals)
    digital = has_digits(chunk)
    return terms, _More(extras, capitals, digital) if extras or capitals or digital else None


def _read(chunk: str) -> tuple[list[str], _More | None]:
    return _kept(chunk) if len(chunk) <= _KEPT_CHARS_MAX and chunk < _FIRST_CJK else _made(chunk)


_kept = lru_cache(maxsize=_KEPT_CHUNKS)(_made)
