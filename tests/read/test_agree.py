"""What two texts must agree on before one may stand for the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.read.agree import asserted, differences, is_inflection


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("pi is 3.14", {"3.14"}),
        ("pi is 3.140.", {"3.14"}),
        ("a limit of 1,000 requests", {"1000"}),
        ("a limit of 1000 requests", {"1000"}),
        ("waits 30 seconds", {"30s"}),
        ("waits 30s", {"30s"}),
        ("grew by 10 percent", {"10%"}),
        ("grew by 10%", {"10%"}),
        ("twenty-five dogs", {"25"}),
        ("five million people", {"5000000"}),
        ("it cost $53m", {"53000000", "$"}),
        ("it cost $53 million", {"53000000", "$"}),
        ("-5 degrees", {"-5"}),
        ("the second try", {"2.th"}),
        ("the 2nd try", {"2.th"}),
        ("between 10-20 users", {"10", "20"}),
        ("no one came", set()),
        ("限额是10个", {"10"}),
        ("الحد ٣٠", {"30"}),
    ],
)
def test_numbers_are_values_with_units(text: str, numbers: set[str]) -> None:
    assert asserted(text).numbers == numbers


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("since 5 June 2024", {"5", "m6", "2024"}),
        ("since June 5th, 2024", {"5", "m6", "2024"}),
        ("since 2024-06-05", {"5", "m6", "2024"}),
        ("on Thursday at 5:30pm", {"wd4", "17:30"}),
        ("on Thursdays at 17:30", {"wd4", "17:30"}),
        ("it may march in the sun", set()),
        ("I saw her yesterday and last week", {"yesterday", "last week"}),
    ],
)
def test_dates_are_read_however_they_are_written(text: str, dates: set[str]) -> None:
    assert asserted(text).dates == dates
    assert not asserted(text).numbers


def test_names_are_capitals_inside_a_sentence_and_anything_that_is_no_plain_word() -> None:
    said = asserted("Maya moved to Oslo. She runs v1.2.3 of /usr/bin/app on https://fly.io for NASA")
    assert said.names == {"oslo", "v1.2.3", "/usr/bin/app", "https://fly.io", "nasa"}
    assert said.starts == {"maya"}


@pytest.mark.parametrize(
    ("a", "b", "kinds"),
    [
        ("the limit is 10", "the limit is 100", {"number"}),
        ("version 1.2 is out", "version 1.20.1 is out", {"number", "name"}),
        ("we deploy on Monday", "we deploy on Friday", {"date"}),
        ("the port is open", "the port isn't open", {"negation"}),
        ("it is supported", "it is unsupported", {"negation"}),
        ("wir haben Zeit", "wir haben keine Zeit", {"negation"}),
        ("限额很高", "限额不高", {"negation"}),
        ("she lives in Rome", "she lives in Oslo", {"name"}),
        ("Alice likes dark roast", "Bob likes dark roast", {"name"}),
        ("the database is postgres", "the database is mysql", {"value"}),
        ("read /etc/a.conf first", "read /etc/b.conf first", {"name"}),
        ("we deploy to Fly.io", "Fly.io is where we deploy to", set()),
        ("A dog runs in the park", "The dog is running in the park", set()),
        ("it waits 1,000 ms", "it waits for 1000ms", set()),
        ("5 June is the day", "the day is June 5th", set()),
    ],
)
def test_differences_are_named(a: str, b: str, kinds: set[str]) -> None:
    assert differences(asserted(a), asserted(b)) == kinds
    assert differences(asserted(b), asserted(a)) == kinds


@given(st.text(max_size=200))
def test_any_text_agrees_with_itself(text: str) -> None:
    assert not differences(asserted(text), asserted(text))


@given(st.text(max_size=80), st.text(max_size=80))
def test_difference_is_mutual(a: str, b: str) -> None:
    assert differences(asserted(a), asserted(b)) == differences(asserted(b), asserted(a))


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["", " ms", "%", " users", "kg"]))
def test_other_numbers_never_agree(a: int, b: int, unit: str) -> None:
    said = asserted(f"the limit is {a:,}{unit}"), asserted(f"the limit is {b}{unit}")
    assert ("number" in differences(*said)) == (a != b)


def test_words_of_one_stem_are_no_other_value() -> None:
    assert is_inflection("deploys", "deployed") and not is_inflection("cat", "dog")
