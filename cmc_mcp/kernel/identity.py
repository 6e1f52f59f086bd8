"""Identity: what an atom's id covers, and how the pieces of a source keep their atoms from version to version."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar, cast

from cmc_mcp.canon import Json, canonical, digest, instant, payload_hash

ATOM_PREFIX: Final = "atom_"
SNAPSHOT_PREFIX: Final = "snap_"
SOURCE_PREFIX: Final = "src_"
COLLECTION_PREFIX: Final = "collection:"
ID_BYTES: Final = 16
NO_DISCRIMINATOR: Final = b""
_OWN_VECTOR: Final = b"\0vector:"
_OWN_VECTOR_BYTES: Final = len(_OWN_VECTOR) + 2 * ID_BYTES

_NO_VECTOR: Final = _OWN_VECTOR + digest("cmc/vector/1", b"")[:ID_BYTES].hex().encode()

T = TypeVar("T", bound=Hashable)


def atom_id(
    modality: str, media_type: str, content: bytes, origin: bytes, discriminator: bytes, witness: bytes
) -> bytes:
    """Derive an atom's id (16 bytes) from its modality, media type and the hashes of its other identity fields.

    Not from workspace, time, tags, confidence or position: these are facts or derived.
    """
    return digest("cmc/atom/1", modality.encode(), media_type.encode(), content, origin, discriminator, witness)[
        :ID_BYTES
    ]


def atom_name(key: bytes) -> str:
    """Write an atom id as text.

    >>> atom_name(bytes(16))
    'atom_00000000000000000000000000000000'
    """
    return ATOM_PREFIX + key.hex()


def snapshot_name(state_root: bytes) -> str:
    """Write a state root (32 bytes) as a snapshot id.

    >>> snapshot_name(bytes(32))
    'snap_0000000000000000'
    """
    return SNAPSHOT_PREFIX + state_root.hex()[:16]


def source_name(origin: str) -> str:
    """Return the id of the source of an origin."""
    return SOURCE_PREFIX + digest("cmc/source/1", origin.encode())[:ID_BYTES].hex()


def note_origin(content: bytes) -> str:
    """Return the origin of a bare note: its content."""
    return "note:" + payload_hash(content).hex()


def turn_discriminator(session: str, speaker: str, occurred_us: int | None, ordinal: int | None) -> bytes:
    """Encode what tells a turn from its twins: session and speaker, and when it was said or else its ordinal."""
    body: dict[str, Json] = {"session": session, "speaker": speaker}
    if occurred_us is not None:
        body["occurred_at"] = instant(occurred_us)
    elif ordinal is not None:
        body["ordinal"] = ordinal
    return canonical(body)


def note_discriminator(speaker: str, occurred_us: int | None) -> bytes:
    """Encode who said a note and when, as of a turn that has no session; empty for a note of which neither is told.

    >>> note_discriminator("", None), note_discriminator("Maya", None)
    (b'', b'{"speaker":"Maya"}')
    """
    if not speaker and occurred_us is None:
        return NO_DISCRIMINATOR
    body: dict[str, Json] = {"speaker": speaker}
    if occurred_us is not None:
        body["occurred_at"] = instant(occurred_us)
    return canonical(body)


def collection_origin(name: str) -> str:
    """Return the origin of the entries of a collection.

    >>> collection_origin("notes")
    'collection:notes'
    """
    return COLLECTION_PREFIX + name


def entry_discriminator(id: str) -> bytes:
    """Encode which entry of its collection an atom is a wording of."""
    return canonical({"entry": id})


def with_own_vector(text: bytes, vector: bytes) -> bytes:
    """Return the content of a text that has a vector of its own: not the one that the text has elsewhere.

    Vectors stand by content, so a text with another vector is another content. What sets it apart follows a NUL, which no
    text holds, and names the vector, an empty one where the text was embedded to zeros. Readers see the text alone
    (`text_of`).

    >>> text_of(with_own_vector(b"kettle", bytes(8))), text_of(b"kettle")
    (b'kettle', b'kettle')
    """
    return text + _OWN_VECTOR + digest("cmc/vector/1", vector)[:ID_BYTES].hex().encode()


def has_no_vector(content: bytes) -> bool:
    """Return whether a content is that of a text which was embedded to zeros, and so has no vector."""
    return content.endswith(_NO_VECTOR)


def has_own_vector(content: bytes) -> bool:
    """Return whether a content is that of a text with a vector of its own, or with none."""
    return len(text_of(content)) != len(content)


def text_of(content: bytes) -> bytes:
    """Return the text of a content, without the name of a vector of its own."""
    end = len(content) - _OWN_VECTOR_BYTES
    return content[:end] if content.startswith(_OWN_VECTOR, max(end, 0)) and end >= 0 else content


def twin_discriminator(number: int) -> bytes:
    """Encode which of several equal texts of one origin this is; the first needs none."""
    return canonical({"twin": number}) if number else NO_DISCRIMINATOR


def aligned(previous: Sequence[tuple[T, int]], texts: Sequence[T]) -> list[tuple[T, int]]:
    """Return the twin number of each text of a new version.

    What stays in place, by longest common subsequence with the previous version, keeps its number; the rest takes the
    lowest number of that text which the new version does not use. Linear for an edit in the middle, since common ends
    are cut first.

    >>> aligned([("a", 0), ("b", 0)], ["b", "a", "b"])
    [('b', 1), ('a', 0), ('b', 0)]
    """
    out: list[tuple[T, int] | None] = [None] * len(texts)
    for old, new in _common([text for text, _ in previous], texts):
        out[new] = previous[old]
    used = {item for item in out if item is not None}
    lowest: dict[T, int] = {}  # of each text, a number below which all are used
    result: list[tuple[T, int]] = []
    for item, text in zip(out, texts, strict=True):
        if item is None:
            number = lowest.get(text, 0)
            while (text, number) in used:
                number += 1
            item = (text, number)
            used.add(item)
            lowest[text] = number + 1
        result.append(item)
    return result


_TABLE_CELLS_MAX = 4_000_000
_TABLE_CELLS_SMALL = 10_000


def _common(old: Sequence[T], new: Sequence[T]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence (of the middles that differ; greedy where those are huge)."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    pairs = [(i, i) for i in range(head)]
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    middle = _lcs(a, b) if len(a) * len(b) <= _TABLE_CELLS_MAX else _in_order(a, b)
    pairs += [(i + head, j + head) for i, j in middle]
    pairs += [(len(old) - k, len(new) - k) for k in range(tail, 0, -1)]
    return pairs


def _lengths(a: Sequence[T], b: Sequence[T]) -> Sequence[Sequence[int]]:
    """Return how long a common subsequence of what is left of both from each pair of places on is."""
    n, m = len(a), len(b)
    if n * m <= _TABLE_CELLS_SMALL:
        length = [[0] * (m + 1) for _ in range(n + 1)]
        for i in range(n - 1, -1, -1):
            row, below = length[i], length[i + 1]
            for j in range(m - 1, -1, -1):
                row[j] = below[j + 1] + 1 if a[i] == b[j] else max(below[j], row[j + 1])
        return length
    import numpy as np  # the same table, a row at a time

    numbers: dict[T, int] = {}
    x, y = ([numbers.setdefault(text, len(numbers)) for text in texts] for texts in (a, b))
    texts, table = np.array(y), np.zeros((n + 1, m + 1), np.int32)
    for i in range(n - 1, -1, -1):
        below = table[i + 1]
        best = np.where(texts == x[i], below[1:] + 1, below[:-1])
        table[i, :m] = np.maximum.accumulate(best[::-1])[::-1]
    return cast("Sequence[Sequence[int]]", table)


def _lcs(a: Sequence[T], b: Sequence[T]) -> list[tuple[int, int]]:
    n, m = len(a), len(b)
    length = _lengths(a, b)
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _in_order(a: Sequence[T], b: Sequence[T]) -> list[tuple[int, int]]:
    """Match greedily in order: a common subsequence, not always the longest, in linear time."""
    places: dict[T, list[int]] = {}
    for index in range(len(b) - 1, -1, -1):
        places.setdefault(b[index], []).append(index)
    pairs, last = [], -1
    for i, text in enumerate(a):
        stack = places.get(text, [])
        while stack and stack[-1] <= last:
            stack.pop()
        if stack:
            last = stack.pop()
            pairs.append((i, last))
    return pairs
