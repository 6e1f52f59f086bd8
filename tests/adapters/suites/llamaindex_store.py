"""The vector store: cases of the suites of other integrations, sync and async, beside the store in memory."""
# The fixtures are imported, since a conftest would be that of every framework.
# ruff: noqa: F401, F811

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    QueryBundle,
    TextNode,
)
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilters,
    VectorStoreQuery,
)

from cmc_mcp.adapters import llamaindex
from cmc_mcp.memory import Memory
from tests.adapters.suites.llamaindex_made import Mode, does, equals, everything, four, foxes, made, near, store


def test_the_adapter_stands_on_the_facade_the_models_and_the_errors():
    tree = ast.parse(Path(llamaindex.__file__).read_text())
    used = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("cmc_mcp")
    }
    allowed = {
        "",
        ".collection",
        ".adapters._opening",
        ".embed.external",
        ".errors",
        ".memory",
        ".model.entries",
        ".model.filters",
    }
    assert used == {f"cmc_mcp{name}" for name in allowed}


def test_it_is_a_vector_store_of_the_framework(store):
    assert isinstance(store, BasePydanticVectorStore)
    assert store.stores_text and store.is_embedding_query
    assert store.class_name() == "CMCVectorStore"
    assert isinstance(store.client, Memory)
    assert store.persist("anywhere") is None


async def test_an_empty_store_answers_with_nothing(does):
    result = await does("query", everything())
    assert (result.nodes, result.similarities, result.ids) == ([], [], [])
    assert await does("get_nodes") == []
    await does("delete", "none")
    await does("delete_nodes", ["none"])
    await does("clear")
    assert await does("add", []) == []


async def test_what_is_added_is_found_by_its_vector(does):
    assert await does("add", four()) == ["aaa", "bbb", "ccc", "ddd"]
    result = await does("query", VectorStoreQuery(query_embedding=near(1.0), similarity_top_k=1))
    assert result.ids == ["aaa"]
    assert result.similarities == [1.0]
    assert result.nodes[0].text == "lorem ipsum"


@pytest.mark.parametrize(
    ("key", "value", "operator", "expected"),
    [
        ("test_key", "test_value", FilterOperator.EQ, ["bbb"]),
        ("test_key", ["test_value", "another_value"], FilterOperator.IN, ["bbb"]),
        ("test_key", ["test_value"], FilterOperator.IN, ["bbb"]),
        ("test_key_list", "test_value", FilterOperator.CONTAINS, ["ccc"]),
        ("test_key_list", ["test_value", "b"], FilterOperator.ANY, ["ccc"]),
        ("test_key_list", ["test_value", "b"], FilterOperator.ALL, []),
        ("test_key", "test_value", FilterOperator.NE, ["aaa", "ccc", "ddd"]),
        ("test_key", ["test_value"], FilterOperator.NIN, ["aaa", "ccc", "ddd"]),
        ("test_num", 1, FilterOperator.GTE, ["aaa"]),
        ("test_key_2", "VAL", FilterOperator.TEXT_MATCH_INSENSITIVE, ["ddd"]),
        ("test_key_2", "VAL", FilterOperator.TEXT_MATCH, []),
        ("no_such_field", "x", FilterOperator.EQ, []),
    ],
)
async def test_a_query_is_filtered(does, key, value, operator, expected):
    await does("add", four())
    result = await does("query", everything(filters=equals(key, value, operator)))
    assert sorted(result.ids) == expected
    assert sorted(node.node_id for node in await does("get_nodes", None, equals(key, value, operator))) == expected


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.TEXT_SEARCH])
async def test_words_are_found_without_a_vector(does, mode):
    await does("add", foxes())
    query = VectorStoreQuery(query_str="who is the fox?", similarity_top_k=2, sparse_top_k=2, mode=mode)
    result = await does("query", query)
    assert set(result.ids) == {"ccc", "ddd"}
    assert result.similarities == sorted(result.similarities, reverse=True)
    assert result.similarities[-1] > 0
    assert (await does("query", VectorStoreQuery(query_str="fox", mode=mode))).ids[0] in ("ccc", "ddd")
    assert (await does("query", VectorStoreQuery(query_str="zebra", mode=mode))).ids == []


