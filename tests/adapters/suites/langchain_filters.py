"""Filters: a truth table of every operator, and a naive reading of the language beside ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from cmc_mcp.adapters.langchain import BadFilter, CMCVectorStore, parsed
from cmc_mcp.errors import CmcError, InvalidInput, LimitExceeded
from cmc_mcp.model.filters import compiled

DOCUMENTS = {
    "one": {"x": 1},
    "float": {"x": 1.0},
    "five": {"x": 5},
    "text": {"x": "abc"},
    "upper": {"x": "ABC"},
    "true": {"x": True},
    "list": {"x": [1, "a"]},
    "null": {"x": None},
    "missing": {},
    "nested": {"x": {"y": 7}},
}
TABLE = [
    ({"x": 1}, "one float"),
    ({"x": {"$eq": 1.0}}, "one float"),
    ({"x": True}, "true"),
    ({"x": None}, "null missing"),
    ({"x": {"$ne": 1}}, "five text upper true list null missing nested"),
    ({"x": {"$ne": None}}, "one float five text upper true list nested"),
    ({"x": {"$gt": 1}}, "five"),
    ({"x": {"$gte": 1}}, "one float five"),
    ({"x": {"$lt": 5}}, "one float"),
    ({"x": {"$lte": "abc"}}, "text upper"),
    ({"x": {"$gt": "ABC"}}, "text"),
    ({"x": {"$in": [1, "abc"]}}, "one float text"),
    ({"x": {"$in": [None]}}, "null missing"),
    ({"x": {"$in": []}}, ""),
    ({"x": {"$nin": [1, "abc"]}}, "five upper true list null missing nested"),
    ({"x": {"$nin": []}}, " ".join(DOCUMENTS)),
    ({"x": {"$between": [1, 4]}}, "one float"),
    ({"x": {"$between": ["a", "b"]}}, "text"),
    ({"x": {"$exists": True}}, "one float five text upper true list null nested"),
    ({"x": {"$exists": False}}, "missing"),
    ({"x": {"$contains": 1}}, "list"),
    ({"x": {"$contains": "b"}}, "text"),
    ({"x": {"$any": ["a", "zz"]}}, "list text"),
    ({"x": {"$all": ["a", 1]}}, "list"),
    ({"x": {"$like": "a%"}}, "text"),
    ({"x": {"$like": "a_c"}}, "text"),
    ({"x": {"$like": "b"}}, ""),
    ({"x": {"$ilike": "%B%"}}, "text upper"),
    ({"x": {"$not": {"$gt": 1}}}, "one float text upper true list null missing nested"),
    ({"x": {"$gte": 1, "$lt": 5}}, "one float"),
    ({"x": [1, "a"]}, "list"),
    ({"x.y": 7}, "nested"),
    ({"x.y": {"$exists": False}}, "one float five text upper true list null missing"),
    ({"x.1": "a"}, "list"),
    ({"x." + "9" * 5_000: "a"}, ""),
    ({"$and": [{"x": {"$gt": 0}}, {"x": {"$lt": 2}}]}, "one float"),
    ({"$or": [{"x": 1}, {"x": "abc"}]}, "one float text"),
    ({"$nor": [{"x": {"$exists": True}}]}, "missing"),
    ({"$not": {"$or": [{"x": 1}, {"x.y": 7}]}}, "five text upper true list null missing"),
    ({}, " ".join(DOCUMENTS)),
]
WRONG = [
    {"x": {"gt": 1}},
    {"x": {"$regex": "a"}},
    {"$gt": 1},
    {"x": {}},
    {"x": {"$gt": None}},
    {"x": {"$gt": True}},
    {"x": {"$gt": [1]}},
    {"x": {"$in": "abc"}},
    {"x": {"$in": 1}},
    {"x": {"$in": {"a": 1}}},
    {"x": {"$between": [1]}},
    {"x": {"$between": [1, "a"]}},
    {"x": {"$exists": 1}},
    {"x": {"$like": 1}},
    {"x": {"$eq": float("nan")}},
    {"x": {"$eq": {"a": 1}}},
    {"x": {"y": 7}},
    {"x": object()},
    {"": 1},
    {3: 1},
    {"$and": []},
    {"$and": {"x": 1}},
    {"$or": [1]},
    {"vif": 1},
    {"vif.snapshot_id": "x"},
    {"vif.confidence.mid": 1},
    "x = 1",
    [{"x": 1}],
    7,
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with CMCVectorStore(DeterministicFakeEmbedding(size=8), path=tmp_path_factory.mktemp("f") / "memory.db") as store:
        store.add_documents([Document(f"the {name}", id=name, metadata=m) for name, m in DOCUMENTS.items()])
        yield store


@pytest.mark.parametrize(("filter", "expected"), TABLE, ids=lambda value: json.dumps(value)[:60])
def test_an_operator_matches_just_these(store, filter, expected):
    found = store.similarity_search("the", k=50, filter=filter)
    assert sorted(document.id for document in found) == sorted(expected.split())
    few = store.similarity_search("the", k=2, filter=filter)
    assert len(few) == min(2, len(expected.split()))


@pytest.mark.parametrize("filter", WRONG, ids=lambda value: repr(value)[:60])
def test_a_filter_that_says_nothing_sensible_is_refused_with_its_place(store, filter):
    with pytest.raises(InvalidInput) as caught:
        store.similarity_search("the", filter=filter)
    assert caught.value.problems[0].path.startswith("filter")


def test_what_is_wrong_in_the_language_is_a_value_error(store):
    with pytest.raises(ValueError, match="operator"):
        store.similarity_search("the", filter={"x": {"$near": 1}})


def test_a_filter_that_is_too_deep_or_too_large_is_refused(store):
    deep = {"x": 1}
    for _ in range(5_000):
        deep = {"$not": deep}
    with pytest.raises(BadFilter):
        store.similarity_search("the", filter=deep)
    with pytest.raises(LimitExceeded):
        store.similarity_search("the", filter={"x": {"$in": list(range(20_000))}})


def test_keys_and_values_are_data(store):
    for text in ("x') OR 1=1 --", '"$.x"', "$.x", "x\"]') --", "%", "_", "é", "x'"):
        assert store.similarity_search("the", k=50, filter={text.replace("$", "s"): 1}) == []
        assert store.similarity_search("the", k=50, filter={"x": text}) == []


def test_a_function_filters_until_k_are_found(store):
    names = {"one", "missing", "nested"}
    found = store.similarity_search("the", k=3, filter=lambda document: document.id in names)
    assert {document.id for document in found} == names
    assert len(store.similarity_search("the", k=1, filter=lambda document: document.metadata.get("x") == 5)) == 1
    assert store.similarity_search("the", k=3, filter=lambda document: False) == []


def test_the_witness_is_filtered_whether_or_not_it_is_shown(store):
    assert len(store.similarity_search("the", k=50, filter={"vif.writer": "local"})) == len(DOCUMENTS)
    assert store.similarity_search("the", k=50, filter={"vif.writer": "maya"}) == []
    found = store.similarity_search("the", k=50, filter={"vif.recorded_at": {"$gt": "2000"}, "x": 5})
    assert [document.id for document in found] == ["five"]
    assert len(store.similarity_search("the", k=50, filter={"vif.valid_to": {"$gt": "9000"}})) == len(DOCUMENTS)
    assert store.similarity_search("the", k=50, filter={"vif.confidence.lo": {"$gte": 0}}) == []
    atom = store.witness("one")["atom_id"]
    assert [d.id for d in store.similarity_search("the", filter={"vif.atom_id": atom})] == ["one"]


values = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.sampled_from(["", "a", "ab", "B"])
)
fields = values | st.lists(values, max_size=3)
documents = st.dictionaries(st.sampled_from("ab"), fields, max_size=2)
comparisons = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), fields),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-3, 3) | st.sampled_from(["a", "ab"])),
    st.tuples(st.just("$exists"), st.booleans()),
)
leaves = st.tuples(st.sampled_from("ab"), comparisons).map(lambda leaf: {leaf[0]: dict([leaf[1]])})
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=6,
)


def naive(document, filter):
    """Read the language word by word."""
    ((key, value),) = filter.items()
    if key == "$and":
        return all(naive(document, part) for part in value)
    if key == "$or":
        return any(naive(document, part) for part in value)
    if key == "$not":
        return not naive(document, value)
    ((name, operand),) = value.items()
    field = document.get(key)
    plain = json.dumps(field).replace("1.0", "1")
    same = lambda other: plain == json.dumps(other).replace("1.0", "1")  # noqa: E731
    if name in ("$eq", "$ne"):
        return same(operand) is (name == "$eq")
    if name in ("$in", "$nin"):
        return any(map(same, operand)) is (name == "$in")
    if name == "$exists":
        return (key in document) is operand
    kinds = {type(field), type(operand)}
    if not (kinds == {str} or kinds <= {int, float}):
        return False
    return {"$gt": field > operand, "$gte": field >= operand, "$lt": field < operand, "$lte": field <= operand}[name]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(documents, filters)
def test_a_filter_means_what_its_words_say(document, filter):
    assert compiled(parsed(filter))(document) is naive(document, filter)


def test_every_error_is_one_of_ours(store):
    for filter in WRONG:
        with pytest.raises(CmcError):
            store.similarity_search("the", filter=filter)


def like(text, pattern):
    """Read an SQL pattern a character at a time."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[place:], pattern[1:]) for place in range(len(text) + 1))
    if pattern[0] == "\\" and pattern[1:2] in ("%", "_", "\\") and pattern[1:]:
        return text[:1] == pattern[1] and like(text[1:], pattern[2:])
    return bool(text) and pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:])


@settings(max_examples=500)
@given(st.text("ab%_\\\n.", max_size=7), st.text("ab%_\\\n.", max_size=6))
def test_a_pattern_matches_what_sql_says(text, pattern):
    assert compiled(parsed({"x": {"$like": pattern}}))({"x": text}) is like(text, pattern)
    assert compiled(parsed({"x": {"$ilike": pattern.upper()}}))({"x": text}) is like(text.lower(), pattern.lower())


def test_no_pattern_takes_for_ever():
    test = compiled(parsed({"x": {"$like": "%a" * 40 + "b"}}))
    assert test({"x": "a" * 20_000}) is False
    assert test({"x": "a" * 20_000 + "b"}) is True
