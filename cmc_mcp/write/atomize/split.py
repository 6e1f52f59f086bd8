"""The division of a block that is too large for one atom, such that an edit changes few parts."""

from __future__ import annotations

import re
import unicodedata
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from cmc_mcp import limits
from cmc_mcp.model.sentences import sentences
from cmc_mcp.write.atomize.blocks import indented, skip, trim

Finder: TypeAlias = Callable[[bytes, int, int], Sequence[int]]
"""Return, in order, the byte offsets in a span where a part may begin."""

_PART_BYTES_MIN: Final = limits.ATOM_BYTES_MAX // 4
_CONTEXT_BYTES: Final = 48  # the bytes before a place, by which the place is chosen
_CLUSTER_CHARS_MAX: Final = 64  # a longer grapheme is cut anyway

_LINE: Final = re.compile(rb"(?>\r\n|[\r\n])")
_WORD: Final = re.compile(
    rb"(?:[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80)++"
)


def by_lines(data: bytes, start: int, end: int) -> list[int]:
    """Return the offsets of line starts.

    >>> by_lines(b"a\\nb\\r\\nc", 0, 6)
    [2, 5]
    """
    return [match.end() for match in _LINE.finditer(data, start, end) if match.end() < end]


def by_sentences(data: bytes, start: int, end: int) -> list[int]:
    """Return the offsets of sentence starts.

    >>> by_sentences(b"One. Two.", 0, 9)
    [5]
    """
    text = data[start:end].decode("utf-8")
    spans = sentences(text)
    if len(text) == end - start:
        return [start + first for first, _ in spans[1:]]
    found: list[int] = []
    offset, seen = start, 0
    for first, _ in spans:
        offset += len(text[seen:first].encode("utf-8"))
        seen = first
        found.append(offset)
    return found[1:]


def parts(data: bytes, start: int, end: int, *finders: Finder, keep_indent: bool = False) -> Iterator[tuple[int, int]]:
    """Yield the spans, of at most `limits.ATOM_BYTES_MAX` bytes each, that make up `[start, end)`, whitespace apart.

    A part ends at a place that the first finder offers, else at whitespace, else between characters. Among the places in
    reach, the one whose preceding bytes have the smallest checksum wins. The choice depends on the text alone, so that
    after an edit the later parts begin where they began before.

    >>> list(parts(b" short ", 0, 7))
    [(1, 6)]
    """
    places: list[Sequence[int]] | None = None
    position = start
    while True:
        first, last = trim(data, position, end)
        if first == last:
            return
        if keep_indent:
            first = indented(data, first, position)
        if last - first <= limits.ATOM_BYTES_MAX:
            yield first, last
            return
        if places is None:
            places = [finder(data, start, end) for finder in finders]
        cut = _cut(data, first, places)
        content, stop = trim(data, first, cut)
        if content < stop:
            yield first, stop
        position = cut


def _cut(data: bytes, start: int, places: list[Sequence[int]]) -> int:
    reach = _char_floor(data, start + limits.ATOM_BYTES_MAX)
    content = skip(data, start, reach)
    if content == reach:
        # an indentation that fills a whole part is not kept
        return content
    for offsets in places:
        cut = _choose(data, offsets, content, start, reach)
        if cut is not None:
            return cut
    words = [match.end() for match in _WORD.finditer(data, content, reach)]
    cut = _choose(data, words, content, start, reach)
    return cut if cut is not None else _cluster_floor(data, content, reach)


def _choose(data: bytes, offsets: Sequence[int], content: int, start: int, reach: int) -> int | None:
    """Return a place in `(content, reach]`, preferring one that leaves a part of fair size; None without places."""
    low, high = bisect_right(offsets, content), bisect_right(offsets, reach)
    if low >= high:
        return None
    middle = bisect_right(offsets, start + _PART_BYTES_MIN, low, high)
    return _best(data, offsets[middle:high]) if middle < high else offsets[high - 1]


def _best(data: bytes, offsets: Sequence[int]) -> int:
    return min(offsets, key=lambda offset: (zlib.crc32(data[max(0, offset - _CONTEXT_BYTES) : offset]), -offset))


def _char_floor(data: bytes, position: int) -> int:
    while data[position] & 0xC0 == 0x80:
        position -= 1
    return position


def _cluster_floor(data: bytes, start: int, end: int) -> int:
    """Return the last offset up to `end` that does not tear a character from the one before it."""
    following = data[end : end + 4].decode("utf-8", "ignore")[:1]
    text = data[start:end].decode("utf-8")
    for back in range(min(_CLUSTER_CHARS_MAX, len(text) - 1)):
        previous = text[len(text) - 1 - back]
        if not (_extends(following) or previous == "\u200d" or (previous == "\r" and following == "\n")):
            return end - len(text[len(text) - back :].encode("utf-8"))
        following = previous
    return end


def _extends(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or char == "\u200d" or "\U0001f3fb" <= char <= "\U0001f3ff"
