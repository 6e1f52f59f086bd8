"""How near the approximate way comes to the exact one: `python -m tests.pg.nearby --count 100000`.

Prints recall@10, and what both cost (p50/p95 in ms), over everything, filters that pass a half, a tenth and a hundredth, and
a state of the past. Vectors are made of clusters in a few dimensions with noise in all, as those of sentences are.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.memory import Memory
from cmc_mcp.store.postgres import hnsw
from cmc_mcp.store.postgres.search import PostgresView
from cmc_mcp.store.postgres.store import PostgresStore
from cmc_mcp.store.rows import Filter
from tests.pg.server import running
from tests.support import reach
from tests.support.memories import on

FILTERS = {"a half": ("half", "0", 2), "a tenth": ("tenth", "3", 10), "a hundredth": ("hundredth", "7", 100)}
_LATENT, _CLUSTERS, _BATCH = 32, 300, 1_000


class Clustered:
    """An embedder of texts such as `text 17`: the number decides the vector."""

    def __init__(self, dimension: int = 384) -> None:
        made = np.random.default_rng(1)
        self._plane = made.standard_normal((_LATENT, dimension)) / np.sqrt(_LATENT)
        self._centres = made.standard_normal((_CLUSTERS, _LATENT))
        self.identity = EmbeddingIdentity("clustered", "cd" * 32, "float32", dimension, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        size = self.identity.dimension
        return (
            np.stack([self._one(int(text.split()[1]), size) for text in texts]) if texts else np.zeros((0, size), "f4")
        )

    def _one(self, number: int, size: int) -> npt.NDArray[np.float32]:
        drawn = np.random.default_rng(number)
        place = self._centres[drawn.integers(_CLUSTERS)] + 0.7 * drawn.standard_normal(_LATENT)
        vector = place @ self._plane + 0.15 * drawn.standard_normal(size)
        unit: npt.NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit

    def close(self) -> None:
        pass


def fill(memory: Memory, count: int) -> None:
    """Remember `count` texts, with the tags that the filters ask for."""
    for start in range(0, count, _BATCH):
        memory.remember_many(
            [
                {"content": f"text {n}", "tags": {name: str(n % of) for name, _, of in FILTERS.values()}}
                for n in range(start, min(start + _BATCH, count))
            ]
        )


class Case(NamedTuple):
    """One way to ask: how much of the nearest was found, how many answers were approximate, and the times in ms."""

    name: str
    recall: float
    approximate: int
    asked: int
    exact_ms: list[float]
    fast_ms: list[float]

    def __str__(self) -> str:
        exact, fast = (
            "/".join(f"{value:.1f}" for value in (statistics.median(ms), sorted(ms)[int(0.95 * len(ms))]))
            for ms in (self.exact_ms, self.fast_ms)
        )
        return (
            f"{self.name:12} recall@10 {self.recall:.4f}  approximate {self.approximate}/{self.asked}"
            f"  exact {exact} ms  indexed {fast} ms"
        )


def cases(memory: Memory, asked: int, k: int = 66, seed: int = 0) -> Iterator[Case]:
    """Ask both ways, everything and filtered."""
    with reach.reader(memory) as view:
        assert isinstance(view, PostgresView)
        now, last = view.head().recorded_us, view.head().seq
        points = [("everything", last, Filter()), ("a third ago", last - last // 3, Filter())]
        points += [
            (name, last, Filter(facts=(tuple(view.facts_with_tag(tag, value)),)))
            for name, (tag, value, _) in FILTERS.items()
        ]
    queries = Clustered(reach.embedder(memory).identity.dimension).embed(
        [f"text {10_000_000 + seed + n}" for n in range(asked)]
    )
    for name, seq, limits in points:
        found: list[list[list[int]]] = []
        times: list[list[float]] = []
        approximate = 0
        for indexed in (False, True):
            with reach.reader(memory) as view:
                assert isinstance(view, PostgresView)
                if not indexed:
                    view.indexed[1] = False
                found.append([])
                times.append([])
                for query in queries:
                    started = time.perf_counter()
                    rows = view.nearest(1, query.tobytes(), k, seq, now, limits)
                    times[-1].append(1000 * (time.perf_counter() - started))
                    found[-1].append([rid for rid, _ in rows[:10]])
                    approximate += view.approximate
        shares = [len({*one} & {*other}) / len(one) for one, other in zip(*found, strict=True)]
        yield Case(name, statistics.fmean(shares), approximate, asked, *times)


def main() -> None:
    """Fill a database, make its index, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", help="an empty database; default: a server of its own")
    given = parser.parse_args()
    print(f"--count {given.count} --asked {given.asked} --seed {given.seed}")
    if given.store:
        _run(given.store, given)
        return
    with running() as server:
        _run(server.url(), given)


def _run(url: str, given: argparse.Namespace) -> None:
    with on(url, embedder=Clustered()) as memory:
        started = time.perf_counter()
        fill(memory, given.count)
        print(f"filled in {time.perf_counter() - started:.0f} s")
        assert isinstance(reach.store(memory), PostgresStore)
        started = time.perf_counter()
        made = hnsw.make(reach.store(memory).address, reach.ws(memory), least=1)
        print(f"indexed in {time.perf_counter() - started:.0f} s, {made[0].bytes / 1e6:.0f} MB")
        for case in cases(memory, given.asked, seed=given.seed):
            print(case, flush=True)


if __name__ == "__main__":
    main()
