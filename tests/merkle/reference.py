"""Slow, obvious references, written from the definitions: RFC 9162 §2.1 by recursion, the state tree by recursion."""

from __future__ import annotations

from functools import cache
from hashlib import sha256


def leaf(i: int) -> bytes:
    return sha256(b"\0" + b"leaf %d" % i).digest()


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(a: int, b: int) -> bytes:
    """MTH(D[a:b]), RFC 9162 §2.1.1."""
    if a == b:
        return sha256().digest()
    if b - a == 1:
        return leaf(a)
    k = split(b - a)
    return sha256(b"\1" + mth(a, a + k) + mth(a + k, b)).digest()


def path(m: int, a: int, b: int) -> list[bytes]:
    """PATH(m, D[a:b]), RFC 9162 §2.1.3.1."""
    if b - a == 1:
        return []
    k = split(b - a)
    return [*path(m, a, a + k), mth(a + k, b)] if m < k else [*path(m - k, a + k, b), mth(a, a + k)]


def subproof(m: int, a: int, b: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[a:b], whole), RFC 9162 §2.1.4.1."""
    if m == b - a:
        return [] if whole else [mth(a, b)]
    k = split(b - a)
    if m <= k:
        return [*subproof(m, a, a + k, whole), mth(a + k, b)]
    return [*subproof(m - k, a + k, b, False), mth(a, a + k)]


def state(entries: dict[bytes, bytes]) -> tuple[bytes, dict[int, bytes]]:
    """Root and nodes of the state tree of a set."""
    nodes: dict[int, bytes] = {}

    def hashed(prefix: str) -> tuple[int, bytes]:
        held = {k: v for k, v in entries.items() if k.hex().startswith(prefix)}
        if not held:
            return 0, bytes(32)
        if len(held) <= 32 or len(prefix) == 9:
            node = b"L" + b"".join(k + held[k] for k in sorted(held))
        else:
            kids = [hashed(prefix + digit) for digit in "0123456789abcdef"]
            node = b"I" + b"".join(count.to_bytes(4, "big") + h for count, h in kids)
        nodes[int("1" + prefix, 16)] = node
        return len(held), sha256(b"cmc/node/1\0" + node).digest()

    return sha256(b"cmc/state/1\0" + hashed("")[1]).digest(), nodes


def inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def included(of: bytes, m: int, n: int, proof: list[bytes]) -> bytes | None:
    """The root that PATH(m, D[n]) gives for a leaf, by the recursion that made it; None when it is too short or long."""
    if n == 1 or not proof:
        return of if n == 1 and not proof else None
    k, last = split(n), proof[-1]
    below = included(of, m, k, proof[:-1]) if m < k else included(of, m - k, n - k, proof[:-1])
    return None if below is None else inner(below, last) if m < k else inner(last, below)


def extended(old: bytes, m: int, n: int, proof: list[bytes], whole: bool = True) -> tuple[bytes, bytes] | None:
    """The two roots that SUBPROOF(m, D[n], whole) gives; `old` is the first one, which a whole first subtree is."""
    if m == n:
        one = [old] if whole else proof
        return (one[0], one[0]) if len(one) == 1 and (not whole or not proof) else None
    if not proof:
        return None
    k, last = split(n), proof[-1]
    both = extended(old, m, k, proof[:-1], whole) if m <= k else extended(old, m - k, n - k, proof[:-1], False)
    if both is None:
        return None
    return (both[0], inner(both[1], last)) if m <= k else (inner(last, both[0]), inner(last, both[1]))
