"""What users of vector stores reported, each a kind of input; right is what LangChain documents or its own store does."""

from __future__ import annotations

import copy
import pickle
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from cmc_mcp import Memory
from cmc_mcp.adapters.langchain import BadArgument, CMCRetriever, CMCVectorStore
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput
from cmc_mcp.model.entries import Entry
from tests.adapters.suites.langchain_store import Letters


class Turned(Embeddings):
    """A model of eight dimensions; `turn` makes another of it. Kept under an attribute that names no model."""

    def __init__(self, turn=0):
        self.turn, self.calls = turn, []

    def _row(self, text):
        row = [0.1] * 8
        for place, char in enumerate(text):
            row[(ord(char) + place * self.turn + self.turn) % 8] += 1 + place % 3
        return row

    def embed_documents(self, texts):
        self.calls += texts
        return [self._row(text) for text in texts]

    def embed_query(self, text):
        return self._row(text)


class CacheBackedEmbeddings(Embeddings):
    """As `langchain_classic.embeddings.CacheBackedEmbeddings` holds what it wraps."""

    def __init__(self, underlying_embeddings):
        self.underlying_embeddings = underlying_embeddings
        self.embed_documents, self.embed_query = (
            underlying_embeddings.embed_documents,
            underlying_embeddings.embed_query,
        )

    def embed_documents(self, texts):
        raise NotImplementedError

    def embed_query(self, text):
        raise NotImplementedError


class OtherSpelling(Turned):
    """The same weights under another class."""


class AsyncOnly(Embeddings):
    """Embeds in an event loop alone."""

    def __init__(self):
        self.inner, self.awaited = Turned(), 0

    def embed_documents(self, texts):
        raise NotImplementedError("only aembed_documents")

    def embed_query(self, text):
        raise NotImplementedError("only aembed_query")

    async def aembed_documents(self, texts):
        self.awaited += 1
        return self.inner.embed_documents(texts)

    async def aembed_query(self, text):
        self.awaited += 1
        return self.inner.embed_query(text)


TEXTS = ["the kettle is in the cellar", "plums are blue", "a ladder of oak", "zebras quarrel"]


def ids(documents):
    return [document.id for document in documents]


def filled(path, embedding, **options):
    store = CMCVectorStore(embedding, path=path, **options)
    store.add_texts(TEXTS, ids=list("abcd"))
    return store


def finds_itself(store):
    return all(store.similarity_search(text, k=1)[0].page_content == text for text in TEXTS)


# ---------------------------------------------------------------------- two models under one name
@pytest.mark.parametrize("wrap", [lambda model: model, CacheBackedEmbeddings], ids=["bare", "cached"])
def test_another_model_under_the_same_name_is_refused_or_finds_its_own_texts(tmp_path, wrap):
    with filled(tmp_path / "m.db", wrap(Turned(0))) as store:
        assert finds_itself(store)
    with CMCVectorStore(wrap(Turned(3)), path=tmp_path / "m.db") as store:
        for call in (
            lambda: store.similarity_search(TEXTS[0]),
            lambda: store.add_texts(["new"]),
            lambda: store.max_marginal_relevance_search(TEXTS[0]),
            lambda: CMCRetriever(store=store).invoke(TEXTS[0]),
        ):
            with pytest.raises(DimensionMismatch, match="model_id") as caught:
                call()
            assert caught.value.code == "dimension_mismatch"
        store.clear()
        store.add_texts(TEXTS, ids=list("abcd"))
        assert finds_itself(store)
    with CMCVectorStore(wrap(Turned(3)), path=tmp_path / "m.db") as store:
        assert finds_itself(store)
        assert store.memory.verify().holds
    with CMCVectorStore(
        wrap(Turned(0)), path=tmp_path / "m.db"
    ) as store:  # whose vectors of these texts are there still
        assert finds_itself(store)


