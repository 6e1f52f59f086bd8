"""Write the tables of full text's characters, by a Python whose Unicode is 14: `python scripts/write_unicode.py`.

The terms of every store are made by them, so they stay as they are; `tests/terms/test_characters.py` compares.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable
from pathlib import Path

from cmc_mcp.terms import characters

VERSION = "14.0.0"
FILE = Path(__file__).resolve().parent.parent / "cmc_mcp" / "terms" / "unicode14.toml"
_LAST = 0x10FFFF
_HEAD = """\
# Character classes of Unicode 14 as ranges of code points, in hexadecimal. They never change: stored terms were made by them.
# Written by scripts/write_unicode.py.
"""


def _ranges(holds: Callable[[int], bool]) -> str:
    out: list[str] = []
    first: int | None = None
    for code in range(0x80, _LAST + 2):
        if code <= _LAST and holds(code):
            first = code if first is None else first
        elif first is not None:
            out.append(f"{first:x}" if first == code - 1 else f"{first:x}-{code - 1:x}")
            first = None
    return " ".join(out)


def text() -> str:
    """Return the text of the file.

    Raises:
        RuntimeError: this Python has another Unicode.
    """
    if unicodedata.unidata_version != VERSION:
        raise RuntimeError(f"this Python has Unicode {unicodedata.unidata_version}; Python 3.11 has {VERSION}")
    kinds = [unicodedata.category(chr(code)) for code in range(_LAST + 1)]
    named = re.compile(
        f"[{characters.LATIN}{characters.CJK}{characters.HANGUL}{characters.UNSPACED}{characters.IGNORED}]"
    )
    pictures = re.compile(f"[{characters.PICTURES}]")
    nothing = {*range(0xFDD0, 0xFDF0), *(code for code in range(_LAST + 1) if code & 0xFFFE == 0xFFFE)}

    def other(code: int) -> bool:
        """Tell whether a code point is in a word; those that Unicode 14 does not know, and private ones, are."""
        if (
            code < 0x370
            or code in nothing
            or named.match(chr(code))
            or (pictures.match(chr(code)) and kinds[code] == "Cn")
        ):
            return False
        return kinds[code][0] in "LMN" or kinds[code] in ("Cn", "Co")

    def symbol(code: int) -> bool:
        box = 0x2500 <= code <= 0x25FF
        picture = pictures.match(chr(code)) is not None and kinds[code] == "Cn"
        if code < 0xA2 or box or code in nothing or named.match(chr(code)):
            return False
        return picture or kinds[code] in ("So", "Sm", "Sc")

    tables = {
        "unassigned": _ranges(lambda code: kinds[code] == "Cn"),
        "marks": _ranges(lambda code: kinds[code][0] == "M"),
        "other": _ranges(other),
        "symbols": _ranges(symbol),
        "digits": " ".join(
            f"{code:x}" for code in range(0x80, _LAST) if kinds[code] == "Nd" and unicodedata.decimal(chr(code)) == 0
        ),
    }
    lines = [f'{name} = """\n{textwrap.fill(ranges, 118)}\n"""' for name, ranges in tables.items()]
    return _HEAD + "\n" + "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
