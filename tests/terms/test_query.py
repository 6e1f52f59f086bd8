"""The terms of a question: their weights, what is a function word, what is widened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.terms.passage import passage_terms
from cmc_mcp.terms.query import QueryTerm, query_terms, widened


def weights(text: str) -> dict[str, float]:
    return {term.term: term.weight for term in query_terms(text) if not term.function}


def function(text: str) -> list[str]:
    return [term.word for term in query_terms(text) if term.function]


@given(st.text(max_size=40) | st.text("aé-_.'/@1 \u4e00\u3042\uac00\u0e01\u05d0\u0627", max_size=40))
def test_a_question_looks_for_every_term_of_the_same_text(text: str) -> None:
    """Also of what is added to it; emoji and their names come on top."""
    asked, stored = {term.term for term in query_terms(text)}, passage_terms(text)
    assert {*stored.counts, *stored.extras} <= asked


@given(st.text(max_size=40))
def test_every_term_comes_once_with_a_weight(text: str) -> None:
    terms = query_terms(text)
    assert len({term.term for term in terms}) == len(terms)
    assert all(term.term and term.word and 0 < term.weight <= 1 and 0 <= term.near <= 0.5 for term in terms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getUserName", {"getusernam": 1.0, "get": 0.6, "user": 0.6, "name": 0.6}),
        ("wi-fi", {"wi": 1.0, "fi": 1.0, "wifi": 1.0}),
        ("4.21", {"4": 1.0, "21": 1.0, "4·21": 1.0}),
        ("Müller", {"muller": 1.0, "mueller": 0.6}),
        ("والكتاب", {"والكتاب": 0.5, "كتاب": 0.5}),
        ("حمار", {"حمار": 1.0}),
        ("吃苹果", {"吃苹": 1.0, "苹果": 1.0, "吃": 0.1, "苹": 0.1, "果": 0.1}),
        ("猫", {"猫": 1.0}),
        ("食べます", {"食べ": 1.0, "べま": 0.2, "ます": 0.2, "食": 0.1}),
        ("사과를", {"사과를": 0.5, "사과": 0.3, "과를": 0.3}),
        ("사과", {"사과": 0.5}),
        ("กินข้", {"กิน": 1.0, "ินข": 1.0, "นข้": 1.0}),
        ("turtle", {"turtl": 1.0, "🐢": 0.5}),
        ("🐢", {"🐢": 1.0, "turtl": 0.5}),
        ("1.5 million", {"1": 1.0, "5": 1.0, "1·5": 1.0, "million": 1.0, "1500000": 1.0}),
        ("C++", {"c": 1.0, "c++": 1.0}),
    ],
)
def test_a_term_weighs(text: str, expected: dict[str, float]) -> None:
    assert weights(text) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("what did Will say about it", ["Will"]),
        ("Will it rain", []),
        ("where is the WHO", ["WHO"]),
        ("what is the US budget", ["US"]),
        ("WHAT IS THE US BUDGET", []),
        ("What Is The US Budget", []),
        ("am I sure, and who is A", []),
        ("what is in The Hague", []),
    ],
)
def test_capitals_tell_a_name_from_a_function_word(text: str, names: list[str]) -> None:
    kept = [term.word for term in query_terms(text) if not term.function and term.term == term.word.lower()]
    assert [word for word in kept if word in names] == names
    assert not {"is", "the", "it", "what", "A", "I", "The"} & set(kept)


def test_a_question_of_function_words_has_them_still_marked() -> None:
    assert function("who is it") == ["who", "is", "it"]
    assert all(term.near == 0.0 for term in query_terms("who is it"))


def test_words_are_widened_more_where_nothing_of_them_is_known() -> None:
    terms = query_terms("Müllers getUserName кошка 3f9a77c4")

    def near(*known: str) -> dict[str, float]:
        return {term.term: weight for term, weight in widened(terms, set(known).__contains__)}

    unknown = {"muller": 0.6, "getusernam": 0.6, "кошка": 0.6, "3f9a77c4": 0.6}
    assert near() == unknown
    assert near("muller", "кошка") == unknown | {"muller": 0.2, "кошка": 0.5}
    assert near("user", "mueller") == {"кошка": 0.6, "3f9a77c4": 0.6}  # what was added to a word says that it is known


def test_a_part_of_an_identifier_does_not_say_that_it_is_known() -> None:
    terms = query_terms("01HV3K")
    assert "01" in {term.term for term in terms}
    assert [(term.term, weight) for term, weight in widened(terms, {"01"}.__contains__)] == [("01hv3k", 0.6)]


def test_a_piece_of_a_korean_word_does_not_say_that_it_is_known() -> None:
    terms = query_terms("사과를")
    assert [weight for _, weight in widened(terms, {"사과"}.__contains__)] == [0.6]


def test_the_word_of_a_term_is_how_it_is_written() -> None:
    assert QueryTerm("deploi", 1.0, "Deploys", 0.2) in query_terms("Deploys to Fly.io")
    assert {term.word for term in query_terms("getUserName")} == {"getUserName"}


def test_a_word_that_is_joined_elsewhere_is_widened_all_the_same() -> None:
    assert QueryTerm("email", 1.0, "email", 0.2) in query_terms("e-mail email")
    assert QueryTerm("user", 1.0, "user", 0.2) in query_terms("getUserName user")
