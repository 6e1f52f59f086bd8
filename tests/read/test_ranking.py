"""What ranking does beside words and meaning, seen through the product; and its arithmetic against plain loops."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.config import Settings, Weights
from cmc_mcp.index.lexicon import Lexicon
from cmc_mcp.index.matrix import Described, Matrix
from cmc_mcp.memory import Memory
from cmc_mcp.read.lexical import LexicalSearch
from cmc_mcp.read.query import limits_of
from cmc_mcp.read.rank import Candidacy, Pool, Scale
from cmc_mcp.read.retrieve import Selection
from tests.read.made import asked, opened, point_at, without_matrix
from tests.support import reach
from tests.support.embedders import HashVectors

WORDS = ("ba", "ke", "mo", "zu", "ri", "lo")


def turns(memory: Memory, said: list[tuple[str, str]], session: str = "s", **more: str) -> list[str]:
    """Remember turns, (speaker, text), and return their ids."""
    return [
        memory.remember(text, session=session, speaker=speaker, **more).added[0]  # type: ignore[arg-type]
        for speaker, text in said
    ]


def plain(memory: Memory, query: str, **more: object) -> list[str]:
    return [item.text for item in memory.recall(query, **more).items]  # type: ignore[arg-type]


def test_who_answers_a_question_is_found_by_the_words_of_the_question_before_it(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        turns(memory, [("Ana", "which harbour did you sail from?"), ("Bo", "Rotterdam"), ("Ana", "nice")])
        turns(memory, [("Ana", "hello there"), ("Bo", "good morning")], session="t")
        found = plain(memory, "which harbour did Bo sail from?")
        assert found.index("Rotterdam") == 1
        assert "Rotterdam" in plain(memory, "which harbour?")
        reach.alter(memory, settings=Settings(turn=Weights()))
        assert "Rotterdam" not in plain(memory, "which harbour?")


def test_neighbours_end_at_their_session_and_skip_what_was_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        a, b, c, d = turns(memory, [("x", "one"), ("y", "two"), ("x", "three"), ("y", "four")])
        turns(memory, [("x", "other")], session="t")
        memory.forget(b)
        with reach.reader(memory) as view:
            point = point_at(view)
            limits = limits_of(view, asked())
            assert limits is not None
            matrix = reach.index(memory, view, Matrix, view.models()[0][0])
            rids = {view.atoms(view.selected(point.head.seq, point.valid_at, limits))[r].key.hex(): r for r in
                    view.selected(point.head.seq, point.valid_at, limits)}  # fmt: skip
            number = lambda name: rids[name.removeprefix("atom_")]  # noqa: E731
            wanted = np.array(sorted(rids.values()), np.int64)
            for way in (Selection(view, point, limits, matrix), Selection(view, point, limits, None)):
                around = dict(zip(wanted.tolist(), way.neighbours(wanted).tolist(), strict=True))
                assert around[number(a)] == [0, 0, number(c), number(d)]
                assert around[number(c)] == [0, number(a), number(d), 0]
                assert around[number(d)] == [number(a), number(c), 0, 0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), min_size=1, max_size=8), st.floats(0, 1))
def test_bm25_in_context_is_the_sum_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, said: list[list[str]], share: float
) -> None:
    with Memory.open(tmp_path_factory.mktemp("c") / "m.db", embedder=None) as memory:
        turns(memory, [("q", f"{' '.join(words)} t{place}") for place, words in enumerate(said)])
        with reach.reader(memory) as view:
            point, limits = point_at(view), limits_of(view, asked())
            assert limits is not None
            selection = Selection(view, point, limits, None)
            rids = np.array(view.selected(point.head.seq, point.valid_at, limits), np.int64)
            words = LexicalSearch(selection, "ba ke", memory.settings, Lexicon(view.ws))
            around = selection.neighbours(rids)
            found = words.in_context(rids, around, np.full(len(rids), share), np.zeros(len(rids), np.bool_))
            heads = [view.heading(rid).lower().replace("-", " ").replace("/", " ").split() for rid in rids.tolist()]
        c = memory.settings
        sizes = [len(head) + len(text) + 1 for head, text in zip(heads, said, strict=True)]
        for place in range(len(said)):
            total = 0.0
            for term in ("ba", "ke"):
                df = sum(term in text for text in said)
                tf = Counter(said[place])[term] * 1.0
                for step, weight in ((-2, c.context_far), (-1, 1.0), (1, 1.0), (2, c.context_far)):
                    if 0 <= place + step < len(said):
                        tf += share * weight * Counter(said[place + step])[term]
                norm = c.bm25_k1 * (1 - c.bm25_b + c.bm25_b * sizes[place] / (sum(sizes) / len(sizes)))
                idf = math.log(1 + (len(said) - df + 0.5) / (df + 0.5))
                total += idf * (c.bm25_k1 + 1) * tf / (tf + norm) if df else 0.0
            assert math.isclose(float(found[place]), total, rel_tol=1e-9, abs_tol=1e-12)


def test_the_named_speaker_comes_first(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        turns(memory, [("Ana", "I like tea~ a lot"), ("Bo", "I like tea~ so much")])
        assert plain(memory, "What does Bo like, tea or beer?")[0] == "I like tea~ so much"
        assert plain(memory, "What does Ana like, tea or beer?")[0] == "I like tea~ a lot"


def test_what_has_nothing_to_do_with_the_named_speaker_stands_behind_what_has(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("the museum~ was opened when the king went there")
        memory.remember("Ana went to the museum~ long ago, it was fine", source="diary.md")
        turns(memory, [("Ana", "the museum~ was nice"), ("Bo", "a museum~ then?")])
        found = plain(memory, "When did Ana go to the museum?")
        king = "the museum~ was opened when the king went there"
        assert king not in found[:2]
        every = memory.recall("When did Ana go to the museum?", explain=True).items
        why = next(item.why for item in every if item.text == king)
        assert why is not None and why["named"] == -0.3
        again = memory.recall("When was the museum opened?", explain=True).items
        assert all("named" not in (item.why or {}) or item.why["named"] == 0 for item in again if item.why)


def test_a_model_s_turn_stands_behind_a_user_s(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        turns(memory, [("user", "my budget~ is five"), ("assistant", "your budget~ is five")])
        assert plain(memory, "budget")[0] == "my budget~ is five"
        why = memory.recall("budget", explain=True).items[1].why
        assert why is not None and why["assistant"] == -0.35


def test_a_passage_of_the_time_asked_about_comes_first(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for text in ("the mayor~ was Ito, 1950 to 1961", "the mayor~ was Sato, 1961 to 1975", "the mayor~ was Abe"):
            memory.remember(text)
        assert "Sato" in plain(memory, "Who was the mayor in 1970?")[0]  # its years span it
        assert "Ito" in plain(memory, "Who was the mayor in 1950?")[0]


def test_what_the_first_hit_rests_on_is_drawn_in(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        premise = memory.remember("rain is expected all week").added[0]
        memory.remember("the picnic is moved indoors", derived_from=[premise])
        answer = memory.recall("where is the picnic?", explain=True)
        assert [item.id for item in answer.items][1] == premise
        why = answer.items[1].why
        assert why is not None and why["linked"] == Settings().linked
        reach.alter(memory, settings=Settings(linked=0.0))
        assert premise not in [item.id for item in memory.recall("where is the picnic?").items]


def test_a_bare_heading_stands_behind_what_it_is_above(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("# Deploy\n\nWe deploy on Mondays.\n\nDeploy twice a day.", source="guide.md")
        assert plain(memory, "deploy")[-1].startswith("# Deploy")


def test_neighbours_come_with_an_item_when_asked_for_and_are_paid_for(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        turns(memory, [("a", "one fish"), ("b", "two cats"), ("a", "three dogs")])
        (item, *_) = memory.recall("cats", around=1, limit=1).items
        assert [(near.text, near.after) for near in item.around] == [("one fish", False), ("three dogs", True)]
        alone = memory.recall("cats", limit=1)
        assert memory.recall("cats", around=1, limit=1).tokens > alone.tokens and not alone.items[0].around


def test_both_ways_of_reading_rank_alike_in_the_past_too(tmp_path: Path) -> None:
    with opened(tmp_path, embedder=HashVectors()) as memory:
        for number in range(30):
            turns(
                memory,
                [("Ana" if number % 3 else "Bo", f"tea~ number {number} of {1990 + number}")],
                session=f"s{number % 4}",
            )
            if number % 7 == 0:
                memory.remember(f"# Tea\n\nTea {number} is brewed.\n\nIt was {number}.", source=f"tea{number % 2}.md")
        slow = without_matrix(memory)
        reach.alter(memory, settings=Settings())
        for as_of in (None, 12, 25):
            for query in ("What tea did Ana drink in 1999?", "tea", "brewed"):
                fast_, slow_ = (m.recall(query, as_of=as_of, limit=20).items for m in (memory, slow))
                assert [(i.id, i.score) for i in fast_] == [(i.id, i.score) for i in slow_]


def test_a_pool_is_the_mean_of_the_best_three_of_each_origin() -> None:
    origins = np.array([1, 1, 1, 1, 2, 0], np.int64)
    pool = Pool.of(origins, np.array([0.1, 0.9, 0.6, 0.3, 0.5, 1.0]), depth=10)
    assert pool.origins == {1: pytest.approx(0.6), 2: pytest.approx(0.5)}


def test_a_turn_keeps_its_session_whatever_its_source(tmp_path: Path) -> None:
    """With message ids as sources, turns have the neighbours, the pool and so the scores that they have without."""
    said = [("Ana", "which harbour did you sail from?"), ("Bo", "Rotterdam"), ("Ana", "nice"), ("Bo", "cold though")]
    answers = []
    for name in ("none", "own", "mixed"):
        with opened(tmp_path / name) as memory:
            for number, (speaker, text) in enumerate(said):
                own = name == "own" or (name == "mixed" and number % 2)
                source = {"source": f"message-{number}"} if own else {}
                turns(memory, [(speaker, text)], **source)
            turns(memory, [("Ana", "hello there"), ("Bo", "good morning")], session="t")
            for way in (memory, without_matrix(memory)):
                found = way.recall("which harbour did Bo sail from?").items
                answers.append([(item.text, item.score) for item in found])
            with reach.reader(memory) as view:
                limits = limits_of(view, asked())
                assert limits is not None
                matrix = reach.index(memory, view, Matrix, view.models()[0][0])
                point = point_at(view)
                rids = np.array(view.selected(point.head.seq, point.valid_at, limits), np.int64)
                by_matrix, by_sql = (Selection(view, point, limits, way) for way in (matrix, None))
                around = by_matrix.neighbours(rids)
                assert np.array_equal(around, by_sql.neighbours(rids))
                assert np.array_equal(by_matrix.described(rids).group, by_sql.described(rids).group)
    assert all(answer == answers[0] for answer in answers)


def test_sections_put_nothing_before_a_note_that_matches_as_well(tmp_path: Path) -> None:
    """What stands below the nearest section gains over other passages with sections, and over nothing else."""
    page = "# Ships\n\n## Harbour\n\nba ke mo\n\n## Market\n\nzu ri lo\n"
    scores = []
    for weight in (0.0, 0.1):
        with opened(tmp_path / str(weight), settings=Settings(node_weight=weight, phrase_depth=0)) as memory:
            memory.remember(page, source="page.md")
            memory.remember("ba ke zu")
            scores.append({item.text: item.score for item in memory.recall("ba ke", limit=10).items})
    assert scores[1]["ba ke zu"] == scores[0]["ba ke zu"]
    assert all(scores[1][text] <= scores[0][text] for text in scores[0])


def test_words_that_say_little_of_a_question_leave_the_order_to_meaning() -> None:
    """The share of words falls with what part of the question the best passage holds; one score alone is the whole."""
    sure = Settings().lexical_sure
    assert 0 < sure < 1
    near, word = np.array([1.0, 0.5]), np.array([0.0, 8.0])
    known = Described(*(np.zeros(2, np.int64) for _ in range(5)))
    candidacy = Candidacy(np.array([1, 2], np.int64), known, Settings())
    orders = []
    for share in (0.0, 0.1, 1.0):
        base, _, _ = candidacy.match(near, word, Scale(1.0, 8.0, share))
        orders.append(int(base.argmax()))
        assert base.max() <= 1.0
    assert orders[0] == 0
    alone, _, _ = candidacy.match(near, np.zeros(2), Scale(1.0, 0.0))
    assert alone.tolist() == near.tolist()
    unseen, _, _ = candidacy.match(np.zeros(2), word, Scale(0.0, 8.0))
    assert unseen.tolist() == [0.0, 1.0]
