"""Bad input is refused by a typed error and changes nothing; the model of the vectors is recorded."""
# The fixtures are imported, since a conftest would be that of every framework.
# ruff: noqa: F401, F811

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

from cmc_mcp.adapters.llamaindex import BadArgument, CMCVectorStore
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput, LimitExceeded, StoreError
from cmc_mcp.memory import Memory
from tests.adapters.suites.llamaindex_made import Mode, does, everything, four, made, near, store


def test_modes_that_are_not_here_are_refused(store):
    store.add(four())
    for mode in (Mode.SVM, Mode.LINEAR_REGRESSION, Mode.LOGISTIC_REGRESSION, Mode.SEMANTIC_HYBRID, "nearest"):
        with pytest.raises(BadArgument, match="use one of DEFAULT"):
            store.query(everything(mode=mode, query_str="x"))


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.TEXT_SEARCH, Mode.SPARSE])
def test_a_mode_that_needs_a_text_says_so(store, mode):
    with pytest.raises(BadArgument, match="query_str"):
        store.query(everything(mode=mode))


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.MMR, Mode.HYBRID])
def test_a_mode_that_needs_a_vector_says_so(store, mode):
    store.add(four())
    with pytest.raises(EmbedderError, match="handed over"):
        store.query(VectorStoreQuery(query_str="x", mode=mode))
    if mode != Mode.HYBRID:
        with pytest.raises(BadArgument, match="query_embedding"):
            store.query(VectorStoreQuery(mode=mode))


WRONG_QUERIES = [
    {"similarity_top_k": -1},
    {"similarity_top_k": True},
    {"similarity_top_k": 20_000},
    {"similarity_top_k": 2.5},
    {"query_embedding": [1.0, 2.0, 3.0]},
    {"query_embedding": []},
    {"query_embedding": [math.nan, 1.0]},
    {"query_embedding": ["a", "b"]},
    {"node_ids": "aaa"},
    {"node_ids": [1]},
    {"doc_ids": "aaa"},
    {"doc_ids": [1]},
    {"output_fields": ["text"]},
    {"embedding_field": "v"},
    {"mode": Mode.HYBRID, "query_str": "x", "alpha": 2.0},
    {"mode": Mode.MMR, "mmr_threshold": -0.5},
]


@pytest.mark.parametrize("arguments", WRONG_QUERIES, ids=str)
def test_a_query_that_is_wrong_is_refused(store, arguments):
    store.add(four())
    with pytest.raises(CmcError):
        store.query(VectorStoreQuery(**{"query_embedding": near(1.0), "similarity_top_k": 2, **arguments}))


@pytest.mark.parametrize("kwargs", [{"k": 3}, {"filter": {}}, {"as_off": 1}, {"mmr_threshold": 0.5}])
async def test_arguments_that_are_none_are_refused(does, kwargs):
    with pytest.raises(BadArgument):
        await does("query", everything(), **kwargs)
    for name, args in (("add", [four()]), ("delete", ["x"]), ("delete_nodes", [["x"]]), ("get_nodes", [])):
        with pytest.raises(BadArgument):
            await does(name, *args, **kwargs)
    assert await does("get_nodes") == []


WRONG_NODES = [
    ("text", InvalidInput),
    ([7], BadArgument),
    (made("x", "alone"), BadArgument),
    ([made("", "no id")], InvalidInput),
    ([made("x" * 3_000, "long id")], LimitExceeded),
    ([made("nul\0", "id")], InvalidInput),
    ([made("x", "nul\0")], InvalidInput),
    ([made("x", "lone \ud800")], InvalidInput),
    ([made("x", "object", thing=object())], BadArgument),
    ([made("x", "bytes", thing=b"\xff")], BadArgument),
    ([made("x", "large", excluded="y" * 17_000_000)], LimitExceeded),
    ([TextNode(id_="x", text="no vector")], EmbedderError),
    ([TextNode(id_="x", text="other length", embedding=[1.0, 2.0, 3.0])], DimensionMismatch),
    ([TextNode(id_="x", text="no numbers", embedding=[math.inf, 1.0])], InvalidInput),
    ([made("x", "nul in metadata", thing=["a\0"])], InvalidInput),
    ([made("x", "nul in a key", **{"a\0": 1})], InvalidInput),
    ([TextNode(id_="x", text="empty", embedding=[])], CmcError),
    ([IndexNode(id_="x", text="obj", index_id="i", obj=object(), embedding=near(1))], BadArgument),
]


