"""Blocks: the spans of a source that become atoms. The bytes between blocks are whitespace and are kept literally."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cmc_mcp.errors import IntegrityError
from cmc_mcp.model.sentences import BLANK_CHARS

WHITESPACE: Final = re.compile(
    rb"(?:[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)|\xe3\x80\x80|\xef\xbb\xbf)*+"
)
"""A run of the characters that `str.isspace` accepts, and the byte order mark, as UTF-8."""

_WIDE_BLANKS: Final = tuple(char.encode("utf-8") for char in BLANK_CHARS if not char.isascii())
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|[\r\n])[ \t\f\v]*+(?=[\r\n])")


@dataclass(frozen=True, slots=True)
class Block:
    """A span that becomes one atom: bytes `[start, end)` of the source.

    `kind` is one of heading, paragraph, list, table, code, quote (prose), function, class, module, block (code), whole.
    `path` holds titles from the outside in: the sections (prose) or the module, class and function names (code) above
    the block; the path of a heading, a class or a function includes its own name.

    >>> Block(0, 7, "heading", ("Title",)).path
    ('Title',)
    """

    start: int
    end: int
    kind: str
    path: tuple[str, ...]


def blank(data: bytes, start: int, end: int) -> bool:
    """Return whether `data[start:end]` holds only whitespace.

    >>> blank(b"a \\n b", 1, 4)
    True
    """
    return skip(data, start, end) == end


def skip(data: bytes, start: int, end: int) -> int:
    """Return the byte offset of the first character in `[start, end)` other than whitespace, or `end`.

    >>> skip(b"  a", 0, 3)
    2
    """
    match = WHITESPACE.match(data, start, end)
    return match.end() if match is not None else start


def trim(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Return a span of whole characters without whitespace at its ends; a blank span becomes empty.

    >>> trim(b"  a b\\n", 0, 6)
    (2, 5)
    """
    if start >= end:
        return start, start
    if not 0x20 < data[start] < 0x80:
        start = skip(data, start, end)
        if start == end:
            return start, start
    while data[end - 1] in b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f ":
        end -= 1
    if not data.endswith(_WIDE_BLANKS, start, end):
        return start, end
    text = data[start:end].decode("utf-8")
    kept = text.rstrip(BLANK_CHARS)
    return start, end - len(text[len(kept) :].encode("utf-8"))


def indented(data: bytes, start: int, floor: int) -> int:
    """Return `start` moved back over the indentation of its line, not below `floor`; a start within a line stays.

    >>> indented(b"x\\n  def", 4, 0)
    2
    """
    position = start
    while position > floor and data[position - 1] in b" \t":
        position -= 1
    return position if position == 0 or data[position - 1] in b"\r\n" else start


def blank_line_runs(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of `[start, end)` that blank lines divide, each with the indentation of its first line.

    >>> list(blank_line_runs(b"a\\nb\\n\\n  c\\n", 0, 9))
    [(0, 3), (5, 8)]
    """
    position = start
    while True:
        first = skip(data, position, end)
        if first == end:
            return
        match = _BLANK_LINE.search(data, first, end)
        stop = match.start() if match is not None else end
        yield indented(data, first, position), trim(data, first, stop)[1]
        position = stop


def check_blocks(data: bytes, blocks: Sequence[Block]) -> None:
    """Check that the blocks and the whitespace between them make up the source.

    Raises:
        IntegrityError: a block is out of order, overlaps, is blank, cuts a UTF-8 character, or leaves text in a gap.

    >>> check_blocks(b"a\\n\\nb", [Block(0, 1, "paragraph", ()), Block(3, 4, "paragraph", ())])
    """
    position = 0
    for number, block in enumerate(blocks):
        if not position <= block.start < block.end <= len(data):
            raise IntegrityError(f"block {number} [{block.start}, {block.end}) is out of order", block=number)
        if _inside_char(data, block.start) or _inside_char(data, block.end):
            raise IntegrityError(f"block {number} cuts a character", block=number)
        if blank(data, block.start, block.end):
            raise IntegrityError(f"block {number} is blank", block=number)
        if not blank(data, position, block.start):
            raise IntegrityError(f"there is text before block {number} that no block holds", block=number)
        position = block.end
    if not blank(data, position, len(data)):
        raise IntegrityError("there is text after the last block", block=len(blocks))


def segments(data: bytes, blocks: Sequence[Block]) -> Iterator[bytes | Block]:
    """Yield the blocks and the literal bytes between them, in order; joined, they are `data`.

    Empty literals are left out.

    >>> list(segments(b"a\\n", [Block(0, 1, "paragraph", ())]))
    [Block(start=0, end=1, kind='paragraph', path=()), b'\\n']
    """
    position = 0
    for block in blocks:
        if block.start > position:
            yield data[position : block.start]
        yield block
        position = block.end
    if position < len(data):
        yield data[position:]


def _inside_char(data: bytes, position: int) -> bool:
    return position < len(data) and data[position] & 0xC0 == 0x80
