"""An answer says whether anything relevant is stored: on an absolute scale, the same on every page, and removing nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cmc_mcp.config import RelevanceScale
from cmc_mcp.embed import MiniLM
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RecallResult, Relevance
from cmc_mcp.read.relevance import NOTHING_RELEVANT, first_lines, told
from cmc_mcp.tools.recall import write
from cmc_mcp.verbs.models import Recall
from tests.read.made import opened, without_matrix
from tests.support import reach

NOTES = (
    "The deploy target is Fly.io since 4 March.",
    "Alert PAY-503 means that the card processor timed out.",
    "Leo is allergic to peanuts and sesame.",
    "The stopcock is behind the washing machine.",
    "Grandma would like orchids for her birthday.",
    "The lease may be ended with three months' notice.",
    "Der Schlüssel zum Keller hängt hinter der Garderobe.",
    "Le code du portail est 7B32.",
    "Таблица платежей хранится в схеме billing.",
    "The choir rehearses the Requiem on Tuesdays.",
)
ANSWERED = (
    "Where do we deploy?", "What does PAY-503 mean?", "PAY-503", "What is Leo allergic to?",
    "How long is the notice of the lease?", "Wo hängt der Schlüssel zum Keller?", "Quel est le code du portail ?",
    "В какой схеме лежит таблица платежей?",
)  # fmt: skip
NONSENSE = (
    "zebra migration in Antarctica", "Who won the chess olympiad in 1972?", "How do volcanoes form islands?",
    "XK-99/7 Z_UNKNOWN", "Welche Pinguine leben auf Feuerland?", "Quantas luas tem Netuno?",
)  # fmt: skip


class Narrow:
    """The bundled model as another would be: every cosine between .7 and 1, under a name of its own."""

    def __init__(self) -> None:
        self._model = MiniLM()

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("narrow", "cd" * 32, "float32", self._model.identity.dimension + 1, 256)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = self._model.embed(texts)
        same = np.full((len(rows), 1), np.sqrt(0.7), np.float32)
        return np.hstack([np.sqrt(0.3).astype(np.float32) * rows, same]).astype(np.float32)

    def close(self) -> None:
        """Nothing to give back."""


def _relevance(answer: RecallResult) -> Relevance:
    assert answer.relevance is not None
    return answer.relevance


@pytest.fixture(scope="module", params=["bundled model", "another model", "no model"])
def notes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    embedder = {"bundled model": MiniLM(), "another model": Narrow(), "no model": None}[request.param]
    with Memory.open(tmp_path_factory.mktemp("notes") / "memory.db", embedder=embedder) as memory:
        memory.remember_many([{"content": text} for text in NOTES])
        yield memory


@pytest.mark.parametrize("query", NONSENSE)
def test_of_a_question_on_other_things_it_is_said_that_nothing_relevant_is_stored(notes: Memory, query: str) -> None:
    answer = notes.recall(query)
    assert _relevance(answer).verdict == "none"
    if answer.items:
        assert write(answer, Recall(query))[0] == NOTHING_RELEVANT


@pytest.mark.parametrize("query", ANSWERED)
def test_a_question_that_a_memory_answers_is_never_told_that_nothing_is(notes: Memory, query: str) -> None:
    answer = notes.recall(query)
    assert _relevance(answer).verdict != "none"
    assert NOTHING_RELEVANT not in write(answer, Recall(query))


@pytest.mark.parametrize("embedder", [MiniLM(), Narrow(), None], ids=["bundled", "another", "none"])
def test_a_question_in_other_words_is_answered_by_a_store_of_three_memories(
    tmp_path: Path, embedder: MiniLM | Narrow | None
) -> None:
    with opened(tmp_path, embedder=embedder) as memory:
        for text in ("We host the site at Hetzner", "Ben pays the invoices on Fridays", "The office plant is a ficus"):
            memory.remember(text)
        assert _relevance(memory.recall("which hosting do we use")).verdict != "none"
        assert _relevance(memory.recall("which database do we use")).verdict == "none"


@pytest.mark.parametrize(
    "query", ["keys", "policy", "keys?", "Where are the keys?", "travel policy", "политика", "Kim", "钥匙"]
)
@pytest.mark.parametrize("others", [0, 40])
@pytest.mark.parametrize("embedder", [MiniLM(), None], ids=["bundled", "none"])
def test_where_one_memory_holds_every_word_something_is_stored(
    tmp_path: Path, embedder: MiniLM | None, others: int, query: str
) -> None:
    told = (
        "After the move in spring, Ben left the keys of the boat house with the woman from the bakery on the corner.",
        "Whoever books a train first class pays the difference; so says the travel policy that Kim wrote in a hurry.",
        "Наша политика возвратов изменилась после того, как магазин переехал на другой склад за городом.",
        "搬家以后，船屋的 钥匙 在面包店老板娘那里。",
    )
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember_many([{"content": text} for text in told])
        if others:
            memory.remember_many([{"content": f"Shelf {n} holds box {n * 7} with old papers"} for n in range(others)])
        assert _relevance(memory.recall(query)).verdict != "none"
        memory.remember_many(
            [{"content": f"{told[n % 4]} This is said on page {n} of the old diary."} for n in range(80)]
        )
        assert _relevance(memory.recall(query)).verdict != "none"  # though so many hold it that it tells little
        for nonsense in ("zebra", "zebra keys in Antarctica", "is it the"):
            assert _relevance(memory.recall(nonsense)).verdict == "none"


def test_answered_questions_score_above_nonsense_whatever_the_model(notes: Memory) -> None:
    answered = [_relevance(notes.recall(query)).score for query in ANSWERED]
    nonsense = [_relevance(notes.recall(query)).score for query in NONSENSE]
    assert min(answered) > max(nonsense)


def test_nothing_is_removed_and_nothing_moves(notes: Memory) -> None:
    other = notes.as_principal(notes.principal)
    strict = RelevanceScale(weak=1.0, good=1.0, middle=9.0)
    reach.alter(other, settings=replace(notes.settings, relevance=strict))
    for query in (*ANSWERED, *NONSENSE):
        before, after = notes.recall(query), other.recall(query)
        assert not before.items or _relevance(after) != _relevance(before)
        assert [(item.id, item.score) for item in after.items] == [(item.id, item.score) for item in before.items]


def test_every_page_says_the_same_however_large_it_is(notes: Memory) -> None:
    for query in (*ANSWERED, *NONSENSE):
        first = notes.recall(query, limit=1)
        said = {_relevance(notes.recall(query, limit=limit)).score for limit in (1, 3, 20, 100)}
        said |= {_relevance(notes.recall(query, budget_tokens=budget)).score for budget in (1, 59, 80, 4_000)}
        page = first
        while page.next_cursor:
            page = notes.recall(query, limit=1, cursor=page.next_cursor)
            said.add(_relevance(page).score)
        assert said == {_relevance(first).score}


def test_sql_alone_says_the_same_as_the_matrix(notes: Memory) -> None:
    for query in (*ANSWERED, *NONSENSE, "is it the", "😀", "a"):
        assert notes.recall(query).relevance == without_matrix(notes).recall(query).relevance


def test_a_question_without_words_is_answered(notes: Memory) -> None:
    for query in ("is it the", "will", "😀", "?!", "of"):
        assert 0.0 <= _relevance(notes.recall(query)).score <= 1.0


@pytest.mark.parametrize("embedder", [MiniLM(), Narrow(), None], ids=["bundled", "another", "none"])
def test_one_memory_has_a_scale_too(tmp_path: Path, embedder: MiniLM | Narrow | None) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=embedder) as memory:
        assert _relevance(memory.recall("Where do we deploy?")) == Relevance(verdict="none", score=0.0)
        memory.remember(NOTES[0])
        assert _relevance(memory.recall("What is the deploy target?")).verdict == "good"
        assert _relevance(memory.recall("zebra migration in Antarctica")).verdict == "none"


def test_what_was_known_then_is_judged_by_what_was_known_then(tmp_path: Path) -> None:
    with opened(tmp_path, embedder=MiniLM()) as memory:
        memory.remember_many([{"content": text} for text in NOTES[1:]])
        then = memory.snapshot().transaction
        before = memory.recall("Where do we deploy?", as_of=then).relevance
        memory.remember(NOTES[0])
        memory.remember_many([{"content": f"{text} Deploy!"} for text in NOTES[1:]])
        assert memory.recall("Where do we deploy?", as_of=then).relevance == before
        assert _relevance(memory.recall("Where do we deploy?")).score > told(0, RelevanceScale()).score
        assert memory.recall("Where do we deploy?").relevance != before


def test_outcomes_never_move_it(tmp_path: Path) -> None:
    with opened(tmp_path, embedder=MiniLM()) as memory:
        memory.remember_many([{"content": text} for text in NOTES])
        found = memory.recall("Where do we deploy?")
        for outcome in ("used", "wrong", "right"):
            memory.mark([item.id for item in found.items], outcome)  # type: ignore[arg-type]
            assert memory.recall("Where do we deploy?").relevance == found.relevance


def test_a_speaker_whom_the_question_names_is_no_word_that_makes_it_relevant(tmp_path: Path) -> None:
    with opened(tmp_path, embedder=MiniLM()) as memory:
        for text in ("Maya, did you paint the boat?", "Yes, Maya said that the boat is blue now.", "Hi Maya!"):
            memory.remember(text, session="talk", speaker="Zoe")
        memory.remember("The boat is blue.", session="talk", speaker="Maya")
        assert _relevance(memory.recall("What colour is Maya's boat?")).verdict != "none"
        assert _relevance(memory.recall("Which telescope did Maya buy in Chile?")).verdict == "none"


def test_a_filter_that_nothing_passes_leaves_nothing_relevant(notes: Memory) -> None:
    answer = notes.recall(ANSWERED[0], tags={"no": "such"})
    assert not answer.items and _relevance(answer).verdict == "none"
    assert first_lines(answer) == []


def test_the_score_and_the_verdict_agree_at_every_point() -> None:
    scale = RelevanceScale()
    verdicts = [told(n, scale).verdict for n in range(1_001)]
    assert verdicts == sorted(verdicts, key=["none", "weak", "good"].index)
    assert set(verdicts) == {"none", "weak", "good"}


def test_it_goes_over_a_wire(notes: Memory) -> None:
    lean = notes.recall(ANSWERED[0]).lean()
    relevance = json.loads(json.dumps(lean))["relevance"]
    assert set(relevance) == {"verdict", "score"}