@pytest.mark.parametrize(("nodes", "error"), WRONG_NODES, ids=range(len(WRONG_NODES)))
def test_nodes_that_are_wrong_change_nothing(store, nodes, error):
    store.add(four())
    before = store.client.snapshot().root
    with pytest.raises(error):
        store.add([made("fine", "a good one"), *nodes] if isinstance(nodes, list) else nodes)
    assert store.client.snapshot().root == before


def test_every_bad_node_is_named(store):
    with pytest.raises(InvalidInput) as caught:
        store.add([made("", "a"), made("b", "b"), made("c", "c\0")])
    assert [problem.path for problem in caught.value.problems] == ["entries[0].id", "entries[2].text"]


@pytest.mark.parametrize("id", [None, 7, ["a"]])
def test_delete_wants_the_id_of_a_document(store, id):
    store.add(four())
    with pytest.raises(BadArgument):
        store.delete(id)
    assert len(store.get_nodes()) == 4


def test_a_constructor_that_is_called_wrongly_says_so(tmp_path):
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        for arguments in (
            {},
            {"path": tmp_path / "x.db", "memory": memory},
            {"memory": memory, "workspace": "w"},
            {"memory": memory, "collection": " "},
            {"memory": memory, "collection": 7},
            {"memory": memory, "witness": "metadata"},
            {"memory": memory, "embed_model": "e5"},
            {"memory": memory, "flat_metadata": True},
        ):
            with pytest.raises(InvalidInput):
                CMCVectorStore(**arguments)


def test_a_large_batch_is_added_in_several_transactions(store):
    store.add([TextNode(id_=str(n), text=f"n{n}", embedding=[1.0, n]) for n in range(2_500)])
    assert len(store.get_nodes()) == 2_500


def test_a_closed_store_is_a_typed_error(tmp_path):
    store = CMCVectorStore(tmp_path / "memory.db")
    store.add(four())
    store.close()
    store.close()
    for call in (lambda: store.query(everything()), lambda: store.add(four()), store.get_nodes, store.clear):
        with pytest.raises(StoreError):
            call()


def test_a_store_that_is_closed_under_queries_answers_or_says_so(tmp_path):
    store = CMCVectorStore(tmp_path / "memory.db")
    store.add([TextNode(id_=str(n), text=f"n{n}", embedding=[1.0, n]) for n in range(500)])
    started = threading.Barrier(5)

    def work(_):
        started.wait()
        try:
            for _ in range(200):
                assert len(store.query(everything()).ids) == 10
        except CmcError as error:
            return error
        return None

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, n) for n in range(4)]
        started.wait()
        store.close()
        outcomes = [future.result() for future in running]
    assert all(outcome is None or isinstance(outcome, StoreError) for outcome in outcomes)


# ---------------------------------------------------------------------- models
def test_the_model_of_the_vectors_is_recorded(tmp_path):
    class Other(MockEmbedding):
        pass

    model = MockEmbedding(embed_dim=2, model_name="m")
    with CMCVectorStore(tmp_path / "memory.db", embed_model=model) as store:
        assert store.add([TextNode(id_="a", text="made here")]) == ["a"]  # embedded by the model
        assert store.query(VectorStoreQuery(query_str="asked here")).ids == ["a"]
    for arguments in ({"embed_model": Other(embed_dim=2)}, {"model_id": "another"}):
        with CMCVectorStore(tmp_path / "memory.db", **arguments) as store:
            with pytest.raises(DimensionMismatch, match="MockEmbedding:m"):
                store.query(everything())
    for arguments in ({}, {"model_id": "MockEmbedding:m"}):  # the model is the collection's own, or named
        with CMCVectorStore(tmp_path / "memory.db", **arguments) as store:
            assert store.query(everything()).ids == ["a"]
            assert store.get_nodes()[0].metadata["vif"]["embedding_model"] == "MockEmbedding:m"


def test_an_embedding_that_fails_changes_nothing(tmp_path):
    class Failing(MockEmbedding):
        def _get_text_embeddings(self, texts):
            raise RuntimeError("no network")

        def _get_text_embedding(self, text):
            raise RuntimeError("no network")

    with CMCVectorStore(tmp_path / "memory.db", embed_model=Failing(embed_dim=2)) as store:
        with pytest.raises(EmbedderError, match="no network"):
            store.add([TextNode(id_="a", text="x")])
        assert store.get_nodes() == []