async def test_another_model_is_refused_by_the_asynchronous_methods_too(tmp_path):
    filled(tmp_path / "m.db", Turned(0)).close()
    with CMCVectorStore(Turned(3), path=tmp_path / "m.db") as store:
        for call in (store.asimilarity_search(TEXTS[0]), store.aadd_texts(["new"])):
            with pytest.raises(DimensionMismatch):
                await call


def test_a_model_in_another_collection_of_the_file_is_its_own(tmp_path):
    with filled(tmp_path / "m.db", Turned(0)) as one, filled(tmp_path / "m.db", Turned(3), collection="other") as other:
        assert finds_itself(one) and finds_itself(other)
    with (
        CMCVectorStore(Turned(0), path=tmp_path / "m.db") as one,
        CMCVectorStore(Turned(3), path=tmp_path / "m.db", collection="other") as other,
    ):
        assert finds_itself(one) and finds_itself(other)


@pytest.mark.parametrize(
    "embedding", [OtherSpelling(), CacheBackedEmbeddings(Turned()), CacheBackedEmbeddings(OtherSpelling())]
)
def test_the_same_weights_under_another_spelling_are_the_same_model(tmp_path, embedding):
    filled(tmp_path / "m.db", Turned()).close()
    with CMCVectorStore(embedding, path=tmp_path / "m.db") as store:
        assert finds_itself(store)
        store.add_texts(["ladders and kettles"], ids=["e"])
        assert ids(store.similarity_search("ladders and kettles", k=1)) == ["e"]
        with store.memory._workspace.reader() as view:
            assert len(view.models()) == 1


def test_a_model_can_be_named(tmp_path):
    with filled(tmp_path / "m.db", Turned(), model_id="weights-7") as store:
        with store.memory._workspace.reader() as view:
            assert [row[1] for row in view.models()] == ["weights-7"]
        assert store.witness("a")["embedding_model"] == "weights-7"
    for wrong in ("", " ", 7, "x" * 300):
        with pytest.raises(BadArgument, match="model_id"):
            CMCVectorStore(Turned(), path=tmp_path / "m.db", model_id=wrong)


def test_an_embedding_that_never_says_the_same_twice_is_told_by_its_name(tmp_path):
    class Restless(Turned):
        def _row(self, text):
            self.turn += 1
            return super()._row(text)

    filled(tmp_path / "m.db", Restless()).close()
    with CMCVectorStore(Restless(), path=tmp_path / "m.db") as store:
        assert len(store.similarity_search("x")) == 4


# ---------------------------------------------------------------------- keys
ODD_KEYS = [
    "user.id", ".lead", "trail.", "a..b", "$price", "$", "a.$b", "$a.b", "a.b.c", "...", " ", "a\\.b", "vif2", "$and.x",
]  # fmt: skip


@pytest.mark.parametrize("key", ODD_KEYS)
def test_every_key_that_can_be_stored_can_be_asked_for(tmp_path, key):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(["one", "two", "three"], [{key: 1}, {key: 2}, {}], ids=["1", "2", "3"])
        assert ids(store.similarity_search("x", k=9, filter={key: 1})) == ["1"]
        assert ids(store.similarity_search("x", k=9, filter={key: {"$gt": 1}})) == ["2"]
        assert ids(store.similarity_search("x", k=9, filter={"$and": [{key: {"$exists": False}}]})) == ["3"]
        assert ids(store.similarity_search("x", k=9, filter={"$not": {key: {"$in": [1, None]}}})) == ["2"]


@pytest.mark.parametrize("key", ["$and", "$or", "$nor", "$not", "$gt", "$in", "$exists"])
def test_a_key_that_is_an_operator_is_asked_for_with_a_backslash(tmp_path, key):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(["one", "two"], [{key: 1}, {key: 2}], ids=["1", "2"])
        assert ids(store.similarity_search("x", filter={f"\\{key}": 1})) == ["1"]
        if key not in ("$and", "$or", "$nor", "$not"):
            with pytest.raises(InvalidInput):
                store.similarity_search("x", filter={key: 1})


