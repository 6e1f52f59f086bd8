"""Spellings of the same text become one, and what Unicode 14 does not know stays."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.terms.characters import tables
from cmc_mcp.terms.normal import cased, folded, known_only, normalised

UNASSIGNED = re.compile(f"[{tables().unassigned}]")
SIGNS = st.characters() | st.sampled_from("éÉ½²₂ª’‑，\u00ad\u200b\u0301\u0316ﬁ٤१Åßđ한ｶﾞ\u1100\u1161")
TEXTS = st.text(SIGNS, max_size=40)


def unknown() -> st.SearchStrategy[str]:
    return st.sampled_from(["\u0378", "\u0870\u0892", "\ua7cb", "\U0001fadf", "\U00011f00", "\U000323b0"]).flatmap(
        lambda found: st.sampled_from([sign for sign in found if UNASSIGNED.match(sign)])
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),
        ("ﬁle", "file"),
        ("ＡＢＣ１２３", "ABC123"),
        ("٤٢", "42"),
        ("१२", "12"),
        ("soft\u00adhyphen", "softhyphen"),
        ("zero\u200bwidth", "zerowidth"),
        ("\u202eabc\u202c", "abc"),
        ("O’Reilly", "O'Reilly"),
        ("e‑mail", "e-mail"),
        ("ｶﾞ", "ガ"),
        ("\u1112\u1161\u11ab", "한"),
        ("① ㎏", "1 kg"),
        ("한\ufeff글", "한글"),
        ("１，２", "1,2"),
        ("👍\ufe0f", "👍"),
    ],
)
def test_spellings_of_the_same_text_become_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_what_is_raised_or_a_fraction_stays_another_number() -> None:
    assert normalised("10²") == "10²" and normalised("CO₂") == "CO₂"
    assert normalised("1½").split() == ["1", "1/2"]


@given(TEXTS)
def test_a_text_that_is_normal_stays(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_stays(text: str) -> None:
    assert normalised(text) == text


@given(TEXTS, unknown(), TEXTS)
def test_characters_that_unicode_14_does_not_know_stay_and_part_what_is_beside_them(a: str, sign: str, b: str) -> None:
    """So a Python that knows them makes the same of a text as one that does not."""
    assert normalised(a + sign + b) == normalised(a) + sign + normalised(b)
    assert folded(a + sign + b) == folded(a) + sign + folded(b)
    seen: list[str] = []
    known_only(a + sign + b, lambda part: seen.append(part) or part)  # type: ignore[func-returns-value]
    assert not any(UNASSIGNED.search(part) for part in seen)


@given(st.text(st.characters(max_codepoint=0x24F), max_size=20))
def test_a_folded_word_has_no_case_and_no_accent(word: str) -> None:
    assert folded(folded(word)) == folded(word) == folded(word.upper().lower()) or "ı" in word or "İ" in word
    assert not any(unicodedata.combining(sign) for sign in folded(word))


def test_letters_that_no_normal_form_takes_apart_are_folded() -> None:
    assert folded("ĐÐØŁŦĦÆŒıÞŊƑß") == "ddolthaeoeithnfss"
    assert folded("İstanbul") == "istanbul"
    assert cased("ΟΔΟΣ") == "οδοσ"
