"""Units: where a text may be cut for an excerpt. Every text can be cut, in any script.

A unit is a sentence in the text's own script, a row of a table, a code fence, a line of code. Only what is over-long is
cut further: at lines, at clauses, at spaces, at punctuation, at last between two characters as readers see them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from cmc_mcp.model.patterns import late
from cmc_mcp.model.sentences import sentences

UNIT_CHARS_MAX: Final = 480
"""The characters of a unit; a code fence may have more."""

_MERGED_CHARS: Final = 240  # clauses and lines of code are put together up to this
_UNITS_MAX: Final = 8_192  # of more the small ones are put together: scoring is what costs
_FENCE_CHARS_MAX: Final = 8_000  # a longer fence is cut at its lines
_WORD_REACH: Final = 32  # characters that a word beside a cut may have
_UNIT_WORD_CHARS: Final = 3  # of a unit of measure after a number
_RECORD_SHARE: Final = 0.8
_FENCE: Final = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,})[^\n]*(?:\n|\Z)", re.MULTILINE)
_ROW: Final = re.compile(r"\n(?=[ \t]*\|)|(?<=\|)[ \t]*+\n")
_LINE: Final = re.compile(r"(?<=[^\w\s])[ \t]*+\n|\n(?=[ \t]*[^\w\s])")
_ANY_LINE: Final = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_RECORD: Final = re.compile(r"[^\s\w]|\d")
_CLAUSE: Final = re.compile(r"(?:[,;:](?=\s)|[、，；：؛،፣፤፥፦՝༏།]|(?<=\s)[–—](?=\s))[\"'”’»」』)\]]*+\s*+")
# A mark that opens what follows says nothing without it: "1.", "#### 2.", "-"
_OPENER: Final = re.compile(r"[#>\s]*+(?:[-*+•]|\d{1,3}[.)])?+\s*+")
_SPACES: Final = re.compile(r"\s+")
_BREAK: Final = re.compile(r"[,;|&{}()\[\]<>\"=+~]")
UNSPACED: Final = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""The scripts that put no spaces between words, as ranges of a character class."""
_BETWEEN: Final = late(f"(?<=[{UNSPACED}。、，])(?=[{UNSPACED}])")
_JOINS_BACK: Final = frozenset("\u200d\u200c\ufe0e\ufe0f\u20e3\u0e33\u0eb3")
_LEADING_VOWELS: Final = frozenset("เแโใไເແໂໃໄ")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEGATIONS: Final = _words(
    "not no never none nor neither without cannot nicht kein keine keinen keiner nie niemals ohne ne pas jamais sans non"
    " mai senza nunca sin nem não sem niet geen nooit zonder ikke aldrig uten ej inte aldrig utan ei nie bez не нет ни"
    " никогда без ні немає không chưa đừng tidak bukan jangan belum hindi huwag değil yok hayır nem nincs δεν μην όχι"
    " لا ليس ليست لم لن ما غير بدون نه نیست نہیں नहीं न मत ना לא אין בלי אל ոչ չի አይደለም የለም 안 못 아니 않는다 않았다 없다"
)
_NEGATE_BACK: Final = _words("pas jamais nicht niet ikke inte değil yok 않는다 않았다 아니다 없다")
_NOT_BEFORE: Final = frozenset("不没沒未無无非别別勿莫ไ")  # what follows is negated
_NOT_AFTER: Final = ("ない", "なかっ", "ません", "ず", "않", "없", "못")


def units(text: str, *, code: bool = False) -> list[tuple[int, int]]:
    """Return the units that are kept or left as a whole, as character spans in order: a sentence, a row of a table, a code fence.

    With `code` they are blocks of lines. What is over-long is cut at lines, clauses, spaces, punctuation or between two
    characters; where it can be avoided, not inside a number or a name, nor between a negation and what it negates.

    >>> text = "Pi is 3.14.\\n```py\\na. B\\n```\\n1. Use it."
    >>> [text[start:end] for start, end in units(text)]
    ['Pi is 3.14.', '```py\\na. B\\n```', '1. Use it.']
    """
    if code:
        lines = _lines(text, 0, len(text), _ANY_LINE)
        return _merged(text, [span for a, b in lines for span in pieces(text, a, b)])
    out: list[tuple[int, int]] = []
    at = 0
    for start, end in _fences(text):
        out += _prose(text, at, start)
        lines = [(start, end)] if end - start <= _FENCE_CHARS_MAX else _cut(text, start, end, _ANY_LINE)
        for a, b in lines:
            out += [(a, b)] if len(lines) == 1 else pieces(text, a, b)
        at = end
    out += _prose(text, at, len(text))
    least = len(text) // _UNITS_MAX
    return out if len(out) <= _UNITS_MAX else _merged(text, out, max(_MERGED_CHARS + 1, least))


