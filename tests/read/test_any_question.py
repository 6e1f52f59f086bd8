"""Any question gets an answer or a typed error: never an exception, never nothing without a word about it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp import limits
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.memory import Memory
from cmc_mcp.read.words import capitals
from tests.support.embedders import HashVectors

TEXTS = (
    "The US office opens at nine.",
    "Tell us when it is done.",
    "Will approved the plan.",
    "It will be approved by the plan.",
    "The IT budget is approved.",
    "it is what it is",
    "Coffee at Café Müller is 3 €",
    "naïve 🙂 party 🎉",
    "a NOT b OR c NEAR d",
    "C++ and C# are languages",
    "שלום עולם today",
    "Một con vịt",
    "서울 사무실",
    "ΣΊΣΥΦΟΣ rolls a stone",
)
ODD = {
    "one letter": "x",
    "one letter that is nowhere": "q",
    "function words": "is the",
    "punctuation": "?!… --",
    "a symbol": "€",
    "emoji": "🚀🚀",
    "tags": "\U000e0041\U000e0042",
    "accents alone": "\u0301\u0301",
    "operators": 'NEAR(a b, 2) OR "x" AND NOT * text:foo heading : bar ^a {a b} -c +d (((',
    "a quote": '"',
    "many quotes": "'\"" * 200,
    "a star": "off*",
    "a column": "text : office",
    "a tsquery": "a & !b | c:* <-> d \\",
    "half a pair": "office \ud800 hours",
    "halves alone": "\udfff\ud800",
    "directions": "\u202eשלום world\u202c \u2067a\u2069",
    "nothing": "a\0b",
    "the longest": "office " * 1_170 + "of",
    "one word": "z" * limits.QUERY_CHARS_MAX,
    "many terms": " ".join(f"{n:x}" for n in range(1_800))[: limits.QUERY_CHARS_MAX],
    "many signs": " ".join(chr(0x4E00 + n) for n in range(4_000)),
    "line ends": "office\u2028hours\u0085\r\n\x0b",
    "a template": "${office} %s {0} <b>",
}


@pytest.fixture(scope="module", params=["vectors", "words alone"])
def memory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    place = tmp_path_factory.mktemp("asked") / "m.db"
    with Memory.open(place, embedder=HashVectors() if request.param == "vectors" else None) as opened:
        opened.remember_many([{"content": text} for text in TEXTS])
        yield opened


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_question_is_answered_or_the_answer_says_why_not(memory: Memory, kind: str) -> None:
    for detail in ("concise", "detailed"):
        found = memory.recall(ODD[kind], detail=detail)  # type: ignore[arg-type]
        with_vectors = found.mode.retrieval == "hybrid"
        assert found.items or not with_vectors
        assert found.items or found.mode.degraded


@pytest.mark.parametrize("blank", ["", " ", "\t\n\u3000"])
def test_a_blank_question_is_refused_by_name(memory: Memory, blank: str) -> None:
    with pytest.raises(InvalidInput, match="query"):
        memory.recall(blank)


def test_one_character_too_many_is_refused_with_the_limit(memory: Memory) -> None:
    with pytest.raises(LimitExceeded, match="QUERY_CHARS_MAX"):
        memory.recall("y" * (limits.QUERY_CHARS_MAX + 1))


@pytest.fixture
def by_words(tmp_path: Path) -> Iterator[Memory]:
    with Memory.open(tmp_path / "m.db", embedder=None) as opened:
        opened.remember_many([{"content": text} for text in TEXTS])
        yield opened


def first(memory: Memory, query: str) -> str | None:
    return next((item.text for item in memory.recall(query).items), None)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("US", TEXTS[0]),
        ("when does the US one open?", TEXTS[0]),
        ("us", TEXTS[1]),
        ("Will", TEXTS[2]),
        ("what has Will done?", TEXTS[2]),
        ("is the IT budget approved?", TEXTS[4]),
        ("it is what it is", TEXTS[5]),
        ("🙂", TEXTS[7]),
        ("a NOT b", TEXTS[8]),
        ("OFFICE* OR", TEXTS[0]),
        ("half \ud800 office", TEXTS[0]),
        ("σίσυφος", TEXTS[13]),
        ("CAFÉ MÜLLER", TEXTS[6]),
    ],
)
def test_function_words_in_capitals_and_operators_are_words(by_words: Memory, query: str, text: str) -> None:
    assert first(by_words, query) == text


def test_function_words_say_nothing_beside_meaning_but_are_searched_where_nothing_else_is_said(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=HashVectors()) as memory:
        memory.remember_many([{"content": text} for text in TEXTS])
        for query, searched in (("when is the xylophone?", 1), ("is the", 2), ("is IT so?", 2)):
            terms = next(stage for stage in memory.recall(query, explain=True).trace if stage.stage == "lexical")
            assert len(terms.notes["terms"]) == searched  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["Café", "Một", "vịt", "서울", "naïve", "Å", "ñandú", "ガラス", "Ἀθῆναι"])
def test_composed_and_decomposed_words_find_each_other(tmp_path: Path, word: str) -> None:
    forms = [unicodedata.normalize(form, word) for form in ("NFC", "NFD")]
    for number, (stored, query) in enumerate((s, q) for s in forms for q in forms):
        with Memory.open(tmp_path / f"{number}.db", embedder=None) as memory:
            memory.remember(f"one {stored} two")
            memory.remember("something else")
            assert first(memory, query) == f"one {stored} two"  # the content keeps its bytes


def test_of_a_long_question_the_words_that_are_known_are_found_however_late(by_words: Memory) -> None:
    assert first(by_words, " ".join(f"w{n}" for n in range(900)) + " office") == TEXTS[0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Is the IT budget approved?", {"it"}),
        ("US", {"us"}),
        ("did Will or the US agree", {"will", "us"}),
        ("Will it rain? Is it so?", set()),
        ("IS IT WHAT IT IS", set()),
        ("Where Is The Key", set()),
        ("I am here", set()),
        ("", set()),
    ],
)
def test_capitals_name_what_is_not_only_the_first_word(text: str, named: set[str]) -> None:
    assert {word for word in capitals(text) if word in {"it", "us", "will", "is", "where", "what", "i"}} == named