def test_a_whole_key_comes_before_a_path_and_keys_with_dots_are_found_along_it(tmp_path):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        metadatas = [
            {"a.b": 1, "a": {"b": 2}},
            {"a": {"b": 1}},
            {"a": {"b.c": 3}},
            {"a.b": {"c": 3}},
            {"a": [{"b": 1}]},
        ]
        store.add_texts([str(n) for n in range(5)], metadatas, ids=[str(n) for n in range(5)])
        found = {
            key: sorted(ids(store.similarity_search("x", k=9, filter={key: value})))
            for key, value in (("a.b", 1), ("a.b.c", 3), ("a.0.b", 1))
        }
        assert found == {"a.b": ["0", "1"], "a.b.c": ["2", "3"], "a.0.b": ["4"]}
        assert ids(store.similarity_search("x", filter={"a.b": 2})) == []


# ---------------------------------------------------------------------- zeros, NUL, large, generators
class SomeZeros(Letters):
    """Embeds what has no letters to zeros."""

    def _row(self, text):
        return super()._row(text) if any(map(str.isalpha, text)) else [0.0] * self.size


async def test_texts_and_questions_that_embed_to_zeros_are_kept_and_answered(tmp_path):
    with CMCVectorStore(SomeZeros(), path=tmp_path / "m.db") as store:
        store.add_texts(["kettle", "...", "cat", "!!!"], ids=["a", "z", "b", "y"])
        await store.aadd_texts(["???"], ids=["x"])
        found = store.similarity_search_with_score("kettle", k=9)
        assert ids(d for d, _ in found)[0] == "a" and sorted(ids(d for d, _ in found)) == ["a", "b", "x", "y", "z"]
        assert {d.id: score for d, score in found if d.id in "xyz"} == {"x": 1.0, "y": 1.0, "z": 1.0}
        assert all(score == 1.0 for _, score in store.similarity_search_with_score("...", k=9))
        assert len(store.similarity_search("...", k=2)) == 2
        assert len(store.max_marginal_relevance_search("kettle", k=2)) == 2
        store.max_marginal_relevance_search("...", k=2)
        assert len(await store.asimilarity_search("...", k=9)) == 5
        assert "a" in ids(CMCRetriever(store=store, k=9).invoke("kettle"))
        CMCRetriever(store=store).invoke("...")
        assert store.memory.verify().holds
    with CMCVectorStore(SomeZeros(), path=tmp_path / "m.db") as store:
        assert len(store.similarity_search("kettle", k=9)) == 5


@pytest.mark.parametrize(
    "document",
    [
        Document("a\0b", id="bad"),
        Document("a", id="bad\0"),
        Document("a", id="bad", metadata={"x": "\0"}),
        Document("a", id="bad", metadata={"x\0": 1}),
        Document("a", id="bad", metadata={"x": [{"y": ("a", "b\0")}]}),
    ],
)
def test_nul_is_refused_wherever_it_is_and_its_place_is_named(tmp_path, document):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        with pytest.raises(InvalidInput, match="NUL") as caught:
            store.add_documents([Document("fine", id="fine"), document])
        assert caught.value.problems[0].path.startswith("entries[1].")
        assert store.get_by_ids(["fine"]) == []


def test_large_metadata_are_kept_and_filtered(tmp_path):
    large = {"html": "<td>é</td>" * 20_000, "rows": list(range(20_000)), "n": 7}
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(["one", "two"], [large, {"n": 8}], ids=["1", "2"])
        for filter in ({"n": 7}, {"html": large["html"]}, {"rows": {"$contains": 19_999}}, {"html": {"$lt": "a"}}):
            assert ids(store.similarity_search("x", filter=filter)) == ["1"]
        assert store.get_by_ids(["1"])[0].metadata == large
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        assert store.get_by_ids(["1"])[0].metadata == large