async def test_hybrid_weighs_vectors_and_words(does):
    await does("add", foxes())

    async def ids(alpha, k=2, **arguments):
        query = VectorStoreQuery(
            query_embedding=near(0.1), query_str="fox", similarity_top_k=k, mode=Mode.HYBRID, alpha=alpha, **arguments
        )
        result = await does("query", query)
        assert all(0 <= score <= 1 for score in result.similarities)
        return result.ids

    assert await ids(1.0) == ["aaa", "bbb"]
    assert set(await ids(0.0)) == {"ccc", "ddd"}
    assert set(await ids(None, hybrid_top_k=4)) == {"aaa", "bbb", "ccc", "ddd"}
    assert set(await ids(None, k=10, filters=equals("test_key", "test_value"))) == {"bbb", "ddd"}


async def test_the_type_of_a_node_is_kept(does, store):
    nodes = [
        TextNode(id_="text", text="one", embedding=near(0.1)),
        IndexNode(id_="index", text="two", index_id="text", embedding=near(5.0), obj=TextNode(id_="o", text="inner")),
        ImageNode(id_="image", image_url="http://nowhere/a.png", embedding=near(7.0)),
        ImageNode(id_="other image", image_url="http://nowhere/b.png", embedding=near(-7.0)),
        Node(id_="node", text_resource=MediaResource(text="three"), embedding=near(8.0)),
        Document(id_="document", text="four", embedding=near(9.0)),
    ]
    await does("add", nodes)
    given = {node.node_id: node for node in nodes}
    for found in (await does("query", everything())).nodes:
        assert type(found) is type(given[found.node_id])
        assert found.get_content() == given[found.node_id].get_content()
    (index,) = await does("get_nodes", ["index"])
    assert (index.index_id, index.obj.text) == ("text", "inner")
    assert store.client.verify().holds
    result = await does("query", VectorStoreQuery(query_embedding=near(-7.0), similarity_top_k=1))
    assert result.ids == ["other image"]  # pictures without words are not one content


async def test_delete_takes_all_nodes_of_a_document(does):
    await does("add", four())
    await does("delete", "ccc")
    assert set((await does("query", everything())).ids) == {"aaa", "bbb"}
    await does("delete", "ccc")
    await does("delete", "no such document")
    assert len((await does("query", everything())).ids) == 2


async def test_delete_nodes_takes_ids_or_a_filter_or_both(does):
    async def left():
        return sorted((await does("query", everything())).ids)

    await does("add", four())
    await does("delete_nodes")
    await does("delete_nodes", [])
    await does("delete_nodes", ["asdf"])
    await does("delete_nodes", filters=MetadataFilters(filters=[]))
    assert await left() == ["aaa", "bbb", "ccc", "ddd"]
    await does("delete_nodes", ["aaa", "bbb"], equals("test_key", ["test_value", "other"], FilterOperator.IN))
    assert await left() == ["aaa", "ccc", "ddd"]
    await does("delete_nodes", ["ccc"], filters=equals("test_num", 1))
    assert await left() == ["aaa", "ccc", "ddd"]
    await does("delete_nodes", filters=equals("test_key_2", "test_val_2"))
    assert await left() == ["aaa", "ccc"]
    await does("delete_nodes", ["aaa", "ccc"])
    assert await left() == []


async def test_clear_takes_everything(does):
    await does("add", four())
    await does("clear")
    assert (await does("query", everything())).ids == []
    await does("add", four()[:1])
    assert (await does("query", everything())).ids == ["aaa"]


@pytest.mark.parametrize(
    ("ids", "filters", "expected"),
    [
        (["bbb", "aaa"], None, ["bbb", "aaa"]),
        (None, equals("test_num", 1), ["aaa"]),
        (["bbb", "ccc"], equals("test_key", "test_value"), ["bbb"]),
        (["ccc"], equals("test_key", "test_value"), []),
        (["aaa", "bbb"], equals("test_num", 999), []),
        ([], None, []),
        (["none"], None, []),
        (None, None, ["aaa", "bbb", "ccc", "ddd"]),
    ],
)
async def test_get_nodes_takes_ids_or_a_filter_or_both(does, ids, filters, expected):
    await does("add", four())
    assert [node.node_id for node in await does("get_nodes", ids, filters)] == expected


