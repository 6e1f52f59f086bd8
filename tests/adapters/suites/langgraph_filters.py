"""Filters, against LangGraph's own store in memory; and those that tried to be more than filters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from cmc_mcp.adapters.langgraph import CMCStore
from tests.adapters.suites.langgraph_made import keys

VALUES = [
    1,
    2.5,
    -3,
    0,
    True,
    False,
    None,
    "",
    "a",
    "b",
    "10",
    "9",
    [1, 2],
    [],
    ["a"],
    {"b": 1},
    {"b": {"c": "x"}},
    {"b": [1, {"c": 2}]},
    {},
    2**60,
]
ASKED = [
    1,
    2.5,
    True,
    False,
    None,
    "",
    "a",
    "10",
    [1, 2],
    [],
    {"b": 1},
    {"b": {"c": "x"}},
    {"b": {"$eq": 1}},
    {"b": {"c": {"$ne": "y"}}},
]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    reference = InMemoryStore()
    with CMCStore(tmp_path_factory.mktemp("filters") / "memory.db") as ours:
        for store in (reference, ours):
            for n, value in enumerate(VALUES):
                store.put(("t",), f"k{n}", {"x": value, "other": n, "x.b": 5})
            store.put(("t",), "missing", {"other": -1})
        yield reference, ours


def passing(store, filter):
    return sorted(keys(store.search(("t",), filter=filter, limit=100)))


@pytest.mark.parametrize("asked", ASKED, ids=repr)
@pytest.mark.parametrize("operator", [None, "$eq", "$ne"])
def test_equality_is_that_of_langgraph(both, operator, asked):
    filter = {"x": asked if operator is None else {operator: asked}}
    assert passing(both[1], filter) == passing(both[0], filter)


@pytest.mark.parametrize("asked", [1, 2.5, -100, 10**30, 0.0, "9"], ids=repr)
@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
def test_order_is_that_of_langgraph_where_it_has_one(both, operator, asked):
    filter = {"x": {operator: asked}, "other": {"$lt": 6, "$gte": 0}}
    assert passing(both[1], filter) == passing(both[0], dict(reversed(filter.items())))  # it compares from the left


def test_order_where_langgraph_has_none_is_no_match_and_texts_compare_as_texts(both):
    ours = both[1]
    assert passing(ours, {"x": {"$gt": "a"}}) == ["k9"]
    assert passing(ours, {"x": {"$lte": "a"}}) == ["k10", "k11", "k7", "k8"]
    assert "missing" not in passing(ours, {"x": {"$lt": 1e9}}) and "k6" not in passing(ours, {"x": {"$lt": 1e9}})
    assert passing(ours, {"x": {"$gt": float("nan")}}) == [] and passing(ours, {"x": float("inf")}) == []
    assert passing(ours, {"x": {"$gt": 8}}) == ["k10", "k11", "k19"]  # texts written like numbers, and 2**60


def test_several_conditions_all_hold(both):
    ours = both[1]
    assert passing(ours, {"other": {"$gt": 2, "$lte": 4}}) == ["k3", "k4"]
    assert passing(ours, {"other": {"$gt": 2}, "x": True}) == ["k4"]
    assert len(passing(ours, {})) == len(VALUES) + 1 == len(passing(ours, None))


def test_a_key_with_dots_is_itself_or_else_a_path(both):
    reference, ours = both
    assert passing(ours, {"x.b": 5}) == passing(reference, {"x.b": 5}) != []
    ours.put(("dots",), "k", {"a": {"b-1": {"2": "x"}, "l": ["p", "q"]}})
    for filter in ({"a.b-1.2": "x"}, {"a.l.1": "q"}, {"a": {"b-1": {"2": "x"}}}, {"a.b-1.none": None}):
        assert keys(ours.search(("dots",), filter=filter)) == ["k"]
    assert ours.search(("dots",), filter={"a.l.9": "q"}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(JSON, min_size=1, max_size=6), st.dictionaries(st.sampled_from("xy"), JSON, min_size=1, max_size=2))
def test_any_filter_of_plain_values_finds_what_langgraph_finds(tmp_path_factory, values, filter):
    reference = InMemoryStore()
    with CMCStore(tmp_path_factory.mktemp("any") / "memory.db") as ours:
        for store in (reference, ours):
            for n, value in enumerate(values):
                store.put(("t",), f"k{n}", {"x": value, "y": n})
        assert passing(ours, filter) == passing(reference, filter)


INJECTIONS = [
    "access') = 'public' OR '1'='1' OR json_extract(value, '$.",
    "access') OR 1=1 --",
    "'; DROP TABLE atoms; --",
    '") OR ("1"="1',
    "$.access",
    "[0]",
    "access' UNION SELECT * FROM payloads --",
    "*",
    "%",
    "a\u0000b",
    "value",
    "namespace",
    "key",
    "vif",
    "vif.writer",
    "part",
    "__class__",
]


@pytest.mark.parametrize("text", [text for text in INJECTIONS if not text.startswith("$")], ids=repr)
def test_a_key_of_a_filter_is_only_ever_a_key(tmp_path, text):
    """The shape of CVE-2025-8709 and CVE-2025-64104: keys of a filter that were written into SQL."""
    with CMCStore(tmp_path / "memory.db") as store:
        store.put(("docs",), "public", {"access": "public"})
        store.put(("docs",), "private", {"access": "private"})
        assert store.search(("docs",), filter={text: "dummy"}) == []
        assert store.search(("docs",), filter={text: {"$gt": 0}}) == []
        store.put(("docs",), "named", {text: "dummy"})
        assert keys(store.search(("docs",), filter={text: "dummy"})) == ["named"]
        assert len(store.search(())) == 3


@pytest.mark.parametrize("text", [*INJECTIONS, "public' OR '1'='1", "x\\' OR 1=1"], ids=repr)
@pytest.mark.parametrize("operator", ["$eq", "$gt", "$gte", "$lt", "$lte", "$ne"])
def test_a_value_of_a_filter_is_only_ever_a_value(tmp_path, operator, text):
    with CMCStore(tmp_path / "memory.db") as store:
        store.put(("docs",), "a", {"access": "public"})
        store.put(("docs",), "b", {"access": text})
        found = keys(store.search(("docs",), filter={"access": {operator: text}}))
        assert ("b" in found) is (operator in ("$eq", "$gte", "$lte"))
        above = text < "public"
        assert ("a" in found) is {"$eq": False, "$ne": True, "$gt": above, "$gte": above}.get(operator, not above)


@pytest.mark.parametrize("operator", ["$gt') OR 1=1 --", "$where", "$regex", "$ eq", "$EQ", "$"])
def test_an_operator_that_is_none_is_refused(tmp_path, operator):
    with CMCStore(tmp_path / "memory.db") as store:
        with pytest.raises(ValueError, match="operator"):
            store.search((), filter={"a": {operator: 1}})


@pytest.mark.parametrize("text", INJECTIONS, ids=repr)
def test_keys_and_queries_are_only_ever_text(tmp_path, text):
    with CMCStore(tmp_path / "memory.db") as store:
        store.put(("docs",), "other", {"text": "nothing"})
        store.put(("docs",), text, {"text": text})
        assert store.get(("docs",), text).value == {"text": text}
        assert len(store.search(("docs",), query=text)) == 2
        store.delete(("docs",), text)
        assert keys(store.search(())) == ["other"]


@pytest.mark.parametrize(
    "label", ["a' OR '1'='1", "a%", "a_", 'a" --', "a;DROP TABLE atoms", "(", "a|b", "a*", "*", "a\\"], ids=repr
)
def test_labels_reach_no_other_tenant(tmp_path, label):
    with CMCStore(tmp_path / "memory.db") as store:
        store.put(("users", "a"), "secret", {})
        store.put(("users", "abc"), "secret", {})
        assert store.search(("users", label)) == []
        assert label == "*" or store.list_namespaces(prefix=("users", label)) == []
