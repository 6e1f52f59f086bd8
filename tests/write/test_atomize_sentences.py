"""Where sentences end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.model.sentences import sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["Pi is 3.14 here.", "Next one."],
        ["We saw Dr. Smith and Mrs. J. R. Jones.", "They left!"],
        ["Use e.g. Postgres, i.e. The database.", "Good?", "Yes."],
        ["See https://a.example/b.html?x=1. for more.", "Then https://b.example/?q.", "End"],
        ["Wait... and see.", "Wait...", "Then go."],
        ["Version 1.2.3 is out.", "Upgrade to v2.0.", "Now."],
        ["Apples, pears etc. are fruit.", "We sell apples etc.", "Come in."],
        ["The U.S. Army and Acme Inc. said no. 5.", "Fine."],
        ["At 5 p.m. we met.", "At 6 p.m.", "We left."],
        ['He said "Stop!" and left.', '"Really?"', "Yes (I am.)", "Done."],
        ["Yahoo! is old.", "What?!", "No."],
        ["1. First things.", "Second things."],
        ["It ended in 2024.", "Then we moved.", "So did I.", "Good."],
    ],
)
def test_latin_text(expected: list[str]) -> None:
    text = " ".join(expected)
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_wide_stops_need_no_space() -> None:
    text = "今日は晴れ。「行こう！」と言った？はい。"
    assert [text[start:end] for start, end in sentences(text)] == [
        "今日は晴れ。",
        "「行こう！」",
        "と言った？",
        "はい。",
    ]


def test_blank_lines_and_list_items_end_sentences() -> None:
    text = "Title\n\nbody\ngoes on\n- item one\n- item two\n"
    assert [text[start:end] for start, end in sentences(text)] == [
        "Title", "body\ngoes on", "- item one", "- item two",
    ]  # fmt: skip


@given(st.text(st.sampled_from(list("aB1.!?… \n\r\t\"')。」\ufeff\u2029-")) | st.characters(exclude_categories=["Cs"])))
def test_sentences_hold_every_character(text: str) -> None:
    position = 0
    for start, end in sentences(text):
        assert position <= start < end <= len(text)
        assert not text[position:start].replace("\ufeff", "").strip()
        position = end
    assert not text[position:].replace("\ufeff", "").strip()


def test_long_runs_are_linear() -> None:
    for unit in (".", ". ", "a.", '."', "a. ", "\n \n", "。", "... ", "A."):
        assert sentences(unit * 200_000 + "x")
