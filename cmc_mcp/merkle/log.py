"""The RFC 9162 Merkle log over stored nodes: append a leaf, compute a root, prove inclusion and consistency.

Node (level, index) is the hash of the complete subtree over leaves [index << level, (index + 1) << level). Only
complete subtrees are stored, so a stored node never changes. The other nodes of an incomplete tree are folded from the
stored ones.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from cmc_mcp.errors import InvalidInput

Get: TypeAlias = Callable[[int, int], bytes]
"""Return the stored hash of the complete subtree (level, index). Errors of the store pass through."""

LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"
EMPTY_ROOT: Final = sha256().digest()
"""The root of an empty log."""


class LogNode(NamedTuple):
    """The hash of the complete subtree over leaves [index << level, (index + 1) << level)."""

    level: int
    position: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """Hash the data of a leaf (32 bytes; RFC 9162 §2.1.1).

    >>> leaf_hash(b"").hex()[:8]
    '6e340b9c'
    """
    return sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent (32 bytes; RFC 9162 §2.1.1).

    >>> node_hash(leaf_hash(b""), leaf_hash(b"\\0")).hex()[:8]
    'fac54203'
    """
    return sha256(NODE_PREFIX + left + right).digest()


def append(size: int, leaf: bytes, get: Get) -> list[LogNode]:
    """Return the nodes to store when `leaf` is appended to a log of `size` leaves.

    `leaf` is the hash of a leaf, not the leaf's data. The leaf comes first, then each subtree that the leaf completes: on
    average two nodes a leaf. `get` is called only for nodes of the first `size` leaves.

    Raises:
        InvalidInput: `size` is negative or `leaf` is not 32 bytes.

    >>> one = leaf_hash(b"")
    >>> [(level, index) for level, index, _ in append(1, leaf_hash(b"\\0"), lambda level, index: one)]
    [(0, 1), (1, 0)]
    """
    if size < 0:
        raise InvalidInput.at("size", "must not be negative")
    if len(leaf) != len(EMPTY_ROOT):
        raise InvalidInput.at("leaf", "must be a hash of 32 bytes")
    nodes = [LogNode(0, size, leaf)]
    level, index, top = 0, size, leaf
    while index & 1:
        top = node_hash(get(level, index - 1), top)
        level, index = level + 1, index >> 1
        nodes.append(LogNode(level, index, top))
    return nodes


def root(size: int, get: Get) -> bytes:
    """Return the root over the first `size` leaves (32 bytes; RFC 9162 §2.1.1); for an empty log, SHA-256 of no bytes.

    Raises:
        InvalidInput: `size` is negative.

    >>> root(0, lambda level, index: b"") == EMPTY_ROOT, root(1, lambda level, index: leaf_hash(b"")) == leaf_hash(b"")
    (True, True)
    """
    if size < 0:
        raise InvalidInput.at("size", "must not be negative")
    return _fold(0, size, get) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, get: Get) -> tuple[bytes, ...]:
    """Prove that leaf `index` is in the log of `size` leaves: sibling hashes, leaf upwards (RFC 9162 §2.1.3.1).

    Raises:
        InvalidInput: `index` is negative, or not below `size`.

    >>> inclusion_proof(0, 1, lambda level, index: b"")
    ()
    """
    if not 0 <= index < size:
        raise InvalidInput.at("index", f"is {index}; it must be at least 0 and below the log's size of {size}")
    low, high = 0, size
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_fold(middle, high, get))
            high = middle
        else:
            path.append(_fold(low, middle, get))
            low = middle
    return tuple(reversed(path))


def consistency_proof(first: int, second: int, get: Get) -> tuple[bytes, ...]:
    """Prove that the log of `first` leaves is a prefix of the log of `second` leaves (RFC 9162 §2.1.4.1).

    The proof is empty when `first` is 0 or equals `second`; the roots alone then decide.

    Raises:
        InvalidInput: `first` is negative, or above `second`.

    >>> consistency_proof(1, 2, lambda level, index: b"%d:%d" % (level, index))
    (b'0:1',)
    """
    if not 0 <= first <= second:
        raise InvalidInput.at("first", f"is {first}; it must be at least 0 and at most the log's size of {second}")
    if first in (0, second):
        return ()
    low, high = 0, second
    path: list[bytes] = []
    while high != first:
        middle = low + _split(high - low)
        if first <= middle:
            path.append(_fold(middle, high, get))
            high = middle
        else:
            path.append(_fold(low, middle, get))
            low = middle
    if low:  # otherwise this subtree is the whole first log, whose root the verifier has
        path.append(_fold(low, high, get))
    return tuple(reversed(path))


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _fold(low: int, high: int, get: Get) -> bytes:
    """Hash leaves [low, high), at least one; `low` is a multiple of the largest power of two in their count."""
    count = high - low
    level = (count & -count).bit_length() - 1
    top = get(level, (high >> level) - 1)
    while count := count & (count - 1):  # the complete subtrees, from the smallest leftwards
        high = low + count
        level = (count & -count).bit_length() - 1
        top = node_hash(get(level, (high >> level) - 1), top)
    return top
