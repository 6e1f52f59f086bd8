"""Near terms beside a naive search of the same design, and beside one that compares every word."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp import limits
from cmc_mcp.terms.near import Near, Vocabulary, _signature, _signatures
from cmc_mcp.terms.similarity import SIMILARITY_MIN, distance, letters_min, similarity

LETTERS = st.text("abcde", min_size=3, max_size=9)
ALPHABETS = LETTERS | st.text("кошат", min_size=3, max_size=8) | st.text("가나다라", min_size=2, max_size=4)
TERMS = (
    ALPHABETS | st.text("ab12", min_size=3, max_size=8) | st.sampled_from(["4·21", "US", "东京都", "กิน", "c++", "a_b"])
)


def bits(word: str) -> int:
    """The signature by plain numbers."""
    out, letters = 0, [1, *map(ord, word), 2]
    for one, other in pairwise(letters):
        mixed = (one * 0x9E3779B1 + other * 0x85EBCA6B) & 0xFFFFFFFF
        mixed ^= mixed >> 15
        out |= 1 << ((mixed * 0x2C1B3C6D & 0xFFFFFFFF) >> 25)
    return out


def naive(word: str, terms: Sequence[str]) -> list[Near]:
    """The same design over a list: no arrays, nothing kept."""
    if len(word) < letters_min(word) or (word.isdigit() and len(word) < 7):
        return []
    words = [
        term
        for term in terms
        if (term.isalpha() and term.islower()) or (term[0] > "\u0370" and "가" <= term[0] <= "힣")
    ]
    words = [term for term in words if len(term) >= 3]
    named = [
        t for t in terms if t.isascii() and t.isalnum() and not t.isalpha() and not t.isdigit() and t.startswith(word)
    ]
    found = [
        (term, 0.5 + 0.5 * len(word) / len(term)) for term in sorted(named, key=lambda t: (len(t), t)) if term != word
    ][:8]
    if not any(sign.isdigit() for sign in word):
        mine = bits(word)
        shared = {
            term: ((mine & bits(term)).bit_count(), min(mine.bit_count(), bits(term).bit_count())) for term in words
        }
        some = [term for term, (common, least) in shared.items() if 5 * common >= 3 * least - 2]
        dice = {term: 2 * shared[term][0] / (mine.bit_count() + bits(term).bit_count()) for term in some}
        part = {term: shared[term][0] / shared[term][1] for term in some}
        best = {term for by in (dice, part) for term in sorted(some, key=lambda term: (-by[term], term))[:12]}
        found += [(term, similarity(word, term)) for term in best if term != word and similarity(word, term) >= 0.5]
    return sorted(found, key=lambda near: (-near[1], near[0]))[:8]


def every(word: str, terms: Sequence[str]) -> list[Near]:
    """All words that are alike enough, none left out beforehand."""
    found = [(term, similarity(word, term)) for term in terms if term != word]
    return sorted((one for one in found if one[1] >= SIMILARITY_MIN), key=lambda near: (-near[1], near[0]))[:8]


@given(st.lists(st.lists(TERMS, max_size=12), max_size=6), st.lists(ALPHABETS | TERMS, min_size=1, max_size=4))
def test_near_terms_are_those_of_a_naive_search_at_every_read_point(records: list[list[str]], asked: list[str]) -> None:
    vocabulary = Vocabulary()
    for rid, terms in enumerate(records, 1):
        vocabulary.add(rid, terms)
        vocabulary.near(asked[0], rid)  # what is kept in between changes nothing
    for upto in range(len(records) + 1):
        seen = sorted({term for terms in records[:upto] for term in terms if len(term) >= 3})
        for word in asked:
            assert list(vocabulary.near(word, upto)) == naive(word, seen)


@given(st.sets(LETTERS, max_size=12), LETTERS.filter(lambda word: len(word) >= 4))
def test_of_few_words_all_that_share_most_letters_are_compared(terms: set[str], word: str) -> None:
    vocabulary = Vocabulary()
    vocabulary.add(1, terms)
    found = dict(vocabulary.near(word, 1))
    expected = dict(every(word, sorted(terms)))
    assert found.items() <= expected.items()
    left_out = expected.keys() - found.keys()
    mine = bits(word)
    assert all(
        5 * (mine & bits(term)).bit_count() < 3 * min(mine.bit_count(), bits(term).bit_count()) - 2 for term in left_out
    )


def test_one_added_at_a_time_or_all_at_once_is_the_same() -> None:
    draw = random.Random(1)
    terms = ["".join(draw.choices("abcdefgh12", k=draw.randint(3, 8))) for _ in range(3_000)]
    one, other = Vocabulary(), Vocabulary()
    for rid, term in enumerate(terms, 1):
        one.add(rid, [term])
        if rid % 100 == 0:
            one.near("abcd", rid)
    for rid, term in enumerate(terms, 1):
        other.add(rid, [term])
    for word in terms[:200]:
        for upto in (10, 1_500, 3_000):
            assert one.near(word, upto) == other.near(word, upto)


def osa(one: str, other: str) -> int:
    """Optimal string alignment, the whole table."""
    rows = [[place + at if not place * at else 0 for place in range(len(other) + 1)] for at in range(len(one) + 1)]
    for at in range(1, len(one) + 1):
        for place in range(1, len(other) + 1):
            wrong = one[at - 1] != other[place - 1]
            rows[at][place] = min(rows[at - 1][place] + 1, rows[at][place - 1] + 1, rows[at - 1][place - 1] + wrong)
            if at > 1 and place > 1 and one[at - 1] == other[place - 2] and one[at - 2] == other[place - 1]:
                rows[at][place] = min(rows[at][place], rows[at - 2][place - 2] + 1)
    return rows[-1][-1]


@given(st.text("abc", max_size=9), st.text("abc", max_size=9), st.integers(0, 3))
def test_typos_are_counted_as_the_whole_table_counts_them(one: str, other: str, most: int) -> None:
    assert distance(one, other, most) == min(osa(one, other), most + 1)


@pytest.mark.parametrize(
    ("word", "term"),
    [
        ("erdnuss", "erdnussen"),
        ("арахисом", "арахис"),
        ("datenbank", "datenbanksicherung"),
        ("sicherung", "datenbanksicherung"),
        ("datenbanksicherung", "banksicherung"),
        ("kubernets", "kubernetes"),
        ("recieve", "receive"),
        ("кот", "кота"),
        ("사과", "사과를"),
        ("evlerimizden", "evlerimiz"),
        ("3f9a", "3f9a77c4"),
        ("550e8400e29b", "550e8400e29b41d4a716446655440000"),
    ],
)
def test_inflections_compounds_typos_and_beginnings_are_near(word: str, term: str) -> None:
    vocabulary = Vocabulary()
    vocabulary.add(1, [term, "unrelated", "несвязано", "zz99zz"])
    assert [near for near, _ in vocabulary.near(word, 1)] == [term]


@pytest.mark.parametrize(
    ("word", "term"),
    [
        ("err1042", "err1043"),
        ("cattle", "battle"),
        ("cat", "cats"),
        ("2026", "2026a"),
        ("4·21", "4·217"),
        ("3f9a77c4", "3f9a"),
        ("东京", "东京都"),
    ],
)
def test_what_says_something_else_is_not_near(word: str, term: str) -> None:
    vocabulary = Vocabulary()
    vocabulary.add(1, [term])
    assert vocabulary.near(word, 1) == ()


def test_the_vocabulary_is_bounded_and_the_first_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VOCABULARY_TERMS_MAX", 3)
    vocabulary = Vocabulary()
    vocabulary.add(1, ["backup", "backups"])
    vocabulary.add(2, ["backupper", "backuppers", "backup1", "backup2"])
    assert [term for term, _ in vocabulary.near("backup", 2)] == ["backup1", "backup2", "backups", "backupper"]


@settings(max_examples=50)
@given(st.text(max_size=20), st.lists(st.text(max_size=12), max_size=8))
def test_any_text_is_an_answer(word: str, terms: list[str]) -> None:
    vocabulary = Vocabulary()
    vocabulary.add(1, terms)
    found = vocabulary.near(word, 1)
    assert len(found) <= limits.NEAR_TERMS_MAX and all(0.5 <= share <= 1 for _, share in found)


@given(st.text(min_size=1, max_size=20))
def test_the_signature_of_one_word_is_that_of_many(word: str) -> None:
    word = word.replace("\x01", "a").replace("\x02", "b")
    (low,), (high,) = _signatures([word])
    assert _signature(word) == int(low) | int(high) << 64
