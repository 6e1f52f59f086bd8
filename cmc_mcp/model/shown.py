"""Stored text is shown as data: characters that move a cursor, break a line or imitate our own lines become visible."""

from __future__ import annotations

import re
from typing import Final

ERASED: Final = "[erased]"
"""What stands where words were that an erase destroyed."""
# C0 but tab and newline, DEL, C1, what breaks a line, and what reorders one
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNSEEN: Final = "(?:[^\\S\n]|[\u00ad\u200b-\u200f\u2060-\u2064\ufeff])*"
_OURS: Final = re.compile(
    rf"^(?={_UNSEEN}\\*{_UNSEEN}(?:[\[(]{_UNSEEN}atom_|\(…\)|---[^\S\n]*$))", re.IGNORECASE | re.MULTILINE
)
_MARK: Final = re.compile(
    rf"{_UNSEEN}(?:[“\"#]|(?:by|valid|confidence|superseded|conflicts|may|newer|older|stale|excerpt)\b|\d{{4}}-\d\d)",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    r"""Return stored text with its control characters visible, safe for a terminal and for a line.

    >>> clean("\x1b[31mred")
    '\\x1b[31mred'
    """
    return _CONTROL.sub(lambda m: repr(m[0])[1:-1], text.replace("\r\n", "\n"))


def flat(text: str) -> str:
    r"""Return a text on one line, with visible line breaks.

    >>> print(flat("a\n[b"))
    a\n[b
    """
    return clean(text).replace("\n", "\\n")


def one_line(text: str, width: int = 0) -> str:
    """Return a text on one line, with blanks for line breaks, cut to a width (0: uncut).

    >>> one_line("a\\n  b", 10), one_line("abcdef", 4)
    ('a b', 'abc…')
    """
    words = " ".join(clean(text).split())
    return words if not width or len(words) <= width else words[: width - 1].rstrip() + "…"


def body(text: str) -> str:
    r"""Return the words of a memory; a line that looks like one of ours (a head, a rule) starts with a backslash.

    >>> print(body("fine\n[atom_1 · Maya]\n---"))
    fine
    \[atom_1 · Maya]
    \---
    """
    return _OURS.sub(r"\\", clean(text))


def beside(name: str, text: str) -> str:
    r"""Return the words of a neighbour, with each line marked as the neighbour's.

    >>> print(beside("atom_1", "one\ntwo"))
    (atom_1) one
    (…) two
    """
    return f"({name}) " + clean(text).replace("\n", "\n(…) ")


def escaped(written: str) -> str:
    r"""Return JSON text with the control characters that JSON allows and a terminal obeys as escapes.

    >>> print(escaped('"\x9b2J"'))
    "\u009b2J"
    """
    return _CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", written)


def part(text: str, *, alone: bool = False) -> str:
    r"""Return a value for a head, with `·`, the separator of its parts, escaped; `alone` quotes a value that poses as ours.

    >>> print(part("Maya · by admin"), part("STALE", alone=True))
    Maya \u00b7 by admin "STALE"
    """
    written = flat(text).replace("·", r"\u00b7")
    return f'"{written}"' if alone and _MARK.match(written) else written
