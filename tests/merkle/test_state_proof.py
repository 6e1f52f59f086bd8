"""Proofs over the state: they hold for what is there and what is not, and for nothing else, whatever is made up."""

from __future__ import annotations

import inspect
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from types import ModuleType
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import IntegrityError, InvalidInput, ProofError
from cmc_mcp.merkle import node as nodes_of_it
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


def not_canonical() -> dict[str, tuple[bytes, StateProof]]:
    """Roots made up for trees that hold one key twice, or where nobody would look for it, each with its proof."""
    k = key("", 1)
    full = b"L" + b"".join(entry(key("", n)) for n in range(32))
    over = b"L" + b"".join(entry(key("", n)) for n in range(33))
    return {
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
        "a bucket of 33 above the depth limit, twice as deep": made_up(*chain_of(11, 33)),
        "halves below the depth limit": made_up(*below_the_limit()),
    }


def chain_of(nodes: int, entries: int) -> list[bytes]:
    """Inner nodes with one child each, above a bucket."""
    chain = [b"L" + b"".join(entry(key("", n)) for n in range(entries))]
    for _ in range(nodes - 1):
        chain.insert(0, inner({0: slot(entries, chain[0])}))
    return chain


def below_the_limit() -> list[bytes]:
    """Inner nodes of which the last lies where there are buckets alone."""
    halves = [b"L" + b"".join(entry(key("0" * 9 + digit, n)) for n in range(17)) for digit in "01"]
    chain = [inner({0: slot(17, halves[0]), 1: slot(17, halves[1])}), halves[0]]
    for _ in range(9):
        chain.insert(0, inner({0: slot(34, chain[0])}))
    return chain


def test_no_root_can_be_made_up_for_a_tree_that_is_not_canonical() -> None:
    for what, (root, proof) in not_canonical().items():
        assert [k for k, v in ((key("", 1), 0), (key("", 1), 1)) if accepted(state, root, k, value(v), proof)] == [], (
            what
        )


def test_a_bucket_at_the_depth_limit_may_hold_more() -> None:
    root, proof = made_up(*chain_of(10, 33))
    verify_membership(root, key("", 1), value(0), proof)


# ---------------------------------------------------------------------- verifiers that leave out a check
def accepted(module: ModuleType, root: bytes, k: bytes, v: bytes, proof: StateProof) -> list[str]:
    """Return what a verifier takes a proof for."""
    taken = []
    given = module.StateProof(proof.nodes)
    for what, verify in (
        ("held", lambda: module.verify_membership(root, k, v, given)),
        ("absent", lambda: module.verify_absence(root, k, given)),
    ):
        with suppress(ProofError):
            try:
                verify()
                taken.append(what)
            except (IndexError, struct.error):
                taken.append("stumbled over")
    return taken


def lies(module: ModuleType) -> Iterator[str]:
    """Say what a verifier gets wrong."""
    for k in (keyed(3), key("00000000", 7), *ABSENT[:3], *ABSENT[-4:]):
        proof, held = prove(NODES.get, k), ENTRIES.get(k)
        truth = ["absent"] if held is None else ["held"]
        if accepted(module, ROOT, k, held or value(0), proof) != truth:
            yield "a genuine proof"
        if held and "held" in accepted(module, ROOT, k, value(10_000), proof):
            yield "another value"
        far = prove(NODES.get, next(other for other in ENTRIES if other[0] >> 4 != k[0] >> 4))
        made = [(flip(ROOT, 5), proof), (state.EMPTY_ROOT, proof), (ROOT, StateProof(())), (ROOT, far)]
        for root, changed in (*made, *((ROOT, changed) for changed in mutations(proof))):
            if accepted(module, root, k, held or value(0), changed):
                yield "a changed proof"
    for what, (root, proof) in not_canonical().items():
        if any(accepted(module, root, key("", 1), value(v), proof) for v in (0, 1)):
            yield what


WEAKENED = {
    "the value": ("if bucket[at : at + ENTRY_BYTES] != key + value:", "if bucket[at : at + KEY_BYTES] != key:"),
    "what absence means": ("if bucket[at : at + KEY_BYTES] == key:", "if False:"),
    "an empty proof": ("if root != EMPTY_ROOT:", "if False:"),
    "the root": ("(depth == 0 and _root_of(hashed) != root)", "False"),
    "the hashes above": ('(depth > 0 and count.to_bytes(4, "big") + hashed != slot)', "False"),
    "the counts above": ('count.to_bytes(4, "big") + hashed != slot', "hashed != slot[4:]"),
    "too long a proof": ("if depth != len(proof.nodes) - 1:", "if False:"),
    "too short a proof": ('raise ProofError("the proof is too short")', 'return b"L"'),
    "the depth of inner nodes": ("and depth < DEPTH_MAX", ""),
    "inner nodes with few": ("BUCKET < total < 1 << 32", "total < 1 << 32"),
    "counts that overflow": ("BUCKET < total < 1 << 32", "BUCKET < total"),
    "a count and its hash": ("and all((one[:4] == bytes(4)) == (one[4:] == EMPTY_HASH) for one in slots)", ""),
    "where a bucket lies": ("if shared and ordered and", "if ordered and"),
    "the order of a bucket": ("if shared and ordered and", "if shared and"),
    "buckets that are full": ("(len(keys) <= BUCKET or depth == DEPTH_MAX)", "True"),
    "buckets that are empty": ("len(node) > 1 and len(node) % ENTRY_BYTES == 1", "len(node) % ENTRY_BYTES == 1"),
}


def weakened(old: str = "", new: str = "") -> ModuleType:
    """Make the verifier anew from its source, with a change."""
    sources = {"node": inspect.getsource(nodes_of_it), "state": inspect.getsource(state)}
    assert any(old in source for source in sources.values())
    made = {name: ModuleType(f"weak_{name}") for name in sources}
    for name, source in sources.items():
        sys.modules[made[name].__name__] = made[name]  # dataclasses look themselves up
        source = source.replace("from cmc_mcp.merkle.node import", "from weak_node import").replace(old, new)
        exec(compile(source, f"weak_{name}", "exec"), made[name].__dict__)
    for module in made.values():
        del sys.modules[module.__name__]
    return made["state"]


def test_the_verifier_made_anew_gets_nothing_wrong() -> None:
    assert list(lies(weakened())) == []


@pytest.mark.parametrize("what", WEAKENED)
def test_a_verifier_that_leaves_out_a_check_is_found_out(what: str) -> None:
    assert next(lies(weakened(*WEAKENED[what])), None) is not None, f"{what} can be left out"


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
