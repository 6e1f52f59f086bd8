"""What a text becomes before it is cut into terms, so that spellings of the same text give the same terms.

Of Python's Unicode, only what Unicode promises never to change is used: the normal forms and the case folding of
characters that version 14 knows. All others pass untouched.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

from cmc_mcp import limits
from cmc_mcp.terms import characters

_FIRST_ASTRAL: Final = "\U00010000"
_TYPED: Final = tuple(zip("’ʼʻ‘‐‑，！？：；（）", "''''--,!?:;()", strict=True))
"""Signs of typography that words hold, and wide ones that are common, for which no text need be composed anew."""

_LETTERS: Final = str.maketrans({
    "đ": "d", "ð": "d", "ø": "o", "ł": "l", "ŧ": "t", "ħ": "h", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ŋ": "n", "ƒ": "f",
})  # fmt: skip
"""Latin letters that no normal form takes apart."""


def normalised(text: str) -> str:
    """Return a text in one spelling: no ignorable characters, compatible forms unified (NFKC), digits in ASCII.

    What is raised or lowered stays so, and fractions stand apart: 10² is not 102, and 1½ is not 11/2.

    >>> normalised("ﬁne\\u00ad-tuned １２３ ٤٢"), normalised("10² 1½"), normalised("e‑mail")
    ('fine-tuned 123 42', '10² 1 1/2 ', 'e-mail')
    """
    if text.isascii():
        return text
    for sign, plain in _TYPED:
        text = text.replace(sign, plain)
    if _hidden().search(text):
        text = _ignored().sub("", text).translate(characters.tables().digits)
    return text if unicodedata.is_normalized("NFKC", text) else known_only(text, _composed)


def folded(word: str) -> str:
    """Return a Latin word without case and accents, in ASCII where it can be.

    >>> folded("Straße"), folded("Łódź"), folded("CAFÉ")
    ('strasse', 'lodz', 'cafe')
    """
    if word.isascii():
        return word.lower()
    return known_only(word, _without_accents)


def cased(word: str) -> str:
    """Return a word without case, composed."""
    return word.lower() if word.isascii() else known_only(word, _without_case)


def known_only(text: str, change: Callable[[str], str]) -> str:
    """Return a text with its parts between characters that Unicode 14 does not know changed."""
    parts = _unassigned().split(text)
    if len(parts) == 1:
        return change(text)
    parts[::2] = map(change, parts[::2])
    return "".join(parts)


def _composed(text: str) -> str:
    if unicodedata.is_normalized("NFKC", text):
        return text
    text = _marks().sub(r"\1", text)  # ordering many is quadratic
    text = _fractions().sub(_apart, text)
    parts = _raised().split(text)
    parts[::2] = [unicodedata.normalize("NFKC", part) for part in parts[::2]]
    return "".join(parts)


def _apart(fraction: re.Match[str]) -> str:
    return f" {unicodedata.normalize('NFKC', fraction[0]).replace(chr(0x2044), '/')} "


def _without_case(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _without_accents(word: str) -> str:
    apart = unicodedata.normalize("NFD", word.casefold())
    return _accents().sub("", apart).translate(_LETTERS)


@cache
def _hidden() -> re.Pattern[str]:
    digits = "".join(map(chr, characters.tables().digits))
    return _one_of(characters.IGNORED + digits)


@cache
def _ignored() -> re.Pattern[str]:
    return re.compile(f"[{characters.IGNORED}]+")


@cache
def _unassigned() -> re.Pattern[str]:
    return re.compile(f"({_one_of(characters.tables().unassigned).pattern})")


@cache
def _marks() -> re.Pattern[str]:
    few, marks = limits.MARKS_MAX, characters.tables().marks
    return re.compile(f"([{marks}]{{{few}}})[{marks}]+")


@cache
def _fractions() -> re.Pattern[str]:
    return re.compile(f"[{characters.FRACTIONS}]")


@cache
def _raised() -> re.Pattern[str]:
    return re.compile(f"([{characters.RAISED}\u2120\u2122]+)")


@cache
def _accents() -> re.Pattern[str]:
    return re.compile(f"[{characters.MARKS}]+")


def _one_of(piece: str) -> re.Pattern[str]:
    """Compile a character class with many ranges; past U+FFFF, where `re` tries one after the other, only if need be."""
    below, above = "", ""
    for first, last in re.findall(r"(.)(?:-(.))?", piece, re.DOTALL):
        range_ = f"{first}-{last}" if last else first
        if first >= _FIRST_ASTRAL:
            above += range_
        else:
            below += range_
    return re.compile(f"[{below}]|(?=[{_FIRST_ASTRAL}-\U0010ffff])[{above}]")
