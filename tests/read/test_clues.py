"""Clues: whom a question names, by the store's own speakers; which times; which phrases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.model.traits import speaker_key
from cmc_mcp.read.clues import Clues, clues_of, phrase_share

KNOWN = {speaker_key(name) for name in ("Maya", "Will", "Élise", "小明")}


def read(query: str) -> Clues:
    return clues_of(query, lambda keys: [key for key in keys if key in KNOWN])


@pytest.mark.parametrize(
    ("query", "text", "names"),
    [
        ("What did Maya's sister say?", "What did sister say?", {"Maya"}),
        ("Did Maya or Tom call?", "Did or Tom call?", {"Maya"}),
        ("what does maya like?", "what does like?", {"maya"}),
        ("When will the Queen come?", "When will the Queen come?", set()),
        ("Where does élise live", "Where does élise live", set()),
        ("Where does Élise live", "Where does live", {"Élise"}),
        ("Maya?", "Maya?", {"Maya"}),
    ],
)
def test_the_speakers_that_a_question_names_are_not_embedded(query: str, text: str, names: set[str]) -> None:
    clues = read(query)
    assert (clues.text, clues.names) == (text, names)
    assert clues.named == {speaker_key(name) for name in names}


def test_where_no_speaker_is_known_nothing_is_left_out() -> None:
    assert clues_of("What did Maya say?", lambda _: ()).text == "What did Maya say?"


@pytest.mark.parametrize(
    ("query", "years", "months"),
    [
        ("Who led it from 1964 to 1971?", (1964, 1971), set()),
        ("What happened in May 2023?", (2023, 2023), {5}),
        ("may I go in march?", None, set()),
        ("the June plan", None, {6}),
        ("room 12345 or 99", None, set()),
    ],
)
def test_times_are_read_from_years_and_months(query: str, years: object, months: set[int]) -> None:
    assert (read(query).years, read(query).months) == (years, months)


def test_a_long_span_is_looked_for_by_its_ends() -> None:
    assert read("from 1900 to 1999").year_terms == ["1900", "1999"]
    assert read("from 1999 to 2001").year_terms == ["1999", "2000", "2001"]


@given(st.text(max_size=300))
def test_any_question_is_read_and_keeps_a_text(query: str) -> None:
    def everybody(keys: Sequence[int]) -> Sequence[int]:
        return keys

    clues = clues_of(query, everybody)
    assert clues.text.strip() or not query.strip()
    assert 0.0 <= phrase_share(query, clues.phrases) <= 1.0
    assert clues == clues_of(query, everybody)


def test_a_text_that_holds_the_question_holds_all_its_phrases() -> None:
    phrases = read("red brick house").phrases
    assert phrase_share("The red-brick house.", phrases) == 1.0
    assert phrase_share("a bricked house, red", phrases) == 0.0
