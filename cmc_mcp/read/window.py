"""Window: a stretch of a text around what a question asks for, cut where a reader sees a character end.

It is for texts that have no sentences to choose from: log lines, one-line JSON, base64, minified code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

ELLIPSIS: Final = "…"
_BEFORE: Final = 3  # of a window, a third stands before the match
_FOUND_MAX: Final = 64  # occurrences that are told apart: a word that is more frequent says nothing of where to look
_JOINER: Final = "\u200d"
_FLAGS: Final = ("\U0001f1e6", "\U0001f1ff")  # two of these are one flag


def window(text: str, terms: Collection[str], chars_max: int, fits: Callable[[str], bool]) -> str:
    """Return the longest window of at most `chars_max` around the first match that fits, with "…" for what is left out.

    The match is of the term that the text has fewest of; without one the window is the beginning. `fits` says of a text
    whether it may be that long: of a longer one it must not say so where it does not of a shorter one.

    >>> window("level=info " * 50 + "disk=full " + "level=info " * 50, ["disk"], 99, lambda text: len(text) <= 24)
    '…=info disk=full level=…'
    """
    start, end = _match(text, terms)
    for cut in (_by_graphemes, _by_characters):  # the second where one grapheme is longer than what fits
        most = min(len(text), chars_max) + 1
        low, high = 0, min(32, most)  # characters: `low` fits, `high` does not
        while high < most and fits(_cut(text, start, end, high, cut)):
            low, high = high, min(2 * high, most)
        while high - low > 1:
            width = (low + high) // 2
            if fits(_cut(text, start, end, width, cut)):
                low = width
            else:
                high = width
        found = _cut(text, start, end, low, cut)
        if found.strip(ELLIPSIS):
            break
    return found


def _match(text: str, terms: Collection[str]) -> tuple[int, int]:
    best: tuple[int, int, int, int] | None = None
    for term in terms:
        found = list(islice(re.finditer(re.escape(term), text, re.IGNORECASE), _FOUND_MAX)) if term else []
        if found:
            mine = (len(found), -len(term), *found[0].span())
            best = mine if best is None else min(best, mine)
    return (0, 0) if best is None else best[2:]


def _cut(text: str, start: int, end: int, width: int, boundary: Callable[[str, int], int]) -> str:
    """Cut so many characters out: the match, and what is around it."""
    first = max(0, min(start - max(0, width - (end - start)) // _BEFORE, len(text) - width))
    first, last = boundary(text, first), boundary(text, min(len(text), first + width))
    return (ELLIPSIS if first else "") + text[first:last] + (ELLIPSIS if last < len(text) else "")


def _by_graphemes(text: str, at: int) -> int:
    """Return the last place up to `at` where nothing is cut that is seen as one character."""
    while 0 < at < len(text) and _joins(text, at):
        at -= 1
    return at


def _by_characters(text: str, at: int) -> int:
    return at


def _joins(text: str, at: int) -> bool:
    """Return whether the characters on both sides of a place are seen as one. Source: UAX #29, the rules GB3 and GB6 to GB13."""
    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    if _JOINER in (before, after) or unicodedata.category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if after == "\u200c" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if _FLAGS[0] <= before <= _FLAGS[1] and _FLAGS[0] <= after <= _FLAGS[1]:
        run = at
        while run and _FLAGS[0] <= text[run - 1] <= _FLAGS[1]:
            run -= 1
        return (at - run) % 2 == 1
    return _jamo(before, after)


def _jamo(before: str, after: str) -> bool:
    leading, vowel, trailing = (
        "\u1100" <= before <= "\u115f",
        "\u1160" <= after <= "\u11a7",
        "\u11a8" <= after <= "\u11ff",
    )
    if "\u1160" <= after <= "\u11ff":
        return leading or "\u1160" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    return leading and (vowel or trailing or "\u1100" <= after <= "\u115f" or "\uac00" <= after <= "\ud7a3")


def question_terms(query: str) -> list[str]:
    """Return the words of a question as they stand, and the pairs of characters of those in scripts without spaces.

    >>> question_terms("Is the disk full?"), question_terms("磁盘满")
    (['Is', 'the', 'disk', 'full'], ['磁盘满', '磁盘', '盘满'])
    """
    words = list(dict.fromkeys(re.findall(r"\w+", query)))
    pairs = [word[at : at + 2] for word in words if not word.isascii() for at in range(len(word) - 1) if len(word) > 2]
    return list(dict.fromkeys([*words, *pairs])) or [part for part in query.split() if part]
