"""What users of LangGraph's stores reported, each a kind of input; right is what its own store in memory does."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langgraph.store.base import GetOp, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from cmc_mcp import Memory
from cmc_mcp.adapters.langgraph import BadOperation, CMCStore
from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import CmcError
from cmc_mcp.model.entries import Found
from tests.adapters.suites.langgraph_made import DIMS, Letters, index, keys

MINUTE = 60_000_000


@pytest.fixture
def store(tmp_path):
    with CMCStore(tmp_path / "memory.db") as store:
        yield store


class Turned(Letters):
    """The same name, another model."""

    @staticmethod
    def one(text):
        return [*reversed(Letters.one(text))]


class AsyncOnly(Embeddings):
    def embed_documents(self, texts):
        raise NotImplementedError

    def embed_query(self, text):
        raise NotImplementedError

    async def aembed_documents(self, texts):
        return [Letters.one(text) for text in texts]

    async def aembed_query(self, text):
        return Letters.one(text)


# ---------------------------------------------------------------------- time to live
@pytest.mark.parametrize("way", ["get", "search", "batch", "query"])
@pytest.mark.parametrize(
    ("config", "put", "asked", "alive"),
    [
        ({"default_ttl": 3.0}, ..., None, True),
        ({"default_ttl": 3.0}, ..., True, True),
        ({"refresh_on_read": False}, 3.0, True, True),
        (None, 3.0, True, True),
        ({"refresh_on_read": False}, 3.0, None, False),
        ({"refresh_on_read": False, "default_ttl": 3.0}, ..., None, False),
        ({"default_ttl": 3.0}, ..., False, False),
        (None, 3.0, False, False),
    ],
)
def test_a_read_restarts_the_time_of_what_it_returns(tmp_path, way, config, put, asked, alive):
    clock = FixedClock(1_790_000_000_000_000)
    with Memory.open(tmp_path / "m.db", embedder=None, clock=clock) as memory:
        store = CMCStore(memory=memory, ttl=config, index=index("text"))
        extra = {} if put is ... else {"ttl": put}
        store.put(("t",), "k", {"text": "figs"}, **extra)
        clock.set_us(1_790_000_000_000_000 + 2 * MINUTE)
        if way == "get":
            assert store.get(("t",), "k", refresh_ttl=asked) is not None
        elif way == "batch" and asked is not None:
            assert store.batch([GetOp(("t",), "k", refresh_ttl=asked)])[0] is not None
        else:
            assert store.search(("t",), query="figs" if way == "query" else None, refresh_ttl=asked)
        clock.set_us(1_790_000_000_000_000 + 4 * MINUTE)
        assert (store.get(("t",), "k", refresh_ttl=False) is not None) is alive
        assert (keys(store.search((), refresh_ttl=False)) == ["k"]) is alive


def test_a_read_of_what_lasts_writes_nothing(store):
    store.put(("t",), "k", {"n": 1})
    before = store.memory.status()["transaction"]
    assert store.get(("t",), "k") and store.search(()) and store.at().get(("t",), "k")
    assert store.memory.status()["transaction"] == before


# ---------------------------------------------------------------------- large values
LARGE = {
    "messages": {"messages": [{"role": "user", "content": "x" * 200, "n": n} for n in range(500)]},
    "floats": {"rows": [[n + k / 1_000 for k in range(768)] for n in range(12)]},
    "text": {"text": "é" * 1_000_000},
    "many keys": {f"key {n}": n for n in range(10_000)},
    "deep": {"a": {"b": [{"c": "y" * 70_000}]}},
}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("name", LARGE)
def test_a_large_value_is_given_back_and_filtered(tmp_path, name, indexed):
    value = {**LARGE[name], "n": 7}
    with CMCStore(tmp_path / "m.db", index=index("n") if indexed else None) as store:
        store.put(("t",), "k", value)
        store.put(("t",), "other", {"n": 8})
        assert store.get(("t",), "k").value == value
        for filter in ({"n": 7}, {"n": {"$lt": 8}}, value):
            assert keys(store.search(("t",), filter=filter)) == ["k"]
        store.put(("t",), "k", {**value, "n": 9})
        assert keys(store.search(("t",), filter={"n": 9})) == ["k"]
    with CMCStore(tmp_path / "m.db") as store:
        assert store.get(("t",), "k").value == {**value, "n": 9}


def test_a_value_may_be_as_large_as_the_documentation_says_and_no_larger(store):
    value = {"text": "x" * (16 * 1024 * 1024 - len('{"text":""}'))}
    store.put(("a" * 100, "b"), "k" * 1_000, value)
    assert store.get(("a" * 100, "b"), "k" * 1_000).value == value
    with pytest.raises(CmcError):
        store.put(("t",), "k", {"text": value["text"] + "x"})


def test_the_order_of_a_large_value_is_that_of_the_value(store):
    texts = {letter: letter * 3_000 for letter in "bdf"}
    filler = {"filler": ["z" * 500] * 200}
    for key, text in texts.items():
        store.put(("t",), key, {"text": text, **filler})
    for bound in ("a", "b" * 3_000, "c", "e" * 5_000, "g"):
        for name, holds in (
            ("$gt", lambda a, b: a > b),
            ("$gte", lambda a, b: a >= b),
            ("$lt", lambda a, b: a < b),
            ("$lte", lambda a, b: a <= b),
        ):
            found = sorted(keys(store.search(("t",), filter={"text": {name: bound}})))
            assert found == [key for key, text in texts.items() if holds(text, bound)]


def test_a_large_value_that_an_earlier_version_put_is_read_and_compared(store):
    from hashlib import sha256

    from cmc_mcp.model.entries import Entry

    value = {"text": "x" * 70_000, "n": 7}
    brief = {"text": "sha256:" + sha256(value["text"].encode()).hexdigest(), "n": 7}
    metadata = {"namespace": ["t"], "key": "k", "value": brief}
    store.collection.put([Entry('["t","k"]', "text", metadata, extra={"created": 1, "updated": 1, "value": value})])
    assert store.get(("t",), "k").value == value
    assert keys(store.search((), filter={"text": value["text"]})) == ["k"] == keys(store.search((), filter={"n": 7}))


# ---------------------------------------------------------------------- keys
@pytest.mark.parametrize(
    "key",
    [
        "user.id",
        ".lead",
        "trail.",
        "a..b",
        "$price",
        "$eq",
        "$",
        "...",
        "",
        " ",
        "a.$b",
        "a\\.b",
        "vif",
        "vif.x",
    ],
)
def test_every_key_that_can_be_stored_can_be_asked_for(store, key):
    reference = InMemoryStore()
    for each in (store, reference):
        for n, value in enumerate(({key: 1}, {key: 2}, {})):
            each.put(("t",), str(n), value)
    assert keys(store.search(("t",), filter={key: {"$gt": 1}})) == ["1"]
    for asked in (1, {"$eq": 1}, {"$ne": 2}, None):
        found, expected = (sorted(keys(each.search(("t",), filter={key: asked}))) for each in (store, reference))
        assert found == expected


def test_keys_of_objects_below_are_asked_for_too(store):
    store.put(("t",), "k", {"a": {"$b": 1, "$eq": 2}})
    for filter in ({"a.$b": 1}, {"a.$eq": 2}, {"a": {"$eq": {"$b": 1, "$eq": 2}}}):
        assert keys(store.search((), filter=filter)) == ["k"]


@pytest.mark.parametrize("key", ["$and", "$or", "$nor", "$not"])
def test_a_key_that_joins_elsewhere_is_asked_for_with_a_backslash(store, key):
    store.put(("t",), "k", {key: 1})
    assert keys(store.search((), filter={f"\\{key}": 1})) == ["k"] and not store.search((), filter={f"\\{key}": 2})
    with pytest.raises(BadOperation, match="backslash"):
        store.search((), filter={key: [{"a": 1}]})


def test_a_whole_key_comes_before_a_path_and_keys_with_dots_are_found_along_it(store):
    for n, value in enumerate(({"a.b": 1, "a": {"b": 2}}, {"a": {"b": 1}}, {"a": {"b.c": 3}}, {"a.b": {"c": 3}})):
        store.put(("t",), str(n), value)
    assert sorted(keys(store.search((), filter={"a.b": 1}))) == ["0", "1"]
    assert sorted(keys(store.search((), filter={"a.b.c": 3}))) == ["2", "3"]
    assert keys(store.search((), filter={"a.b": 2})) == []


texts = st.sampled_from(["", "a", "9", "10", "$x", "a.b", "z" * 2_000])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats(-2, 2, allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["x", "y", "x.a", "x.b", ".", "$k", "x."])
OPERATIONS = st.one_of(
    JSON,
    st.tuples(st.sampled_from(["$eq", "$ne"]), JSON).map(lambda pair: dict([pair])),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-3, 30) | texts).map(
        lambda pair: dict([pair])
    ),
)


def has(value, key):
    """Look a key up: whole, then by its dots, then by keys with dots along the path."""
    if key in value:
        return True, value[key]
    steps, at = key.split("."), value
    for step in steps:
        if isinstance(at, dict) and step in at:
            at = at[step]
        elif isinstance(at, list) and step.isdecimal() and int(step) < len(at):
            at = at[int(step)]
        else:
            return False, None
    return True, at


def number(value):
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def naive(value, filter):
    """Read a filter by the words of LangGraph's documentation."""

    def equal(given, asked):
        if isinstance(asked, dict) and not any(name.startswith("$") for name in asked):
            return isinstance(given, dict) and all(equal(given.get(k), part) for k, part in asked.items())
        if isinstance(asked, dict):
            return all(operates(given, name, operand) for name, operand in asked.items())
        if isinstance(asked, list):
            return isinstance(given, list) and len(given) == len(asked) and all(map(equal, given, asked))
        return given == asked

    def operates(given, name, operand):
        if name in ("$eq", "$ne"):
            return (given == operand) is (name == "$eq")
        if isinstance(given, str) and isinstance(operand, str):
            a, b = given, operand
        else:
            a, b = number(given), number(operand)
            if a is None or b is None or math.isnan(a) or math.isnan(b):
                return False
        return {"$gt": a > b, "$gte": a >= b, "$lt": a < b, "$lte": a <= b}[name]

    return all(equal(has(value, key)[1], asked) for key, asked in filter.items())


