"""Traits are a pure packing of what the text, the speaker and the time say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.kernel.identity import turn_discriminator
from cmc_mcp.model.traits import ASSISTANT, BYTES_MAX, PERSON, USER, derived_traits, speaker_key, traits_of, unpacked

TEXTS = st.text(max_size=200) | st.sampled_from(
    [
        "In 1999 and 2004?",
        "# A heading",
        "## One\n",
        "I was there",
        "12345 is no year",
        "2024-05-01",
        "何時？",
        "x" * 70_000,
    ]
)
SPEAKERS = st.sampled_from(["", "Maya", "assistant", "User", "Fahim Khan", "AI"])


@given(TEXTS, st.booleans(), SPEAKERS, st.none() | st.integers(-(2**50), 2**55))
def test_what_is_packed_is_what_a_naive_reading_finds(text: str, turn: bool, speaker: str, when: int | None) -> None:
    found = unpacked(traits_of(text.encode(), turn=turn, speaker=speaker, occurred_us=when))
    seen = text if len(text.encode()) <= BYTES_MAX else ""
    years = [int(y) for y in re.findall(r"\b\d{4}\b", seen, re.ASCII) if 1000 <= int(y) <= 2099]
    years = [y for y in years if re.search(rf"(?<!\w){y}(?!\w)", seen)]
    assert (found.first_year, found.last_year) == ((min(years), max(years)) if years else (0, 0))
    assert found.chars == len(seen) and found.turn is turn
    assert found.question == seen.rstrip().endswith(("?", "？", "؟", ";"))
    assert found.heading == (not turn and bool(re.fullmatch(r"#{1,6}[ \t][^\n]*\n?", seen)))
    assert found.role == {"assistant": ASSISTANT, "AI": ASSISTANT, "User": USER}.get(speaker, PERSON)
    assert 0 <= traits_of(text.encode(), turn=turn, speaker=speaker, occurred_us=when) < 1 << 62
    if when is not None and 0 <= when < 4_000_000_000_000_000:
        moment = datetime.fromtimestamp(when // 1_000_000, UTC)
        assert found.month == moment.year * 12 + moment.month - 1


@given(TEXTS, SPEAKERS, st.none() | st.integers(0, 2**53))
def test_traits_follow_from_the_stored_rows(text: str, speaker: str, when: int | None) -> None:
    said = turn_discriminator("s", speaker, when, 1)
    given_ = traits_of(text.encode(), turn=True, speaker=speaker, occurred_us=when), speaker_key(speaker)
    assert derived_traits(text.encode(), said) == given_
    assert derived_traits(text.encode(), None) == (traits_of(text.encode()), 0)
    assert derived_traits(text.encode(), json.dumps({"twin": 2}).encode()) == (traits_of(text.encode()), 0)


@pytest.mark.parametrize("name", ["Maya", "MAYA", "maya Lee", " maya"])
def test_a_speaker_is_known_by_the_first_word_of_the_name(name: str) -> None:
    assert speaker_key(name) == speaker_key("maya") != speaker_key("tom")


@pytest.mark.parametrize("name", ["", "user", "Assistant", "…"])
def test_a_role_is_nobody(name: str) -> None:
    assert speaker_key(name) == 0
