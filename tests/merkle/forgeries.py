"""Every single mutation of every proof of the log, judged by two verifiers: the product's, and a recursion of a few lines.

The root of a log says nothing of its size, so where two sizes give a proof the same shape, the wrong size passes by the
RFC's own algorithm; a checkpoint signs both. There the two verifiers have to agree; everything else has to be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cmc_mcp.errors import ProofError
from cmc_mcp.merkle import proof as product
from tests.merkle import test_checkpoint as notes
from tests.merkle.made import flip
from tests.merkle.reference import extended, included, inner, leaf, mth, path, subproof
from tests.soak import Job, Outcome, Soak

SIZE_MAX = 256
EXTRA = leaf(10_000)
Path = tuple[bytes, ...]
Inclusion = Callable[[bytes, int, int, Path, bytes], None]
Consistency = Callable[[int, int, bytes, bytes, Path], None]


@dataclass
class Proofs(Outcome):
    """What came of it: `done` sizes, with so many genuine proofs and so many forged ones."""

    genuine: int = 0
    forged: int = 0


def mutations(proof: Path, bits: Iterable[int]) -> Iterator[tuple[str, Path]]:
    """One hash dropped, doubled, put in or zeroed, two swapped, one bit of one hash flipped."""
    for i in range(len(proof) + 1):
        yield f"a hash put in at {i}", (*proof[:i], EXTRA, *proof[i:])
    for i, one in enumerate(proof):
        yield f"hash {i} dropped", proof[:i] + proof[i + 1 :]
        yield f"hash {i} doubled", (*proof[: i + 1], *proof[i:])
        yield f"hash {i} zeroed", (*proof[:i], bytes(32), *proof[i + 1 :])
        for bit in bits:
            yield f"bit {bit} of hash {i} flipped", (*proof[:i], flip(one, bit), *proof[i + 1 :])
        for j in range(i):
            yield f"hashes {j} and {i} swapped", (*proof[:j], one, *proof[j + 1 : i], proof[j], *proof[i + 1 :])


def holds(verify: Callable[..., None], *claim: object) -> bool:
    try:
        verify(*claim)
    except ProofError:
        return False
    return True


def inclusion_faults(result: Proofs, i: int, n: int, bits: Iterable[int], verify: Inclusion) -> Iterator[str]:
    """Say what a verifier gets wrong about leaf `i` of `n`."""
    one, root, proof = leaf(i), mth(0, n), tuple(path(i, 0, n))
    result.genuine += 1
    if not holds(verify, one, i, n, proof, root):
        yield f"leaf {i} of {n} is refused"
    forged: list[tuple[str, tuple[bytes, int, int, Path, bytes]]] = [
        ("another leaf", (leaf(n), i, n, proof, root)),
        ("a bit of the root", (one, i, n, proof, flip(root, i))),
        ("the root of one leaf more", (one, i, n, proof, mth(0, n + 1))),
        ("one leaf more, root and all", (one, i, n + 1, proof, mth(0, n + 1))),
        ("an end that the root was made for", (one, i, n, (*proof, EXTRA), inner(EXTRA, root))),
        ("an index beyond the end", (one, n, n, proof, root)),
        *((what, (one, i, n, changed, root)) for what, changed in mutations(proof, bits)),
    ]
    if n > 1:
        forged.append(("the root of a part", (one, i, n, (), one)))
        forged.append(("leaf and root swapped", (root, i, n, proof, one)))
        forged.append(("one leaf less, root and all", (one, i, n - 1, proof, mth(0, n - 1))))
        forged += [(f"the index {j}", (one, j, n, proof, root)) for j in (i - 1, i + 1)]
    for what, claim in forged:
        result.forged += 1
        if holds(verify, *claim):
            yield f"leaf {i} of {n}: {what} is accepted"
    for size in (n - 1, n + 1):
        result.forged += 1
        wanted = i < size and included(one, i, size, list(proof)) == root
        if holds(verify, one, i, size, proof, root) != wanted:
            yield f"leaf {i} of {n} as of {size}: {'refused' if wanted else 'accepted'}"


def consistency_faults(result: Proofs, m: int, n: int, bits: Iterable[int], verify: Consistency) -> Iterator[str]:
    """Say what a verifier gets wrong about the first `m` of `n` leaves."""
    old, new, proof = mth(0, m), mth(0, n), tuple(subproof(m, 0, n, True))
    result.genuine += 1
    if not holds(verify, m, n, old, new, proof):
        yield f"{m} of {n} leaves are refused"
    forged: list[tuple[str, tuple[int, int, bytes, bytes, Path]]] = [
        ("a bit of the first root", (m, n, flip(old, n % 256), new, proof)),
        ("a bit of the second root", (m, n, old, flip(new, m % 256), proof)),
        ("the second root of one leaf more", (m, n, old, mth(0, n + 1), proof)),
        ("one leaf more, root and all", (m, n + 1, old, mth(0, n + 1), proof)),
        ("the first root of one leaf more", (m, n, mth(0, m + 1), new, proof)),
        ("the first root of one leaf less", (m, n, mth(0, m - 1), new, proof)),
        ("an end that the roots were made for", (m, n, inner(EXTRA, old), inner(EXTRA, new), (*proof, EXTRA))),
        *((what, (m, n, old, new, changed)) for what, changed in mutations(proof, bits)),
    ]
    if m < n:
        forged.append(("roots swapped", (m, n, new, old, proof)))
        forged.append(("sizes swapped", (n, m, old, new, proof)))
        forged.append(("both swapped", (n, m, new, old, proof)))
        forged.append(("the same root twice, by nothing", (m, n, old, old, ())))
        start = old if m & (m - 1) == 0 else proof[0]
        forged.append(("the roots of a part", (m, n, start, start, () if start == old else (start,))))
    elif n > 1 and n & (n - 1) == 0:
        forged.append(("a part as more than the whole", (n + 1, n, leaf(0), new, (leaf(0), *path(0, 0, n)))))
    for what, claim in forged:
        result.forged += 1
        if holds(verify, *claim):
            yield f"{m} of {n}: {what} is accepted"
    for first, second in ((m - 1, n), (m + 1, n), (m, n - 1)):
        result.forged += 1
        wanted = 0 < first <= second and extended(old, first, second, list(proof)) == (old, new)
        if holds(verify, first, second, old, new, proof) != wanted:
            yield f"{m} of {n} as {first} of {second}: {'refused' if wanted else 'accepted'}"


def note_faults(at: int, values: Iterable[int], verify: Callable[[str, bytes], object]) -> Iterator[str]:
    """Say which other values of one byte of a signed note verify to another content; what names the signer may change."""
    raw = notes.NOTE.encode()
    for value in values:
        text = (raw[:at] + bytes([value]) + raw[at + 1 :]).decode(errors="surrogateescape")
        try:
            found = verify(text, notes.PUBLIC)
        except ProofError:
            continue
        if found != notes.CHECKPOINT:
            yield f"byte {at} of a note as {value}: it verifies to {found}"


def run(job: Job) -> Proofs:
    """Judge every proof of `count` sizes with every bit, and, with the first ones, every byte of a signed note."""
    result = job.begun(Proofs)
    bits = range(256)
    for n in range(result.done + 1, min(job.count, SIZE_MAX) + 1):
        for i in range(n):
            result.failures += inclusion_faults(result, i, n, bits, product.verify_inclusion)
            result.failures += consistency_faults(result, i + 1, n, bits, product.verify_consistency)
        for at in range(n - 1, len(notes.NOTE.encode()), SIZE_MAX):
            result.failures += note_faults(at, range(256), notes.verify_checkpoint)
        result.done = n
        job.keep(result)
        if len(result.failures) >= 100:
            break
    return result


SOAK = Soak("every mutation of every proof of the log, each bit of each hash", "sizes", SIZE_MAX, run)
