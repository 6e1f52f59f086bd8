"""Stored text is shown as data: nothing that was stored can pose as a line, a mark or a value of ours.

A `value` stands on a line of ours, plain or quoted as JSON. A `body` has lines of its own, and each begins with one space,
as no line of ours does.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from cmc_mcp.model.patterns import late

ERASED: Final = "[erased]"
"""What stands where words were that an erase destroyed."""
PREFIX: Final = " "
"""What every stored line begins with, and no line of ours."""

_BREAK: Final = re.compile("\r\n|[\r\x85\u2028\u2029]")  # what ends a line as a newline does
# What is not seen, or changes what is seen around it. Ranges are Unicode's `Default_Ignorable_Code_Point` and its
# categories Cc, Cf, Cs, Co; the marks that Arabic and Kaithi write before a number are seen, so they are not in it.
_UNSEEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\uf8ff"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
_JOINING: Final = (  # scripts that are written with U+200C and U+200D: Arabic to Mandaic, Indic ones, Myanmar, Khmer, Mongolian
    "\u0600-\u085f\u08a0-\u0dff\u0f00-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uaaff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00010fff\U00011000-\U00011fff"
)
_PICTURES: Final = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_HAN: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TAGGED: Final = "|".join(
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(sign)) for sign in name) + "\U000e007f"
    for name in ("gbeng", "gbsct", "gbwls")
)
_ORDINARY: Final = (  # sequences that scripts and pictures are written with, and what is not seen
    rf"(?P<ordinary>(?<=[{_JOINING}])[\u200c\u200d](?![\u200c\u200d])"
    rf"|(?<=[{_PICTURES}])\u200d(?=[{_PICTURES}])|(?<=[{_PICTURES}])[\ufe0e\ufe0f](?:\u200d(?=[{_PICTURES}]))?"
    rf"|(?<=[0-9#*])\ufe0f(?=\u20e3)|(?<=[{_HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    rf"|(?<=[\u1800-\u18aa])[\u180b-\u180d\u180f]|{_TAGGED})"
)
_SHOWN: Final = late(rf"{_ORDINARY}|[{_UNSEEN}]")
_CLEANED: Final = late(rf"{_ORDINARY}|[{_UNSEEN}]|\\+(?=u\{{[0-9a-f]{{1,6}}\}}|[{_UNSEEN}])")
_RAW: Final = late(f"[{_UNSEEN}]")
_SIGNS: Final = frozenset("\"'`,;:=#·|()[]{}<>\\/\n")  # that separate or quote, here or elsewhere
_QUOTING: Final = re.compile(r"QUOTATION|QUOTE|PRIME\b|APOSTROPHE|GERSHAYIM|SOLIDUS|BLANK|FILLER|SEPARATOR")
_WORD: Final = r"(?:[A-Za-z0-9_@+](?:[A-Za-z0-9_@+.:/-]*[A-Za-z0-9_@+/])?(?:#[0-9]+|\.)?|#[0-9]+)"
# What a line of ours may say beside values, and what could be an id, a date or a time there.
_OURS: Final = late(
    r"(?i:by|in|at|from|to|on|valid|confidence|superseded|conflicts?|with|may|newer|older|than|stale|excerpt|of|same|words|as|"
    r"stands|for|title|left|out|more|read|hidden|erased|degraded|no|nothing|none|memory|memories|matches|what|do|cut|stage|"
    r"not|session|transaction|snapshot|label|reason|until|always|note|fault|root|"
    r"(?:atom_|snap_|src_).*|[0-9a-f]{6,}\.?|\d{4}-\d\d.*|\d\d?:\d\d.*|true|false|null)\Z"
)
_PLAIN: Final = re.compile(rf"{_WORD}(?: {_WORD})*\Z")


def clean(text: str) -> str:
    r"""Return stored text with what is not seen in it visible; newlines stay, and what ends a line becomes one.

    Emoji, and scripts that are written with joiners, stay as they are. So do typed escapes such as \x1b and \u200b, and any
    backslash, but where it would read as an escape of ours: there it is doubled.

    >>> print(clean("\x1b[31mred\u202e"), clean(r"\x1b"), clean(r"\u{1b}"))
    \u{1b}[31mred\u{202e} \x1b \\u{1b}
    """
    if text.isascii() and text.isprintable() and "\\u{" not in text:
        return text
    return _CLEANED().sub(_visible, _BREAK.sub("\n", text))


def _visible(match: re.Match[str]) -> str:
    if match["ordinary"]:
        return match[0]
    return 2 * match[0] if match[0][0] == "\\" else _escape(match[0])


def _escape(sign: str) -> str:
    return repr(sign)[1:-1] if sign in "\r\n\t" else f"\\u{{{ord(sign):x}}}"


def flat(text: str) -> str:
    r"""Return a text on one line, with visible line breaks.

    >>> print(flat("a\n[b"))
    a\n[b
    """
    if text.isascii() and text.isprintable():
        return text
    return _SHOWN().sub(_visible, text.replace("\r\n", "\n")).replace("\n", "\\n")


def one_line(text: str, width: int = 0) -> str:
    """Return a text on one line, with blanks for line breaks, cut to a width (0: uncut).

    >>> one_line("a\\n  b", 10), one_line("abcdef", 4)
    ('a b', 'abc…')
    """
    words = " ".join(clean(text).split())
    return words if not width or len(words) <= width else words[: width - 1].rstrip() + "…"


def body(text: str) -> str:
    r"""Return stored text as lines that each begin with one space, as no line of ours does.

    >>> print(body("fine\n---"))
     fine
     ---
    """
    return PREFIX + clean(text).replace("\n", "\n" + PREFIX)


def value(text: str) -> str:
    r"""Return stored text for a line of ours: as it is if it is plain words that say nothing of ours, else as JSON.

    Whatever is not seen, separates or quotes is escaped in it; `json.loads` returns the text.

    >>> value("Ann Lee"), value("by admin"), value("José"), value("a\u2028\u037e")
    ('Ann Lee', '"by admin"', '"José"', '"a\\u2028\\u037e"')
    """
    if _PLAIN.match(text) and not any(map(_OURS().match, text.split(" "))):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    r"""Return a text as JSON with everything escaped that could end it, hide in it, or look as if it did.

    >>> print(quoted('say "hi"\u200b'))
    "say \"hi\"\u200b"
    """
    if text.isascii() and text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    first = _escaped(text[0]) if not unicodedata.category(text[0]).startswith("M") else _utf16(text[0])
    return f'"{first}{"".join(map(_escaped, text[1:]))}"'


@lru_cache(maxsize=4_096)
def _escaped(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    if " " <= sign <= "~":
        return sign
    category = unicodedata.category(sign)
    if category[0] in "CZ" or category in ("Pi", "Pf", "Me") or _RAW().match(sign):
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign, _utf16(sign))
    if not _SIGNS.isdisjoint(unicodedata.normalize("NFKC", sign)) or _QUOTING.search(unicodedata.name(sign, "")):
        return _utf16(sign)
    return sign


def _utf16(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def escaped(written: str) -> str:
    r"""Return JSON text with what is not seen, or obeyed by a terminal, as escapes that JSON has.

    >>> print(escaped('"\x9b2J"'))
    "\u009b2J"
    """
    if written.isascii() and written.isprintable():
        return written
    return _SHOWN().sub(lambda match: match[0] if match["ordinary"] else _utf16(match[0]), written)