async def test_what_yields_texts_is_added_as_a_list_is(tmp_path):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        made = ("one", "two")
        metadatas = [{"n": 1}, {"n": 2}]
        assert (
            store.add_texts(text for text in made) == ids(store.similarity_search("x")) or store.collection.count() == 2
        )
        store.add_texts((t for t in made), (m for m in metadatas), ids=(i for i in "ab"))
        await store.aadd_texts((t for t in made), (m for m in metadatas), ids=(i for i in "cd"))
        store.add_documents(Document(t, id=t) for t in made)
        store.add_texts(dict.fromkeys(made), ids=iter("ef"))
        assert [d.metadata for d in store.get_by_ids(list("abcd"))] == metadatas * 2
        assert ids(store.get_by_ids(["one", "two", "e", "f"])) == ["one", "two", "e", "f"]
        for wrong in ({"metadatas": [{}]}, {"ids": ["a"]}):
            with pytest.raises(ValueError):
                store.add_texts((t for t in made), **wrong)


# ---------------------------------------------------------------------- off the event loop
async def test_an_embedding_that_is_only_asynchronous_works(tmp_path):
    made = AsyncOnly()
    store = await CMCVectorStore.afrom_texts(TEXTS, made, ids=list("abcd"), path=tmp_path / "m.db")
    await store.aadd_documents([Document("a fifth", id="e")])
    assert ids(await store.asimilarity_search(TEXTS[1], k=1)) == ["b"]
    assert (await store.asimilarity_search_with_score(TEXTS[1], k=1))[0][1] == 0.0
    assert ids(await store.amax_marginal_relevance_search(TEXTS[1], k=1)) == ["b"]
    assert (await store.asimilarity_search_with_relevance_scores(TEXTS[1], k=1))[0][1] == 1.0
    for mode in ("hybrid", "dense"):
        assert ids(await CMCRetriever(store=store, mode=mode).ainvoke(TEXTS[1]))[0] == "b"
    assert ids(await store.as_retriever(search_kwargs={"k": 1}).ainvoke(TEXTS[1])) == ["b"]
    assert ids(await store.as_retriever(search_type="mmr").ainvoke(TEXTS[1]))[0] == "b"
    store.close()
    with CMCVectorStore(made, path=tmp_path / "m.db") as store:  # opened again: tried by its own methods
        assert ids(await store.asimilarity_search(TEXTS[2], k=1)) == ["c"]
        before = made.inner.calls.copy()
        await store.aadd_texts(TEXTS, ids=list("abcd"))
        assert made.inner.calls == before  # what has a vector is not embedded again
        assert ids(await CMCRetriever(store=store).ainvoke(TEXTS[3]))[0] == "d"
        with pytest.raises(EmbedderError):
            store.add_texts(["new"])


async def test_the_synchronous_and_the_asynchronous_retriever_say_the_same(tmp_path):
    with filled(tmp_path / "m.db", Turned()) as store:
        for mode, question in product(("hybrid", "dense", "text"), ("kettle", "Plums of Anna?", "x " * 5_000, " ")):
            retriever = CMCRetriever(store=store, mode=mode, k=3)
            assert await retriever.ainvoke(question) == retriever.invoke(question)


async def test_an_embedding_that_fails_is_a_typed_error_and_the_pipeline_goes_by_words(tmp_path):
    filled(tmp_path / "m.db", Letters()).close()
    with CMCVectorStore(Letters(fails=True), path=tmp_path / "m.db") as store:
        with pytest.raises(EmbedderError):
            await store.aadd_texts(["new"])
        assert store.collection.count() == 4


