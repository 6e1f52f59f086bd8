"""The state tree: a 16-way Merkle radix tree whose shape, and so whose root, is a function of the set of entries.

The tree maps keys of 16 bytes to values of 32 bytes. A node holds every entry whose key begins with the node's nibbles.
A node that holds at most `BUCKET` entries, or lies at `DEPTH_MAX`, is a *bucket*; any other is an *inner* node. An empty
node is absent.

A node is addressed by its path: a leading 1, then four bits a nibble. The root is therefore 1, and every path fits in 37
bits. The module `node` describes the bytes of a node and its hash. The state root is SHA-256("cmc/state/1" 00 hash of the
root node); for the empty state, the hash of the root node is 32 zero bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from cmc_mcp.errors import InvalidInput, ProofError
from cmc_mcp.merkle.node import (
    BUCKET,
    DEPTH_MAX,
    EMPTY_HASH,
    EMPTY_SLOT,
    ENTRY_BYTES,
    INNER,
    KEY_BYTES,
    LEAF,
    SLOT_BYTES,
    VALUE_BYTES,
    Get,
    count_canonical,
    counts_of,
    digit_of,
    find,
    hash_node,
    load,
    position,
    slot_of,
)
from cmc_mcp.merkle.proof import check_hash

_ROOT_PATH: Final = 1
_STATE_TAG: Final = b"cmc/state/1\0"

EMPTY_ROOT: Final = sha256(_STATE_TAG + EMPTY_HASH).digest()
"""The root of the empty state."""


class StateProof(NamedTuple):
    """The nodes from the root towards a key: down to the key's bucket, or to the inner node whose slot for it is empty."""

    nodes: tuple[bytes, ...]


class _Batch(NamedTuple):
    """The working values of one update: the store, the changes, their keys in order, and the nodes to write."""

    get: Get
    changes: Mapping[bytes, bytes | None]
    keys: Sequence[bytes]
    writes: dict[int, bytes | None]


def root(get: Get) -> bytes:
    """Return the root of the stored tree (32 bytes), reading the root node alone.

    Raises:
        IntegrityError: the root node is damaged.

    >>> root({}.get) == EMPTY_ROOT
    True
    """
    node = find(get, _ROOT_PATH)
    return EMPTY_ROOT if node is None else _root_of(hash_node(node))


def update(get: Get, changes: Mapping[bytes, bytes | None]) -> tuple[bytes, dict[int, bytes | None]]:
    """Apply changes and return the new root and the nodes to write.

    A value of None removes the key. Removing an absent key, or setting a value that is already set, changes nothing. In
    the nodes to write, None means delete, possibly of a node that was never stored; unchanged nodes are left out. The
    cost is one visit to each node above the changed entries.

    Raises:
        InvalidInput: a key is not 16 bytes, or a value not 32.
        IntegrityError: a node is missing from the store or damaged. (Its shape is checked, its hash is not.)

    >>> nodes: dict[int, bytes] = {}
    >>> new_root, writes = update(nodes.get, {bytes(16): bytes(32)})
    >>> [*writes], update(nodes.get, {bytes(16): None}) == (EMPTY_ROOT, {})
    ([1], True)
    """
    for key, value in changes.items():
        _check_entry(key, value)
    batch = _Batch(get, changes, sorted(changes), {})
    if not batch.keys:
        return root(get), {}
    node = find(get, _ROOT_PATH)
    slot = _apply(batch, node or b"L", _ROOT_PATH, 0, 0, len(batch.keys))
    if slot is None:
        return EMPTY_ROOT if node is None else _root_of(hash_node(node)), {}
    return _root_of(slot[4:]), batch.writes


def build(entries: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, dict[int, bytes]]:
    """Build the tree of entries in any order; return its root and all its nodes.

    Raises:
        InvalidInput: a key is not 16 bytes, a value not 32, or a key comes twice.

    >>> build([]) == (EMPTY_ROOT, {})
    True
    """
    pairs = sorted(entries)
    for key, value in pairs:
        _check_entry(key, value)
    keys = [key for key, _ in pairs]
    if any(keys[i] == keys[i - 1] for i in range(1, len(keys))):
        raise InvalidInput.at("entries", "hold a key twice; pass each key once")
    writes: dict[int, bytes | None] = {}
    slot = _plant(writes, keys, [key + value for key, value in pairs], _ROOT_PATH, 0)
    return _root_of(slot[4:]), {path: node for path, node in writes.items() if node is not None}


