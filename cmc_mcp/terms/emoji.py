"""The words that name an emoji, by its name in Unicode, which never changes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Final

_BLOCKS: Final = (
    "\u2600-\u27bf \U0001f300-\U0001f64f \U0001f680-\U0001f6d7 \U0001f6dd-\U0001f6ec \U0001f6f0-\U0001f6fc"
    " \U0001f900-\U0001f9ff \U0001fa70-\U0001fa74 \U0001fa78-\U0001fa7c \U0001fa80-\U0001fa86 \U0001fa90-\U0001faac"
    " \U0001fab0-\U0001faba \U0001fac0-\U0001fac5 \U0001fad0-\U0001fad9 \U0001fae0-\U0001fae7 \U0001faf0-\U0001faf6"
)
"""Pictures that Unicode 14 knows; a later Python has names for more."""
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
    blocks = [block.split("-") for block in _BLOCKS.split()]
    for sign in (chr(code) for first, last in blocks for code in range(ord(first), ord(last) + 1)):
        name = unicodedata.name(sign)
        if not name.startswith(_NO_NAMES):
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
