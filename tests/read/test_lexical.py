"""Full text finds, our BM25 scores: against a full scan, across workspaces, at any read point, under any filter."""

from __future__ import annotations

import math
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.index.lexicon import Lexicon
from cmc_mcp.memory import Memory
from cmc_mcp.read.lexical import LexicalSearch
from cmc_mcp.store.postings import BLOCK, made_of, rid_of
from cmc_mcp.terms.near import Vocabulary
from cmc_mcp.terms.passage import EXTRA_WEIGHT
from cmc_mcp.terms.query import query_terms, widened
from tests.read.made import asked, both_ways, point_at
from tests.support import reach
from tests.support.memories import erase
from tests.support.together import together

LETTERS = [f"{a}{b}" for a in ("ba", "ke", "mo", "zu", "ri") for b in ("n", "t", "lo", "pa")]


def _opened(folder: Path, workspace: str = "default", settings_: Settings | None = None) -> Memory:
    return Memory.open(folder / "memory.db", embedder=None, workspace=workspace, settings=settings_)


def _words(
    memory: Memory, query: str, k: int, *, seq: int | None = None, lexicon: Lexicon | None = None, **filters: object
) -> list[tuple[int, float]]:
    """Ask full text both with the matrix and without it; they must agree."""
    with reach.reader(memory) as view:
        ways = both_ways(memory, view, point_at(view, seq), asked(**filters))
        if ways is None:
            return []
        fast, slow = (LexicalSearch(way, query, memory.settings, lexicon or Lexicon(view.ws)) for way in ways)
        answer = fast.best(k)
        assert answer == slow.best(k)
        rids = np.array(sorted(rid for rid, _ in answer), np.int64)
        alone, nobody = np.zeros((len(rids), 4), np.int64), np.zeros(len(rids), np.bool_)
        found = fast.in_context(rids, alone, np.zeros(len(rids)), nobody)
        for rid, score in zip(rids.tolist(), found.tolist(), strict=True):
            assert math.isclose(score, dict(answer)[rid], rel_tol=1e-12)
        return answer


def _oracle(memory: Memory, query: str, seq: int | None = None) -> dict[int, float]:
    """BM25 by a full scan over every passage ever recorded up to the read point, near terms beside each word."""
    settings_ = memory.settings
    with reach.reader(memory) as view:
        point = point_at(view, seq)
        rows = [row for row in view.all_atoms() if row.rid <= point.head.last_rid]
        bodies = {row.rid: (view.payload(row.content) or b"").decode() for row in rows}
        made = {row.rid: made_of(view.heading(row.rid), bodies[row.rid]) for row in rows}
        live = set(view.live_atoms(point.head.seq, point.valid_at))  # type: ignore[attr-defined]
    average = sum(one.length for one in made.values()) / max(1, len(made))
    assert sum(one.length for one in made.values()) == point.head.tokens and len(made) == point.head.passages
    vocabulary = Vocabulary()
    for rid in sorted(made):
        vocabulary.add(rid, made[rid].terms)

    def counts(term: str) -> dict[int, float]:
        found = {rid: one.terms[term] for rid, one in made.items() if term in one.terms}
        return {rid: t + settings_.heading_weight * h + EXTRA_WEIGHT * x for rid, (t, h, x) in found.items()}

    terms = [term for term in query_terms(query) if not term.function] or list(query_terms(query))
    sought = [(term.weight, counts(term.term)) for term in terms[: settings_.terms_max]]
    for term, weight in widened(terms[: settings_.terms_max], lambda one: bool(counts(one))):
        near: dict[int, float] = {}
        for other, share in vocabulary.near(term.term, point.head.last_rid):
            near = {rid: max(near.get(rid, 0.0), share * counts(other).get(rid, 0.0)) for rid in near | counts(other)}
        sought.append((weight, near))
    out: dict[int, float] = {}
    for weight, held in sought:
        idf = math.log(1 + (len(made) - len(held) + 0.5) / (len(held) + 0.5))
        for rid in held.keys() & live:
            norm = settings_.bm25_k1 * (1 - settings_.bm25_b + settings_.bm25_b * made[rid].length / average)
            out[rid] = out.get(rid, 0.0) + weight * idf * held[rid] * (settings_.bm25_k1 + 1) / (held[rid] + norm)
    return out


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 60), asked_words=st.integers(1, 8), k=st.integers(1, 80))
def test_scores_are_those_of_a_full_scan(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, asked_words: int, k: int
) -> None:
    rng = random.Random(seed)
    words = lambda n: " ".join(rng.choice(LETTERS) for _ in range(n))  # noqa: E731
    with _opened(tmp_path_factory.mktemp("bm25")) as memory:
        items = [{"content": f"{words(rng.randint(1, 12))}"} for _ in range(size)]
        for item in items[::3]:
            item["title"] = words(2)
        ids = memory.remember_many(items).added  # type: ignore[arg-type]
        memory.forget(ids[0])
        middle = memory.recall("x").read_point.transaction
        memory.remember_many([{"content": words(5) + " later"} for _ in range(10)])
        for seq in (None, middle, 1):
            query = words(asked_words)
            truth = _oracle(memory, query, seq)
            found = _words(memory, query, k, seq=seq)
            assert len(found) == min(k, len(truth))
            assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
            np.testing.assert_allclose([s for _, s in found], sorted(truth.values(), reverse=True)[:k], rtol=1e-12)
            for rid, score in found:
                assert math.isclose(score, truth[rid], rel_tol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_another_workspace_and_later_writes_never_move_a_score(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    words = lambda: " ".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 9)))  # noqa: E731
    with _opened(tmp_path_factory.mktemp("apart")) as memory:
        other = memory.as_principal("local", "other")
        other.remember_many([{"content": words()} for _ in range(20)])
        memory.remember_many([{"content": words()} for _ in range(20)])
        seq = memory.recall("x").read_point.transaction
        queries = [words() for _ in range(4)]
        before = [_words(memory, query, 50) for query in queries]
        other.remember_many([{"content": words(), "title": words()} for _ in range(30)])
        assert [_words(memory, query, 50) for query in queries] == before
        memory.remember_many([{"content": words()} for _ in range(30)])
        kept = Lexicon(reach.ws(memory))
        assert [_words(memory, query, 50, seq=seq, lexicon=kept) for query in queries] == before
        now = [_words(memory, query, 50, lexicon=kept) for query in queries]
        assert now == [_words(memory, query, 50) for query in queries]
        assert [_words(memory, query, 50, seq=seq, lexicon=kept) for query in queries] == before


