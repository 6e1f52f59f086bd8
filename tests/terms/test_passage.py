"""The terms of a text, rule by rule, and beside what SQLite's full text makes of English."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import cast

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp import limits
from cmc_mcp.terms.passage import passage_terms
from cmc_mcp.terms.runs import runs

Tokens = Callable[[str], list[str]]
_SOME = (
    "the Running's U.S. e-mail getUserName C++ v4.21.7 1,250,000 café naïve 東京都 кошка كتاب 한국어 กิน 🚀 10² a_b_c WHO"
    " 550e8400-e29b don't 'quoted' (555) 123-4567 1.5 million x²"
)
WORDS = st.sampled_from(_SOME.split())


@pytest.fixture(scope="module")
def fts5() -> Tokens:
    """What `porter unicode61` makes of a text, in order."""
    tokenizer = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])

    def tokens(text: str) -> list[str]:
        made = tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
        )
        return cast("list[str]", made)

    return tokens


def short_words(text: str) -> bool:
    return all(len(word) <= limits.TERM_CHARS_MAX for word in re.findall("[0-9A-Za-z]+", text))


@given(st.text(st.characters(max_codepoint=127), max_size=200).filter(short_words))
def test_ascii_text_is_made_of_what_fts5_makes(fts5: Tokens, text: str) -> None:
    found, expected = passage_terms(text), fts5(text)
    assert found.counts == Counter(expected) and found.length == len(expected)


@given(st.text("abdeghilmnorstyéüñçàöåšÄÉİ -.'", max_size=80))
def test_accented_text_is_made_of_what_fts5_makes(fts5: Tokens, text: str) -> None:
    text = text.replace("İ", "I")  # which FTS5 leaves
    assert passage_terms(text).counts == Counter(fts5(text))


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=12))
def test_two_texts_have_the_terms_of_both(one: list[str], other: list[str]) -> None:
    a, b, both = (passage_terms("\n\n".join(words)) for words in (one, other, [*one, *other]))
    assert both.length == a.length + b.length
    assert Counter(both.counts) == Counter(a.counts) + Counter(b.counts)


@given(st.text(max_size=60))
def test_no_term_is_empty_or_too_long_and_the_length_counts_terms_of_the_text(text: str) -> None:
    found = passage_terms(text)
    assert found.length == sum(found.counts.values())
    terms = [*found.counts, *found.extras]
    assert all(0 < len(term) <= 2 * limits.TERM_CHARS_MAX + 1 for term in terms)
    assert not any("\ud800" <= sign <= "\udfff" for term in terms for sign in term)
    assert passage_terms(text) == found


@pytest.mark.parametrize(
    ("text", "terms", "extras"),
    [
        # parts: capitals inside, letters beside digits; none of hashes and ordinals
        ("getUserName", ["getusernam"], ["get", "user", "name"]),
        ("HTTPServer", ["httpserver"], ["http", "server"]),
        ("iPhone15", ["iphone15"], ["phone", "15"]),
        ("21st", ["21st"], ["21"]),
        ("a1b2c3d4e5", ["a1b2c3d4e5"], []),
        ("URLs", ["url"], []),
        ("aBcDeFgHiJkLmN", ["abcdefghijklmn"], []),  # more than six: noise
        # joins
        ("e-mail", ["e", "mail"], ["email"]),
        ("CI/CD", ["ci", "cd"], ["cicd"]),
        ("R&D", ["r", "d"], ["rd"]),
        ("node.js", ["node", "js"], ["nodej"]),
        ("a.k.a.", ["a", "k", "a"], ["aka"]),
        ("O'Reilly's", ["o", "reilli", "s"], ["oreilli"]),
        ("max_pool_size", ["max", "pool", "size"], ["maxpools"]),
        ("one_two_three_four_five", ["on", "two", "three", "four", "five"], []),
        ("it's", ["it", "s"], []),
        ("and/or", ["and", "or"], ["andor"]),
        ("either/or", ["either", "or"], []),
        # pairs
        ("4.21.7", ["4", "21", "7"], ["4·21", "21·7"]),
        ("v2.0", ["v2", "0"], ["2", "2·0"]),
        ("10.0.0.1", ["10", "0", "0", "1"], ["10·0", "0·0", "0·1"]),
        # numbers
        ("1,250,000", ["1", "250", "000"], ["1250000"]),
        ("1 250 000", ["1", "250", "000"], ["1250000", "250000"]),
        ("1.25 million", ["1", "25", "million"], ["1·25", "1250000"]),
        ("3k", ["3k"], ["3000"]),
        ("+4917155501234", ["4917155501234"], ["917155501234", "17155501234", "7155501234"]),
        ("2024-03-09", ["2024", "03", "09"], ["20240309", "2024·03", "03·09"]),
        # umlauts, raised signs
        ("Müller", ["muller"], ["mueller"]),
        ("Straße", ["strass"], []),
        ("CO₂", ["co₂"], ["co2"]),
        ("10²", ["10²"], []),
        # symbols
        ("🚀👍🏽🇩🇪", [], ["🚀", "👍", "🇩🇪"]),
        ("5 €", ["5"], ["€"]),
        ("C++, C#", ["c", "c"], ["c++", "c#"]),
        # capitals, where they tell a word from a function word
        ("the US and IT", ["the", "us", "and", "it"], ["US", "IT"]),
        ("IS IT FOR US", ["is", "it", "for", "us"], []),
        ("in the U.S. now", ["in", "the", "u", "s", "now"], ["us", "US"]),
        ("the NASA", ["the", "nasa"], []),
        # other alphabets
        ("Ёлка й", ["елка", "й"], []),
        ("за\u0301мок", ["замок"], []),
        ("Καλημέρα", ["καλημερα"], []),
        ("بَيْت", ["بيت"], []),
        ("والكتاب", ["والكتاب"], ["كتاب"]),
        ("أحمد إلى مدرسة", ["احمد", "الي", "مدرسه"], ["مدرس"]),
        ("שָׁלוֹם", ["שלום"], ["לום"]),
        ("ज़िंदगी चाँद", ["जिंदगी", "चांद"], []),
        # writing without spaces
        ("吃苹果", ["吃苹", "苹果"], ["吃", "苹", "果"]),
        ("猫", ["猫"], []),
        ("ありがとう", ["あり", "りが", "がと", "とう"], []),
        ("사과를", ["사과를"], ["사과", "과를"]),
        ("กินข้าว", ["กิน", "ินข", "นข้", "ข้า", "้าว"], []),
        ("iPhone用", ["iphon", "用"], ["phone"]),
    ],
)  # fmt: skip
def test_a_rule_gives(text: str, terms: list[str], extras: list[str]) -> None:
    found = passage_terms(text)
    assert found.counts == Counter(terms)
    assert sorted(found.extras) == sorted(extras)


@pytest.mark.parametrize(
    "written",
    [
        "+1 (555) 123-4567",
        "555-123-4567",
        "(555) 123 4567",
        "555.123.4567",
        "+1 555 1234567",
        "0555 1234567",
        "+1 (0)555 1234567",
    ],
)
def test_a_phone_number_is_found_however_it_is_grouped(written: str) -> None:
    found = passage_terms(f"Call {written} today")
    assert "5551234567" in found.extras


def test_runs_take_what_is_written_together() -> None:
    assert list(runs("a-b c.d, e--f")) == [("latin", "a-b"), ("latin", "c.d"), ("latin", "e"), ("latin", "f")]
    assert list(runs("https://x.org/a_b?q=1")) == [("latin", "https://x.org/a_b"), ("latin", "q"), ("latin", "1")]


def test_terms_stay_what_they_are() -> None:
    """Stored terms were made by these rules: a change of them is a migration."""
    texts = [
        "We moved the deploy target to Fly.io on 2026-06-01 (v4.21.7).",
        "Über Łódź nach Åre; Größe 10², CO₂ ½ 1,250.50 €",
        "我喜欢吃苹果和香蕉，价格是１２３元。",
        "カタカナとひらがな東京タワー",
        "사과를 먹었다 한국어",
        "กินข้าวแล้วหรือยัง",
        "Ёлка стоит в за\u0301мке",
        "والكتاب على الطاولة الكبيرة",
        "שָׁלוֹם לבית הספר",
        "ज़िंदगी में चाँद",
        "Καλημέρα κόσμε",
        "550e8400-e29b-41d4-a716-446655440000 🚀 C++",
    ]
    made = [
        (found.length, sorted(found.counts.items()), sorted(found.extras.items()))
        for found in map(passage_terms, texts)
    ]
    assert hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16] == "05695891f9d5ea6c"