def entries(get: Get) -> Iterator[tuple[bytes, bytes]]:
    """Yield every entry (key, value) in key order.

    Raises:
        IntegrityError: a node is missing from the store or damaged. (Its shape is checked, its hash is not.)

    >>> _, nodes = build([(bytes([7]) * 16, bytes(32)), (bytes(16), bytes(32))])
    >>> [key[0] for key, _ in entries(nodes.get)]
    [0, 7]
    """
    paths = [] if get(_ROOT_PATH) is None else [_ROOT_PATH]
    while paths:
        path = paths.pop()
        node = load(get, path)
        if node[0] == LEAF:
            for i in range(1, len(node), ENTRY_BYTES):
                yield node[i : i + KEY_BYTES], node[i + KEY_BYTES : i + ENTRY_BYTES]
        else:
            counts = counts_of(node)
            paths += [path << 4 | digit for digit in range(15, -1, -1) if counts[digit]]


def prove(get: Get, key: bytes) -> StateProof:
    """Return the nodes that prove the value of `key`, or its absence.

    Raises:
        InvalidInput: the key is not 16 bytes.
        IntegrityError: a node is missing from the store or damaged.

    >>> prove({}.get, bytes(16))
    StateProof(nodes=())
    """
    _check_entry(key, None)
    top = find(get, _ROOT_PATH)
    if top is None:
        return StateProof(())
    path, nodes = _ROOT_PATH, [top]
    while nodes[-1][0] == INNER:
        digit = digit_of(key, len(nodes) - 1)
        if slot_of(nodes[-1], digit) == EMPTY_SLOT:
            break
        path = path << 4 | digit
        nodes.append(load(get, path))
    return StateProof(tuple(nodes))


def verify_membership(root: bytes, key: bytes, value: bytes, proof: StateProof) -> None:
    """Verify that `key` holds `value` in the state with this root.

    Raises:
        ProofError: the proof fails, or an argument is malformed.

    >>> state_root, nodes = build([(bytes(16), bytes(32))])
    >>> verify_membership(state_root, bytes(16), bytes(32), prove(nodes.get, bytes(16)))
    """
    check_hash("value", value)
    bucket = _follow(root, key, proof)
    at = position(bucket, key)
    if bucket[at : at + ENTRY_BYTES] != key + value:
        raise ProofError(f"the state does not hold this value under {key.hex()}", key=key.hex())


def verify_absence(root: bytes, key: bytes, proof: StateProof) -> None:
    """Verify that `key` is absent from the state with this root.

    Raises:
        ProofError: the proof fails, or an argument is malformed.

    >>> verify_absence(EMPTY_ROOT, bytes(16), StateProof(()))
    """
    bucket = _follow(root, key, proof)
    at = position(bucket, key)
    if bucket[at : at + KEY_BYTES] == key:
        raise ProofError(f"the state holds {key.hex()}", key=key.hex())


def _follow(root: object, key: object, proof: object) -> bytes:
    """Follow a proof from the root to the bucket where `key` belongs; return the bucket, or b"L" if it is absent.

    Every node must be canonical too, so that nobody can construct a root under which a key is both present and absent.
    """
    check_hash("root", root)
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ProofError("the key is not 16 bytes")
    if not isinstance(proof, StateProof) or not isinstance(proof.nodes, tuple):
        raise ProofError("the proof is not a StateProof")
    if not proof.nodes:
        if root != EMPTY_ROOT:
            raise ProofError("the proof is empty, the state is not")
        return b"L"
    slot = EMPTY_SLOT
    for depth, node in enumerate(proof.nodes):
        count = count_canonical(node, key, depth)
        hashed = hash_node(node)
        if (depth == 0 and _root_of(hashed) != root) or (depth > 0 and count.to_bytes(4, "big") + hashed != slot):
            raise ProofError(f"node {depth} of the proof does not match the hash above it", depth=depth)
        if node[0] == LEAF:
            slot, bucket = EMPTY_SLOT, node
        else:
            slot, bucket = slot_of(node, digit_of(key, depth)), b"L"
        if slot == EMPTY_SLOT:
            if depth != len(proof.nodes) - 1:
                raise ProofError("the proof is too long")
            return bucket
    raise ProofError("the proof is too short")


def _apply(batch: _Batch, node: bytes, path: int, depth: int, low: int, high: int) -> bytes | None:
    """Apply the changes keys[low:high] to the node at `path`; return its new slot, or None if the node is unchanged."""
    if node[0] == LEAF:
        if high - low == 1:
            return _apply_one(batch, node, path, depth, batch.keys[low])
        return _apply_many(batch, node, path, depth, batch.keys[low:high])
    get, _, keys, _ = batch
    inner: bytearray | None = None
    for digit, start, end in _runs(keys, low, high, depth):
        at = 1 + SLOT_BYTES * digit
        child_path = path << 4 | digit
        child = b"L" if node[at : at + SLOT_BYTES] == EMPTY_SLOT else load(get, child_path)
        slot = _apply(batch, child, child_path, depth + 1, start, end)
        if slot is not None:
            if inner is None:
                inner = bytearray(node)
            inner[at : at + SLOT_BYTES] = slot
    return None if inner is None else _settle(batch, bytes(inner), path)


