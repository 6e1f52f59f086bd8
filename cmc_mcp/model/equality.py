"""Equality: when two texts say the same thing in the same words, so that one may stand for the other.

It errs towards difference. Two texts that are kept apart cost a line; two that are taken for one hide a fact. So the key
of a text keeps all that could carry meaning, and leaves out what only shows how it was typed. Nothing here knows a
language: in a script whose words the code cannot read, the same holds.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

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
_BLANK_RUN: Final = re.compile(r"(?<=[^\s\"']) {2,}(?=[^\s\"'])")
_BLANK: Final = re.compile(f"[{_BLANKS}]")
_NOTATION: Final = re.compile(r"[`{}<>=|\\$^~*_@#\[\];&\t]|\A\s*[-+/!]|\n[ \t]")
_WORD: Final = re.compile(r"(\(?)([^\W\d_]{2,})([,.;!?)]*)")
_STOP_AFTER: Final = frozenset("\"')]%")
_LATIN_I: Final = re.compile("[ıİğĞşŞ]")
_UNIFIED: Final = str.maketrans({
    **dict.fromkeys("“”„‟«»「」『』", '"'), **dict.fromkeys("‘’‚‛‹›", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"), **dict.fromkeys("。｡।۔։", "."), "؟": "?",
})  # fmt: skip
_WIDE: Final = re.compile("[\uff00-\uffef]")


def equality_key(text: str, *, code: bool) -> str:
    """Return what is equal for two texts of which one may stand for the other.

    Left out is how a text was typed: normalisation form (NFC and NFD), width, ignorable code points, kinds of quotes,
    dashes and full stops, runs of spaces, a final full stop, quotes around the whole, a capital at the beginning, and
    capitals where every word has one. All else stays: each word, sign and number, the order, line ends, a question
    mark, an option's dashes, every capital inside a sentence. A text with signs of a notation (code, paths, markup,
    addresses) keeps all but its normalisation form. `code` keeps every byte.

    >>> equality_key("The  limit is “10”.", code=False) == equality_key('the limit is "10"', code=False)
    True
    >>> equality_key("10²", code=False) == equality_key("102", code=False)
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
    plain = _BLANK_RUN.sub(" ", _BLANK_LINES.sub("\n\n", _BLANK_ENDS.sub("", _LINE_ENDS.sub("\n", plain))))
    return _without_capitals(_without_edges(plain))


def _typed_alike(text: str) -> str:
    """Return a text without what only typing makes different outside ASCII."""
    text = _ZERO_WIDTH.sub("", _IGNORED.sub("", text))
    if _WIDE.search(text):
        text = _WIDE.sub(lambda found: _narrowed(found[0]), text)
    return unicodedata.normalize("NFC", _BLANK.sub(" ", text.translate(_UNIFIED)))


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


def _without_capitals(text: str) -> str:
    """Return a text without the capital at its beginning, and without any where every word has one."""
    if text.islower() or _LATIN_I.search(text):
        return text
    chunks = text.split(" ")
    found = [_WORD.fullmatch(chunk) for chunk in chunks]
    if len(found) > 2 and '"' not in text and all(word is None or _is_capitalised(word[2]) for word in found):
        numbers = [False] + [any(map(str.isdigit, chunk)) for chunk in chunks[:-1]]  # "5 Mb": a unit keeps its case
        return " ".join(
            chunk if word is None or unit else word[1] + word[2].lower() + word[3]
            for chunk, word, unit in zip(chunks, found, numbers, strict=True)
        )
    first = found[0]
    if first is not None and _is_capitalised(first[2]):
        chunks[0] = first[1] + first[2].lower() + first[3]
    return " ".join(chunks)


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and word[1:].islower()
