"""A normalised text cut into runs of one kind of writing, and what a word of one becomes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from cmc_mcp.terms import characters

Weighted = tuple[str, float]
"""A term, and its weight where a question says it."""


LATIN: Final = "latin"  # words with what joins them: "well-known", "getUserName", "192.168.1.10"
CJK: Final = "cjk"
HANGUL: Final = "hangul"
UNSPACED: Final = "unspaced"
SYMBOL: Final = "symbol"
OTHER: Final = "other"


class Piece(NamedTuple):
    """What one word gives, or several that are joined."""

    word: str  # as it is written, normalised
    term: str  # that the text is made of; empty for what is only added
    weight: float  # of the term in a question
    extras: tuple[Weighted, ...] = ()
    capitals: str = ""  # the word again, where its capitals tell it from a function word


_JOINED = r"(?:[-._/\\:@+&'#]|://)"


def runs(chunk: str) -> Iterator[tuple[str | None, str]]:
    """Yield the runs of a text in order, each with its kind of writing; what is between them is in no term.

    >>> list(runs("iPhone15用のケース。Привет!"))
    [('latin', 'iPhone15'), ('cjk', '用のケース'), ('other', 'Привет')]
    """
    if chunk.isascii():
        for run in _ascii().finditer(chunk):
            yield LATIN, run[0]
    else:
        for run in _every().finditer(chunk):
            yield run.lastgroup, run[0]


@cache
def _ascii() -> re.Pattern[str]:
    return re.compile(rf"[0-9A-Za-z]+(?:{_JOINED}[0-9A-Za-z]+)*+")


@cache
def _every() -> re.Pattern[str]:
    found, latin = characters.tables(), f"[{characters.LATIN}]"
    patterns = {
        LATIN: rf"{latin}+(?:{_JOINED}{latin}+)*+",
        CJK: f"[{characters.CJK}]+",
        HANGUL: f"[{characters.HANGUL}]+",
        UNSPACED: f"[{characters.UNSPACED}]+",
        OTHER: f"[{found.other}][{found.other}{characters.MARKS}]*",
        SYMBOL: f"[{characters.REGIONS}]{{2}}|[{found.symbols}]",
    }
    return re.compile("|".join(f"(?P<{writing}>{pattern})" for writing, pattern in patterns.items()))
