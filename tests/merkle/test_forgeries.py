"""No mutation of any proof passes; and a verifier that leaves out any of its checks is found out by these very mutations."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cmc_mcp.merkle import checkpoint, proof
from tests.merkle import forgeries
from tests.merkle import test_checkpoint as notes
from tests.merkle.forgeries import Proofs, consistency_faults, inclusion_faults, note_faults, run
from tests.merkle.reference import extended, included, leaf, mth, path, subproof
from tests.soak import Job


def sampled(module: ModuleType, sizes: range) -> Iterator[str]:
    """Every size, some of its proofs, each with every mutation and one bit of each hash."""
    rng, result = random.Random(16), Proofs(16)
    for n in sizes:
        for i in {rng.randrange(n), n - 1 if n & (n - 1) == 0 else rng.randrange(n)}:
            bits = [rng.randrange(256)]
            yield from inclusion_faults(result, i, n, bits, module.verify_inclusion)
            yield from consistency_faults(result, i + 1, n, bits, module.verify_consistency)


def test_the_recursive_verifier_takes_what_the_recursive_prover_makes() -> None:
    for n in range(1, 70):
        for m in range(n):
            assert included(leaf(m), m, n, path(m, 0, n)) == mth(0, n)
            assert extended(mth(0, m + 1), m + 1, n, subproof(m + 1, 0, n, True)) == (mth(0, m + 1), mth(0, n))


def test_no_mutation_of_a_proof_of_any_size_is_accepted() -> None:
    assert list(sampled(proof, range(1, forgeries.SIZE_MAX + 1))) == []


def test_every_bit_of_every_proof_of_the_small_sizes(tmp_path: Path) -> None:
    result = run(Job(6, 1, tmp_path))
    assert not result.failures and result.genuine == 42 and result.forged > 10_000


def test_no_byte_of_a_signed_note_changes_what_it_says() -> None:
    rng = random.Random(16)
    for at, byte in enumerate(notes.NOTE.encode()):
        near = [byte ^ 1, byte ^ 32, byte ^ 128, ord("0"), ord("\n"), rng.randrange(256)]
        assert list(note_faults(at, near, notes.verify_checkpoint)) == []


LONG, SHORT = "proof is too long", "proof is too short"
WEAKENED = {
    "too long an inclusion proof": (f'raise ProofError("the inclusion {LONG}', f'ProofError("the inclusion {LONG}'),
    "too short an inclusion proof": (f'raise ProofError("the inclusion {SHORT}', f'ProofError("the inclusion {SHORT}'),
    "the root of an inclusion": ('_check_root("inclusion", root, computed)', "pass"),
    "an index beyond the end": ("if index >= size:", "if False:"),
    "which side a hash is on": ("computed = node_hash(sibling, computed)", "computed = node_hash(computed, sibling)"),
    "the right edge": ("if at & 1 or at == last:\n            computed", "if at & 1:\n            computed"),
    "too long a consistency proof": (
        f'raise ProofError("the consistency {LONG}',
        f'ProofError("the consistency {LONG}',
    ),
    "too short a consistency proof": (
        f'raise ProofError("the consistency {SHORT}',
        f'ProofError("the consistency {SHORT}',
    ),
    "the first root": ('_check_root("consistency proof\'s first", first_root, first_computed)', "pass"),
    "the second root": ('_check_root("consistency proof\'s second", second_root, second_computed)', "pass"),
    "equal sizes": ('_check_root("consistency", second_root, first_root)', "pass"),
    "a proof where none belongs": ("        if path:\n", "        if False:\n"),
    "the order of the sizes": ("if first > second:", "if False:"),
    "where the first log ends": ("if first & (first - 1) == 0 else", "if False else"),
    "the hashes of the first log": ("of_first = node_hash(sibling, of_first)", "of_first = of_first"),
}


@pytest.mark.parametrize("what", WEAKENED)
def test_a_verifier_that_leaves_out_a_check_is_found_out(what: str) -> None:
    old, new = WEAKENED[what]
    source = inspect.getsource(proof)
    assert old in source
    weak = ModuleType("weak")
    exec(compile(source.replace(old, new), "weak", "exec"), weak.__dict__)
    assert next(sampled(weak, range(1, 65)), None) is not None, f"{what} can be left out"


def test_a_note_whose_signature_is_not_looked_at_is_found_out() -> None:
    def believing(text: str, _: bytes) -> checkpoint.Checkpoint:
        return checkpoint.parse_checkpoint(text)[0]

    at = notes.NOTE.encode().index(b"42")
    assert list(note_faults(at, [ord("5")], believing))
