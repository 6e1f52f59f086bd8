"""Marks stand only between statements about one subject; the pairs in `marks.jsonl` are ours, half of them kept apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.config import Settings, Slots
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.detect import conflict_score
from cmc_mcp.read.slots import Candidate, slot_pairs
from cmc_mcp.read.subject import asks, only_asks, other_subject

ROWS = [json.loads(line) for line in (Path(__file__).parent / "marks.jsonl").read_text("utf-8").splitlines()]
COSINE = 0.8  # of two short statements that are worded alike; with the model see docs/recall.md


def is_marked(row: dict[str, Any]) -> bool:
    """Return whether anything is said of the two, whichever of them is asked for first."""
    older, newer = Statement(row["older"]), Statement(row["newer"])
    told = [Candidate(older, (1,), "", 1.0), Candidate(newer, (2,), "", 1.0)]
    pairs = slot_pairs(row["query"], told, lambda _a, _b: COSINE, Slots())
    return bool(pairs) or conflict_score(older, newer, COSINE, Settings())[0] >= Settings().possible_min


def test_marks_are_right_and_found() -> None:
    marked = {kind: [is_marked(row) for row in ROWS if row["kind"] == kind] for kind in ("newer", "apart")}
    right, wrong = sum(marked["newer"]), sum(marked["apart"])
    assert right / (right + wrong) >= 0.95
    assert right / len(marked["newer"]) >= 0.93
    assert wrong / len(marked["apart"]) <= 0.05


def test_there_are_enough_pairs_of_both_kinds() -> None:
    kinds = [row["kind"] for row in ROWS]
    assert kinds.count("newer") >= 60 and kinds.count("apart") >= 80
    assert len({row["language"] for row in ROWS}) >= 12


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Room 7 has 2 windows", "Room 9 has 4 windows"),
        ("Trial A enrolled 40 patients", "Trial B enrolled 65 patients"),
        ("The first floor has 12 rooms", "The second floor has 9 rooms"),
        ("Smoking is not allowed in room 5", "Smoking is allowed in room 7"),
        ("Is the deploy on Monday?", "The deploy is on Tuesday"),
        ("Im Mai hatten wir 3 Ausfälle", "Im Juni hatten wir 5 Ausfälle"),
    ],
)
def test_another_subject_is_seen_from_either_side(a: str, b: str) -> None:
    assert other_subject(Statement(a), Statement(b), short=20)
    assert other_subject(Statement(b), Statement(a), short=20)


NUMBERED = [
    "locker number {}: Ann", "gate number {} is closed", "Ticket number {}: closed", "question {}: yes",
    "lamp fact number {}: short", "locker no. {}: Ann", "The locker No. {} is Ann's", "locker #{}: Ann", "Schrank Nr. {}: Anna",
    "Frage Nr. {}: ja", "шкаф № {}: Анна", "casier numéro {} : Anne", "la taquilla número {} está cerrada",
    "Casier n° {} : Anne", "the east gate {} is closed", "On the third floor, locker number {} belongs to Ann",
    "The old parking lot {} was sold", "Please note: appendix {}: approved", "Шкаф номер {}: Анна", "Spind Nummer {} ist leer",
    "question {}:yes", "question {} - yes", "locker (number {}): Ann", "locker number {}a: Ann", "储物柜{}号：安",
    "ロッカー{}番：アン",
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERED)
@pytest.mark.parametrize(("one", "other"), [(4, 5), (311, 312)])
def test_a_number_that_says_which_one_names_the_subject(text: str, one: int, other: int) -> None:
    for a, b in ((one, other), (other, one)):
        row = {"older": text.format(a), "newer": text.format(b), "query": text.format("")}
        assert not is_marked(row), row


VALUED = [
    "We have {} lockers", "The limit is {} ms", "The number of lockers is {}", "The limit: {} ms", "The school has {} pupils",
    "The number of open tickets: {}", "The winning number is {}", "Wir haben {} Schränke", "Timeout: {} seconds",
    "The backup runs at {} and is small", "Lunch for {} is booked", "El límite es {} ms",
]  # fmt: skip


@pytest.mark.parametrize("text", VALUED)
def test_a_number_that_is_the_value_is_marked(text: str) -> None:
    for a, b in ((14, 25), (25, 14)):
        row = {"older": text.format(a), "newer": text.format(b), "query": text.format("")}
        assert is_marked(row), row


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Room 7 has 2 windows", "Room 7 now has 3 windows"),
        ("The limit is 10", "The limit is not 10 but 100"),
        ("The mortgage rate is 3.2 percent", "Our mortgage rate went down to 2.9 percent"),
        ("In May we had 3 outages", "In May we had 4 outages"),
    ],
)
def test_one_subject_with_another_value_is_seen_from_either_side(a: str, b: str) -> None:
    assert not other_subject(Statement(a), Statement(b), short=20)
    assert not other_subject(Statement(b), Statement(a), short=20)


def test_one_amount_written_in_two_ways_is_no_conflict() -> None:
    one, other = Statement("The budget for the move is $4,000"), Statement("The budget for the move is 4,000 dollars")
    assert conflict_score(one, other, 0.9, Settings())[0] == 0.0


def test_a_question_states_nothing_unless_it_tells_something_first() -> None:
    assert asks("Is it up?") and not asks("It is up.") and not asks("")
    assert only_asks("Is it up?", 20) and not only_asks("It is $700 now, is that enough?", 20)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_can_be_compared_and_in_either_order(a: str, b: str) -> None:
    one, other = Statement(a), Statement(b)
    assert other_subject(one, other, short=20) == other_subject(other, one, short=20)
    assert isinstance(only_asks(a, 20), bool)
