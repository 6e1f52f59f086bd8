"""Which of the first statements supersedes another that no key joins it to, and what moves for it."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.config import Slots
from cmc_mcp.embed.minilm import MiniLM
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.slots import Candidate, Pairing, reordered, slot_pairs
from cmc_mcp.read.subject import other_subject
from tests.read.made import opened

OLD, NEW = "The budget for the move is $4,000", "The budget for the move is now $5,000"
ASKED = "What is the budget for the move?"


def told(text: str, order: int | None, speaker: str = "", score: float = 1.0) -> Candidate:
    return Candidate(Statement(text), None if order is None else (order,), speaker, score)


def pairs(query: str, *candidates: Candidate, cosine: float | None = 0.9) -> list[tuple[int, int]]:
    found = slot_pairs(query, candidates, lambda _a, _b: cosine, Slots())
    return [(pairing.older, pairing.newer) for pairing in found]


def test_a_newer_value_is_paired_with_the_older_and_says_why() -> None:
    found = slot_pairs(ASKED, [told(OLD, 1), told(NEW, 2)], lambda _a, _b: 0.9, Slots())
    assert [(pairing.older, pairing.newer, pairing.reason) for pairing in found] == [(0, 1, "5000 for 4000")]


def test_a_pair_is_found_whichever_of_the_two_is_ranked_first() -> None:
    assert pairs(ASKED, told(NEW, 2), told(OLD, 1)) == [(1, 0)]


@pytest.mark.parametrize(
    ("query", "older", "newer"),
    [
        ("Wie hoch ist das Budget für den Umzug?", "Das Budget für den Umzug: 4000", "Das Budget für den Umzug: 5000"),
        ("搬家的预算是多少", "搬家的预算是4000元", "搬家的预算是5000元"),
        ("Какой бюджет на переезд?", "бюджет на переезд 4000", "бюджет на переезд 5000"),
        ("When is the review?", "The review is on Monday", "The review is on Tuesday"),
        ("When is the launch?", "The launch is on 3 June", "The launch is on 5 June"),
        ("Which score in the quiz?", "Scored 4/5 in the quiz", "Scored 5/5 in the quiz"),
        ("Which Python do we run?", "We run Python py3.11", "We run Python py3.12"),
    ],
)
def test_values_of_many_kinds_and_languages_are_seen(query: str, older: str, newer: str) -> None:
    assert pairs(query, told(older, 1), told(newer, 2)) == [(0, 1)]


@pytest.mark.parametrize(
    ("why", "older", "newer"),
    [
        ("the same value", told(OLD, 1), told("The budget for the move is still $4,000", 2)),
        ("one value more, none replaced", told(OLD, 1), told("The budget for the move is $4,000 until 5 May", 2)),
        ("said at once", told(OLD, 1), told(NEW, 1)),
        ("a passage of a document", told(OLD, None), told(NEW, 2)),
        ("another person's", told(OLD, 1, "Ana"), told(NEW, 2, "Ben")),
        ("no score to compare", told(OLD, 1), told(NEW, 2, score=0.0)),
        ("far below in rank score", told(OLD, 1), told(NEW, 2, score=0.3)),
        ("another slot", told(OLD, 1, "Ana"), told("The party has 20 guests", 2, "Ana")),
        ("a long text", told(OLD, 1), told(NEW + " and so on" * 200, 2)),
        ("notes in other words", told(OLD, 1), told("Our budget rose since we saw 3 flats near the park by bus", 2)),
    ],
)
def test_what_is_no_newer_value_of_the_slot_is_not_paired(why: str, older: Candidate, newer: Candidate) -> None:
    assert pairs(ASKED, older, newer) == [], why


def test_one_persons_turns_need_not_be_worded_alike() -> None:
    older = told("I set the budget at $4,000, is that enough for a van and two helpers?", 1, "Ana")
    newer = told("Any tips for our trip? My budget went up to $5,000 last night", 2, "Ana")
    assert pairs("What is my budget?", older, newer) == [(0, 1)]
    assert pairs("What is my budget?", told(older.said.text, 1), told(newer.said.text, 2)) == []


def test_a_question_that_neither_answers_joins_nothing() -> None:
    assert pairs("Who feeds the cat?", told(OLD, 1), told(NEW, 2)) == []
    assert pairs("?", told(OLD, 1), told(NEW, 2)) == []


def test_a_question_about_earlier_values_keeps_its_order() -> None:
    assert pairs("What was the budget for the move originally?", told(OLD, 1), told(NEW, 2)) == []
    assert pairs("What was the budget for the move?", told(OLD, 1), told(NEW, 2)) == [(0, 1)]


def test_without_vectors_the_shared_words_stand_for_the_cosine() -> None:
    assert pairs(ASKED, told(OLD, 1), told(NEW, 2), cosine=None) == [(0, 1)]
    assert pairs(ASKED, told(OLD, 1), told(NEW, 2), cosine=0.1) == []


def test_what_lies_deeper_does_not_count() -> None:
    filler = [told(f"Room {letter} is blue", 5) for letter in "abcd"]
    assert pairs(ASKED, told(OLD, 1), *filler[:3], told(NEW, 2)) == [(0, 4)]
    assert pairs(ASKED, told(OLD, 1), *filler, told(NEW, 2)) == []


def test_of_two_newer_ones_the_surer_is_paired_and_each_only_once() -> None:
    later = told("The budget for the move is now $6,000", 3, score=0.7)
    assert pairs(ASKED, told(OLD, 1), told(NEW, 2, score=0.9), later) == [(0, 1)]
    found = slot_pairs(ASKED, [told(OLD, 1), told(NEW, 2), later], lambda _a, b: 0.99 if b == 2 else 0.6, Slots())
    assert [(pairing.older, pairing.newer) for pairing in found] == [(0, 2)]


WORDS = ["budget", "move", "4,000", "5,000", "4/5", "5/5", "Monday", "not", "the"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
CANDIDATES = st.lists(
    st.builds(
        told,
        TEXTS,
        st.sampled_from([None, 0, 1, 2, 3]),
        st.sampled_from(["", "Ana", "Ana"]),
        st.sampled_from([0.0, 0.7, 0.8, 0.9, 1.0]),
    ),
    max_size=8,
)


def naive(query: str, candidates: list[Candidate], cosine: float, settings: Slots) -> list[tuple[int, int]]:
    """Score every ordered pair by the words of the docstring; take, for each older from the top, the best that is left."""

    def terms(text: str) -> set[str]:
        return {word for word in text.lower().replace(",", " ").replace("/", " ").split() if word not in ("the", "not")}

    def values(text: str) -> set[str]:
        return {word for word in text.lower().split() if any(map(str.isdigit, word)) or word == "monday"}

    places = [n for n, one in enumerate(candidates[: settings.depth]) if one.order is not None and one.score > 0]
    weigh = {
        term: math.log(1 + len(places) / (0.5 + sum(term in terms(candidates[n].said.text) for n in places)))
        for term in terms(query)
    }

    def score(n: int, m: int) -> float:
        older, newer = candidates[n], candidates[m]
        assert older.order is not None
        assert newer.order is not None
        if newer.order <= older.order or older.speaker != newer.speaker:
            return 0.0
        mine, theirs = terms(older.said.text), terms(newer.said.text)
        if other_subject(older.said, newer.said, short=settings.short_spoken if older.speaker else settings.short):
            return 0.0
        told = [{word for word in said if not word.isdigit()} or said for said in (mine, theirs)]
        if not older.speaker and len(told[0] & told[1]) < settings.shared_words * max(1, min(map(len, told))):
            return 0.0
        was, now = values(older.said.text), values(newer.said.text)
        whole = sum(weigh[term] for term in weigh if term in mine)
        if not whole or not was - now or not now - was:
            return 0.0
        again = sum(weigh[term] for term in weigh if term in mine & theirs)
        high, low = max(older.score, newer.score), min(older.score, newer.score)
        return round(cosine * again / whole * low / high, 6)

    left, out = list(places), []
    for n in places:
        best = max(((score(n, m), -m) for m in left if m != n and n in left), default=(0.0, 0))
        if best[0] >= settings.bar:
            out.append((n, -best[1]))
            left = [m for m in left if m not in (n, -best[1])]
    return out


@given(TEXTS, CANDIDATES, st.sampled_from([0.6, 0.8, 0.95]))
def test_pairs_are_those_of_the_plain_reading(query: str, candidates: list[Candidate], cosine: float) -> None:
    settings = Slots()
    found = slot_pairs(query, candidates, lambda _a, _b: cosine, settings)
    assert [(pairing.older, pairing.newer) for pairing in found] == naive(query, candidates, cosine, settings)
    for pairing in found:
        assert settings.bar <= pairing.score <= 1.0


@given(st.permutations(range(8)), st.integers(0, 4))
def test_only_the_newer_moves_and_right_before_the_older(places: list[int], count: int) -> None:
    pairings = [Pairing(places[2 * n], places[2 * n + 1], 1.0, "") for n in range(count)]
    order = reordered(8, pairings)
    moved = {pairing.newer for pairing in pairings if pairing.newer > pairing.older}
    assert sorted(order) == list(range(8))
    assert [place for place in order if place not in moved] == [place for place in range(8) if place not in moved]
    for pairing in pairings:
        if pairing.newer in moved:
            assert order.index(pairing.newer) + 1 == order.index(pairing.older)


NAMED = [
    ("10.20.30.44", "The printer sits at 10.20.30.44", "The printer sits at 10.30.20.44"),
    (
        "is anything on 4.2.1?",
        "The gateway went to 4.2.1 because of the loop",
        "The gateway went to 4.2.3 because of the loop",
    ),
    ("2024-03-09", "The lease was signed on 2024-03-09", "The lease was signed on 2024-09-03"),
    ("dose 250", "The dose for Rex is 250 mg", "The dose for Rex is 300 mg"),
]


@pytest.mark.parametrize(("query", "older", "newer"), NAMED)
def test_a_question_that_names_the_older_value_has_it_first_and_still_sees_the_newer_one(
    tmp_path: Path, query: str, older: str, newer: str
) -> None:
    with opened(tmp_path, embedder=MiniLM()) as memory:
        memory.remember(older)
        memory.remember(newer)
        items = memory.recall(query).items
        assert [item.text for item in items] == [older, newer]
