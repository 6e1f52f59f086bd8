"""Equality: when two texts say the same thing in the same words, so that one may stand for the other.

It errs towards difference. Two texts that are kept apart cost a line; two that are taken for one hide a fact. So the key
of a text keeps all that could carry meaning, and leaves out what only shows how it was typed. Nothing here knows a
language: in a script whose words the code cannot read, the same holds.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from cmc_mcp.model.patterns import late

_BLANKS: Final = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# soft hyphen, grapheme joiner, marks of direction, Hangul fillers, presentation forms, byte order mark
_IGNORED: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200e\u200f\u202a-\u202e\u2060\u2066-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
# Between letters of other scripts, digits and emoji the zero-width ones tell words and pictures apart.
_ZERO_WIDTH: Final = re.compile(r"(?:(?<=[A-Za-z\s])|\A)[\u200b-\u200d]+(?=[A-Za-z\s]|\Z)")
_LINE_ENDS: Final = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
_BLANK_ENDS: Final = re.compile(rf"[{_BLANKS}\t]+$", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"\n{3,}")
_BLANK_RUN: Final = re.compile(r"(?<=\S) {2,}(?=\S)")
_BLANK: Final = re.compile(f"[{_BLANKS}]")
_NOTATION: Final = re.compile(r"[`{}<>=|\\$^~*_@#\[\];&\t]|\A\s*[-+/!]|\n[ \t]")
_QUOTE: Final = late("[\"'´‘’‚‛“”„‟‹›«»「」『』〝〞〟′″＂＇｢｣]")  # what it quotes may differ in spaces alone
_FIRST: Final = re.compile(r"(\(?)([A-Z][a-z]+)(?=[ ,\n]|\Z)")
_NAMES_NOTHING: Final = frozenset(
    (
        "the", "this", "that", "these", "those", "we", "it", "she", "they", "there", "our", "your", "their", "when", "if",
        "after", "before", "with", "without", "from", "for", "at", "please", "because", "although", "while", "until",
        "during", "every",
    )
)  # fmt: skip
"""English words that are no name, month or noun, and in no other language another word by their capital.

"An", "He" and "My" are names, as are "May" and "Will"; "A" is what many a thing is called.
"""
_STOP_AFTER: Final = frozenset("\"')]%")
_UNIFIED: Final = str.maketrans({
    **dict.fromkeys("“”„‟«»「」『』", '"'), **dict.fromkeys("‘’‚‛‹›", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"), **dict.fromkeys("。｡।۔։", "."), "؟": "?",
})  # fmt: skip
_WIDE: Final = re.compile("[\uff00-\uffef]")


def equality_key(text: str, *, code: bool) -> str:
    """Return what is equal for two texts of which one may stand for the other.

    Left out is how a text was typed: normalisation form (NFC and NFD), width, ignorable code points, kinds of quotes,
    dashes and full stops, a final full stop, quotes around the whole, the capital of a first word that can be no name
    ("The", "We"); and runs and kinds of spaces where nothing is quoted. All else stays: each word, sign and number, the
    order, line ends, a question mark, an option's dashes, every other capital. A text with signs of a notation (code,
    paths, markup, addresses) keeps all but its normalisation form. `code` keeps every byte.

    >>> equality_key("The limit is “10”.", code=False) == equality_key('the limit is "10"', code=False)
    True
    >>> equality_key("10²", code=False) == equality_key("102", code=False)
    False
    >>> equality_key("Polish the table", code=False) == equality_key("polish the table", code=False)
    False
    >>> equality_key("We moved?", code=False) == equality_key("We moved.", code=False)
    False
    """
    if code:
        return text
    plain = unicodedata.normalize("NFC", text)
    if not plain.isascii():
        plain = _typed_alike(plain)
    plain = plain.strip(" \r\n")
    if _NOTATION.search(plain):
        return plain
    if not _QUOTE().search(plain):
        plain = _BLANK_RUN.sub(" ", _BLANK_LINES.sub("\n\n", _BLANK_ENDS.sub("", _LINE_ENDS.sub("\n", plain))))
    return _without_capital(_without_edges(plain))


def _typed_alike(text: str) -> str:
    """Return a text without what only typing makes different outside ASCII."""
    text = _ZERO_WIDTH.sub("", _IGNORED.sub("", text))
    if _WIDE.search(text):
        text = _WIDE.sub(lambda found: _narrowed(found[0]), text)
    text = text if _QUOTE().search(text) else _BLANK.sub(" ", text)
    return unicodedata.normalize("NFC", text.translate(_UNIFIED))


def _narrowed(sign: str) -> str:
    """Return the usual form of a sign that is wide or narrow; a full stop is unified later."""
    kind, _, form = unicodedata.decomposition(sign).partition(" ")
    return chr(int(form, 16)) if kind in ("<wide>", "<narrow>") else sign


def _without_edges(text: str) -> str:
    """Return a text without quotes around the whole and without a final full stop."""
    for _ in range(2):  # a full stop may stand inside the quotes or after them
        if text[-1:] == "." and len(text) > 1 and _ends_a_sentence(text[-2]):
            text = text[:-1]
        for quote in "\"'":
            if len(text) > 2 and text[0] == quote == text[-1] and quote not in text[1:-1]:
                text = text[1:-1].strip(" \n")
    return text


def _ends_a_sentence(before: str) -> bool:
    return before.isalnum() or before in _STOP_AFTER or unicodedata.category(before).startswith("M")


def _without_capital(text: str) -> str:
    """Return a text without the capital of its first word, where that word can be no name."""
    first = _FIRST.match(text)
    if first is None or first[2].lower() not in _NAMES_NOTHING:
        return text
    return first[1] + first[2].lower() + text[first.end() :]
