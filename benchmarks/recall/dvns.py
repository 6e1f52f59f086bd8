"""What settling costs: `python -m benchmarks.recall.dvns` prints p50 and p95 in ms by number of candidates, one core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import timed
from cmc_mcp.config import Physics
from cmc_mcp.read.dvns import Springs, joined, settle, siblings

BAR_MS = 3.0  # for 100 candidates
ROUNDS = 300

Case = tuple[NDArray[np.float64], NDArray[np.float64], Springs]


def case(draw: np.random.Generator, size: int, group: int, duplicates: float) -> Case:
    """Make candidates in groups of so many, each linked to the next, and a share of them near-duplicates of another."""
    physics = Physics()
    vectors = draw.normal(size=(size, 32))
    copies = draw.random(size) < duplicates
    vectors[copies] = vectors[draw.integers(0, size, int(copies.sum()))] + 0.1 * draw.normal(size=(copies.sum(), 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    member = draw.integers(0, max(1, size // group), size)
    chain = np.arange(size - 1)
    following = Springs(chain, chain + 1, np.full(size - 1, physics.following))
    return draw.random(size), vectors @ vectors.T, joined(siblings(member, physics.sibling), following)


def figures() -> dict[str, float]:
    """Time few, usual, and the most links: groups of 5, of 20, and all in one with every other one a duplicate."""
    physics, draw, found = Physics(), np.random.default_rng(0), {}
    for size in (10, 50, 100, 256):
        for name, group, duplicates in (("groups of 5", 5, 0.1), ("groups of 20", 20, 0.1), ("one group", size, 0.5)):
            cases = [case(draw, size, group, duplicates) for _ in range(ROUNDS)]
            times = [timed(lambda: settle(*given, physics)) for given in cases]
            for share in (50, 95):
                found[f"settle {size}, {name}, p{share} ms"] = float(np.percentile(times, share))
    return found


def main() -> None:
    """Print the figures beside the bar."""
    for name, value in figures().items():
        print(f"{name:<40} {value:8.3f}" + (f"  (≤ {BAR_MS})" if name.startswith("settle 100") else ""))


if __name__ == "__main__":
    main()