@settings(deadline=None, max_examples=2_000)
@given(
    st.dictionaries(st.sampled_from(["x", "y", "x.a", ".", "$k", "x."]), JSON, max_size=3),
    st.dictionaries(KEYS, OPERATIONS, min_size=1, max_size=2),
)
def test_a_filter_means_what_the_documentation_says(value, filter):
    from cmc_mcp.adapters._langgraph_filters import where_of
    from cmc_mcp.model.filters import compiled

    try:
        where = where_of(("t",), filter, parts=True)
    except BadOperation:
        return
    assert compiled(where)({"namespace": ["t"], "key": "k", "value": value}) is naive(value, filter)


# ---------------------------------------------------------------------- models, vectors, words
def test_another_model_under_the_same_name_is_refused(tmp_path):
    with CMCStore(tmp_path / "m.db", index=index("text")) as store:
        store.put(("t",), "k", {"text": "figs and plums"})
    with CMCStore(tmp_path / "m.db", index=index("text", embed=Turned()), model_id="Letters:letters") as store:
        for call in (lambda: store.search((), query="figs"), lambda: store.put(("t",), "x", {"text": "new"})):
            with pytest.raises(CmcError) as caught:
                call()
            assert caught.value.code == "dimension_mismatch"
        store.collection.clear()
        store.put(("t",), "k", {"text": "figs and plums"})
        assert store.search((), query="figs and plums")[0].score > 0.99