def pieces(text: str, start: int, end: int, size: int = UNIT_CHARS_MAX) -> list[tuple[int, int]]:
    """Cut a span into pieces of at most `size` characters, each at the best place within its last two thirds.

    A character as readers see it (a grapheme cluster) is never torn, unless it alone is longer.

    >>> text = "we do not deploy on Fridays"
    >>> [text[a:b] for a, b in pieces(text, 0, len(text), 10)]
    ['we do', 'not deploy', 'on Fridays']
    """
    out: list[tuple[int, int]] = []
    position = _skip(text, start, end)
    while end - position > size:
        cut = _place(text, position, position + size)
        kept = position + len(text[position:cut].rstrip())
        if kept > position:
            out.append((position, kept))
        position = _skip(text, cut, end)
    last = position + len(text[position:end].rstrip())
    return [*out, (position, last)] if last > position else out


def is_boundary(text: str, place: int) -> bool:
    """Return whether a place lies between two characters as readers see them (an approximation of UAX 29).

    >>> [is_boundary("e\\u0301a", place) for place in range(4)]
    [True, False, True, True]
    """
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if after < "\u0300" and before < "\u0300":
        return not (before == "\r" and after == "\n")
    if after in _JOINS_BACK or before == "\u200d" or before in _LEADING_VOWELS:
        return False
    if unicodedata.category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    if "\U000e0020" <= after <= "\U000e007f" or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff"):
        return False
    if unicodedata.combining(before) == 9 and after.isalpha():
        return False  # a virama joins two consonants
    if "\u1160" <= after <= "\u11ff" and "\u1100" <= before <= "\u11ff":
        return False
    return not (_is_flag(after) and _is_flag(before) and _flags_before(text, place) % 2)


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flags_before(text: str, place: int) -> int:
    first = place
    while first and place - first < UNIT_CHARS_MAX and _is_flag(text[first - 1]):
        first -= 1
    return place - first


# ---------------------------------------------------------------------- prose
def _fences(text: str) -> list[tuple[int, int]]:
    """Find fenced code; a fence that is not closed goes to the end. Source: CommonMark 0.31, §4.5."""
    out: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for match in _FENCE.finditer(text):
        mark = match["mark"]
        if opened is None:
            opened = match
        elif mark[0] == opened["mark"][0] and len(mark) >= len(opened["mark"]) and match[0].strip() == mark:
            out.append((opened.start(), match.start() + len(match[0].rstrip())))
            opened = None
    if opened is not None:
        out.append((opened.start(), opened.start() + len(text[opened.start() :].rstrip())))
    return out


def _prose(text: str, start: int, end: int) -> list[tuple[int, int]]:
    part = text[start:end]
    spans: list[tuple[int, int]] = []
    for a, b in sentences(part, everywhere=True):
        cut = _lines(part, a, b, _ROW) if "|" in part[a:b] else [(a, b)]
        for c, d in cut:
            spans += _shorter(part, c, d) if d - c > UNIT_CHARS_MAX else [(c, d)]
    return [(start + a, start + b) for a, b in _joined(part, spans)]