@pytest.mark.parametrize(
    "query",
    [
        '"', '""', "AND", "OR NOT", "a AND (b", "deploy NEAR(x, 3)", "heading: deploy", "{text} : deploy", "deploy*", "^deploy",
        "-deploy", "de'ploy", "deploy; DROP TABLE passages", "😀 deploy 🚀", "部署 デプロイ 배포", "ده‌پلوی", "\t\n deploy \r\n",
        "deploy\u0301", "ﬁ deploy", "deploy " * 1000, "\u200b", "...", "\\", "%s", "deploy\x7f", "ÀÉÎ deploy",
    ],
)  # fmt: skip
def test_operators_and_odd_text_are_data(tmp_path: Path, query: str) -> None:
    with _opened(tmp_path) as memory:
        memory.remember("we deploy on Fridays")
        memory.remember("nothing to see here")
        items = memory.recall(query).items
        assert [item.text for item in items] in ([], ["we deploy on Fridays"])
        assert bool(items) == ("deploy" in query or query == "de'ploy"), "an accent is folded, an ending is near"


def test_words_of_other_scripts_are_found(tmp_path: Path) -> None:
    with _opened(tmp_path) as memory:
        for text in ("Привет мир", "γειά σου κόσμε", "naïve café", "数据库 备份", "Straße"):
            memory.remember(text)
        for query, text in (
            ("привет", "Привет мир"),
            ("ΚΌΣΜΕ", "γειά σου κόσμε"),
            ("cafe", "naïve café"),
            ("备份", "数据库 备份"),
        ):
            assert memory.recall(query).items[0].text == text


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    """3,000 passages of the same words, ten of them with a rare tag; every term passes the cap of 500."""
    memory = _opened(
        tmp_path_factory.mktemp("common"),
        settings_=Settings(frequent_min=500, frequent_max=500, lexical_candidates=100),
    )
    memory.remember_many(
        [
            {
                "content": f"the weekly report of the team number {i}" + (" is late" if i % 3 == 0 else " is done"),
                "tags": {"rare": "yes" if i % 300 == 0 else "no", "half": "a" if i < 1500 else "b"},
            }
            for i in range(3_000)
        ]
    )
    return memory