async def test_another_model_is_refused_by_the_asynchronous_methods_too(tmp_path):
    with CMCStore(tmp_path / "m.db", index=index("text"), model_id="m") as store:
        store.put(("t",), "k", {"text": "figs and plums"})
    async with CMCStore(tmp_path / "m.db", index=index("text", embed=Turned()), model_id="m") as store:
        for call in (store.asearch((), query="figs"), store.aput(("t",), "x", {"text": "new"})):
            with pytest.raises(CmcError, match="model"):
                await call


def test_the_same_weights_under_another_name_are_the_same_model(tmp_path):
    with CMCStore(tmp_path / "m.db", index=index("text")) as store:
        store.put(("t",), "k", {"text": "figs and plums"})
    with CMCStore(tmp_path / "m.db", index=index("text"), model_id="renamed") as store:
        assert store.search((), query="figs and plums")[0].score > 0.99
        assert store.witness(("t",), "k")["embedding_model"] == "Letters:letters"
    for wrong in ({"model_id": ""}, {"model_id": 7}, {"model_id": "m", "index": None}):
        with pytest.raises(BadOperation, match="model_id"):
            CMCStore(tmp_path / "x.db", **{"index": index("text"), **wrong})


async def test_an_embedding_that_is_only_asynchronous_works(tmp_path):
    for _ in range(2):
        async with CMCStore(tmp_path / "m.db", index=index("text", embed=AsyncOnly())) as store:
            await store.aput(("t",), "a", {"text": "figs"})
            await store.aput(("t",), "b", {"text": "zebra"})
            assert keys(await store.asearch((), query="figs", limit=1)) == ["a"]
            found = await store.abatch([SearchOp((), query="zebra", limit=1), PutOp(("t",), "c", {"text": "plum"})])
            assert keys(found[0]) == ["b"]