def _settle(batch: _Batch, node: bytes, path: int) -> bytes:
    """Write a changed inner node, or the bucket that the node has become; return the slot."""
    counts = counts_of(node)
    total = sum(counts)
    if total > BUCKET:
        batch.writes[path] = node
        return total.to_bytes(4, "big") + hash_node(node)
    # every child holds few enough to be a bucket already, so one level of them is all there is to gather
    parts = [b"L"]
    for digit in range(16):
        child_path = path << 4 | digit
        if counts[digit]:
            child = batch.writes.get(child_path) or load(batch.get, child_path)
            parts.append(child[1:])
            batch.writes[child_path] = None
    return _put_bucket(batch.writes, path, b"".join(parts))


def _apply_one(batch: _Batch, node: bytes, path: int, depth: int, key: bytes) -> bytes | None:
    """Apply the change of one key to a bucket by splicing."""
    value = batch.changes[key]
    at = position(node, key)
    end = at + ENTRY_BYTES if node[at : at + KEY_BYTES] == key else at
    entry = b"" if value is None else key + value
    if node[at:end] == entry:
        return None
    return _grow(batch.writes, b"".join((node[:at], entry, node[end:])), path, depth)


def _apply_many(batch: _Batch, node: bytes, path: int, depth: int, keys: Sequence[bytes]) -> bytes | None:
    """Apply the changes of several keys to a bucket."""
    held = {node[i : i + KEY_BYTES]: node[i : i + ENTRY_BYTES] for i in range(1, len(node), ENTRY_BYTES)}
    for key in keys:
        value = batch.changes[key]
        if value is None:
            held.pop(key, None)
        else:
            held[key] = key + value
    bucket = b"L" + b"".join(sorted(held.values()))
    return None if bucket == node else _grow(batch.writes, bucket, path, depth)


def _grow(writes: dict[int, bytes | None], bucket: bytes, path: int, depth: int) -> bytes:
    """Write a bucket, or the subtree that the bucket has become; return the slot."""
    if len(bucket) <= 1 + ENTRY_BYTES * BUCKET or depth == DEPTH_MAX:
        return _put_bucket(writes, path, bucket)
    pieces = [bucket[i : i + ENTRY_BYTES] for i in range(1, len(bucket), ENTRY_BYTES)]
    return _plant(writes, [piece[:KEY_BYTES] for piece in pieces], pieces, path, depth)


def _plant(
    writes: dict[int, bytes | None], keys: Sequence[bytes], pieces: Sequence[bytes], path: int, depth: int
) -> bytes:
    """Write the subtree of sorted entries, passed as keys and as encodings; return the slot."""
    if len(keys) <= BUCKET or depth == DEPTH_MAX:
        return _put_bucket(writes, path, b"L" + b"".join(pieces))
    slots = [EMPTY_SLOT] * 16
    for digit, start, end in _runs(keys, 0, len(keys), depth):
        slots[digit] = _plant(writes, keys[start:end], pieces[start:end], path << 4 | digit, depth + 1)
    node = b"I" + b"".join(slots)
    writes[path] = node
    return len(keys).to_bytes(4, "big") + hash_node(node)


def _put_bucket(writes: dict[int, bytes | None], path: int, bucket: bytes) -> bytes:
    if len(bucket) == 1:
        writes[path] = None
        return EMPTY_SLOT
    writes[path] = bucket
    return (len(bucket) // ENTRY_BYTES).to_bytes(4, "big") + hash_node(bucket)


def _runs(keys: Sequence[bytes], low: int, high: int, depth: int) -> Iterator[tuple[int, int, int]]:
    """Yield (nibble, start, end) for each run of keys[low:high] with the same next nibble.

    The keys are sorted and share their first `depth` nibbles.
    """
    while low < high:
        digit = digit_of(keys[low], depth)
        end = low + 1
        if end < high:
            end = bisect_right(keys, digit, end, high, key=lambda key: digit_of(key, depth))
        yield digit, low, end
        low = end


def _root_of(node_hash: bytes) -> bytes:
    return sha256(_STATE_TAG + node_hash).digest()


def _check_entry(key: bytes, value: bytes | None) -> None:
    if len(key) != KEY_BYTES or (value is not None and len(value) != VALUE_BYTES):
        raise InvalidInput.at("changes", f"hold the key {key.hex()}; keys must be 16 bytes, values 32 bytes")
