"""Sentence boundaries: rules over punctuation, independent of models and of the locale."""

from __future__ import annotations

import re
from typing import Final

from cmc_mcp.model.patterns import late

BLANK_CHARS: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""The characters that `str.isspace` accepts, and the byte order mark; for `str.strip`."""

_STOP: Final = r"(?P<stop>(?<![.!?…])[.!?…]++[\"'”’»)\]}*_`]*+(?=\s|\Z))"
_LINE: Final = r"(?P<line>\n(?=[^\S\n]*+(?:\n|(?:[-*+•]|\d{1,3}[.)])[ \t]))|\u2029)"
_CLOSING: Final = r"[」』”’»）】》〉\"')\]]*+"
_BOUNDARY: Final = late(rf"{_STOP}|(?P<wide>[。！？｡।॥؟۔]++[!?…]*+{_CLOSING})|{_LINE}")
_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_EVERYWHERE: Final = late(
    rf"{_STOP}|(?P<wide>(?:[。！？｡।॥؟۔։።፧፨၊။។៕༎]++|(?<![0-9０-９])．|．(?![0-9０-９])|[!?…]++(?=[{_CJK}]))[!?…。！？]*+"
    rf"{_CLOSING}(?!(?<=[」』”])(?:と|って)))|{_LINE}"
)
"""The ends of more scripts. The writing side keeps to `_BOUNDARY`: what it cuts has ids."""
_SPACE: Final = re.compile(r"[\s\ufeff]*+")
_OPENING: Final = re.compile(r"[\s\"'“‘«(\[{*_`¿¡]*+")
_WORD_CHARS_MAX: Final = 24
_WORD: Final = re.compile(r"[^\s\"'“”‘’«»()\[\]{}*_`,;:/—–]*\Z")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES: Final = _words(
    "adj adm attn brig capt cmdr col cpl det dr drs fr gen gov hon insp lt maj messrs mme mlle mr mrs ms mt mx pres "
    "prof rep rev sen sgt sr ste supt bl dipl hr ing nr abs art z.b d.h u.a"
)
"""Abbreviations that never end a sentence: another word always follows."""
_ABBREVIATIONS: Final = _words(
    "al approx apr aug ave blvd ca cf co corp dec dept dist ed eds eg e.g esp est etc ext feb fri gmbh govt i.e ie inc "
    "jan jr jul jun ltd mar max min misc mon nov oct orig ph.d pl rd repr resp sat sep sept st sun thu tue univ viz vs "
    "wed dt bzw usw ggf evtl"
)
"""Abbreviations that do not end a sentence before lower case or a number; those in `_JOINING` never do."""
_JOINING: Final = _words("approx ca cf dept e.g eg esp i.e ie viz vs resp bzw z.b d.h st est")
_NUMBERED: Final = _words("app ch chap eq eqs fig figs no nos p par pp pt sec sect tab vol vols v vv art nr")
"""Abbreviations that do not end a sentence before a number."""


def sentences(text: str, *, everywhere: bool = False) -> list[tuple[int, int]]:
    """Return the sentences of a text as character spans `[start, end)`, in order, without the whitespace between.

    With `everywhere` by the ends of every script that has some (Armenian, Ethiopic, Burmese, Khmer, Tibetan, full width);
    without, by those that stored atoms were cut by, which stay what they are.

    Every character other than whitespace is in exactly one sentence. Blank lines and list items end a sentence too. The
    time is linear in the text.

    >>> text = "Pi is 3.14, e.g. here. Ask Dr. Smith!"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Pi is 3.14, e.g. here.', 'Ask Dr. Smith!']
    """
    found: list[tuple[int, int]] = []
    start = _skip(text, 0)
    for match in (_EVERYWHERE if everywhere else _BOUNDARY)().finditer(text):
        end = match.end()
        if end <= start:
            continue
        if match.lastgroup == "stop" and not _ends(text, start, match.start(), end):
            continue
        if match.lastgroup == "line":
            end = start + len(text[start : match.start()].rstrip(BLANK_CHARS))
        found.append((start, end))
        start = _skip(text, match.end())
    if start < len(text):
        found.append((start, start + len(text[start:].rstrip(BLANK_CHARS))))
    return found


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match is not None else position


def _ends(text: str, start: int, mark: int, end: int) -> bool:
    """Return whether the full stop, question mark or ellipsis at `mark`, with closing quotes up to `end`, ends a sentence."""
    match = _OPENING.match(text, end)
    following = match.end() if match is not None else end
    if following == len(text):
        return True
    upcoming = text[following]
    if upcoming.islower():
        return False
    if text[mark] != "." or text[mark : mark + 2] == "..":
        return True
    found = _WORD.search(text, max(start, mark - _WORD_CHARS_MAX), mark)
    word = found.group() if found is not None else ""
    return not _abbreviates(word, upcoming, first=mark - len(word) == start)


def _abbreviates(word: str, upcoming: str, *, first: bool) -> bool:
    if not word or (first and word.isdigit()):
        return first  # "1." opens a list item
    if len(word) == 1 and word.isalpha():
        return word != "I" and (word.isupper() or upcoming.isdigit())
    lower = word.lower()
    if lower in _TITLES or lower in _JOINING:
        return True
    if lower in _NUMBERED and upcoming.isdigit():
        return True
    if lower in _ABBREVIATIONS:
        return not upcoming.isupper()
    # "U.S. Army" and "a.m. The": initials are taken as part of a name only in capitals
    return _INITIALS.fullmatch(word) is not None and (word.isupper() or not upcoming.isupper())
