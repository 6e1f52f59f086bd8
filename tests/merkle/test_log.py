"""The log against the published vectors of RFC 6962 and the recursive definition of RFC 9162, for every size to 256."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cmc_mcp.errors import InvalidInput
from cmc_mcp.merkle import log, proof
from tests.merkle import reference

SIZE_MAX = 256

# the eight leaves of certificate-transparency's tests, and the root after each
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

Nodes = dict[tuple[int, int], bytes]


def grow(leaves: list[bytes]) -> tuple[Nodes, log.Get]:
    nodes: Nodes = {}

    def get(level: int, index: int) -> bytes:
        return nodes[level, index]

    for size, leaf in enumerate(leaves):
        nodes.update({(level, index): node for level, index, node in log.append(size, leaf, get)})
    return nodes, get


@pytest.fixture(scope="module")
def get() -> log.Get:
    return grow([reference.leaf(i) for i in range(SIZE_MAX)])[1]


def test_published_roots() -> None:
    _, get = grow([log.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES])
    assert [log.root(size, get).hex() for size in range(1, 9)] == ROOTS
    assert log.root(0, get).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_published_proofs() -> None:
    _, get = grow([log.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES])
    assert [h.hex()[:8] for h in log.inclusion_proof(0, 8, get)] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert [h.hex()[:8] for h in log.inclusion_proof(5, 8, get)] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [h.hex()[:8] for h in log.inclusion_proof(2, 3, get)] == ["fac54203"]
    assert [h.hex()[:8] for h in log.consistency_proof(6, 8, get)] == ["0ebc5d34", "ca854ea1", "d37ee418"]
    assert [h.hex()[:8] for h in log.consistency_proof(2, 5, get)] == ["5f083f0a", "bc1a0643"]


def test_every_root_is_the_definition(get: log.Get) -> None:
    for size in range(SIZE_MAX + 1):
        assert log.root(size, get) == reference.mth(0, size)


def test_every_inclusion_proof_is_the_definition_and_verifies(get: log.Get) -> None:
    for size in range(1, SIZE_MAX + 1):
        root = reference.mth(0, size)
        for index in range(size):
            path = log.inclusion_proof(index, size, get)
            assert list(path) == reference.path(index, 0, size)
            proof.verify_inclusion(reference.leaf(index), index, size, path, root)


def test_every_consistency_proof_is_the_definition_and_verifies(get: log.Get) -> None:
    for second in range(1, SIZE_MAX + 1):
        root = reference.mth(0, second)
        for first in range(1, second + 1):
            path = log.consistency_proof(first, second, get)
            assert list(path) == reference.subproof(first, 0, second, True)
            proof.verify_consistency(first, second, reference.mth(0, first), root, path)


def test_an_append_stores_each_complete_subtree_once_and_nothing_else() -> None:
    nodes: Nodes = {}
    for size in range(SIZE_MAX):
        new = log.append(size, reference.leaf(size), lambda level, index: nodes[level, index])
        for level, index, node in new:
            assert (level, index) not in nodes
            assert node == reference.mth(index << level, index + 1 << level)
            nodes[level, index] = node
    assert set(nodes) == {(level, index) for level in range(9) for index in range(SIZE_MAX >> level)}


def test_a_root_of_the_past_needs_no_later_node() -> None:
    _, get = grow([reference.leaf(i) for i in range(100)])
    nodes, past = grow([reference.leaf(i) for i in range(77)])
    assert log.root(77, get) == log.root(77, past)
    assert len(nodes) < 2 * 77


def test_reads_are_logarithmic(get: log.Get) -> None:
    reads = 0

    def counting(level: int, index: int) -> bytes:
        nonlocal reads
        reads += 1
        return get(level, index)

    verbs: list[Callable[[], object]] = [
        lambda: log.root(255, counting),
        lambda: log.inclusion_proof(0, 255, counting),
        lambda: log.consistency_proof(127, 255, counting),
    ]
    for verb in verbs:
        reads = 0
        verb()
        assert reads <= 16


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0), (5, 4)])
def test_inclusion_out_of_range_is_invalid(index: int, size: int, get: log.Get) -> None:
    with pytest.raises(InvalidInput, match="index"):
        log.inclusion_proof(index, size, get)


@pytest.mark.parametrize(("first", "second"), [(-1, 4), (5, 4)])
def test_consistency_out_of_range_is_invalid(first: int, second: int, get: log.Get) -> None:
    with pytest.raises(InvalidInput, match="first"):
        log.consistency_proof(first, second, get)


def test_other_bad_arguments_are_invalid(get: log.Get) -> None:
    for call in (lambda: log.root(-1, get), lambda: log.append(-1, bytes(32), get), lambda: log.append(0, b"", get)):
        with pytest.raises(InvalidInput):
            call()
