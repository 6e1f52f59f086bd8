"""Reads: recall at several sizes without the embedding, now and in the past, against the floor in the same run.

Usage: python -m benchmarks.read_latency [SIZE ...] [--keep FOLDER] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.common import Figures, GivenVectors, folder, p50, p95, texts, timed
from cmc_mcp.memory import Memory
from cmc_mcp.write.validate import RememberArguments

TARGET_MS = {10_000: 1.5, 100_000: 5.0, 1_000_000: 35.0}
QUESTIONS = 60


def build(place: Path, size: int) -> Memory:
    """Open the store of a size, filling it when it is new: Zipf text of 40 words, mixed unit vectors, five tags."""
    memory = Memory.open(place / f"{size}.db", embedder=GivenVectors())
    if memory.status()["memories"] == 0:
        memory.remember_many(_items(size), total=size)
    return memory


def _items(size: int) -> Iterator[RememberArguments]:
    for start in range(0, size, 10_000):
        words = texts(min(10_000, size - start), seed=1 + start)
        for number, text in enumerate(words, start):
            yield {"content": text, "tags": {"shard": f"s{number % 5}"}}


def questions(count: int, words: int = 8) -> list[tuple[str, npt.NDArray[np.float32]]]:
    """Questions as (text, unit vector): Zipf words, and mixtures of the vectors' pool."""

    vectors = GivenVectors(seed=0).embed([""] * (count + 5_000))[5_000:]

    return list(zip(texts(count, words=words, seed=99), vectors, strict=True))


def latency(memory: Memory, size: int) -> Figures:
    """Time hybrid recall with the question's vector given: first, new, again, in the past, and right after a write."""
    asked = questions(QUESTIONS)
    past = max(1, int(str(memory.status()["transaction"])) * 9 // 10)

    def recall(number: int, as_of: int | None = None) -> float:
        text, vector = asked[number]
        return timed(lambda: memory.recall_by_vector(text, vector, as_of=as_of))

    first = recall(0)
    new = [recall(number) for number in range(1, QUESTIONS)]
    recall(0, past)
    warm: list[float] = []
    as_of: list[float] = []
    after: list[float] = []
    start = time.process_time()
    for number in range(QUESTIONS):  # interleaved, so that a busy machine slows all alike
        warm.append(recall(number))
        as_of.append(recall(number, past))
    cpu = (time.process_time() - start) * 500 / QUESTIONS
    for number in range(10):
        memory.remember(f"{asked[number][0]} written between {size} {number}")
        after.append(recall(number))
    return {
        "first recall, loading the matrix, ms": first,
        f"recall p50 ms (≤ {TARGET_MS.get(size, 0)})": p50(warm),
        "recall p95 ms": p95(warm),
        "recall, processor time, mean ms": cpu,
        "recall of words never asked before, p50 ms": p50(new),
        "as-of recall p50 ms": p50(as_of),
        "as-of / current (≤ 1.2)": p50(as_of) / p50(warm),
        "recall right after a write, p50 ms": p50(after),
    }


def profile(memory: Memory, rounds: int = 3) -> None:
    """Print where the time of a recall goes."""
    asked = questions(QUESTIONS)
    memory.recall_by_vector(*asked[0])
    profiler = cProfile.Profile()
    with profiler:
        for text, vector in asked * rounds:
            memory.recall_by_vector(text, vector)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(32)


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with folder() as made:
        yield made


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--keep", type=Path, help="folder to keep the stores in, and to take them from")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with _place(arguments.keep) as place:
        for size in arguments.sizes:
            with build(place, size) as memory:
                for name, value in latency(memory, size).items():
                    print(f"{size:>9,}  {name:45} {value:9.2f}")
                if arguments.profile:
                    profile(memory)


if __name__ == "__main__":
    main()