# ---------------------------------------------------------------------- the retriever is as lenient as LangChain's own
@pytest.mark.parametrize("mode", ["hybrid", "dense", "text"])
@pytest.mark.parametrize("question", ["", "  \n\t", "kettle " * 1_300, "x" * 20_000])
async def test_the_retriever_answers_any_question(tmp_path, mode, question):
    with filled(tmp_path / "m.db", Letters()) as store:
        retriever = CMCRetriever(store=store, mode=mode)
        found = retriever.invoke(question)
        assert len(found) == 4 or (mode == "text" and question.strip())
        assert await retriever.ainvoke(question) == found


@pytest.mark.parametrize("mode", ["hybrid", "dense", "text"])
@pytest.mark.parametrize("k", [0, 1, 200, 201, 300, 12_000])
def test_the_retriever_returns_as_many_as_asked(tmp_path, mode, k):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts([f"note number {n}" for n in range(320)], [{"even": n % 2 == 0} for n in range(320)])
        found = CMCRetriever(store=store, mode=mode, k=k).invoke("note number")
        assert len(found) == len({d.id for d in found}) == min(k, 320)
        half = CMCRetriever(store=store, mode=mode, k=k, filter={"even": True}).invoke("note number")
        assert len(half) == min(k, 160) and all(d.metadata["even"] for d in half)
        if mode == "hybrid":
            assert CMCRetriever(store=store, k=k, writer="nobody").invoke("note") == []


# ---------------------------------------------------------------------- and
async def test_no_documents_are_asked_for_and_none_come(tmp_path):
    with filled(tmp_path / "m.db", Letters()) as store:
        assert store.similarity_search("kettle", k=0) == [] == store.max_marginal_relevance_search("kettle", k=0)
        assert await store.asimilarity_search("kettle", k=0) == [] == CMCRetriever(store=store, k=0).invoke("kettle")
        assert store.similarity_search("kettle", k=0, filter=lambda _: True) == []


def test_a_filter_by_one_value_of_a_field_that_is_a_list_says_what_to_use(tmp_path):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(["one", "two"], [{"tags": ["a", "b"]}, {"tags": ["c"]}], ids=["1", "2"])
        with pytest.raises(InvalidInput, match=r"\$any"):
            store.similarity_search("x", filter={"tags": {"$in": ["a"]}})
        assert ids(store.similarity_search("x", filter={"tags": {"$any": ["a"]}})) == ["1"]
        assert store.similarity_search("x", filter={"tags": {"$in": ["z"]}}) == []
        assert len(store.similarity_search("x", filter={"tags": {"$nin": ["a"]}})) == 2


def test_a_field_of_the_users_own_under_the_reserved_key_is_refused(tmp_path):
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        for value in (1, "car", None, ["vif"], {"make": "audi"}):
            with pytest.raises(InvalidInput, match="vif"):
                store.add_texts(["one"], [{"vif": value}])
        assert store.collection.count() == 0


def test_decimals_have_the_order_of_numbers(tmp_path):
    prices = {"a": Decimal("9.5"), "b": Decimal("10"), "c": Decimal("100.25"), "d": 9.75, "e": Decimal("0.1")}
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(list(prices), [{"price": price} for price in prices.values()], ids=list(prices))
        for bound in (Decimal("9.6"), 9.6):
            assert sorted(ids(store.similarity_search("x", k=9, filter={"price": {"$gt": bound}}))) == ["b", "c", "d"]
            assert sorted(ids(store.similarity_search("x", k=9, filter={"price": {"$lte": bound}}))) == ["a", "e"]
        assert ids(store.similarity_search("x", filter={"price": Decimal("10.0")})) == ["b"]
        between = {"price": {"$between": [Decimal("9.6"), Decimal("50")]}}
        assert sorted(ids(store.similarity_search("x", filter=between))) == ["b", "d"]


