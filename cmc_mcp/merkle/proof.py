"""Verify the proofs of the log exactly as RFC 9162 says: pure functions that return None or raise `ProofError`."""

from __future__ import annotations

from collections.abc import Sequence

from cmc_mcp.canon import HASH_BYTES
from cmc_mcp.errors import ProofError
from cmc_mcp.merkle.log import EMPTY_ROOT, node_hash

SIZE_MAX = 2**63 - 1
"""The largest log, in leaves, that a verifier accepts; also the largest number that every backend can count."""


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Verify that the leaf with this hash is number `index` of the log with `size` leaves and this root.

    The algorithm is that of RFC 9162 §2.1.3.2; hashes are 32 bytes.

    Raises:
        ProofError: the proof fails, or an argument is malformed.

    >>> verify_inclusion(bytes(32), 0, 1, (), bytes(32))
    """
    check_hash("leaf_hash", leaf_hash)
    check_hash("root", root)
    check_size("index", index)
    check_size("size", size)
    if index >= size:
        raise ProofError(f"leaf {index} is not in a log of {size} leaves", index=index, size=size)
    at, last, computed = index, size - 1, leaf_hash
    for sibling in check_path(proof):
        if last == 0:
            raise ProofError("the inclusion proof is too long", index=index, size=size)
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short", index=index, size=size)
    _check_root("inclusion", root, computed)


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Verify that the log with `first` leaves and its root is a prefix of the log with `second` leaves and its root.

    The algorithm is that of RFC 9162 §2.1.4.2, which covers 0 < first < second. Two more cases take an empty proof: the
    empty log, whose root is SHA-256 of no bytes, is a prefix of every log; and every log is a prefix of itself.

    Raises:
        ProofError: the proof fails, or an argument is malformed.

    >>> verify_consistency(1, 1, bytes(32), bytes(32), ())
    """
    check_hash("first_root", first_root)
    check_hash("second_root", second_root)
    check_size("first", first)
    check_size("second", second)
    path = check_path(proof)
    if first > second:
        raise ProofError(
            f"a log of {first} leaves is not a prefix of a log of {second} leaves", first=first, second=second
        )
    if first in (0, second):
        if path:
            raise ProofError("the consistency proof must be empty", first=first, second=second)
        if first == 0:
            _check_root("empty log's", first_root, EMPTY_ROOT)
        if first == second:
            _check_root("consistency", second_root, first_root)
        return
    first_computed, second_computed = _climb(first, second, first_root, path)
    _check_root("consistency proof's first", first_root, first_computed)
    _check_root("consistency proof's second", second_root, second_computed)


def _climb(first: int, second: int, first_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Compute both roots from a consistency proof: steps 1 to 6 of RFC 9162 §2.1.4.2, for 0 < first < second."""
    if not proof:
        raise ProofError("the consistency proof is empty", first=first, second=second)
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    of_first = of_second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long", first=first, second=second)
        if at & 1 or at == last:
            of_first = node_hash(sibling, of_first)
            of_second = node_hash(sibling, of_second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            of_second = node_hash(of_second, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short", first=first, second=second)
    return of_first, of_second


def check_hash(name: str, value: object) -> None:
    """Raise `ProofError` unless `value` is 32 bytes.

    >>> check_hash("root", bytes(32))
    """
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise ProofError(f"{name} is not a hash of {HASH_BYTES} bytes", name=name)


def check_size(name: str, value: object) -> None:
    """Raise `ProofError` unless `value` is an integer from 0 to `SIZE_MAX`.

    >>> check_size("size", 0)
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SIZE_MAX:
        raise ProofError(f"{name} is not a count of leaves", name=name)


def check_path(value: object) -> tuple[bytes, ...]:
    """Return a proof as a tuple, or raise `ProofError` unless it is a list or tuple of hashes.

    >>> check_path([bytes(32)]) == (bytes(32),)
    True
    """
    if not isinstance(value, list | tuple):
        raise ProofError("the proof is not a list of hashes")
    path: list[bytes] = []
    for item in value:
        if not isinstance(item, bytes) or len(item) != HASH_BYTES:
            raise ProofError(f"part {len(path)} of the proof is not a hash of {HASH_BYTES} bytes")
        path.append(item)
    return tuple(path)


def _check_root(what: str, expected: bytes, computed: bytes) -> None:
    if expected != computed:
        message = f"the {what} root does not match"
        raise ProofError(message, expected=expected.hex(), computed=computed.hex())
