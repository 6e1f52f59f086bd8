"""The words that name an emoji, by its name in Unicode, which never changes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final

from cmc_mcp.terms.normal import known_only

_BLOCKS: Final = ((0x2600, 0x27BF), (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x1FA70, 0x1FAFF))
_NO_NAMES: Final = ("EMOJI MODIFIER", "SQUARED", "NEGATIVE", "CIRCLED", "DINGBAT")
_SAY_NOTHING: Final = frozenset(("face", "with", "black", "white", "and", "sign", "symbol", "mark"))
_CHARS_MIN: Final = 3
_EMOJI_MAX: Final = 4  # a word that names more of them tells none


@cache
def named() -> Mapping[str, tuple[str, ...]]:
    """Return the emoji that each word names, in their order; words that name many are left out.

    >>> named()["rocket"], "heart" in named()
    (('🚀',), False)
    """
    found: dict[str, list[str]] = {}
    for sign in map(chr, (code for first, last in _BLOCKS for code in range(first, last + 1))):
        name = known_only(sign, lambda known: unicodedata.name(known, "") if known else "")
        if name and name != sign and not name.startswith(_NO_NAMES):
            for word in dict.fromkeys(name.lower().replace("-", " ").split()):
                if len(word) >= _CHARS_MIN and word not in _SAY_NOTHING:
                    found.setdefault(word, []).append(sign)
    return {word: tuple(signs) for word, signs in found.items() if len(signs) <= _EMOJI_MAX}


@cache
def names() -> Mapping[str, tuple[str, ...]]:
    """Return the words that name each emoji and few others.

    >>> names()["🚀"]
    ('rocket',)
    """
    out: dict[str, tuple[str, ...]] = {}
    for word, signs in named().items():
        for sign in signs:
            out[sign] = (*out.get(sign, ()), word)
    return out
