"""What may disagree is found by its words, and nothing else is."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.config import Settings
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.detect import Possible, by_words, conflict_score

S = Settings()
PAIRS = Path(__file__).parents[3] / "shared" / "eval" / "pairs" / "pairs.jsonl"


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("the server is up", "the server isn't up", "one of them is negated"),
        ("plugins are supported", "plugins are unsupported", "one of them is negated"),
        ("the limit is 10", "the limit is 100", "their numbers differ: 10, 100"),
        ("we deploy on Monday", "we deploy on Friday", "their dates differ: wd1, wd5"),
        ("the cache is enabled", "the cache is disabled", "they use opposite words"),
    ],
)
def test_each_sign_is_seen_and_named(a: str, b: str, reason: str) -> None:
    score, why = conflict_score(Statement(a), Statement(b), 0.8, S)
    assert score >= S.possible_min and why == reason
    assert conflict_score(Statement(b), Statement(a), 0.8, S)[0] == score


@pytest.mark.parametrize(
    ("a", "b", "cosine"),
    [
        ("the limit is 10", "the limit is 10 for now", 0.95),  # nothing differs
        ("the limit is 10", "the limit of uploads was set by Maya", 0.8),  # one says more
        ("the limit is 10", "it is not raining in Rome", 0.5),  # not about one thing
        ("the server is up", "the server is not up", 0.1),  # the vectors say that it is another server
        ("is the server up?", "the server is not up", 0.9),  # a question states nothing
        ("a man plays", "no man plays on the big stage at night with a band", 0.6),  # denies more than was said
    ],
)
def test_nothing_is_said_without_reason(a: str, b: str, cosine: float) -> None:
    assert conflict_score(Statement(a), Statement(b), cosine, S)[0] < S.possible_min


HISTORY = """
We moved the billing service to Fly.io in May.
Maya prefers dark roast and does not drink tea.
The nightly backup takes 40 minutes.
Standup is at 9:30 on weekdays.
The staging database has 3 replicas.
Never commit secrets to the repository.
Tom's flight lands on Thursday at 14:05.
The office dog is called Biscuit and is afraid of lifts.
Invoices are due within 30 days.
No deploys on Fridays.
The marketing site is built with Astro.
Ana is on leave until 12 June.
""".strip().splitlines()


def test_a_history_of_unrelated_statements_is_not_marked() -> None:
    texts = {i: Statement(line) for i, line in enumerate(HISTORY)}
    assert by_words(texts, lambda _a, _b: None, S) == []
    assert by_words(texts, lambda _a, _b: 0.75, S) == []


def test_pairs_come_once_and_in_order() -> None:
    texts = {7: Statement("the limit is 10"), 3: Statement("so it goes"), 5: Statement("the limit is 12")}
    assert by_words(texts, lambda _a, _b: None, S) == [Possible(7, 5, 0.75, "their numbers differ: 10, 12")]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_scores_are_mutual_and_bounded(lines: list[str]) -> None:
    for a, b in combinations(map(Statement, lines), 2):
        score, _ = conflict_score(a, b, None, S)
        assert 0.0 <= score <= 1.0


@pytest.mark.skipif(not PAIRS.exists(), reason="the sets of ../shared/eval are not here")
def test_most_marks_on_the_open_pairs_are_contradictions() -> None:
    """By words alone, without the model: precision and recall of what would be marked."""
    pairs = [json.loads(line) for line in PAIRS.read_text().splitlines() if '"sick"' in line]
    marked = [p for p in pairs if conflict_score(Statement(p["a"]), Statement(p["b"]), None, S)[0] >= S.possible_min]
    right = sum(p["label"] == "contradiction" for p in marked)
    assert right / len(marked) > 0.75
    assert right / sum(p["label"] == "contradiction" for p in pairs) > 0.8
