"""One node of the state tree as bytes: encoding, hash and lookup.

::

    bucket   b"L" then the entries in key order, each key (16) and value (32)
    inner    b"I" then 16 slots, each the count of the subtree (4, big-endian) and the hash of its node (32)
    hash     SHA-256("cmc/node/1" 00 node); for an empty subtree, 32 zero bytes
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias

from cmc_mcp.errors import IntegrityError, ProofError

BUCKET: Final = 32
"""The largest number of entries of a bucket above `DEPTH_MAX`."""
DEPTH_MAX: Final = 9
"""The depth in nibbles at which a bucket takes any number of entries, so that crafted keys cannot deepen the tree."""
KEY_BYTES: Final = 16
VALUE_BYTES: Final = 32
ENTRY_BYTES: Final = KEY_BYTES + VALUE_BYTES
SLOT_BYTES: Final = 4 + 32
INNER_BYTES: Final = 1 + 16 * SLOT_BYTES
LEAF: Final = ord("L")
INNER: Final = ord("I")
EMPTY_HASH: Final = bytes(32)
EMPTY_SLOT: Final = bytes(SLOT_BYTES)

Get: TypeAlias = Callable[[int], bytes | None]
"""Return the stored bytes of the node at a path, or None if the path has no node."""

_TAG: Final = b"cmc/node/1\0"
_COUNTS: Final = struct.Struct(">x" + "I32x" * 16)


def hash_node(node: bytes) -> bytes:
    """Hash a node (32 bytes); the node must not be empty.

    >>> hash_node(b"L" + bytes(48)).hex()[:8]
    'adc342b7'
    """
    return sha256(_TAG + node).digest()


def find(get: Get, path: int) -> bytes | None:
    """Read a node, or None if the path has no node, and check the node's shape against damage to the store.

    Raises:
        IntegrityError: the stored bytes are neither a bucket nor an inner node.

    >>> find({}.get, 1) is None
    True
    """
    node = get(path)
    if node is not None and not _is_inner(node) and not _is_bucket(node):
        raise IntegrityError(f"state node {path:x} is damaged", path=f"{path:x}")
    return node


def load(get: Get, path: int) -> bytes:
    """Read a node that must exist.

    Raises:
        IntegrityError: the node is missing, or is neither a bucket nor an inner node.

    >>> load({1: b"L" + bytes(48)}.get, 1)[:1]
    b'L'
    """
    node = find(get, path)
    if node is None:
        raise IntegrityError(f"state node {path:x} is missing", path=f"{path:x}")
    return node


def counts_of(inner: bytes) -> tuple[int, ...]:
    """Return the counts of the 16 subtrees of an inner node.

    >>> sum(counts_of(b"I" + bytes(576)))
    0
    """
    counts: tuple[int, ...] = _COUNTS.unpack(inner)
    return counts


def slot_of(inner: bytes, digit: int) -> bytes:
    """Return slot `digit` of an inner node (36 bytes).

    >>> slot_of(b"I" + bytes(576), 15) == EMPTY_SLOT
    True
    """
    at = 1 + SLOT_BYTES * digit
    return inner[at : at + SLOT_BYTES]


def digit_of(key: bytes, depth: int) -> int:
    """Return nibble `depth` of a key; the high nibble of each byte comes first.

    >>> digit_of(b"\\x12", 0), digit_of(b"\\x12", 1)
    (1, 2)
    """
    return key[depth >> 1] & 15 if depth & 1 else key[depth >> 1] >> 4


def position(bucket: bytes, key: bytes) -> int:
    """Return the offset in a bucket at which `key` stands or would stand.

    >>> position(b"L" + bytes(48), bytes([1]) * 16)
    49
    """

    def key_of(index: int) -> bytes:
        at = 1 + ENTRY_BYTES * index
        return bucket[at : at + KEY_BYTES]

    return 1 + ENTRY_BYTES * bisect_left(range(len(bucket) // ENTRY_BYTES), key, key=key_of)


def count_canonical(node: object, key: bytes, depth: int) -> int:
    """Verify that the node at `depth` on the way to `key` is canonical, and return the number of its entries.

    Raises:
        ProofError: the bytes are not a node, or the same entries would form another node.

    >>> count_canonical(b"L" + bytes(48), bytes(16), 0)
    1
    """
    if isinstance(node, bytes) and _is_inner(node) and depth < DEPTH_MAX:
        total = sum(counts_of(node))
        slots = [slot_of(node, i) for i in range(16)]
        if BUCKET < total < 1 << 32 and all((one[:4] == bytes(4)) == (one[4:] == EMPTY_HASH) for one in slots):
            return total
    if isinstance(node, bytes) and _is_bucket(node):
        keys = [node[i : i + KEY_BYTES] for i in range(1, len(node), ENTRY_BYTES)]
        shared = all(held.hex()[:depth] == key.hex()[:depth] for held in (keys[0], keys[-1]))
        ordered = all(keys[i - 1] < keys[i] for i in range(1, len(keys)))
        if shared and ordered and (len(keys) <= BUCKET or depth == DEPTH_MAX):
            return len(keys)
    raise ProofError(f"node {depth} of the proof is not a state node", depth=depth)


def _is_inner(node: bytes) -> bool:
    return len(node) == INNER_BYTES and node[0] == INNER


def _is_bucket(node: bytes) -> bool:
    return len(node) > 1 and len(node) % ENTRY_BYTES == 1 and node[0] == LEAF
