"""What a text asserts: numbers with units, dates, names."""

from __future__ import annotations

import pytest

from cmc_mcp.read.agree import asserted


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
