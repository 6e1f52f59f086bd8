"""Text that was made to hurt: time linear in it, memory bounded, and a result.

Each would take minutes or hours if one step were quadratic; the bound is generous enough for a slow machine.
"""

from __future__ import annotations

import random
import time

import pytest

from cmc_mcp import limits
from cmc_mcp.terms import passage
from cmc_mcp.terms.near import Vocabulary
from cmc_mcp.terms.passage import passage_terms
from cmc_mcp.terms.query import query_terms

SIZE = 100_000
SECONDS_MAX = 20.0
REPEATED = {
    "combining marks out of order": "\u0301\u0316",
    "marks in order": "\u0316",
    "points": "א\u05b0\u0591",
    "letters": "a",
    "digits": "1",
    "hexadecimal": "a1",
    "dots": "a.",
    "numbers and dots": "1.",
    "numbers": "1 ",
    "groups": "123 ",
    "phones": "12-34 ",
    "brackets": "(1)",
    "plus": "+",
    "sharp": "a#",
    "capitals": "A",
    "camel": "aB",
    "snake": "a_",
    "apostrophes": "a'",
    "han": "猫",
    "kana": "ア",
    "hangul": "가",
    "jamo": "\u1100\u1161\u11a8",
    "thai": "ก",
    "scripts in one word": "aбв漢ก가1א",
    "direction": "\u202ea\u202c",
    "surrogates": "\ud800a",
    "unassigned": "\u0378",
    "unassigned pictures": "\U0001fbff",
    "private": "\ue000",
    "flags": "🇩🇪",
    "emoji": "👍🏽",
    "fractions": "½",
    "raised": "²",
    "a ligature of many": "\ufdfa",
    "blanks": " ",
    "NUL": "\0",
    "millions": "1 million ",
    "addresses": "a://",
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_long_text_of_one_kind_is_read_in_linear_time(kind: str) -> None:
    text = "e" + (REPEATED[kind] * SIZE)[:SIZE]
    started = time.process_time()
    found = passage_terms(text)
    asked = query_terms(text)
    assert time.process_time() - started < SECONDS_MAX
    assert found.length == sum(found.counts.values()) and asked is not None


def test_a_megabyte_of_combining_marks_is_read() -> None:
    started = time.process_time()
    assert passage_terms("e" + "\u0301\u0316" * 500_000 + " end").counts == {"e": 1, "end": 1}
    assert time.process_time() - started < SECONDS_MAX


def test_random_characters_are_read() -> None:
    draw = random.Random(3)
    ranges = (0x80, 0x3000, 0x110000)
    text = "".join(chr(draw.randrange(draw.choice(ranges))) for _ in range(SIZE))
    started = time.process_time()
    assert passage_terms(text).length and query_terms(text)
    assert time.process_time() - started < SECONDS_MAX


@pytest.mark.parametrize(
    "text", ["", " ", "a", "1", "猫", "あ", "가", "ก", "א", "🚀", "\ud800", "\u0301", "\u200b", "\u0378", "'", "\0"]
)
def test_a_question_of_one_character_has_terms_or_none(text: str) -> None:
    assert {term.term for term in query_terms(text)} >= {*passage_terms(text).counts, *passage_terms(text).extras}
    assert len(query_terms(text)) <= 2


def test_a_question_of_five_thousand_terms_has_them_all() -> None:
    assert (
        len([term for term in query_terms(" ".join(f"word{n}x" for n in range(5_000))) if term.term.startswith("word")])
        >= 5_000
    )


def test_a_word_of_several_scripts_is_found_by_each() -> None:
    assert [*passage_terms("аpple").counts] == ["а", "pple"]
    assert [*passage_terms("Чат-GPT用").counts] == ["чат", "gpt", "用"]


def test_marks_of_direction_change_nothing() -> None:
    assert passage_terms("\u202ede\u2066ploy\u2069\u202c") == passage_terms("deploy")


def test_long_words_are_cut_and_not_kept() -> None:
    passage._kept.cache_clear()
    terms = passage_terms(" ".join("x" * limits.CONTENT_BYTES_MAX for _ in range(2))).counts
    assert list(terms) == ["x" * limits.TERM_CHARS_MAX]
    assert passage._kept.cache_info().currsize == 0


def test_a_vocabulary_of_a_million_hashes_is_bounded() -> None:
    draw = random.Random(5)
    vocabulary = Vocabulary()
    first = f"a{draw.getrandbits(156):039x}"
    vocabulary.add(1, [first])
    started = time.process_time()
    for rid in range(2, 1_002):
        vocabulary.add(rid, [f"{draw.getrandbits(160):040x}" for _ in range(1_000)])
    assert first in dict(vocabulary.near(first[:12], 1_001))
    assert vocabulary.near("kubernetes", 1_001) == ()
    assert len(vocabulary._firsts) <= 2 * limits.VOCABULARY_TERMS_MAX
    assert time.process_time() - started < SECONDS_MAX


def test_words_that_begin_alike_are_told_in_bounded_time() -> None:
    draw = random.Random(7)
    vocabulary = Vocabulary()
    words = ["abcdefgh" + "".join(draw.choices("abcd", k=12)) for _ in range(100_000)]
    vocabulary.add(1, [*words, *(f"abcdefgh{number}" for number in range(100_000))])
    vocabulary.near("abcdefgh", 1)
    started = time.process_time()
    for word in ("abcdefgh", "abcdefghabc", "abcdefghdcbaabcdabcd"):
        assert vocabulary.near(word, 1)
    assert time.process_time() - started < SECONDS_MAX