async def test_what_embeds_to_zeros_is_kept_and_answered(tmp_path):
    async with CMCStore(tmp_path / "m.db", index=index("text")) as store:
        store.put(("t",), "a", {"text": "figs"})

        class Zeros(Letters):
            @staticmethod
            def one(text):
                return [0.0] * DIMS if text.startswith("0") else Letters.one(text)

    async with CMCStore(tmp_path / "m.db", index=index("text", embed=Zeros())) as store:
        store.put(("t",), "z", {"text": "0 zero"})
        await store.aput(("t",), "y", {"text": "0 none"})
        found = store.search((), query="figs")
        assert found[0].key == "a" and found[0].score > 0.9 and len(found) == 3
        assert {item.score for item in found[1:]} == {0.0}
        assert len(store.search((), query="0")) == 3 == len(await store.asearch((), query="0"))
        assert store.memory.verify().holds


def test_an_item_that_is_not_indexed_is_not_found_by_the_vector_of_another(tmp_path):
    with CMCStore(tmp_path / "m.db", index=index("$")) as store:
        store.put(("t",), "a", {"text": "figs"})
        store.put(("t",), "b", {"text": "figs"}, index=False)
        assert [(item.key, item.score is None) for item in store.search((), query="figs")] == [
            ("a", False),
            ("b", True),
        ]


@pytest.mark.parametrize("indexed", [False, True])
def test_nul_is_a_letter_of_values_and_keys(tmp_path, indexed):
    with CMCStore(tmp_path / "m.db", index=index("text") if indexed else None) as store:
        store.put(("t",), "k\0", {"text": "a page\0 of a PDF", "\0": ["\0"]})
        assert store.get(("t",), "k\0").value == {"text": "a page\0 of a PDF", "\0": ["\0"]}
        assert keys(store.search((), filter={"\0": ["\0"]})) == ["k\0"]
        assert keys(store.search((), query="a page of a PDF")) == ["k\0"]


def test_words_without_spaces_are_found(store):
    said = {"a": "我喜欢吃苹果和香蕉", "b": "東京タワーに行きました", "c": "나는 사과를 좋아합니다"}
    for key, text in said.items():
        store.put(("t",), key, {"text": text})
    for key, word in (("a", "苹果"), ("b", "東京"), ("c", "사과")):
        found = store.search((), query=word)
        assert found[0].key == key and [item.score is None for item in found] == [False, True, True]


def test_decimals_and_dates_have_an_order(store):
    for key, price in (("a", Decimal("9.5")), ("b", Decimal("10")), ("c", 100.25)):
        store.put(("t",), key, {"price": price, "at": datetime(2025, 1, int(float(price)) % 28 + 1, tzinfo=UTC)})
    assert sorted(keys(store.search((), filter={"price": {"$gt": Decimal("9.6")}}))) == ["b", "c"]
    assert sorted(keys(store.search((), filter={"price": {"$lt": 10.5}}))) == ["a", "b"]
    assert sorted(keys(store.search((), filter={"at": {"$gte": datetime(2025, 1, 11, tzinfo=UTC)}}))) == ["b", "c"]


def test_importing_the_adapter_without_its_framework_says_what_to_install():
    code = "import sys; sys.modules['langgraph'] = None\nimport cmc_mcp.adapters.langgraph"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode and "pip install 'cmc-mcp[langgraph]'" in done.stderr


def test_what_was_found_is_an_entry(store):
    store.put(("t",), "k", {"n": 1})
    assert all(isinstance(entry, Found) for entry in store.collection.entries())