@pytest.mark.parametrize(
    ("doc_ids", "expected"),
    [(None, "a-0 a-1 b-0 b-1"), ([], ""), (["missing"], ""), (["a"], "a-0 a-1"), (["a", "b"], "a-0 a-1 b-0 b-1")],
)
@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.MMR, Mode.HYBRID, Mode.TEXT_SEARCH])
async def test_a_retriever_keeps_to_source_documents(store, doc_ids, expected, mode):
    chunks = [made(f"{doc}-{n}", f"Document {doc}, chunk {n}", doc, n, chunk=n) for doc in "ab" for n in (0, 1)]
    store.add(chunks)
    index = VectorStoreIndex.from_vector_store(store, MockEmbedding(embed_dim=2))
    retriever = index.as_retriever(doc_ids=doc_ids, similarity_top_k=10, vector_store_query_mode=mode)
    bundle = QueryBundle("document chunk", embedding=[1.0, 0.0])
    for results in (retriever.retrieve(bundle), await retriever.aretrieve(bundle)):
        assert sorted(result.node.node_id for result in results) == expected.split()
        assert all(isinstance(result.score, float) for result in results)


def test_documents_nodes_and_filters_intersect(store):
    store.add([made(f"{doc}-{n}", f"{doc} {n}", doc, n, chunk=n) for doc in "ab" for n in (0, 1)])
    query = everything(doc_ids=["a"], node_ids=["a-0", "a-1", "b-1"], filters=equals("chunk", 1))
    assert store.query(query).ids == ["a-1"]
    assert len(store.query(everything(node_ids=[])).ids) == 4  # what a retriever hands on when it has none
    assert store.query(everything(node_ids=["none"])).ids == []


@pytest.mark.parametrize(
    ("threshold", "options", "expected"),
    [
        (0.0, {}, "ac"),
        (0.25, {}, "ac"),
        (1.0, {}, "ab"),
        (None, {"mmr_threshold": 0.0}, "ac"),
        (None, {"mmr_threshold": 1.0}, "ab"),
        (1.0, {"mmr_threshold": 0.0}, "ac"),
        (0.0, {"mmr_threshold": 1.0}, "ab"),
    ],
)
async def test_mmr_weighs_likeness_as_in_the_simple_store(does, threshold, options, expected):
    nodes = [
        TextNode(id_=id, embedding=vector) for id, vector in zip("abc", ([1.0, 0], [1.0, 0], [0, 1.0]), strict=True)
    ]
    simple = SimpleVectorStore()
    simple.add(nodes)
    await does("add", nodes)
    query = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=2, mode=Mode.MMR, mmr_threshold=threshold)
    found = (await does("query", query, **options)).ids
    chosen = options.get("mmr_threshold", threshold)
    assert simple.query(query, mmr_threshold=chosen).ids == list(expected)
    # a and b are the same vector: which of them is first is by atom id here
    kind = {"a": "a", "b": "a", "c": "c"}
    assert [kind[id] for id in found] == [kind[id] for id in expected]
    assert len(set(found)) == 2


def test_the_nearest_are_those_of_the_simple_store(store):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(300, 16))
    nodes = [
        TextNode(id_=str(n), text=f"node {n}", embedding=row.tolist(), metadata={"n": n % 5})
        for n, row in enumerate(rows)
    ]
    simple = SimpleVectorStore()
    simple.add(nodes)
    store.add(nodes)
    for asked in rng.normal(size=(20, 16)).tolist():
        for filters in (None, equals("n", 3)):
            query = VectorStoreQuery(query_embedding=asked, similarity_top_k=10, filters=filters)
            ours, theirs = store.query(query), simple.query(query)
            assert ours.ids == theirs.ids
            assert np.allclose(ours.similarities, theirs.similarities, atol=2e-6)
