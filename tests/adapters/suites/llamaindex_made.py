"""What the tests of the LlamaIndex vector store are made of: nodes, queries, a store, and both ways to call it."""

from __future__ import annotations

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from cmc_mcp.adapters.llamaindex import CMCVectorStore

Mode = VectorStoreQueryMode


def near(number):
    return [number, 1.0]


def made(id, text, source=None, number=0.1, **metadata):
    source = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=id, text=text, metadata=metadata, embedding=near(number), relationships=source)


def four():
    return [
        made("aaa", "lorem ipsum", "aaa", 1.0, test_num=1),
        made("bbb", "dolor sit amet", "bbb", 0.1, test_key="test_value"),
        made("ccc", "consectetur adipiscing elit", "ccc", 0.11, test_key_list=["test_value"]),
        made("ddd", "sed do eiusmod tempor", "ccc", 0.12, test_key_2="test_val_2"),
    ]


def foxes():
    return [
        made("aaa", "lorem ipsum", "aaa", 0.1),
        made("bbb", "dolor sit amet", "bbb", 1.0, test_key="test_value"),
        made("ccc", "The quick brown fox jumped over the lazy dog.", "ccc", 5.0),
        made("ddd", "The fox and the hound", "ddd", 10.0, test_key="test_value"),
    ]


def equals(key, value, operator=FilterOperator.EQ):
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def everything(**arguments):
    return VectorStoreQuery(query_embedding=near(0.5), similarity_top_k=10, **arguments)


@pytest.fixture
def store(tmp_path):
    with CMCVectorStore(tmp_path / "memory.db") as store:
        yield store


@pytest.fixture(params=["sync", "async"])
def does(store, request):
    """Call a method of the store, or its async twin."""
    twins = {"add": "async_add"}

    async def call(name, *args, **kwargs):
        if request.param == "async":
            return await getattr(store, twins.get(name, f"a{name}"))(*args, **kwargs)
        return getattr(store, name)(*args, **kwargs)

    return call
