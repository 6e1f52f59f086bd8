"""The κ-gate: a caller says what is at stake; what is not sure enough is marked, and withheld only if that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.config import Kappa
from cmc_mcp.errors import InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.tools.recall import write
from cmc_mcp.verbs.models import CRITICALITIES, Recall
from tests.support.frame import read

CONFIDENCES = (0.99, 0.95, 0.949, 0.85, 0.7, 0.6, 0.59, 0.0, None)
QUERY = "where do we deploy"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "memory.db", embedder=None) as opened:
        for number, confidence in enumerate(CONFIDENCES):
            opened.remember(f"We deploy to place {number}", confidence=confidence)
        yield opened


@pytest.mark.parametrize("criticality", CRITICALITIES)
def test_what_is_under_the_gate_is_marked_and_stays(memory: Memory, criticality: str) -> None:
    kappa = Kappa().of(criticality)
    plain, gated = memory.recall(QUERY), memory.recall(QUERY, criticality=criticality)
    assert [item.id for item in gated.items] == [item.id for item in plain.items]
    assert all(item.gate is None for item in plain.items)
    for item in gated.items:
        assert item.witness is not None
        confidence = item.witness.confidence
        expected = "unknown" if confidence is None else "passes" if confidence >= kappa else "below"
        assert item.gate == expected
    assert gated.abstains is None


@pytest.mark.parametrize("criticality", CRITICALITIES)
def test_what_is_under_the_gate_is_withheld_only_if_the_caller_says_so(memory: Memory, criticality: str) -> None:
    kept = memory.recall(QUERY, criticality=criticality, withhold=True).items
    found = sorted(item.witness.confidence or 0.0 for item in kept if item.witness)
    kappa = Kappa().of(criticality)
    assert found == sorted(value for value in CONFIDENCES if value is not None and value >= kappa)


def test_an_answer_with_nothing_sure_enough_abstains(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        memory.remember("We deploy to Heroku", confidence=0.9)
        memory.remember("We deploy to Fly.io")
        shown = memory.recall(QUERY, criticality="critical")
        assert len(shown.items) == 2 and shown.abstains is not None
        text = "\n".join(write(shown, Recall(QUERY)))
        assert text.startswith("Abstains: nothing that was found is known to be sure to 0.95.")
        assert "UNSURE (confidence 0.9)" in text and "UNSURE (confidence unknown)" in text
        assert {item.parts["unsure"][0][0] for item in read(text)[0]} == {"0.9", "unknown"}
        withheld = memory.recall(QUERY, criticality="critical", withhold=True)
        assert not withheld.items and withheld.abstains is not None and "withheld" in withheld.abstains
        assert memory.recall(QUERY, criticality="important").abstains is None
        assert memory.recall(QUERY).abstains is None


def test_pages_keep_the_gate_and_a_cursor_is_bound_to_it(memory: Memory) -> None:
    first = memory.recall(QUERY, limit=2, criticality="routine")
    assert first.next_cursor is not None
    second = memory.recall(QUERY, limit=2, criticality="routine", cursor=first.next_cursor)
    assert all(item.gate for item in (*first.items, *second.items))
    with pytest.raises(InvalidInput, match="cursor"):
        memory.recall(QUERY, limit=2, criticality="critical", cursor=first.next_cursor)


def test_a_criticality_that_is_none_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="critical, important, routine, low-stakes"):
        memory.recall(QUERY, criticality="grave")
    with pytest.raises(InvalidInput, match="criticality"):
        memory.recall(QUERY, withhold=True)
