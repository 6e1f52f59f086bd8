"""The outline of a message: what it asks for, and how large its parts are, before anything is made of them.

The bytes are looked at in pieces, so that neither time nor memory grows with the number of values in them.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Data = bytes | bytearray | mmap.mmap

_PIECE_BYTES: Final = 1 << 18
_LEVELS: Final = 3  # of a message, its parameters and its arguments
_TOKENS_MAX: Final = 4_096  # of these levels
_SCALAR_BYTES_MAX: Final = 1_024  # of a name, an id, a method
_ESCAPE_BYTES_MAX: Final = 6  # one character as \\u0041
_OPENS, _CLOSES, _COMMA, _COLON = 1, 2, 3, 4


class Span(NamedTuple):
    """Where a value lies, the number of values in it, and the number of its escapes."""

    start: int
    end: int
    elements: int
    escapes: int

    @property
    def least_bytes(self) -> int:
        """The number of bytes that the value has at least once it is read, when it is text."""
        return max(0, self.end - self.start - 2 - (_ESCAPE_BYTES_MAX - 1) * self.escapes)


@dataclass(slots=True)
class Outline:
    """What a message asks for, and how large it is. `deep_at` is where it goes deeper than it may, or -1."""

    size: int = 0
    elements: int = 0
    deep_at: int = -1
    id: str | int | None = None
    method: str = ""
    tool: str = ""
    arguments: Mapping[str, Span] = field(default_factory=dict[str, Span])


class _Token(NamedTuple):
    """One sign of the upper levels, with the number of values and escapes before it."""

    at: int
    kind: int
    depth: int
    elements: int
    escapes: int


def outline(data: Data, depth_max: int) -> Outline:
    """Return the outline of a message; of what is no message, no more than its sizes.

    >>> found = outline(b'{"id":7,"method":"tools/call","params":{"name":"mark","arguments":{"ids":[[],[]]}}}', 9)
    >>> found.id, found.tool, found.arguments["ids"].elements
    (7, 'mark', 4)
    """
    found = Outline(size=len(data))
    tokens = list(_tokens(data, depth_max, found))
    top = _members(data, tokens, 1, 0, len(data))
    id_, method = _scalar(data, top.get("id")), _scalar(data, top.get("method"))
    found.id = id_ if isinstance(id_, str | int) and not isinstance(id_, bool) else None
    found.method = method if isinstance(method, str) else ""
    if (params := top.get("params")) is not None:
        inner = _members(data, tokens, 2, params.start, params.end)
        name = _scalar(data, inner.get("name"))
        found.tool = name if found.method == "tools/call" and isinstance(name, str) else ""
        if found.tool and (arguments := inner.get("arguments")) is not None:
            found.arguments = _members(data, tokens, 3, arguments.start, arguments.end)
    return found


def _members(data: Data, tokens: list[_Token], depth: int, start: int, end: int) -> dict[str, Span]:
    """Return the members of the object at a depth that lies in a range of bytes; of two of one name the last."""
    members: dict[str, Span] = {}
    before: _Token | None = None  # the sign that the present member's name follows
    colon: _Token | None = None
    for token in tokens:
        if not start <= token.at < end:
            continue
        if token.depth == depth and token.kind in (_OPENS, _COMMA):
            ends = token.kind == _COMMA
        else:
            ends = token.kind == _CLOSES and token.depth == depth - 1
        if ends and before is not None and colon is not None:
            name = _scalar(data, Span(before.at + 1, colon.at, 0, 0))
            if isinstance(name, str):
                more = token.elements - colon.elements - (token.kind == _COMMA)
                members[name] = Span(colon.at + 1, token.at, more, token.escapes - colon.escapes)
        if token.depth == depth and token.kind == _COLON:
            colon = token
        elif token.depth == depth and token.kind in (_OPENS, _COMMA):
            before, colon = token, None
    return members


def _scalar(data: Data, span: Span | None) -> object:
    """Read a short value; None stands for what is long, a list or an object, or no JSON."""
    if span is None or span.end - span.start > _SCALAR_BYTES_MAX:
        return None
    try:
        found: object = json.loads(bytes(data[span.start : span.end]))
    except (ValueError, RecursionError):
        return None
    return found


def _tokens(data: Data, depth_max: int, found: Outline) -> Iterator[_Token]:
    """Yield the signs of the upper levels, and note on the way how many values there are and where they are too deep."""
    import numpy as np

    kinds_of = np.zeros(256, np.uint8)
    for kind, signs in ((_OPENS, b"[{"), (_CLOSES, b"]}"), (_COMMA, b","), (_COLON, b":")):
        kinds_of[list(signs)] = kind
    steps = np.array([0, 1, -1, 0, 0], np.int64)
    whole = np.frombuffer(data, np.uint8)
    escaped_next = in_text = False
    depth = escapes = told = 0
    for start in range(0, len(data), _PIECE_BYTES):
        piece = whole[start : start + _PIECE_BYTES]
        quotes = piece == ord('"')
        escaping, escaped_next = _escaping(piece, escaped_next, quotes)
        outside = (np.cumsum(quotes, dtype=np.uint8) + in_text) & 1 == 0
        in_text = not outside[-1]
        kinds = kinds_of[piece]
        at = np.flatnonzero(kinds * outside)
        kinds = kinds[at]
        depths = depth + np.cumsum(steps[kinds])
        counts = found.elements + np.cumsum((kinds == _OPENS) | (kinds == _COMMA))
        if len(at):
            depth, found.elements = int(depths[-1]), int(counts[-1])
            if found.deep_at < 0 and int(depths.max()) > depth_max:
                found.deep_at = start + int(at[np.argmax(depths > depth_max)])
        upper = np.flatnonzero(depths <= np.where(kinds == _CLOSES, _LEVELS - 1, _LEVELS))[: _TOKENS_MAX - told]
        told += len(upper)
        for place in upper.tolist():
            here = int(at[place])
            before = escapes + int(np.searchsorted(escaping, here))
            yield _Token(start + here, int(kinds[place]), int(depths[place]), int(counts[place]), before)
        escapes += len(escaping)


def _escaping(
    piece: npt.NDArray[np.uint8], escaped: bool, quotes: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], bool]:
    """Return where the backslashes are that escape the next byte, and whether that is the next piece's first.

    `escaped` says the same of this piece; quotes that are escaped are taken out of `quotes`.
    """
    import numpy as np

    if escaped:
        quotes[0] = False
    slashes = np.flatnonzero(piece == ord("\\"))
    if escaped and len(slashes) and slashes[0] == 0:
        slashes = slashes[1:]
    if not len(slashes):
        return slashes, False
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)  # of each run of them; every second of a run is escaped
    within = np.arange(len(slashes)) - np.repeat(begins, np.diff(begins, append=len(slashes)))
    escaping = slashes[within % 2 == 0]
    after = escaping + 1
    last = int(after[-1]) == len(piece)
    quotes[after[:-1] if last else after] = False
    return escaping, last
