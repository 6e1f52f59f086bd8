"""Writing without spaces between words, or with much written onto them: overlapping pieces of a run stand for words.

Two characters of Han and kana, three code points of Thai and its neighbours, two syllables of Korean beside its words.
"""

from __future__ import annotations

from operator import add
from typing import Final

from cmc_mcp import limits
from cmc_mcp.terms import characters
from cmc_mcp.terms.runs import Piece

_THREE: Final = 3
_HANGUL_WORD: Final = 0.5
_SYLLABLES: Final = 0.3


def pairs(run: str) -> list[str]:
    """Return each two neighbouring characters of a run of Han and kana; of a run of one, that.

    >>> pairs("吃苹果"), pairs("猫")
    (['吃苹', '苹果'], ['猫'])
    """
    return list(map(add, run, run[1:])) if len(run) > 1 else [run]


def singles(run: str) -> list[str]:
    """Return the Han characters of a run, each of which may be a word, where there is more than one character."""
    if len(run) == 1:
        return []
    return list(run) if characters.han_alone().fullmatch(run) else characters.han().findall(run)


def threes(run: str) -> list[str]:
    """Return each three neighbouring code points of a run; of a shorter one, the whole.

    >>> threes("กินข้าว")[:3]
    ['กิน', 'ินข', 'นข้']
    """
    return [run[place : place + _THREE] for place in range(max(1, len(run) - _THREE + 1))]


def hangul(run: str) -> Piece:
    """Return what a Korean word gives: itself, and from three syllables on each two of them.

    >>> hangul("사과를").extras
    (('사과', 0.3), ('과를', 0.3))
    """
    extras = tuple((pair, _SYLLABLES) for pair in pairs(run)) if len(run) > 2 else ()
    return Piece(run, run[: limits.TERM_CHARS_MAX], _HANGUL_WORD, extras)