def _shorter(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut an over-long sentence: at lines that end or begin with a mark, at lines that are records, at clauses, anywhere."""
    out: list[tuple[int, int]] = []
    for a, b in _lines(text, start, end, _LINE):
        if b - a <= UNIT_CHARS_MAX:
            out.append((a, b))
            continue
        lines = _lines(text, a, b, _ANY_LINE)
        if len(lines) > 1 and _are_records(text, lines):
            out += [span for c, d in lines for span in _clauses(text, c, d)]
        else:
            out += _clauses(text, a, b)
    return out


def _lines(text: str, start: int, end: int, at: re.Pattern[str]) -> list[tuple[int, int]]:
    """Cut at some line ends; where there are more than can be scored, at the last of every so many characters."""
    many = text.count("\n", start, end) > _UNITS_MAX
    return pieces(text, start, end) if many else _cut(text, start, end, at)


def _are_records(text: str, lines: Sequence[tuple[int, int]]) -> bool:
    """Return whether lines end where they do because something ends there, and not because a margin was reached."""
    opened = sum(_RECORD.match(text, a) is not None for a, _ in lines)
    if opened >= _RECORD_SHARE * len(lines):
        return True
    width = max(b - a for a, b in lines)
    wrapped = 0
    for (a, b), (c, d) in pairwise(lines):
        space = _SPACES.search(text, c, min(d, c + _WORD_REACH))
        word = (space.start() if space else min(d, c + _WORD_REACH)) - c
        wrapped += b - a + 1 + word > width
    return wrapped < _RECORD_SHARE * (len(lines) - 1)


def _clauses(text: str, start: int, end: int) -> list[tuple[int, int]]:
    if end - start <= UNIT_CHARS_MAX:
        return [(start, end)]
    spans: list[tuple[int, int]] = []
    for a, b in _merged(text, _cut(text, start, end, _CLAUSE)):
        lines = _merged(text, _cut(text, a, b, _ANY_LINE)) if b - a > UNIT_CHARS_MAX else [(a, b)]
        spans += [span for c, d in lines for span in pieces(text, c, d)]
    return spans


def _cut(text: str, start: int, end: int, at: re.Pattern[str]) -> list[tuple[int, int]]:
    size = len(text)
    out: list[tuple[int, int]] = []
    a = start
    for place in [*(match.end() for match in at.finditer(text, start, end)), end]:
        if place < size and text[place] >= "\u0300" and not is_boundary(text, place) and place != end:
            continue
        first = _skip(text, a, place) if a < place and text[a].isspace() else a
        last = first + len(text[first:place].rstrip()) if first < place and text[place - 1].isspace() else place
        if first < last:
            out.append((first, last))
        a = place
    return out


def _merged(text: str, spans: Iterable[tuple[int, int]], size: int = _MERGED_CHARS) -> list[tuple[int, int]]:
    """Put small neighbours together, but not over a blank line, nor so that a negation stands at an end."""
    out: list[tuple[int, int]] = []
    for start, end in spans:
        if not out:
            out.append((start, end))
            continue
        first, last = out[-1]
        fits = end - first <= size and (size > _MERGED_CHARS or "\n\n" not in text[last:start])
        if fits or (end - first <= UNIT_CHARS_MAX and _negates(text, last)):
            out[-1] = (first, end)
        else:
            out.append((start, end))
    return out


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the opening of a list item or heading to what it opens."""
    out: list[tuple[int, int]] = []
    opens = False
    for start, end in spans:
        if opens:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
        opens = _OPENER.fullmatch(text, *out[-1]) is not None
    return out


# ---------------------------------------------------------------------- one place
def _skip(text: str, start: int, end: int) -> int:
    match = _SPACES.match(text, start, end)
    return start if match is None else match.end()


def _place(text: str, start: int, reach: int) -> int:
    """Return the best place to cut in the last two thirds of `start` to `reach`, the last of its kind."""
    least = start + max(1, (reach - start) // 3)
    line = text.rfind("\n", least, reach) + 1
    if line and _parts(text, line - 1, line):
        return line
    spaces = [(match.start(), match.end()) for match in _SPACES.finditer(text, least, min(len(text), reach + 1))]
    for before, after in reversed(spaces):
        if _parts(text, before, after):
            return after
    for pattern in (_BREAK, _BETWEEN()):
        for place in reversed([match.end() for match in pattern.finditer(text, least, reach)]):
            if is_boundary(text, place) and not _negates(text, place):
                return place
    if spaces:
        return spaces[-1][1]
    for place in range(reach, start, -1):
        if is_boundary(text, place):
            return place
    return reach


def _parts(text: str, before: int, after: int) -> bool:
    """Return whether a space parts two words that can do without each other."""
    left, right = _word_before(text, before), _word_after(text, after)
    if not left or not right:
        return True
    if _is_negation(left) or right.casefold().strip(".,;:!?") in _NEGATE_BACK:
        return False
    if left[-1].isdigit() and (right[0].isdigit() or len(right.rstrip(".,;:")) <= _UNIT_WORD_CHARS):
        return False
    if not left[-1].isalnum() and left[-1] not in "-'’":
        return left[-1] not in "$€£¥#@("
    return not (left[0].isupper() and right[0].isupper())


def _negates(text: str, place: int) -> bool:
    """Return whether a cut would part a negation from what it negates."""
    if text[place - 1] in _NOT_BEFORE or text.startswith(_NOT_AFTER, place) or text.startswith("ไม่", max(0, place - 3)):
        return True
    return _is_negation(_word_before(text, place).rstrip(",;:、，؛،"))


def _word_before(text: str, place: int) -> str:
    words = text[max(0, place - _WORD_REACH) : place].split()
    return words[-1] if words else ""


def _word_after(text: str, place: int) -> str:
    words = text[place : place + _WORD_REACH].split(None, 1)
    return words[0] if words else ""


def _is_negation(word: str) -> bool:
    bare = word.strip(".,;:!?\"'()[]*_“”«»،؛").casefold()
    return bare in _NEGATIONS or bare.endswith(("n't", "n’t"))