@pytest.mark.parametrize(
    "query", ["weekly report", "the team", "report late", "the weekly report of the team is done late"]
)
def test_as_many_as_exist_are_given_whatever_the_filter(common: Memory, query: str) -> None:
    assert len(_words(common, query, 50, tags=(("rare", "yes"),))) == 10
    assert len(_words(common, query, 50, tags=(("half", "a"),))) == 50
    assert len(_words(common, query, 50)) == 50
    assert len(_words(common, f"{query} 2999", 50)) == 50
    best = common.recall("report number 2999", limit=3).items
    assert best[0].text.startswith("the weekly report of the team number 2999")


def test_frequent_terms_add_to_what_rare_ones_find(common: Memory) -> None:
    plain = dict(_words(common, "7 8 9", 20))
    more = dict(_words(common, "7 8 9 late", 20))
    texts = {rid: more[rid] - plain[rid] for rid in plain.keys() & more.keys()}
    assert any(gain > 0 for gain in texts.values())
    assert min(texts.values()) >= 0


def test_a_rare_term_over_the_bound_still_brings_its_passages(tmp_path: Path) -> None:
    bounds = Settings(frequent_min=10_000, lexical_candidates=20)
    with _opened(tmp_path, settings_=bounds) as memory:
        memory.remember_many([{"content": f"alpha beta {i}", "tags": {"t": "x" if i < 3 else "y"}} for i in range(200)])
        memory.remember("gamma alone", tags={"t": "x"})
        assert len(_words(memory, "gamma alpha", 30)) == 30
        assert len(_words(memory, "gamma alpha", 30, tags=(("t", "x"),))) == 4


def test_a_query_of_unknown_words_finds_nothing(tmp_path: Path) -> None:
    with _opened(tmp_path) as memory:
        assert memory.recall("anything").items == []
        memory.remember("something else")
        assert memory.recall("anything").items == []


def test_who_reads_while_blocks_fill_sees_what_the_read_point_has(tmp_path: Path) -> None:
    """One writes past two blocks; threads ask one lexicon, and those of another handle another one, of every state."""
    with _opened(tmp_path) as memory, _opened(tmp_path) as other:
        memory.remember("common p0")
        shared, theirs = Lexicon(reach.ws(memory)), Lexicon(reach.ws(other))
        writing, asked = threading.Event(), [0]

        def write() -> None:
            for start in range(1, 2 * BLOCK + 200, 90):
                memory.remember_many([{"content": f"common p{number % 7}"} for number in range(start, start + 90)])
            writing.set()

        def ask(handle: Memory, lexicon: Lexicon, seed: int) -> None:
            rng = random.Random(seed)
            done = False
            while not done:
                done = writing.is_set()  # once more after the last write
                with reach.reader(handle) as view:
                    last = view.head().last_rid
                    upto = rng.choice((last, Rid(rng.randint(rid_of(view.ws, 1), last))))
                    found = lexicon.postings(view, ("common", "p3", "never"), upto)
                    first, size = rid_of(view.ws, 1), upto - rid_of(view.ws, 0)
                    assert found["common"].rids.tolist() == list(range(first, upto + 1))
                    assert found["p3"].rids.tolist() == [first + place for place in range(3, size, 7)]
                    assert len(found["never"].rids) == 0
                    assert lexicon.lengths(view, found["common"].rids).tolist() == [2.0] * size
                    near = lexicon.near(view, ("commom",), upto, 1.0)
                    assert near["commom"].rids.tolist() == found["common"].rids.tolist()
                    asked[0] += 1

        readers = [(ask, (memory, shared, 1)), (ask, (memory, shared, 2)), (ask, (other, theirs, 3))]
        together(lambda work, arguments: work(*arguments), [(write, ()), *readers])
        assert asked[0] > len(readers)
        assert memory.verify().faults == []


@pytest.mark.parametrize("matrix_bytes_max", [0, Settings().matrix_bytes_max])
def test_what_was_read_of_words_is_kept_with_and_without_a_matrix(tmp_path: Path, matrix_bytes_max: int) -> None:
    with _opened(tmp_path, settings_=Settings(matrix_bytes_max=matrix_bytes_max)) as memory:
        gone = memory.remember("the heron stands in the water").added
        for _ in range(2):
            memory.recall("heron")
            with reach.reader(memory) as view:
                lexicon = reach.kept(memory).of(view.erasure_count(), Lexicon, view.ws)
            assert "heron" in lexicon._known
        erase(memory, gone)
        with reach.reader(memory) as view:
            assert not reach.kept(memory).of(view.erasure_count(), Lexicon, view.ws)._known