def test_dates_have_the_order_of_time(tmp_path):
    east = timezone(timedelta(hours=9))
    times = {
        "a": datetime(2025, 1, 1, 8, tzinfo=east),  # 2024-12-31T23:00 in UTC
        "b": datetime(2025, 1, 1, 0, 30, tzinfo=UTC),
        "c": date(2025, 1, 2),
        "d": datetime(2025, 1, 1, 12),
    }
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts(list(times), [{"at": time} for time in times.values()], ids=list(times))

        def found(**asked):
            return "".join(sorted(ids(store.similarity_search("x", k=9, filter={"at": asked["at"]}))))

        assert found(at={"$lt": datetime(2025, 1, 1, tzinfo=UTC)}) == "a"
        assert found(at={"$gte": datetime(2025, 1, 1, 9, tzinfo=east)}) == "bcd"
        assert found(at={"$gt": date(2025, 1, 1)}) == "bcd"
        assert found(at={"$between": [datetime(2025, 1, 1), date(2025, 1, 2)]}) == "bcd"
        assert found(at=datetime(2024, 12, 31, 23, tzinfo=UTC)) == "a"
        assert found(at={"$ne": date(2025, 1, 2)}) == "abd"


def test_words_without_spaces_are_found(tmp_path):
    said = ["我喜欢吃苹果和香蕉", "東京タワーに行きました", "나는 사과를 좋아합니다"]
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        store.add_texts([*said, "nothing of the kind"], ids=list("abcd"))
        retriever = CMCRetriever(store=store, mode="text")
        assert [ids(retriever.invoke(word)) for word in ("苹果", "東京", "사과")] == [["a"], ["b"], ["c"]]
        assert ids(CMCRetriever(store=store).invoke("苹果"))[0] == "a"


def test_a_store_of_a_file_is_pickled_and_copied(tmp_path):
    with CMCVectorStore(
        DeterministicFakeEmbedding(size=4), path=tmp_path / "m.db", collection="c", witness="metadata"
    ) as s:
        s.add_texts(["one"], ids=["1"])
        for made in (pickle.loads(pickle.dumps(s)), copy.deepcopy(s), copy.copy(s)):
            with made:
                assert ids(made.similarity_search("one")) == ["1"] and "vif" in made.get_by_ids(["1"])[0].metadata
        assert ids(s.similarity_search("one")) == ["1"]
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        store = CMCVectorStore(DeterministicFakeEmbedding(size=4), memory=memory)
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(BadArgument, match="path"):
                copied(store)


def test_one_vector_of_a_text_never_answers_for_another(tmp_path):
    with CMCVectorStore(Letters(4), path=tmp_path / "m.db") as store:
        put = store.collection.put
        store.add_texts(["kettle"], ids=["embedded"])
        put([Entry("a", "kettle", vector=[1.0, 0, 0, 0]), Entry("b", "kettle", vector=[0, 1.0, 0, 0])])
        found = store.similarity_search_with_score_by_vector([0.0, 1.0, 0.0, 0.0], k=9)
        scores = {document.id: round(score, 5) for document, score in found}
        assert (scores["a"], scores["b"]) == (1.0, 0.0) and {d.page_content for d, _ in found} == {"kettle"}
        put([Entry("a", "kettle", vector=[0, 0, 1.0, 0])])
        assert ids(store.similarity_search_by_vector([0, 0, 1.0, 0], k=1)) == ["a"]
        assert store.memory.verify().holds


def test_importing_the_adapter_without_its_framework_says_what_to_install(tmp_path):
    import subprocess
    import sys

    code = "import sys; sys.modules['langchain_core'] = None\nimport cmc_mcp.adapters.langchain"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'cmc-mcp[langchain]'" in done.stderr


def test_no_warning_and_no_foreign_error_comes_of_odd_input(tmp_path):
    with warnings.catch_warnings(), filled(tmp_path / "m.db", Letters()) as store:
        warnings.simplefilter("error")
        for filter in ({"$x": {}}, {"a.": {"$near": 1}}, {"\\": 1}, {".": None}):
            try:
                store.similarity_search("x", filter=filter)
            except CmcError:
                continue
