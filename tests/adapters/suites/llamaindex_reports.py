"""What users of vector stores reported, each a kind of input; right is what LlamaIndex documents or its own store does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery

from cmc_mcp import Memory
from cmc_mcp.adapters.llamaindex import CMCVectorStore, storage_context
from cmc_mcp.errors import CmcError, DimensionMismatch, InvalidInput
from tests.adapters.suites.llamaindex_made import Mode, does, equals, everything, store

__all__ = ("does", "store")
X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


class Lettered(BaseEmbedding):
    """A model of eight dimensions; `turn` makes another of it."""

    turn: int = 0
    awaited: int = 0
    only_awaited: bool = False

    def _row(self, text):
        if self.only_awaited:
            raise NotImplementedError("only aget_text_embedding")
        row = [0.1] * 8
        for place, char in enumerate(text):
            row[(ord(char) + place * self.turn + self.turn) % 8] += 1 + place % 3
        return row

    _get_text_embedding = _get_query_embedding = _row

    async def _awaited(self, text):
        self.awaited += 1
        return Lettered(turn=self.turn)._row(text)

    _aget_text_embedding = _aget_query_embedding = _awaited


def node(id, text, vector, **metadata):
    return TextNode(id_=id, text=text, embedding=vector, metadata=metadata)


def scores(store, vector, **asked):
    result = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=50, **asked))
    return {id: round(score, 5) for id, score in zip(result.ids, result.similarities, strict=True)}


# ---------------------------------------------------------------------- vectors that come with nodes
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("text", ["one text", "", "é" * 70_000])
async def test_each_node_is_found_by_the_vector_that_it_came_with(does, store, batches, text):
    nodes = [node("a", text, X), node("b", text, Y), node("c", text, Y), node("d", text, [0.6, 0.8, 0.0])]
    reference = SimpleVectorStore()
    reference.add(nodes)
    for part in (nodes,) if batches == 1 else (nodes[:1], nodes[1:]):
        await does("add", part)
    for vector in (X, Y, Z, [-1.0, 0.5, 0.0]):
        assert scores(store, vector) == pytest.approx(scores(reference, vector), abs=2e-5)
    assert {found.get_content() for found in store.get_nodes()} == {text}
    assert store.client.verify().holds


async def test_the_vector_that_a_node_comes_with_again_replaces_the_one_it_had(does, store):
    await does("add", [node("a", "text", X), node("b", "text", X)])
    store.client.snapshot("before")
    await does("add", [node("a", "text", Y)])
    assert scores(store, Y) == {"a": 1.0, "b": 0.0}
    then = store.query(VectorStoreQuery(query_embedding=X, similarity_top_k=9), as_of="before")
    assert sorted(then.ids) == ["a", "b"] and then.similarities == [1.0, 1.0]
    await does("add", [node("a", "text", X)])
    assert scores(store, X) == {"a": 1.0, "b": 1.0}
    assert len(store.get_nodes()) == 2 and store.client.verify().holds


@pytest.mark.parametrize("gone", ["delete_nodes", "clear"])
def test_what_is_gone_leaves_no_vector_behind(tmp_path, gone):
    with CMCVectorStore(tmp_path / "m.db") as store:
        store.add([node("a", "text", X)])
        if gone == "clear":
            store.clear()
        else:
            store.delete_nodes(["a"])
        store.add([node("b", "text", Y)])
        assert scores(store, Y) == {"b": 1.0} and scores(store, X) == {"b": 0.0}
        store.add([node("a", "text", Z)])
        assert scores(store, Z) == {"a": 1.0, "b": 0.0}
    with CMCVectorStore(tmp_path / "m.db") as store:
        assert scores(store, Z) == {"a": 1.0, "b": 0.0}


def test_a_text_in_another_collection_or_of_another_model_has_its_own_vector(tmp_path):
    path = tmp_path / "m.db"
    with (
        CMCVectorStore(path) as one,
        CMCVectorStore(path, collection="two") as two,
        CMCVectorStore(path, collection="three", model_id="ours") as three,
        CMCVectorStore(path, collection="four") as four_,
    ):
        one.add([node("a", "text", X)])
        two.add([node("a", "text", Y)])
        three.add([node("a", "text", Z)])
        four_.add([node("a", "text", [1.0, 0.0])])
        assert scores(one, X) == {"a": 1.0} == scores(two, Y) == scores(three, Z) == scores(four_, [1.0, 0.0])
        assert scores(one, Y) == {"a": 0.0}
        named = [each.get_nodes()[0].metadata["vif"]["embedding_model"] for each in (one, two, three)]
        assert named == [None, None, "ours"]
    with CMCVectorStore(path) as one, CMCVectorStore(path, collection="four") as four_:
        assert scores(one, X) == {"a": 1.0} == scores(four_, [1.0, 0.0])
        assert one.client.verify().holds


def test_words_and_filters_find_every_node_of_one_text(store):
    store.add([node("a", "a fox", X, n=1), node("b", "a fox", Y, n=2)])
    assert sorted(store.query(VectorStoreQuery(query_str="fox", mode=Mode.TEXT_SEARCH, similarity_top_k=9)).ids) == [
        "a",
        "b",
    ]
    assert scores(store, Y, filters=equals("n", 1)) == {"a": 0.0}
    mixed = VectorStoreQuery(query_str="fox", query_embedding=Y, mode=Mode.HYBRID, similarity_top_k=9)
    assert store.query(mixed).ids == ["b", "a"]
    diverse = VectorStoreQuery(query_embedding=[0.8, 0.6, 0.0], mode=Mode.MMR, similarity_top_k=2, mmr_threshold=0.1)
    assert store.query(diverse).ids == ["a", "b"]
    store.add([node("c", "a hound", X), node("d", "a hound", Y)])
    assert {item.text for item in store.client.recall("hound", limit=2).items} == {"a hound"}
    assert sorted(store.query(VectorStoreQuery(query_str="hound", mode=Mode.SPARSE, sparse_top_k=9)).ids) == ["c", "d"]


# ---------------------------------------------------------------------- a collection has a model of its own
def test_an_index_is_built_as_the_guide_says_and_loaded_as_it_says(tmp_path):
    model = Lettered()
    with CMCVectorStore(tmp_path / "m.db", embed_model=model) as store:
        documents = [Document(id_=str(n), text=text) for n, text in enumerate(("the kettle", "plums", "a ladder"))]
        VectorStoreIndex.from_documents(documents, storage_context(store), embed_model=model)
    with CMCVectorStore(tmp_path / "m.db") as store:
        index = load_index_from_storage(storage_context(store), embed_model=model)
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("plums")
        assert found.node.get_content() == "plums"
        index.insert(Document(id_="9", text="a fourth"))
        assert index.as_retriever(similarity_top_k=1).retrieve("a fourth")[0].node.get_content() == "a fourth"
    with CMCVectorStore(tmp_path / "m.db", embed_model=model) as store:
        assert len(store.get_nodes()) == 4 and len(store.query(VectorStoreQuery(query_str="plums")).ids) == 1


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2), (2, 3, 4, 2)])
def test_collections_of_other_lengths_live_in_one_file(tmp_path, sizes):
    for _ in range(2):  # the second time it is opened again
        for number, size in enumerate(sizes):
            with CMCVectorStore(tmp_path / "m.db", collection=f"c{number}") as store:
                store.add([node("a", "text", [1.0] * size)])
                assert scores(store, [1.0] * size) == {"a": 1.0}
                with pytest.raises(DimensionMismatch):
                    store.query(VectorStoreQuery(query_embedding=[1.0] * (size + 5)))


def test_an_open_memory_keeps_vectors_of_any_model(tmp_path):
    with Memory.open(tmp_path / "bare.db", embedder=None) as memory:
        store = CMCVectorStore(memory=memory)
        store.add([node("a", "text", X), node("b", "text", Y)])
        assert scores(store, Y) == {"a": 0.0, "b": 1.0}
    from cmc_mcp.embed.external import ExternalEmbedder

    own = Lettered()
    with Memory.open(tmp_path / "own.db", embedder=ExternalEmbedder("own", own.get_text_embedding_batch)) as memory:
        mine, other = CMCVectorStore(memory=memory), CMCVectorStore(memory=memory, collection="other")
        mine.add([TextNode(id_="m", text="made here")])
        other.add([node("a", "text", X), node("b", "text", Y)])
        assert mine.query(VectorStoreQuery(query_str="made here")).ids == ["m"]
        assert scores(other, Y) == {"a": 0.0, "b": 1.0}


def test_another_model_under_the_same_name_is_refused(tmp_path):
    with CMCVectorStore(tmp_path / "m.db", embed_model=Lettered(model_name="m")) as store:
        store.add([TextNode(id_=text, text=text) for text in ("kettle", "plums", "ladder")])
    with CMCVectorStore(tmp_path / "m.db", embed_model=Lettered(model_name="m", turn=3)) as store:
        for call in (
            lambda: store.query(VectorStoreQuery(query_str="kettle")),
            lambda: store.add([TextNode(id_="x", text="new")]),
        ):
            with pytest.raises(DimensionMismatch, match="model_id"):
                call()
        assert store.clear() is None
        store.add([TextNode(id_=text, text=text) for text in ("kettle", "plums", "ladder")])
        assert store.query(VectorStoreQuery(query_str="plums")).ids == ["plums"]
    with CMCVectorStore(tmp_path / "m.db", embed_model=Lettered(model_name="renamed", turn=3)) as store:
        assert store.query(VectorStoreQuery(query_str="ladder")).ids == ["ladder"]


# ---------------------------------------------------------------------- the rest
async def test_an_embedding_that_is_only_asynchronous_works(tmp_path):
    model = Lettered(only_awaited=True)
    with CMCVectorStore(tmp_path / "m.db", embed_model=model) as store:
        await store.async_add([TextNode(id_=text, text=text) for text in ("kettle", "plums", "ladder")])
        for mode in (Mode.DEFAULT, Mode.MMR, Mode.HYBRID):
            assert (await store.aquery(VectorStoreQuery(query_str="plums", mode=mode))).ids[0] == "plums"
    with CMCVectorStore(tmp_path / "m.db", embed_model=model) as store:
        before = model.awaited
        assert (await store.aquery(VectorStoreQuery(query_str="ladder"))).ids == ["ladder"]
        assert model.awaited > before
        index = VectorStoreIndex.from_vector_store(store, embed_model=model)
        assert (await index.as_retriever(similarity_top_k=1).aretrieve("kettle"))[0].node.get_content() == "kettle"


@pytest.mark.parametrize("zeros", [[0.0] * 3, [0, 0, 0], [-0.0] * 3])
async def test_zeros_are_kept_and_score_nothing(does, store, zeros):
    nodes = [
        node("a", "text", X),
        node("z", "text", zeros),
        node("y", "words", zeros),
        node("o", "other", [-1.0, 0, 0]),
    ]
    await does("add", nodes)
    assert scores(store, X) == {"a": 1.0, "z": 0.0, "y": 0.0, "o": -1.0}
    assert store.query(VectorStoreQuery(query_embedding=X, similarity_top_k=2)).ids[0] == "a"
    assert scores(store, zeros) == dict.fromkeys("azyo", 0.0)
    assert len((await does("query", VectorStoreQuery(query_embedding=zeros, similarity_top_k=3))).ids) == 3
    assert store.query(VectorStoreQuery(query_embedding=zeros, mode=Mode.MMR)).ids is not None
    assert sorted(store.query(VectorStoreQuery(query_str="text words", mode=Mode.TEXT_SEARCH, sparse_top_k=9)).ids) == [
        "a",
        "y",
        "z",
    ]
    await does("add", nodes)
    await does("add", [node("z", "text", Y)])
    assert scores(store, Y) == {"z": 1.0, "a": 0.0, "y": 0.0, "o": 0.0}
    assert store.client.verify().holds


def test_a_bad_vector_is_named(store):
    with pytest.raises(InvalidInput) as caught:
        store.add([node("a", "a", X), node("b", "b", [float("nan")] * 3), node("c", "c", [float("inf"), 0.0, 0.0])])
    assert [problem.path for problem in caught.value.problems] == ["entries[1].vector", "entries[2].vector"]


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e200])
def test_the_length_of_a_vector_does_not_matter(store, size):
    store.add([node("a", "a", [size, 0.0, 0.0]), node("b", "b", [0.0, size, 0.0])])
    assert scores(store, [0.0, size, 0.0]) == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    "key", ["user.id", ".lead", "trail.", "a..b", "$price", "$and", "$", "...", " ", "é.ü", "vif2"]
)
def test_every_key_that_can_be_stored_can_be_asked_for(store, key):
    store.add([node("a", "a", X, **{key: 1}), node("b", "b", X, **{key: 2}), node("c", "c", X)])
    assert set(scores(store, X, filters=equals(key, 1))) == {"a"}
    assert set(scores(store, X, filters=equals(key, 1, FilterOperator.GT))) == {"b"}
    assert set(scores(store, X, filters=equals(key, None, FilterOperator.IS_EMPTY))) == {"c"}


def test_large_metadata_are_kept_and_filtered(store):
    store.add([node("a", "a", X, table="<td>é</td>" * 20_000, n=1), node("b", "b", X, n=2)])
    assert set(scores(store, X, filters=equals("n", 1))) == {"a"}
    assert set(scores(store, X, filters=equals("table", "é</td><td>", FilterOperator.TEXT_MATCH))) == {"a"}
    assert store.get_nodes(["a"])[0].metadata["table"] == "<td>é</td>" * 20_000


def test_words_without_spaces_are_found(store):
    said = {"a": "我喜欢吃苹果和香蕉", "b": "東京タワーに行きました", "c": "나는 사과를 좋아합니다", "d": "nothing"}
    store.add([node(id, text, X, said=text) for id, text in said.items()])
    for id, word in (("a", "苹果"), ("b", "東京"), ("c", "사과")):
        for mode in (Mode.TEXT_SEARCH, Mode.SPARSE):
            assert store.query(VectorStoreQuery(query_str=word, mode=mode, similarity_top_k=9)).ids == [id]
        hybrid = VectorStoreQuery(query_str=word, query_embedding=X, mode=Mode.HYBRID, similarity_top_k=9)
        assert store.query(hybrid).ids[0] == id
        for operator in (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE, FilterOperator.CONTAINS):
            assert set(scores(store, X, filters=equals("said", word, operator))) == {id}


async def test_no_nodes_are_asked_for_and_none_come(does, store):
    store.add([node("a", "fox", X)])
    for asked in (
        {"query_embedding": X},
        {"query_str": "fox", "mode": Mode.TEXT_SEARCH},
        {"query_embedding": X, "mode": Mode.MMR},
        {"query_embedding": X, "query_str": "fox", "mode": Mode.HYBRID},
    ):
        assert (await does("query", VectorStoreQuery(similarity_top_k=0, **asked))).ids == []


def test_a_field_of_the_users_own_under_the_reserved_key_is_refused(store):
    for value in (1, "car", None, {"make": "audi"}):
        with pytest.raises(InvalidInput, match="vif"):
            store.add([node("a", "a", X, vif=value)])
    assert store.get_nodes() == []


def test_nodes_that_are_yielded_are_added(store):
    assert store.add(node(id, id, X) for id in "ab") == ["a", "b"]
    assert set(scores(store, X)) == {"a", "b"}


def test_a_mode_that_is_not_here_says_which_are(store):
    for mode in set(Mode) - {Mode.DEFAULT, Mode.TEXT_SEARCH, Mode.SPARSE, Mode.HYBRID, Mode.MMR}:
        with pytest.raises(CmcError, match="use one of DEFAULT, TEXT_SEARCH, SPARSE, HYBRID, MMR"):
            store.query(everything(mode=mode, query_str="x"))


def test_importing_the_adapter_without_its_framework_says_what_to_install():
    code = "import sys; sys.modules['llama_index'] = None\nimport cmc_mcp.adapters.llamaindex"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'cmc-mcp[llamaindex]'" in done.stderr


def test_a_mock_tells_nothing_and_is_told_by_its_name(tmp_path):
    for _ in range(2):
        with CMCVectorStore(tmp_path / "m.db", embed_model=MockEmbedding(embed_dim=3)) as store:
            store.add([node("a", "text", X)])
            assert scores(store, X) == {"a": 1.0}
