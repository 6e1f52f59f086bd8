"""Stems in Python beside those of FTS5, which is the oracle."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import cast

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.terms.porter import stem

_TEXT = (
    "ational tional enci anci izer logi bli alli entli eli ousli ization ation ator alism iveness fulness ousness aliti"
    " iviti biliti ical ness icate iciti ful ative alize al ance ence er ic able ible ant ement ment ent ion ou ism ate iti"
    " ous ive ize s es ies sses ss ed eed ing y e ll at bl iz ated bled ized ting pping lling ssed zzed"
)
ENDINGS = _TEXT.split()
Stemmed = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def fts5() -> Stemmed:
    """What `porter unicode61` makes of a text, in order."""
    tokenizer = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])

    def stemmed(text: str) -> list[str]:
        made = tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
        )
        return cast("list[str]", made)

    return stemmed


def words() -> st.SearchStrategy[str]:
    """Words that rules apply to: a beginning of few letters, and up to three endings."""
    beginnings = st.text("aeiouybcdlmnrstvwxz1", min_size=1, max_size=8)
    endings = st.lists(st.sampled_from(ENDINGS), max_size=3).map("".join)
    return st.builds(str.__add__, beginnings, endings) | st.text(
        string.ascii_lowercase + string.digits, min_size=1, max_size=80
    )


@given(st.lists(words(), min_size=1, max_size=50))
def test_a_stem_is_what_fts5_makes(fts5: Stemmed, found: list[str]) -> None:
    assert [stem(word) for word in found] == fts5(" ".join(found))


def test_every_short_beginning_with_every_ending_gives_what_fts5_makes(fts5: Stemmed) -> None:
    beginnings = [a + b + c for a in "aeybcst" for b in ("", *"aeyltwx") for c in ("", *"aeiyltsz")]
    found = [f"{one}{two}{three}" for one in beginnings for two in ("", "at", "iv", "i") for three in ENDINGS]
    assert len(found) > 100_000
    assert [stem(word) for word in found] == fts5(" ".join(found))
