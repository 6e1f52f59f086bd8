"""Proofs over the state: they hold for what is there and what is not, and for nothing else, whatever is made up."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import IntegrityError, InvalidInput, ProofError
from cmc_mcp.merkle import state
from cmc_mcp.merkle.node import hash_node
from cmc_mcp.merkle.state import StateProof, prove, verify_absence, verify_membership
from tests.merkle.made import Changes, batches, flip, key, keyed, value

ENTRIES = {keyed(n): value(n) for n in range(600)} | {key("00000000", n): value(n) for n in range(40)}
ROOT, NODES = state.build(ENTRIES.items())
NOTHING: dict[int, bytes] = {}
ABSENT = [keyed(n) for n in range(1000, 1100)] + [
    key("00000000", 41),
    key("000000001", 0),
    key("1234", 1),
    bytes(15) + b"\xff",
]


def rejected(root: bytes, k: bytes, v: bytes, proof: StateProof) -> None:
    with pytest.raises(ProofError):
        verify_membership(root, k, v, proof)
    with pytest.raises(ProofError):
        verify_absence(root, k, proof)


def test_every_entry_is_proved_and_every_other_value_refused() -> None:
    for k, v in ENTRIES.items():
        proof = prove(NODES.get, k)
        verify_membership(ROOT, k, v, proof)
        for other in (value(10_000), flip(v, 0), bytes(32)):
            with pytest.raises(ProofError):
                verify_membership(ROOT, k, other, proof)
        with pytest.raises(ProofError):
            verify_absence(ROOT, k, proof)
        rejected(flip(ROOT, 5), k, v, proof)
        rejected(state.EMPTY_ROOT, k, v, proof)


def test_every_absent_key_is_proved_absent() -> None:
    for k in ABSENT:
        proof = prove(NODES.get, k)
        verify_absence(ROOT, k, proof)
        with pytest.raises(ProofError):
            verify_membership(ROOT, k, value(0), proof)


def test_in_the_empty_state_everything_is_absent() -> None:
    proof = prove(NOTHING.get, bytes(16))
    verify_absence(state.EMPTY_ROOT, bytes(16), proof)
    with pytest.raises(ProofError):
        verify_membership(state.EMPTY_ROOT, bytes(16), value(0), proof)
    with pytest.raises(ProofError):
        verify_absence(ROOT, bytes(16), proof)


def mutations(proof: StateProof) -> Iterator[StateProof]:
    nodes = proof.nodes
    extra = b"L" + keyed(1) + value(1)
    for i in range(len(nodes) + 1):
        yield StateProof((*nodes[:i], extra, *nodes[i:]))
    for i, node in enumerate(nodes):
        yield StateProof(nodes[:i] + nodes[i + 1 :])
        yield StateProof((*nodes[: i + 1], *nodes[i:]))
        for j in range(i):
            yield StateProof((*nodes[:j], node, *nodes[j + 1 : i], nodes[j], *nodes[i + 1 :]))
        for changed in (node[:-1], node + b"\0", node[:-48], b"L" + node[1:], b"I" + node[1:], b"", b"L"):
            if changed != node:
                yield StateProof((*nodes[:i], changed, *nodes[i + 1 :]))


@pytest.mark.parametrize("k", [keyed(3), key("00000000", 7), *ABSENT[:3], *ABSENT[-4:]])
def test_no_changed_proof_verifies(k: bytes) -> None:
    for changed in mutations(prove(NODES.get, k)):
        rejected(ROOT, k, ENTRIES.get(k, value(0)), changed)


@pytest.mark.parametrize("k", [keyed(3), ABSENT[0]])
def test_a_bit_of_every_single_byte_of_a_proof_matters(k: bytes) -> None:
    nodes = prove(NODES.get, k).nodes
    for i, node in enumerate(nodes):
        for at in range(len(node)):
            changed = StateProof((*nodes[:i], flip(node, 8 * at + at % 8), *nodes[i + 1 :]))
            rejected(ROOT, k, ENTRIES.get(k, value(0)), changed)


def test_the_proof_of_another_key_does_not_do() -> None:
    far = next(k for k in ENTRIES if k[0] >> 4 != keyed(3)[0] >> 4)
    rejected(ROOT, keyed(3), value(3), prove(NODES.get, far))


@settings(max_examples=50, deadline=None)
@given(batches, st.integers(0, 260))
def test_proofs_hold_for_any_set(changes: Changes, n: int) -> None:
    held = {k: v for k, v in changes.items() if v is not None}
    root, nodes = state.build(held.items())
    for k in {*changes, keyed(n), key("0000000000000001", n)}:
        proof = prove(nodes.get, k)
        if k in held:
            verify_membership(root, k, held[k], proof)
            with pytest.raises(ProofError):
                verify_absence(root, k, proof)
        else:
            verify_absence(root, k, proof)


def made_up(*nodes: bytes) -> tuple[bytes, StateProof]:
    """A root to which nodes hash, made up by whoever also makes the proof."""
    return sha256(b"cmc/state/1\0" + hash_node(nodes[0])).digest(), StateProof(nodes)


def inner(slots: dict[int, bytes]) -> bytes:
    return b"I" + b"".join(slots.get(digit, bytes(36)) for digit in range(16))


def slot(count: int, node: bytes) -> bytes:
    return count.to_bytes(4, "big") + hash_node(node)


def entry(k: bytes, v: int = 0) -> bytes:
    return k + value(v)


def test_no_root_can_be_made_up_for_a_tree_that_is_not_canonical() -> None:
    k = key("", 1)
    full = b"L" + b"".join(entry(key("", n)) for n in range(32))
    over = b"L" + b"".join(entry(key("", n)) for n in range(33))
    forgeries = {
        "a key twice": made_up(b"L" + entry(k) + entry(k, 1)),
        "keys out of order": made_up(b"L" + entry(key("", 2)) + entry(k)),
        "a bucket of 33": made_up(over),
        "an empty bucket": made_up(b"L"),
        "an inner node of 32": made_up(inner({0: slot(32, full)}), full),
        "an empty inner node": made_up(inner({})),
        "a count that lies": made_up(inner({0: slot(33, full)}), full),
        "a count without a hash": made_up(inner({0: (40).to_bytes(4, "big") + bytes(32)})),
        "a count without a hash elsewhere": made_up(inner({0: slot(32, full), 5: b"\1" * 4 + bytes(32)}), full),
        "a hash without a count elsewhere": made_up(
            inner({0: slot(32, full), 1: slot(9, full), 5: bytes(35) + b"\1"}), full
        ),
        "a hash without a count": made_up(inner({0: bytes(4) + hash_node(full), 1: slot(40, full)}), full),
        "a bucket in the wrong place": made_up(
            inner({0: slot(1, b"L" + entry(key("1", 1))), 1: slot(40, full)}), b"L" + entry(key("1", 1))
        ),
        "counts that overflow": made_up(inner({0: slot(1, b"L" + entry(k)), 1: b"\xff" * 36}), b"L" + entry(k)),
    }
    for what, (root, proof) in forgeries.items():
        for v in (0, 1):
            with pytest.raises(ProofError):
                verify_membership(root, k, value(v), proof)
                pytest.fail(what)
        with pytest.raises(ProofError):
            verify_absence(root, k, proof)
            pytest.fail(what)


def test_no_inner_node_lies_at_the_depth_limit() -> None:
    chain = [b"L" + b"".join(entry(key("", n)) for n in range(33))]
    for _ in range(10):
        chain.insert(0, inner({0: slot(33, chain[0])}))
    root, proof = made_up(*chain[1:])
    verify_membership(root, key("", 1), value(0), proof)
    root, proof = made_up(*chain)
    rejected(root, key("", 1), value(0), proof)
    halves = [b"L" + b"".join(entry(key("0" * 9 + digit, n)) for n in range(17)) for digit in "01"]
    chain = [inner({0: slot(17, halves[0]), 1: slot(17, halves[1])}), halves[0]]
    for _ in range(9):
        chain.insert(0, inner({0: slot(34, chain[0])}))
    root, proof = made_up(*chain)
    rejected(root, key("", 1), value(0), proof)


def test_malformed_arguments_are_proof_errors() -> None:
    k, v, proof = keyed(3), value(3), prove(NODES.get, keyed(3))
    for bad in (None, 1, "x", b"", bytes(33), bytearray(32), [bytes(32)]):
        rejected(cast(bytes, bad), k, v, proof)
        rejected(ROOT, cast(bytes, bad), v, proof)
        with pytest.raises(ProofError):
            verify_membership(ROOT, k, cast(bytes, bad), proof)
        rejected(ROOT, k, v, cast(StateProof, bad))
        rejected(ROOT, k, v, StateProof(cast("tuple[bytes, ...]", bad)))
        rejected(ROOT, k, v, StateProof(cast("tuple[bytes, ...]", (bad,))))
    rejected(ROOT, k, v, cast(StateProof, proof.nodes))


def test_prove_refuses_a_bad_key_and_names_a_missing_node() -> None:
    with pytest.raises(InvalidInput):
        prove(NODES.get, b"short")
    with pytest.raises(IntegrityError, match="missing"):
        prove({1: NODES[1]}.get, keyed(3))
