"""Keys, values and changes made for these tests."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from hypothesis import strategies as st

Changes = Mapping[bytes, bytes | None]


def flip(data: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data))


def value(n: int) -> bytes:
    return sha256(b"value %d" % n).digest()


def key(prefix: str, n: int) -> bytes:
    """A crafted key: the nibbles of `prefix`, then zeros, then `n` in the last two bytes."""
    return bytes.fromhex(prefix.ljust(28, "0")) + n.to_bytes(2, "big")


def keyed(n: int) -> bytes:
    return sha256(b"key %d" % n).digest()[:16]


# runs of keys under prefixes that share up to all the nibbles that the tree looks at, so that buckets split and merge
PREFIXES = ["", "0000", "00000000", "000000000", "0000000000000001", "0000000f", "8", "8a", "8a8a8a8a", "8a8a8a8a8"]
runs = st.builds(
    lambda prefix, start, count, stride, v: {
        key(prefix, start + i * stride): None if v is None else value(v) for i in range(count)
    },
    st.sampled_from(PREFIXES),
    st.integers(0, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 256, 1000]),
    st.none() | st.integers(0, 2),
)
scattered = st.dictionaries(st.integers(0, 200).map(keyed), st.none() | st.integers(0, 2).map(value), max_size=60)
batches: st.SearchStrategy[Changes] = st.one_of(runs, st.tuples(runs, runs).map(lambda two: two[0] | two[1]), scattered)
