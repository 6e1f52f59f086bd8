"""Collections: entries under the caller's ids, over both clocks; beside a plain dictionary that knows nothing of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.config import Settings
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.errors import Conflict, DimensionMismatch, EmbedderError, InvalidInput, LimitExceeded
from cmc_mcp.model.entries import Entry, coerced
from cmc_mcp.model.filters import MISSING, Compare, Either, Every, Negation, compiled
from tests.support.embedders import CountingEmbedder
from tests.support.memories import erase, opened


def equals(field, value):
    return field is not MISSING and type(field) is type(value) and field == value


def below(field, value):
    return isinstance(field, int) and not isinstance(field, bool) and field < value


def shown(found):
    return {one.id: (one.text, one.metadata) for one in found}


@pytest.fixture
def memory(tmp_path):
    with opened(tmp_path, embedder=CountingEmbedder()) as memory:
        yield memory


@pytest.fixture
def notes(memory):
    return memory.collection("notes")


# ---------------------------------------------------------------------- against a dictionary
names = st.sampled_from(["a", "b", "c"])
words = st.sampled_from(["red", "green", "blue", ""])
facts = st.sampled_from([{}, {"n": 1}, {"n": True}, {"n": 2.5, "deep": {"x": [None]}}])
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(names, words, facts), min_size=1, max_size=3)),
    st.tuples(st.just("delete"), st.lists(names, min_size=1, max_size=2)),
    st.tuples(st.just("clear"), st.none()),
    st.tuples(st.just("rollback"), st.integers(0, 30)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=12))
def test_every_state_of_a_collection_is_that_of_a_dictionary(done):
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), embedder=CountingEmbedder()) as memory:
        notes, others = memory.collection("notes"), memory.collection("others")
        others.put([Entry("a", "red", {"n": 1})])
        now: dict[str, tuple[str, dict]] = {}
        states = {0: {}, 1: {}}
        for verb, argument in done:
            before = memory.status()["transaction"]
            if verb == "put":
                notes.put([Entry(id, text, fields) for id, text, fields in argument])
                now = now | {id: (text, fields) for id, text, fields in argument}
            elif verb == "delete":
                assert notes.delete(argument) == len(now.keys() & set(argument))
                now = {id: value for id, value in now.items() if id not in argument}
            elif verb == "clear":
                assert notes.clear() == len(now)
                now = {}
            else:
                to = max(1, argument % (before + 1))
                memory.rollback(to)
                now = states[to]
            after = memory.status()["transaction"]
            assert after in (before, before + 1)
            states[after] = now
        for seq, state in states.items():
            assert json.dumps(shown(notes.entries(as_of=seq)), sort_keys=True) == json.dumps(state, sort_keys=True)
            assert notes.count(as_of=seq) == len(state)
            near = notes.search(vector=notes.embed_query("red"), k=9, as_of=seq)
            assert shown(near) == state
            ones = notes.search(vector=notes.embed_query("red"), k=9, as_of=seq, where=Compare(("n",), equals, 1))
            assert {one.id for one in ones} == {
                id for id, (_, fields) in state.items() if fields == {"n": 1} and fields["n"] is not True
            }
        assert shown(others.entries()) == {"a": ("red", {"n": 1})}
        assert memory.verify().holds


# ---------------------------------------------------------------------- one entry, one memory
def test_a_wording_with_a_beginning_leaves_the_earlier_one_its_time(notes):
    notes.put([Entry("a", "winter", {"open": 9})])
    notes.put([Entry("a", "summer", {"open": 8}, valid_from="2025-04-01", valid_to="2025-10-01")])
    for day, text in (("2025-01-01", "winter"), ("2025-05-01", "summer"), ("2025-12-01", "winter")):
        assert [found.text for found in notes.entries(valid_at=day)] == [text]
        assert [found.text for found in notes.search(text=text, valid_at=day)] == [text]


def test_what_expires_is_gone_without_a_write(notes):
    notes.put([Entry("a", "soon gone", valid_to=1_750_000_100_000_000)])
    assert notes.count() == 1
    assert notes.count(valid_at=1_750_000_100_000_000) == 0
    assert notes.get(["a"])[0].valid_to_us == 1_750_000_100_000_000


def test_whoever_writes_the_same_words_writes_the_same_memory(memory, notes):
    notes.put([Entry("a", "red")])
    memory.as_principal("zoe").collection("notes").put([Entry("a", "red", {"n": 1}), Entry("b", "blue")])
    assert len(notes.wordings("a")) == 1
    assert [found.vif["writer"] for found in notes.get(["a", "b"])] == ["maya", "zoe"]


def test_a_memory_that_is_revised_stays_the_entry_it_is(memory, notes):
    notes.put([Entry("a", "red", {"n": 1})])
    memory.revise(notes.wordings("a")[0], content="dark red")
    found = notes.get(["a"])
    assert [(one.text, one.metadata) for one in found] == [("dark red", {"n": 1})]
    assert len(notes.wordings("a")) == 2
    notes.put([Entry("a", "light red")])
    assert shown(notes.entries()) == {"a": ("light red", {})}
    assert memory.verify().holds


def test_an_entry_that_came_back_is_superseded_by_nothing(memory, notes):
    for text in ("red", "blue", "red"):
        notes.put([Entry("a", text)])
    assert [item.superseded_by for item in memory.recall("red").items] == [[]]


def test_what_is_not_searchable_is_looked_up_filtered_and_nothing_else(memory, notes):
    notes.put([Entry("k", '{"secret": "kettle"}', {"n": 1}, extra={"x": 0.5}, searchable=False), Entry("a", "red")])
    assert notes.get(["k"])[0].text == '{"secret": "kettle"}'
    assert notes.get(["k"])[0].extra == {"x": 0.5}
    assert [found.id for found in notes.entries(where=Compare(("n",), equals, 1))] == ["k"]
    assert notes.search(text="kettle") == []
    assert [found.id for found in notes.search(vector=notes.embed_query("kettle"), k=9)] == ["a"]
    assert [item.text for item in memory.recall("kettle secret").items] == ["red"]
    assert memory.status()["pending"] == 0
    assert memory.verify().holds


def test_large_texts_are_kept_as_objects(memory, notes):
    big = "kettle " * 20_000
    notes.put([Entry("a", big), Entry("k", big + "!", searchable=False)])
    assert [found.text for found in notes.get(["a", "k"])] == [big, big + "!"]
    assert memory.verify().holds


def test_an_erased_entry_leaves_nothing_in_filters(memory, notes, tmp_path):
    notes.put([Entry("a", "red", {"who": "swordfish"}), Entry("b", "blue", {"n": 1})])
    mine = Compare(("who",), equals, "swordfish")
    assert notes.count(where=mine) == 1
    erase(memory, notes.wordings("a"))
    assert notes.count(where=mine, as_of=1) == 0
    assert [found.id for found in notes.entries(as_of=1)] == ["b"]
    assert notes.count(as_of=1) == 1
    with pytest.raises(Conflict, match="erased"):
        notes.put([Entry("c", "fine"), Entry("a", "red")])
    assert notes.get(["c"]) == []
    assert b"swordfish" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_metadata_that_were_erased_and_are_told_again_are_filtered_again(memory, notes):
    mine = Compare(("who",), equals, "swordfish")
    notes.put([Entry("a", "red", {"who": "swordfish"})])
    erase(memory, notes.wordings("a"))
    assert notes.count(where=mine) == 0
    notes.put([Entry("b", "blue", {"who": "swordfish"})])
    assert notes.count(where=mine) == 1
    assert memory.verify().holds


def test_a_source_cannot_bear_the_name_of_a_collection(memory):
    with pytest.raises(InvalidInput, match="collection:"):
        memory.remember("text", source="collection:notes")


# ---------------------------------------------------------------------- search
def test_both_ways_give_the_same_rows(tmp_path):
    texts = [f"text {n} {'ab' * (n % 9)}" for n in range(120)]
    with opened(tmp_path, embedder=CountingEmbedder()) as memory:
        memory.collection("notes").put([Entry(str(n), text, {"n": n}) for n, text in enumerate(texts)])
        memory.remember("text of somebody else")
        memory.collection("notes").delete([str(n) for n in range(0, 120, 5)])
    answers = []
    for chosen in (Settings(), Settings(matrix_bytes_max=0)):
        with opened(tmp_path, embedder=CountingEmbedder(), settings=chosen) as memory:
            notes = memory.collection("notes")
            vector, where = notes.embed_query("abab text"), Compare(("n",), below, 70)
            answers.append(
                [
                    [(one.id, one.score) for one in found]
                    for found in (
                        notes.search(vector=vector, k=15, where=where),
                        notes.search(text="text abab", k=15, where=where),
                        notes.search(vector=vector, text="text abab", k=15, where=where),
                        notes.search(vector=vector, k=3, ids=["1", "2", "5", "7"]),
                        notes.diverse(vector, k=5, where=where),
                        notes.recall("text abab", k=5, where=where),
                    )
                ]
            )
    assert answers[0] == answers[1]
    assert [len(found) for found in answers[0]] == [15, 15, 15, 3, 5, 5]


def test_hybrid_is_the_share_of_each(notes):
    notes.put([Entry("a", "kettle"), Entry("b", "elttek"), Entry("c", "zzz")])
    vector = notes.embed_query("kettle")
    both = {one.id: one.score for one in notes.search(vector=vector, text="kettle", k=3, alpha=0.25)}
    cosines = {one.id: one.score for one in notes.search(vector=vector, k=3)}
    words = {one.id: one.score for one in notes.search(text="kettle", k=3)}
    assert set(words) == {"a"}
    for id, score in both.items():
        assert score == pytest.approx(0.25 * (1 + cosines[id]) / 2 + 0.75 * (id in words), abs=1e-6)
    assert [one.score for one in notes.search(vector=vector, text="kettle", k=3, alpha=1.0)] == sorted(
        cosines.values(), reverse=True
    )


def test_entries_come_in_order_and_by_pages(notes):
    notes.put([Entry(str(n), f"text {n}") for n in range(10)])
    assert [one.id for one in notes.entries(limit=3, offset=4)] == ["4", "5", "6"]
    assert [one.id for one in notes.entries(ids=["7", "x", "2"])] == ["7", "2"]
    assert [one.id for one in notes.get(["7", "7", "2"])] == ["7", "2"]


def test_virtual_columns_of_several_writers(memory, notes):
    notes.put([Entry("a", "red", {"n": 1}, confidence=0.9)])
    memory.as_principal("zoe").collection("notes").put([Entry("b", "blue", {"n": 1}, valid_from="2025-01-01")])
    for path, value, ids in (
        (("vif", "writer"), "zoe", ["b"]),
        (("vif", "confidence", "lo"), 0.9, ["a"]),
        (("vif", "valid_from"), "2025-01-01T00:00:00.000000Z", ["b"]),
        (("vif", "transaction"), 1, ["a"]),
        (("vif", "model_id"), "x", []),
    ):
        assert [one.id for one in notes.entries(where=Compare(path, equals, value))] == ids
        both = Every((Compare(path, equals, value), Compare(("n",), equals, 1)))
        assert [one.id for one in notes.search(text="red blue", where=both)] == ids
    assert notes.get(["a"])[0].vif["confidence"] == {"lo": 0.9, "hi": 0.9}


# ---------------------------------------------------------------------- filters
leaves = st.builds(
    Compare,
    st.sampled_from([("n",), ("d", "x"), ("d", "l", "1")]),
    st.just(equals),
    st.sampled_from([1, True, 1.0, "a", None]),
)
wheres = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Either(tuple(parts))),
        inner.map(Negation),
    ),
    max_leaves=6,
)
METADATA = [
    {}, {"n": 1}, {"n": True}, {"n": 1.0}, {"n": None}, {"n": "a", "d": {"x": 1}}, {"d": {"x": "a", "l": [0, True]}},
    {"d": {"l": [0, 1]}}, {"d": [1]}, {"n": [1]},
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("filters")) as memory:
        notes = memory.collection("notes")
        notes.put([Entry(str(n), f"text {n}", fields) for n, fields in enumerate(METADATA)])
        yield notes


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=wheres)
def test_a_filter_passes_what_its_function_passes(filled, where):
    test = compiled(where)
    expected = [str(n) for n, fields in enumerate(METADATA) if test(fields)]
    assert [one.id for one in filled.entries(where=where)] == expected
    assert sorted(one.id for one in filled.search(text="text", k=50, where=where)) == expected


def test_a_filter_sees_what_was_put_since_it_was_last_asked(notes):
    where = Compare(("n",), equals, 1)
    assert notes.count(where=where) == 0
    notes.put([Entry("a", "red", {"n": 1})])
    assert notes.count(where=where) == 1
    notes.put([Entry("a", "red", {"n": 2})])
    assert notes.count(where=where) == 0
    assert notes.count(where=where, as_of=1) == 1


# ---------------------------------------------------------------------- vectors
def test_vectors_that_are_handed_over_are_used_and_their_length_is_learnt(tmp_path):
    rows = np.eye(4, dtype=np.float32) * 3
    with opened(tmp_path, embedder=ExternalEmbedder("theirs")) as memory:
        notes = memory.collection("notes")
        notes.put([Entry(str(n), f"text {n}", vector=row.tolist()) for n, row in enumerate(rows)])
        with pytest.raises(EmbedderError, match="handed over"):
            notes.put([Entry("x", "no vector")])
    with opened(tmp_path, embedder=ExternalEmbedder("theirs")) as memory:
        notes = memory.collection("notes")
        found = notes.search(vector=[0, 0, 1, 0], k=4)
        assert (found[0].id, found[0].score) == ("2", 1.0)
        for wrong in ([1.0] * 3, [1.0] * 5):
            with pytest.raises(DimensionMismatch):
                notes.search(vector=wrong)
            with pytest.raises(DimensionMismatch):
                notes.put([Entry("y", "other", vector=wrong)])
        with pytest.raises(DimensionMismatch):
            notes.put([Entry("y", "one", vector=[1.0] * 4), Entry("z", "two", vector=[1.0] * 3)])
        assert notes.count() == 4
    with opened(tmp_path, embedder=ExternalEmbedder("others")) as memory:
        with pytest.raises(DimensionMismatch, match="theirs"):
            memory.collection("notes").search(vector=[1.0, 0, 0, 0])


def test_without_a_model_words_are_searched_and_vectors_refused(tmp_path):
    with opened(tmp_path) as memory:
        notes = memory.collection("notes")
        notes.put([Entry("a", "red kettle")])
        assert [one.id for one in notes.search(text="kettle")] == ["a"]
        assert [one.id for one in notes.recall("kettle")] == ["a"]
        for call in (lambda: notes.search(vector=[1.0]), lambda: notes.put([Entry("b", "x", vector=[1.0])])):
            with pytest.raises(InvalidInput, match="without an embedding model"):
                call()
        with pytest.raises(EmbedderError):
            notes.embed_query("x")


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (Entry("", "x"), "id"),
        (Entry(7, "x"), "id"),
        (Entry(None, "x"), "id"),
        (Entry("a\0", "x"), "id"),
        (Entry("a" * 2_049, "x"), "id"),
        (Entry("a", None), "text"),
        (Entry("a", "x\0"), "text"),
        (Entry("a", "\ud800"), "text"),
        (Entry("a", "x", ["n"]), "metadata"),
        (Entry("a", "x", {"n": object()}), "metadata.n"),
        (Entry("a", "x", {"n": {1, "a", b"x"}}), "metadata.n"),
        (Entry("a", "x", {"n": "\ud800"}), "metadata"),
        (Entry("a", "x", {("t",): 1}), "metadata"),
        (Entry("a", "x", {"n": "x" * 65_536}), "metadata"),
        (Entry("a", "x", extra=object()), "extra"),
        (Entry("a", "x", confidence=2), "confidence"),
        (Entry("a", "x", confidence=True), "confidence"),
        (Entry("a", "x", valid_from="tomorrow"), "valid_from"),
        (Entry("a", "x", valid_from="2025-01-02", valid_to="2025-01-01"), "valid_to"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said_with_its_place_and_nothing_is_put(memory, notes, entry, path):
    with pytest.raises(InvalidInput) as caught:
        notes.put([Entry("fine", "fine"), entry])
    assert caught.value.problems[0].path in (f"entries[1].{path}", path)
    assert memory.status()["transaction"] == 0


def test_arguments_out_of_bounds(memory, notes):
    for k in (0, -1, True, "3", 10_001):
        with pytest.raises(InvalidInput):
            notes.search(text="x", k=k)
    for call in (
        lambda: notes.search(),
        lambda: notes.search(text="x", vector=notes.embed_query("x"), alpha=2),
        lambda: notes.diverse(notes.embed_query("x"), share=-1),
        lambda: notes.get("abc"),
        lambda: notes.get([1]),
        lambda: notes.delete("abc"),
        lambda: notes.recall("x", mode="magic"),
        lambda: notes.recall("x", mode="dense", writer="maya"),
        lambda: memory.collection(" "),
        lambda: memory.collection("x" * 257),
        lambda: memory.collection(7),
        lambda: notes.entries(where=Compare((), equals, 1)),
        lambda: notes.entries(where=Compare(("vif",), equals, 1)),
        lambda: notes.entries(where=Compare(("vif", "content_hash"), equals, 1)),
    ):
        with pytest.raises(InvalidInput):
            call()
    deep = Compare(("n",), equals, 1)
    for _ in range(40):
        deep = Negation(deep)
    with pytest.raises(LimitExceeded, match="FILTER_DEPTH_MAX"):
        notes.entries(where=deep)
    with pytest.raises(LimitExceeded, match="FILTER_NODES_MAX"):
        notes.entries(where=Compare(("n",), equals, tuple(range(10_001))))


def test_coercion_ends_at_a_depth(notes):
    loop: list = []
    loop.append(loop)
    with pytest.raises(InvalidInput, match="levels deep"):
        notes.put([Entry("a", "x", {"loop": loop})])
    assert coerced({"a": float("inf")}, "x") == {"a": None}
