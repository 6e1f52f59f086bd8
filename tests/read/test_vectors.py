"""The matrix in memory gives the rows and scores of the exact path, whatever was written, filtered and asked."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.index.columns import best
from cmc_mcp.memory import Memory
from cmc_mcp.model.time import parse_time
from cmc_mcp.store.codes import SCALE, SEGMENT_VECTORS, exact, quantise
from tests.read.made import assert_equal_paths, opened
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.memories import erase

EMBEDDER = HashVectors()
MANY = 2 * SEGMENT_VECTORS + 150  # two packed segments and a tail


def _query(text: str) -> np.ndarray:
    return EMBEDDER.embed([text])[0]


def _fill(memory: Memory, count: int, start: int = 0) -> None:
    memory.remember_many(
        [
            {
                "content": f"topic {i % 40}~{i}",
                "modality": ("text", "code", "event")[i % 3] if i % 3 != 2 else "text",
                "tags": {"tenth": f"t{i % 10}", "half": f"h{i % 2}", "rare": "yes" if i % 100 == 0 else "no"},
                "confidence": (i % 100) / 100,
                "source": f"doc{i % 7}-{i}" if i % 4 == 0 else None,
                "valid_from": "2026-01-01T00:00:00Z" if i % 5 == 0 else None,
                "valid_to": "2026-06-01T00:00:00Z" if i % 15 == 0 else None,
            }
            for i in range(start, start + count)
        ]  # type: ignore[list-item]
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    memory = opened(tmp_path_factory.mktemp("large"))
    _fill(memory, MANY)
    memory.as_principal("another").remember_many([{"content": f"topic {i % 40}~other {i}"} for i in range(60)])
    return memory


@pytest.mark.parametrize("k", [1, 2, 10, 37, 100])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"tags": (("rare", "yes"),)},
        {"tags": (("tenth", "t3"),)},
        {"tags": (("half", "h1"),)},
        {"tags": (("half", "h1"), ("tenth", "t3"))},
        {"tags": (("half", "h0"), ("tenth", "t3"))},
        {"modalities": ("code",)},
        {"modalities": ("text", "event")},
        {"sources": ("doc0-0", "doc1-8", "doc4-4")},
        {"sources": ("nowhere",)},
        {"writers": ("another",)},
        {"writers": ("another", "local")},
        {"min_confidence": 0.99},
        {"min_confidence": 0.5},
        {"min_confidence": 0.9, "modalities": ("text",), "tags": (("half", "h0"),)},
    ],
    ids=str,
)
def test_the_matrix_equals_the_exact_path_under_every_filter(large: Memory, filters: dict[str, object], k: int) -> None:
    for topic in ("topic 3~=", "topic 17~200", "nothing like it"):
        rows = assert_equal_paths(large, _query(topic), k, **filters)
        assert rows or filters.get("sources") == ("nowhere",) or len(filters.get("tags", ())) == 2  # type: ignore[arg-type]


def test_the_matrix_equals_the_exact_path_in_the_past_and_at_other_valid_times(large: Memory) -> None:
    for seq in (1, 2, 3):
        for when in ("2025-06-01", "2026-03-01", "2026-08-01"):
            assert_equal_paths(large, _query("topic 5~=="), 20, seq=seq, valid_at=parse_time(when, "x"))


def test_a_reopened_store_loads_segments_and_tail(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        _fill(memory, MANY)
        before = assert_equal_paths(memory, _query("topic 9~3"), 50)
    with opened(tmp_path) as memory:
        with reach.reader(memory) as view:
            assert len(list(view.packed_codes(view.models()[0][0]))) == 2
        assert assert_equal_paths(memory, _query("topic 9~3"), 50) == before


def test_vectors_of_segments_that_an_erase_dropped_are_still_found(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        _fill(memory, MANY)
        victim = memory.recall("topic 4~4", source="doc4-4", limit=1).items[0].id
        erase(memory, victim)
        assert_equal_paths(memory, _query("topic 1~1"), 50)
        _fill(memory, 2 * SEGMENT_VECTORS, MANY)  # packs later segments, and leaves a gap before them
        assert_equal_paths(memory, _query("topic 1~1"), 100)
    with opened(tmp_path) as memory:
        with reach.reader(memory) as view:
            numbers = [row[0] for row in view.packed_codes(view.models()[0][0])]
        assert numbers and numbers != list(range(len(numbers)))
        for topic in ("topic 1~1", "topic 2~2", "topic 30~2000"):
            assert_equal_paths(memory, _query(topic), 100)


def test_several_atoms_of_one_content_are_all_found(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for i in range(30):
            memory.remember("the same words", session="s", speaker="Ann" if i % 2 else "Ben", tags={"n": str(i)})
        memory.remember_many([{"content": f"others~{i}"} for i in range(300)])
        for k in (1, 5, 29, 30, 31, 100):
            rows = assert_equal_paths(memory, _query("the same words"), k)
            assert all(score == 1.0 for _, score in rows[:30])
        memory.remember("the same words", session="s", speaker="Cleo")
        assert len([1 for _, score in assert_equal_paths(memory, _query("the same words"), 40) if score == 1.0]) == 31


def test_exact_ties_at_the_border_go_by_id(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"tied~={i}"} for i in range(120)])
        for k in (1, 7, 50, 119, 120):
            assert_equal_paths(memory, _query("tied"), k)


def test_components_past_the_code_are_ranked_rightly(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"!{'x' * (i % 40)} spike~{i}"} for i in range(200)])
        memory.remember_many([{"content": f"plain~{i}"} for i in range(200)])
        codes, errors = quantise(EMBEDDER.embed(["!xx spike~1"]))
        assert np.abs(codes).max() == 127 and errors[0] > 0.5
        for text in ("!xx spike~1", "!xxxx spike~4", "plain~3"):
            for k in (1, 10, 60):
                assert_equal_paths(memory, _query(text), k)


def test_what_is_embedded_later_counts_from_then_on(tmp_path: Path) -> None:
    down = HashVectors(down=True)
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"early~{i}"} for i in range(50)])
    with opened(tmp_path, embedder=down) as memory:
        memory.remember_many([{"content": f"late~{i}"} for i in range(50)])
        memory.remember("late~1", session="again")
        assert memory.recall("late").mode.pending == 51
        waiting = memory.recall("x").read_point.transaction
        rows = assert_equal_paths(memory, _query("late"), 60, seq=waiting)
        assert len(rows) == 50
        down.down = False
        assert memory.embed_pending() == 50
        assert len(assert_equal_paths(memory, _query("late"), 200)) == 101
        assert assert_equal_paths(memory, _query("late"), 60, seq=waiting) == rows
        assert memory.recall("late").mode.pending == 0
        assert memory.recall("late", as_of=waiting).mode.pending == 51


def test_revise_forget_rollback_and_erase_reach_the_matrix(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"fact~{i}", "tags": {"n": str(i)}} for i in range(80)])
        start = memory.snapshot("start")
        ids = [item.id for item in memory.recall("fact", limit=20, budget_tokens=5000).items]
        assert_equal_paths(memory, _query("fact"), 100)
        memory.revise(ids[0], content="fact~revised")
        assert_equal_paths(memory, _query("fact"), 100)
        memory.revise(ids[1], tags={"n": "changed"})
        assert len(assert_equal_paths(memory, _query("fact"), 100, tags=(("n", "changed"),))) == 1
        memory.forget(ids[2:6])
        assert len(assert_equal_paths(memory, _query("fact"), 100)) == 76
        memory.revise(ids[7], valid_to="2026-01-01")
        assert len(assert_equal_paths(memory, _query("fact"), 100)) == 75
        memory.rollback(start)
        assert len(assert_equal_paths(memory, _query("fact"), 100)) == 80
        erase(memory, ids[8])
        assert len(assert_equal_paths(memory, _query("fact"), 100)) == 79
        for seq in range(1, memory.recall("x").read_point.transaction + 1):
            assert_equal_paths(memory, _query("fact"), 100, seq=seq)


def test_what_another_memory_writes_is_found_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        rng = random.Random(4)
        for round_ in range(12):
            writer = rng.choice([one, two])
            writer.remember_many([{"content": f"shared {round_}~{i}"} for i in range(rng.randint(1, 40))])
            if round_ % 3 == 2:
                writer.forget(writer.recall(f"shared {round_ - 1}").items[0].id)
            for reader in (one, two):
                assert_equal_paths(reader, _query(f"shared {round_}"), 25)


def test_what_another_process_writes_is_found_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.read.made import opened\n"
        "with opened(Path(sys.argv[1])) as memory: memory.remember('written elsewhere')"
    )
    with opened(tmp_path) as memory:
        memory.remember("written here")
        assert_equal_paths(memory, _query("written elsewhere"), 5)
        root = str(Path(__file__).parents[2])
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=root)
        assert assert_equal_paths(memory, _query("written elsewhere"), 5)[0][1] == 1.0


def test_workspaces_do_not_see_each_other(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        other = memory.as_principal("local", "other")
        for i in range(5):
            memory.remember_many([{"content": f"mine~{i} {j}"} for j in range(20)])
            other.remember_many([{"content": f"mine~{i} {j}"} for j in range(0, 40, 2)])
            assert len(assert_equal_paths(memory, _query("mine"), 200)) == 20 * (i + 1)
            assert len(assert_equal_paths(other, _query("mine"), 200)) == 20 * (i + 1)


def test_an_interrupted_load_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.index.matrix import Matrix

    with opened(tmp_path) as memory:
        _fill(memory, 50)
        assert_equal_paths(memory, _query("topic 1~1"), 20)
        _fill(memory, 50, 50)

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Matrix, "_load_intervals", interrupted)
            with pytest.raises(KeyboardInterrupt):
                memory.recall("topic")
        assert len(assert_equal_paths(memory, _query("topic 1~1"), 100)) > 50


WORDS = st.sampled_from([f"c{i}~{j}" for i in range(4) for j in ("1", "2", "3", "=1", "=2", "=3")] + ["!a~1", "!b~2"])
STEP = st.one_of(
    st.tuples(st.just("remember"), st.lists(WORDS, min_size=1, max_size=8), st.sampled_from(["a", "b"])),
    st.tuples(st.just("forget"), st.integers(0, 50)),
    st.tuples(st.just("revise"), st.integers(0, 50), st.sampled_from(["a", "b"])),
    st.tuples(st.just("rollback"), st.integers(0, 50)),
    st.tuples(st.just("embed")),
    st.tuples(st.just("down"), st.booleans()),
    st.tuples(st.just("reopen")),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=12), query=WORDS, k=st.integers(1, 30))
def test_the_paths_agree_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]], query: str, k: int
) -> None:
    folder = tmp_path_factory.mktemp("history")
    embedder = HashVectors()
    memory = opened(folder, embedder=embedder)
    ids: list[str] = []
    for verb, *arguments in steps:
        if verb == "remember":
            texts, tag = arguments
            ids += memory.remember_many([{"content": t, "tags": {"t": tag}} for t in texts]).added  # type: ignore[attr-defined]
        elif verb == "forget" and ids:
            memory.forget(ids[arguments[0] % len(ids)])  # type: ignore[operator]
        elif verb == "revise" and ids and memory.history(ids[arguments[0] % len(ids)]).versions[-1].ended is None:  # type: ignore[operator]
            memory.revise(ids[arguments[0] % len(ids)], tags={"t": arguments[1]})  # type: ignore[operator,dict-item]
        elif verb == "rollback" and ids:
            memory.rollback(1 + arguments[0] % memory.recall("x").read_point.transaction)  # type: ignore[operator]
        elif verb == "down":
            embedder.down = bool(arguments[0])
        elif verb == "embed" and not embedder.down:
            memory.embed_pending()
        elif verb == "reopen":
            memory.close()
            memory = opened(folder, embedder=embedder)
        head = int(memory.status()["transaction"] or 0)
        if head:
            vector = HashVectors().embed([query])[0]
            assert_equal_paths(memory, vector, k)
            assert_equal_paths(memory, vector, k, tags=(("t", "a"),))
            assert_equal_paths(memory, vector, k, seq=1 + k % head)
    memory.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([1.0, 0.05, 0.003]), spike=st.booleans())
def test_the_error_bound_of_a_code_holds(seed: int, spread: float, spike: bool) -> None:
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(48) + (np.arange(48) == 7) * (40.0 if spike else 0.0)
    made = base + spread * rng.standard_normal((200, 48))
    vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    codes, errors = quantise(vectors)
    coded = codes.astype(np.float64) / SCALE
    query, (query_code,), (query_error,) = vectors[0], codes[:1].astype(np.float64) / SCALE, errors[:1]
    truth = exact(query, vectors)
    slack = errors.max() + (1 + errors.max()) * query_error + 1e-6
    assert (np.abs(coded @ query_code - truth) <= slack).all()
    assert (np.abs(coded @ query.astype(np.float64) - truth) <= errors + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([30, 500, 25_000, 40_000]), share=st.floats(0.01, 1.0))
def test_the_sampled_best_are_the_best(seed: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(size).astype(np.float32)
    mask = rng.random(size) < share
    mask[0] = True
    count = int(rng.integers(1, 90))
    for chosen, among in (
        (best(scores, mask, count, int(mask.sum())), mask),
        (best(scores, None, count, size), None),
    ):
        passing = scores if among is None else scores[among]
        assert sorted(scores[chosen].tolist()) == sorted(np.sort(passing)[-count:].tolist())
        assert among is None or among[chosen].all()
