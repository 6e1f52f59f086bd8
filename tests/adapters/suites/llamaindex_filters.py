"""Filters: every operator beside the SimpleVectorStore that is installed, nesting beside a naive reading, bad input."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from pydantic import ValidationError

from cmc_mcp.adapters.llamaindex import BadArgument, CMCVectorStore, parsed
from cmc_mcp.errors import CmcError, InvalidInput, LimitExceeded
from cmc_mcp.model.filters import compiled

FIELDS = {
    "one": {"x": 1},
    "float": {"x": 1.0},
    "five": {"x": 5},
    "text": {"x": "abc"},
    "upper": {"x": "ABC"},
    "empty": {"x": ""},
    "true": {"x": True},
    "numbers": {"x": [1, 5]},
    "texts": {"x": ["abc", "b"]},
    "nothing in it": {"x": []},
    "null": {"x": None},
    "missing": {"y": 1},
    "object": {"x": {"abc": 1}},
}
VALUES = [1, 1.0, 5, 0, -1.5, "abc", "ABC", "b", "", "1", [1, 5], [1.0], ["abc", "zz"], ["b", "abc"], [], None]
ONE = [1.0, 0.0]


def nodes():
    return [TextNode(id_=name, text=f"node {name}", metadata=fields, embedding=ONE) for name, fields in FIELDS.items()]


def asked(*parts, condition=FilterCondition.AND):
    return MetadataFilters(filters=list(parts), condition=condition)


def one(operator, value, key="x"):
    return MetadataFilter(key=key, operator=operator, value=value)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with CMCVectorStore(tmp_path_factory.mktemp("f") / "memory.db") as store:
        store.add(nodes())
        yield store


def passing(store, filters):
    return set(store.query(VectorStoreQuery(query_embedding=ONE, similarity_top_k=50, filters=filters)).ids)


def simple(part):
    """What the installed SimpleVectorStore says, node by node; where it cannot compare, it is no match."""
    out = set()
    for name, fields in FIELDS.items():
        alone = SimpleVectorStore()
        alone.add([TextNode(id_=name, metadata=fields, embedding=ONE)])
        with contextlib.suppress(TypeError):
            out |= passing(alone, asked(part))
    return out


@pytest.mark.parametrize("operator", list(FilterOperator), ids=lambda operator: operator.name)
def test_an_operator_says_what_the_simple_store_says(store, operator):
    answered = 0
    for value in VALUES:
        part = one(operator, value)
        expected = simple(part)
        try:
            assert passing(store, asked(part)) == expected, value
            answered += 1
        except BadArgument:  # refused only where the simple store cannot compare with any field that is there
            assert expected <= {"null", "missing"}, value
    assert answered >= 3


@pytest.mark.parametrize("condition", list(FilterCondition))
@pytest.mark.parametrize("value", [1, "abc", ["abc"], 7])
def test_a_condition_joins_as_in_the_simple_store(store, condition, value):
    parts = [one(FilterOperator.EQ, value), one(FilterOperator.NE, 5), one(FilterOperator.IS_EMPTY, None, key="y")]
    filters = asked(*parts, condition=condition)
    reference = SimpleVectorStore()
    reference.add(nodes())
    assert passing(store, filters) == passing(reference, filters)


@pytest.mark.parametrize("inner", list(FilterCondition))
@pytest.mark.parametrize("outer", list(FilterCondition))
def test_conditions_nest_by_their_truth_tables(tmp_path, outer, inner):
    truth = {FilterCondition.AND: all, FilterCondition.OR: any, FilterCondition.NOT: lambda these: not any(these)}
    with CMCVectorStore(tmp_path / "memory.db") as store:
        cells = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
        store.add(
            [TextNode(id_=str(cell), metadata=dict(zip("abc", cell, strict=True)), embedding=ONE) for cell in cells]
        )
        a, b, c = (one(FilterOperator.EQ, 1, key=key) for key in "abc")
        found = passing(store, asked(asked(a, b, condition=inner), c, condition=outer))
        assert found == {str(cell) for cell in cells if truth[outer]([truth[inner](cell[:2]), cell[2] == 1])}


scalars = st.integers(-2, 2) | st.sampled_from([0.5, 1.0]) | st.sampled_from(["", "a", "ab", "B", "z" * 2_000, "苹果"])
values = (
    scalars | st.lists(st.integers(-2, 2), max_size=3) | st.lists(st.sampled_from(["a", "B"]), max_size=3) | st.none()
)
KEYS = ["x", "y", "x.y", ".x", "x.", "$x", "$and"]
nested = st.dictionaries(st.sampled_from("xy"), scalars, max_size=2) | st.lists(
    st.lists(scalars, max_size=1), max_size=2
)
documents = st.dictionaries(st.sampled_from(KEYS), values | st.booleans() | nested, max_size=3)
leaves = st.builds(MetadataFilter, key=st.sampled_from(KEYS), operator=st.sampled_from(FilterOperator), value=values)
trees = st.recursive(
    st.builds(
        MetadataFilters, filters=st.lists(leaves, min_size=1, max_size=2), condition=st.sampled_from(FilterCondition)
    ),
    lambda inner: st.builds(
        MetadataFilters,
        filters=st.lists(inner | leaves, min_size=1, max_size=3),
        condition=st.sampled_from(FilterCondition),
    ),
    max_leaves=4,
)


def naive(fields, part):
    """Leaves by the installed function, nodes of the tree by the words of the condition."""
    if isinstance(part, MetadataFilter):
        try:
            return build_metadata_filter_fn(lambda _: fields, asked(part))("")
        except TypeError:
            return False
    said = [naive(fields, inner) for inner in part.filters]
    return {FilterCondition.AND: all(said), FilterCondition.OR: any(said), FilterCondition.NOT: not any(said)}[
        part.condition
    ]


@settings(max_examples=2_000, deadline=None)
@given(documents, trees)
def test_a_filter_means_what_its_words_say(fields, filters):
    try:
        where = parsed(filters)
    except BadArgument:
        return
    assert compiled(where)(fields) is naive(fields, filters)


def test_an_empty_filter_is_none(store):
    assert passing(store, asked()) == set(FIELDS) == passing(store, None)
    assert parsed(asked(asked())) is not None  # an empty condition within another: every node
    assert passing(store, asked(asked())) == set(FIELDS)


def test_a_key_is_taken_whole_and_is_never_code(tmp_path):
    odd = ["a.b", "$.x", "x') OR 1=1 --", '"x"', "%", "é", "0", "_node_content"]
    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add([TextNode(id_=key, metadata={key: "here", "a": {"b": "there"}}, embedding=ONE) for key in odd])
        for key in odd:
            assert passing(store, asked(one(FilterOperator.EQ, "here", key=key))) == {key}
            assert passing(store, asked(one(FilterOperator.EQ, key, key="a"))) == set()


def test_the_source_document_is_a_field_unless_the_caller_has_one_of_that_name(tmp_path):
    def made(id, **metadata):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="R")}
        return TextNode(id_=id, text=id, metadata=metadata, embedding=ONE, relationships=source)

    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add([made("a"), made("b", doc_id="mine"), TextNode(id_="c", text="c", embedding=ONE)])
        assert passing(store, asked(one(FilterOperator.EQ, "R", key="doc_id"))) == {"a"}
        assert passing(store, asked(one(FilterOperator.EQ, "R", key="ref_doc_id"))) == {"a", "b"}
        assert passing(store, asked(one(FilterOperator.EQ, "mine", key="doc_id"))) == {"b"}
        assert passing(store, asked(one(FilterOperator.IS_EMPTY, None, key="document_id"))) == {"c"}
        assert passing(store, asked(one(FilterOperator.NE, "R", key="ref_doc_id"))) == {"c"}


def test_the_witness_is_filtered_by_its_virtual_columns(store):
    assert passing(store, asked(one(FilterOperator.EQ, "local", key="vif.writer"))) == set(FIELDS)
    assert passing(store, asked(one(FilterOperator.NE, "local", key="vif.writer"))) == set()
    assert passing(store, asked(one(FilterOperator.GT, "9000", key="vif.valid_to"))) == set(FIELDS)
    after = asked(one(FilterOperator.GT, "2000", key="vif.recorded_at"), one(FilterOperator.EQ, 5))
    assert passing(store, after) == {"five"}


WRONG = [
    (one(FilterOperator.IN, 5), "filters[0].value"),
    (one(FilterOperator.NIN, None), "filters[0].value"),
    (one(FilterOperator.ANY, 1.5), "filters[0].value"),
    (one(FilterOperator.ALL, None), "filters[0].value"),
    (one(FilterOperator.GT, None), "filters[0].value"),
    (one(FilterOperator.TEXT_MATCH, 5), "filters[0].value"),
    (one(FilterOperator.TEXT_MATCH_INSENSITIVE, ["a"]), "filters[0].value"),
    (one(FilterOperator.EQ, 1, key=""), "filters[0].key"),
    (asked(one(FilterOperator.IN, 5)), "filters[0][0].value"),
    (MetadataFilter.model_construct(key="x", operator="near", value=1), "filters[0].operator"),
    (MetadataFilter.model_construct(key="x", operator=FilterOperator.EQ, value={"a": 1}), "filters[0].value"),
    (one(FilterOperator.EQ, 1, key="vif"), "filter.vif"),
    (one(FilterOperator.EQ, 1, key="vif.snapshot_id"), "filter.vif.snapshot_id"),
]


@pytest.mark.parametrize(("part", "place"), WRONG)
def test_a_filter_that_says_nothing_sensible_is_refused_with_its_place(store, part, place):
    with pytest.raises(InvalidInput) as caught:
        passing(store, MetadataFilters.model_construct(filters=[part], condition=FilterCondition.AND))
    assert caught.value.problems[0].path == place


@pytest.mark.parametrize("filters", [{"x": 1}, "x", [one(FilterOperator.EQ, 1)], lambda node: True])
def test_what_is_no_filter_is_refused_by_every_method(store, filters):
    query = VectorStoreQuery(query_embedding=ONE, filters=filters)
    for call in (lambda: store.query(query), lambda: store.get_nodes(filters=filters)):
        with pytest.raises(BadArgument):
            call()
    with pytest.raises(BadArgument):
        store.delete_nodes(filters=filters)
    assert passing(store, None) == set(FIELDS)


@pytest.mark.parametrize("value", [True, {"a": 1}, [None], [[1]]])
def test_values_that_the_framework_refuses_never_come_here(value):
    with pytest.raises(ValidationError):
        one(FilterOperator.EQ, value)


def test_a_filter_that_is_too_deep_or_too_large_is_refused(store):
    deep = asked(one(FilterOperator.EQ, 1))
    for _ in range(40):
        deep = asked(deep)
    for filters in (deep, asked(one(FilterOperator.IN, list(range(20_000))))):
        with pytest.raises(LimitExceeded):
            passing(store, filters)


def test_k_come_whenever_k_pass(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db") as store:
        store.add([TextNode(id_=str(n), metadata={"n": n}, embedding=[1.0, n]) for n in range(500)])
        few = asked(one(FilterOperator.GTE, 480))
        few.filters[0].key = "n"
        result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=10, filters=few))
        assert result.ids == [str(n) for n in range(480, 490)]  # the farthest of all, and all ten of them
        assert len(result.nodes) == len(result.similarities) == 10


def test_every_error_is_one_of_ours(store):
    for part, _ in WRONG:
        with pytest.raises(CmcError):
            passing(store, MetadataFilters.model_construct(filters=[part], condition=None))
