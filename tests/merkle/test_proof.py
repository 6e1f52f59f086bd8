"""A proof that was changed in any way does not verify, and a malformed one is a `ProofError` like any other."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import ProofError
from cmc_mcp.merkle import log
from cmc_mcp.merkle.proof import verify_consistency, verify_inclusion
from tests.merkle.reference import leaf, mth, subproof

Path = tuple[bytes, ...]


def test_a_log_rewritten_in_the_past_is_not_consistent() -> None:
    nodes: dict[tuple[int, int], bytes] = {}
    for size in range(20):
        new = leaf(99) if size == 3 else leaf(size)
        nodes.update({(a, b): h for a, b, h in log.append(size, new, lambda level, index: nodes[level, index])})
    rewritten = log.consistency_proof(10, 20, lambda level, index: nodes[level, index])
    root = log.root(20, lambda level, index: nodes[level, index])
    with pytest.raises(ProofError, match="first root"):
        verify_consistency(10, 20, mth(0, 10), root, rewritten)


def test_a_proof_of_the_wrong_length_fails_even_for_roots_made_up_to_fit_it() -> None:
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(leaf(0), 0, 1, (leaf(9),), log.node_hash(leaf(9), leaf(0)))
    with pytest.raises(ProofError, match="too short"):
        verify_inclusion(leaf(0), 0, 4, (leaf(1),), mth(0, 2))
    first, second = (log.node_hash(leaf(9), root) for root in (mth(0, 3), mth(0, 4)))
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(3, 4, first, second, (*subproof(3, 0, 4, True), leaf(9)))
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(3, 4, leaf(2), log.node_hash(leaf(2), leaf(3)), (leaf(2), leaf(3)))


def test_the_empty_log_is_a_prefix_of_every_log_and_of_itself() -> None:
    verify_consistency(0, 5, log.EMPTY_ROOT, mth(0, 5), ())
    verify_consistency(0, 0, log.EMPTY_ROOT, log.EMPTY_ROOT, ())
    for first_root, second_root, proof in (
        (mth(0, 1), mth(0, 5), ()),
        (log.EMPTY_ROOT, mth(0, 5), (mth(0, 5),)),
    ):
        with pytest.raises(ProofError):
            verify_consistency(0, 5, first_root, second_root, proof)
    with pytest.raises(ProofError):
        verify_consistency(0, 0, log.EMPTY_ROOT, mth(0, 1), ())


def test_equal_sizes_want_equal_roots_and_an_empty_proof() -> None:
    verify_consistency(4, 4, mth(0, 4), mth(0, 4), ())
    with pytest.raises(ProofError):
        verify_consistency(4, 4, mth(0, 4), mth(0, 5), ())
    with pytest.raises(ProofError):
        verify_consistency(4, 4, mth(0, 4), mth(0, 4), (mth(0, 4),))


MALFORMED: list[object] = [None, -1, True, 2**63, 1.0, "1", b"", bytes(31), bytes(33), "0" * 32, bytearray(32), [], [1]]
HASHES: list[object] = [*MALFORMED, 7]
PATHS: list[object] = [
    None,
    1,
    b"",
    bytes(32),
    "x",
    [1],
    [None],
    [b""],
    (bytes(31),),
    iter([bytes(32)]),
    {bytes(32): 1},
]


def test_malformed_arguments_are_proof_errors() -> None:
    for bad in HASHES:
        h = cast(bytes, bad)
        with pytest.raises(ProofError):
            verify_inclusion(h, 0, 1, (), leaf(0))
        with pytest.raises(ProofError):
            verify_inclusion(leaf(0), 0, 1, (), h)
        with pytest.raises(ProofError):
            verify_consistency(1, 1, h, leaf(0), ())
        with pytest.raises(ProofError):
            verify_consistency(1, 1, leaf(0), h, ())
    for bad in MALFORMED:
        n = cast(int, bad)
        with pytest.raises(ProofError):
            verify_inclusion(leaf(0), n, 1, (), leaf(0))
        with pytest.raises(ProofError):
            verify_inclusion(leaf(0), 0, n, (), leaf(0))
        with pytest.raises(ProofError):
            verify_consistency(n, 1, leaf(0), leaf(0), ())
        with pytest.raises(ProofError):
            verify_consistency(1, n, leaf(0), leaf(0), ())
    with pytest.raises(ProofError):
        verify_inclusion(leaf(0), False, 1, (), leaf(0))
    for bad in PATHS:
        with pytest.raises(ProofError):
            verify_inclusion(leaf(0), 0, 2, cast(Path, bad), mth(0, 2))
        with pytest.raises(ProofError):
            verify_consistency(1, 2, leaf(0), mth(0, 2), cast(Path, bad))


sizes = st.integers(-2, 2**64)
hashes = st.binary(min_size=32, max_size=32)


@settings(deadline=None)
@given(sizes, sizes, hashes, hashes, st.lists(hashes, max_size=70))
def test_made_up_proofs_never_verify_and_never_raise_anything_else(
    a: int, b: int, one: bytes, two: bytes, proof: list[bytes]
) -> None:
    for verify in ("inclusion", "consistency"):
        try:
            if verify == "inclusion":
                verify_inclusion(one, a, b, proof, two)
            else:
                verify_consistency(a, b, one, two, proof)
        except ProofError:
            continue
        assert one == two and not proof
