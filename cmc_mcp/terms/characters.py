"""Which character is what: ranges of code points, as data, so that every version of Python reads a text alike.

Python's `\\w` and `unicodedata.category` change with its version, and a term that is stored must be made again, the same,
by a later one. So what is here is Unicode 14 for good (`unicode14.toml`, which `scripts/write_unicode.py` writes): a
character that it does not know is a letter of an unknown alphabet, and a picture among pictures.

The pieces of a character class (`HAN`, `KANA`, …) are written to stand inside the brackets of a regular expression. The
large ones are read from the file, and compiled, on first use.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

MARKS: Final = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff"
"""What is put on letters of any alphabet, and dropped from Latin ones."""

RAISED: Final = (
    "\u00aa\u00b2\u00b3\u00b9\u00ba\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d6a\u1d9b-\u1dbf\u2070-\u2079\u207f-\u2089"
    "\u2090-\u209c\u2c7c\u2c7d"
)
"""Letters and digits above and below the line: 10² is not 102."""

LATIN: Final = (
    f"0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af{RAISED}{MARKS}\u1d00-\u1d2b\u1d6b-\u1d9a\u1e00-\u1eff\u2c60-\u2c7b"
    "\u2c7e\u2c7f\ua722-\ua7ff\uab30-\uab6f"
)
HAN: Final = "\u3005-\u3007\u3021-\u3029\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
HIRAGANA: Final = "\u3041-\u3096\u3099\u309a\u309d-\u309f"
KANA: Final = f"{HIRAGANA}\u30a0-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
CJK: Final = f"{HAN}{KANA}\u3105-\u312f\u31a0-\u31bf\U0001b000-\U0001b16f"
HANGUL: Final = "\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\ud7b0-\ud7fb"
UNSPACED: Final = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u109f\u1780-\u17d3\u17d7-\u17dd"
    "\u0f40-\u0fbc\u1950-\u19df\u1a20-\u1aad\uaa60-\uaadf"
)
"""Thai, Lao, Khmer, Burmese, Tibetan and their neighbours, which write no spaces between words."""

IGNORED: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What shows nothing: soft hyphens, zero widths, marks of direction, variation selectors."""

FRACTIONS: Final = "\u00bc-\u00be\u2150-\u215f\u2189"
PICTURES: Final = "\U0001f000-\U0001faff\U0001fc00-\U0001fffd"
"""Pictographs, and the places kept for more."""

REGIONS: Final = "\U0001f1e6-\U0001f1ff"
"""Letters of which two are a flag."""


class Tables(NamedTuple):
    """What is too long to write by hand; all but the digits as pieces of a character class."""

    unassigned: str
    marks: str  # combining characters
    other: str  # letters, marks and numbers that are in no class above
    symbols: str
    digits: dict[int, int]  # decimal digits outside ASCII, for `str.translate`


@cache
def tables() -> Tables:
    """Return the tables of Unicode 14, read once."""
    import tomllib
    from importlib import resources

    found = tomllib.loads((resources.files("cmc_mcp.terms") / "unicode14.toml").read_text("utf-8"))
    zeros = [int(code, 16) for code in found["digits"].split()]
    digits = {zero + value: ord("0") + value for zero in zeros for value in range(10)}
    unassigned, marks, other, symbols = (_piece(found[name]) for name in ("unassigned", "marks", "other", "symbols"))
    return Tables(unassigned, marks, other, symbols, digits)


def _piece(ranges: str) -> str:
    """Turn "378-379 380" into a piece of a character class."""
    out = []
    for first, _, last in (one.partition("-") for one in ranges.split()):
        out.append(chr(int(first, 16)) + (f"-{chr(int(last, 16))}" if last else ""))
    return "".join(out)


@cache
def han() -> re.Pattern[str]:
    """Return the pattern of a character that may be a word by itself."""
    return re.compile(f"[{HAN}]")


@cache
def han_alone() -> re.Pattern[str]:
    """Return the pattern of such characters alone."""
    return re.compile(f"[{HAN}]+")


@cache
def latin_alone() -> re.Pattern[str]:
    """Return the pattern of what stands between the words of a run of Latin ones."""
    return re.compile(f"[^{LATIN}]+")
