"""What says the same is merged, whatever the order of work; what differs in one number never is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.config import Settings
from cmc_mcp.read.agree import Statement, asserted, differences
from cmc_mcp.read.near import Closeness, Grouping, is_duplicate, similarity

S = Settings()
WORDS = st.lists(
    st.sampled_from(["the", "limit", "is", "10", "100", "not", "Rome", "we", "deploy"]), min_size=1, max_size=7
)


def _naive(texts: list[str], cosine: dict[tuple[int, int], float]) -> list[list[int]]:
    """The definition, word for word: cosine, or Jaccard over shingles, and agreement; the first group that fits."""

    def shingled(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)} or {tuple(words)}

    def same(i: int, j: int) -> bool:
        a, b = shingled(texts[i]), shingled(texts[j])
        near = cosine[min(i, j), max(i, j)]
        alike = near >= 0.88 or (near >= 0.4 and len(a & b) / len(a | b) >= 0.8)
        return alike and not differences(asserted(texts[i]), asserted(texts[j]))

    groups: list[list[int]] = []
    for i in range(len(texts)):
        fits = [group for group in groups if all(same(i, j) for j in group)]
        if fits:
            fits[0].append(i)
        else:
            groups.append([i])
    return groups


@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=12), st.integers(0, 2**31))
def test_groups_are_those_of_the_definition(texts: list[str], seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((len(texts), 3))
    vectors = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    closeness = Closeness(0.4)
    half = len(texts) // 2
    closeness.add({i: vectors[i].tobytes() for i in range(half)})
    closeness.add({i: vectors[i].tobytes() for i in range(half, len(texts))})
    grouping = Grouping(closeness, S)
    for i, text in enumerate(texts):
        grouping.add(i, Statement(text))
    exact = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    pairs = {(i, j): round(float(exact[i, j]), 6) for i in range(len(texts)) for j in range(i + 1, len(texts))}
    assert grouping.groups == _naive(texts, pairs)


def test_a_group_has_no_bound() -> None:
    grouping = Grouping(lambda _a, _b: 0.95, S)
    for i in range(150):
        grouping.add(i, Statement("we deploy " + "very " * (i % 7) + "often"))
    assert grouping.groups == [list(range(150))]


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        ("the limit is 10", "the limit is 100", False),
        ("we do deploy on Fridays", "we do not deploy on Fridays", False),
        ("she met Ana in Rome", "she met Eva in Rome", False),
        ("we deploy each morning", "each morning we deploy", True),
    ],
)
def test_no_cosine_merges_what_differs(a: str, b: str, merged: bool) -> None:
    assert is_duplicate(Statement(a), Statement(b), 0.99, S) is merged
    assert (similarity(Statement(a), Statement(b), 0.99, S) == 0.99) is merged


def test_without_vectors_the_words_decide() -> None:
    one = Statement("the build runs on every push to the main branch of the repository")
    two = Statement("The build runs on every push to the main branch of the repository!")
    other = Statement("a push to any branch starts something else")
    assert is_duplicate(one, two, None, S) and not is_duplicate(one, other, None, S)


def test_of_a_long_text_the_model_saw_only_the_beginning() -> None:
    start = "so it goes on and on " * 60
    assert not is_duplicate(Statement(start + "and ends well"), Statement(start * 2 + "in tears"), 1.0, S)


def test_candidates_without_a_vector_have_no_cosine() -> None:
    unit = np.array([1.0, 0.0], np.float32).tobytes()
    closeness = Closeness(0.4)
    closeness.add({1: unit, 2: unit, 3: np.array([0.0, 1.0], np.float32).tobytes()})
    assert (closeness(1, 2), closeness(1, 3), closeness(1, 4)) == (1.0, 0.0, None)
