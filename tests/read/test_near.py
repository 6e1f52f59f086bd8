"""Cosines of memories, and none for what has no vector."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.read.near import Closeness


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_cosines_are_those_of_the_definition(count: int, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((count, 3))
    vectors = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    closeness = Closeness({i: vectors[i].tobytes() for i in range(count)})
    exact = np.round(vectors.astype(np.float64) @ vectors.astype(np.float64).T, 6)
    assert all(closeness(i, j) == exact[i, j] for i in range(count) for j in range(count))


def test_memories_without_a_vector_have_no_cosine() -> None:
    unit = np.array([1.0, 0.0], np.float32).tobytes()
    closeness = Closeness({1: unit, 2: unit, 3: np.array([0.0, 1.0], np.float32).tobytes()})
    assert (closeness(1, 2), closeness(1, 3), closeness(1, 4)) == (1.0, 0.0, None)
