"""Words of other alphabets: what is written or left out at will is folded, and what is written onto a word taken off.

No stemmer: inflected forms meet as near terms of the vocabulary (`near`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

from cmc_mcp import limits
from cmc_mcp.terms.normal import cased, known_only
from cmc_mcp.terms.runs import Piece

_BESIDE_CLITIC: Final = 0.5  # the word, and its form without clitics
_ARABIC: Final = str.maketrans("ىةکیٱ", "يهكيا")
_CYRILLIC: Final = str.maketrans("ёѐѝ", "еие")
_CYRILLIC_STRESS: Final = str.maketrans("", "", "\u0300\u0301")
_INDIC: Final = str.maketrans({
    **{0x900 + block + 1: 0x900 + block + 2 for block in range(0, 0x480, 0x80)},  # chandrabindu: anusvara
    **{0x900 + block + 0x3C: None for block in range(0, 0x400, 0x80)},  # nukta
})  # fmt: skip


def other(run: str) -> Piece | None:
    """Return what a word of another alphabet gives; nothing for one of marks alone.

    >>> other("Ёлка").term, other("Καλημέρα").term
    ('елка', 'καλημερα')
    >>> other("والكتاب").term, other("والكتاب").extras
    ('والكتاب', (('كتاب', 0.5),))
    """
    word = run[: limits.TERM_CHARS_MAX]
    fold, bare = _rules(word[0])
    term = known_only(cased(word), fold)
    if not term:
        return None
    without = bare(term) if bare is not None else term
    if without == term:
        return Piece(word, term, 1.0)
    return Piece(word, term, _BESIDE_CLITIC, ((without, _BESIDE_CLITIC),))


def _rules(letter: str) -> tuple[Callable[[str], str], Callable[[str], str] | None]:
    """Return how words are folded that begin with a letter, and how their clitics are taken off."""
    if "\u0370" <= letter <= "\u03ff" or "\u1f00" <= letter <= "\u1fff":
        return _greek, None
    if "\u0400" <= letter <= "\u052f":
        return _cyrillic, None
    if "\u0590" <= letter <= "\u05ff":
        return _hebrew, _without_hebrew_clitics
    if "\u0600" <= letter <= "\u06ff" or "\u0750" <= letter <= "\u077f" or "\u08a0" <= letter <= "\u08ff":
        return _arabic, _without_arabic_clitics
    return (_indic, None) if "\u0900" <= letter <= "\u0d7f" else (_as_it_is, None)


def _greek(word: str) -> str:
    return _marks().sub("", unicodedata.normalize("NFD", word))


def _cyrillic(word: str) -> str:
    return word.translate(_CYRILLIC_STRESS).translate(_CYRILLIC)


def _hebrew(word: str) -> str:
    return _points().sub("", unicodedata.normalize("NFD", word))


def _arabic(word: str) -> str:
    return _vowels().sub("", unicodedata.normalize("NFD", word)).translate(_ARABIC)


def _indic(word: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", word).translate(_INDIC))


def _as_it_is(word: str) -> str:
    return word


def _without_arabic_clitics(word: str) -> str:
    return _arabic_endings().sub("", _arabic_clitics().sub("", word, count=1), count=1)


def _without_hebrew_clitics(word: str) -> str:
    return _hebrew_endings().sub("", _hebrew_clitics().sub("", word, count=1), count=1)


@cache
def _marks() -> re.Pattern[str]:
    return re.compile("[\u0300-\u036f]+")


@cache
def _points() -> re.Pattern[str]:
    return re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]+")


@cache
def _vowels() -> re.Pattern[str]:
    return re.compile(
        "[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08ff]+"
    )


@cache
def _arabic_clitics() -> re.Pattern[str]:
    return re.compile(r"\A[وف]?(?:ال|بال|كال|لل|[بلك])?(?=...)")


@cache
def _arabic_endings() -> re.Pattern[str]:
    return re.compile(r"(?<=...)(?:ها|ان|ات|ون|ين|يه|ه|ي)\Z")


@cache
def _hebrew_clitics() -> re.Pattern[str]:
    return re.compile(r"\A(?:ו[הבלמכש]?|[הבלמכש])(?=...)")


@cache
def _hebrew_endings() -> re.Pattern[str]:
    return re.compile(r"(?<=...)(?:יים|ים|ות|יי|ית|ה|י)\Z")
