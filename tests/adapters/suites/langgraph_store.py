"""The cases of LangGraph's own store tests, in our words, each through the synchronous and the asynchronous methods."""

from __future__ import annotations

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)

from cmc_mcp.adapters.langgraph import BadOperation, CMCStore
from tests.adapters.suites.langgraph_made import DIMS, Awaited, Letters, cosine, index, keys


@pytest.fixture(params=["sync", "async"])
def through(request):
    return (lambda store: store) if request.param == "sync" else Awaited


@pytest.fixture
def store(tmp_path, through):
    with CMCStore(tmp_path / "memory.db") as made:
        yield through(made)


@pytest.fixture
def indexed(tmp_path, through):
    opened = []

    def make(*fields):
        opened.append(CMCStore(tmp_path / f"{len(opened)}.db", index=index(*fields)))
        return through(opened[-1])

    yield make
    for one in opened:
        one.close()


# ---------------------------------------------------------------------- batches
def test_results_come_in_the_order_of_the_operations_and_reads_before_writes(store):
    store.put(("test", "foo"), "a", {"data": 1})
    store.put(("test", "bar"), "b", {"data": 2})
    got = store.batch(
        [
            GetOp(("test", "foo"), "a"),
            PutOp(("test", "bar"), "b", {"data": 3}),
            SearchOp(("test",), filter={"data": {"$gt": 1}}),
            ListNamespacesOp(),
            PutOp(("test",), "c", {"data": 4}),
            GetOp(("test", "bar"), "b"),
            GetOp(("test",), "c"),
        ]
    )
    assert isinstance(got[0], Item) and (got[0].namespace, got[0].key, got[0].value) == (
        ("test", "foo"),
        "a",
        {"data": 1},
    )
    assert got[1] is None and got[4] is None
    assert isinstance(got[2][0], SearchItem) and [item.value for item in got[2]] == [{"data": 2}]
    assert got[3] == [("test", "bar"), ("test", "foo")]
    assert got[5].value == {"data": 2} and got[6] is None
    assert store.get(("test", "bar"), "b").value == {"data": 3}
    assert store.get(("test",), "c").value == {"data": 4}


def test_of_several_puts_under_one_key_in_a_batch_the_last_one_counts(store):
    ops = [PutOp(("t",), "a", {"n": 1}), PutOp(("t",), "a", None), PutOp(("t",), "a", {"n": 2}), PutOp(("t",), "b", {})]
    assert store.batch([*ops, PutOp(("t",), "b", None)]) == [None] * 5
    assert store.get(("t",), "a").value == {"n": 2} and store.get(("t",), "b") is None


def test_a_batch_gets_what_is_there_and_nothing_for_the_rest(store):
    store.put(("t",), "a", {"n": 1})
    got = store.batch([GetOp(("t",), "a"), GetOp(("t",), "x"), GetOp(("u",), "a"), GetOp(("t",), "a")])
    assert [item and item.value for item in got] == [{"n": 1}, None, None, {"n": 1}]


def test_a_batch_puts_and_deletes_and_an_empty_one_does_nothing(store):
    assert store.batch([]) == []
    store.batch([PutOp(("t",), "a", {"n": 1}), PutOp(("t",), "b", {"n": 2}), PutOp(("t",), "gone", None)])
    assert sorted(keys(store.search(("t",)))) == ["a", "b"]


def test_several_searches_of_one_batch_are_each_their_own(store):
    for name, tag in (("foo", "a"), ("bar", "a"), ("baz", "b")):
        store.put(("test", name), name, {"tag": tag})
    got = store.batch(
        [
            SearchOp(("test",), filter={"tag": "a"}),
            SearchOp(("test",), limit=2),
            SearchOp(("test", "foo")),
            SearchOp(("x",)),
        ]
    )
    assert [len(found) for found in got] == [2, 2, 1, 0]
    assert keys(got[2]) == ["foo"]


def test_more_than_a_thousand_puts_go_in_one_batch(store):
    store.batch([PutOp(("many",), f"k{n}", {"n": n}) for n in range(2_100)])
    assert len(store.search(("many",), limit=5_000)) == 2_100


# ---------------------------------------------------------------------- items
def test_an_item_is_put_read_overwritten_and_deleted(store):
    store.put(("test", "documents"), "doc", {"title": "one", "content": "Hello"})
    first = store.get(("test", "documents"), "doc")
    store.put(("test", "documents"), "doc", {"title": "two"})
    second = store.get(("test", "documents"), "doc")
    assert (first.value, second.value) == ({"title": "one", "content": "Hello"}, {"title": "two"})
    assert second.created_at == first.created_at == first.updated_at < second.updated_at
    assert first.created_at.utcoffset().total_seconds() == 0
    assert store.get(("test", "other"), "doc") is None
    store.delete(("test", "documents"), "doc")
    store.delete(("test", "documents"), "doc")
    assert store.get(("test", "documents"), "doc") is None
    store.put(("test", "documents"), "doc", {"title": "one", "content": "Hello"})
    assert store.get(("test", "documents"), "doc").created_at > second.updated_at


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": ""},
        {"vif": {"writer": "somebody else"}, "namespace": 1, "key": None, "part": 3, "value": [1]},
        {"n": [1, -0.5, 1e300, 2**70, True, False, None, {"a": [[], {}]}]},
        {"text": "naïve 這是 🎈 \u0000 \" \\ % _ '"},
        {"$gt": 1, "a.b": 2},
        {str(n): n for n in range(500)},
        {"long": "x" * 300_000, "deep": {"list": ["y" * 5_000] * 40}},
    ],
)
def test_any_value_that_json_holds_comes_back_untouched(store, value):
    store.put(("t",), "k", value)
    assert store.get(("t",), "k").value == value
    assert store.search(("t",))[0].value == value


def test_long_texts_of_a_large_value_can_still_be_compared(store):
    value = {"body": "x" * 100_000, "short": "s", "parts": ["y" * 2_000]}
    store.put(("t",), "large", value)
    for filter in (value, {"body": {"$eq": value["body"]}}, {"short": "s"}, {"parts": value["parts"]}):
        assert keys(store.search(("t",), filter=filter)) == ["large"]
    assert store.search(("t",), filter={"body": {"$ne": value["body"]}}) == []
    assert store.search(("t",), filter={"body": "x" * 99_999}) == []


def test_keys_are_any_text_and_numbers_become_text(store):
    for key in ("", "a b", "%", "_", "a/b", '"]', "#1", "é" * 100, "\u0000", "$.x') OR 1=1 --"):
        store.put(("t",), key, {"key": key})
    store.put(("t",), 7, {"key": "7"})
    for item in store.search(("t",), limit=100):
        assert store.get(("t",), item.key).value == {"key": item.key}
    assert len(store.search(("t",), limit=100)) == 11


# ---------------------------------------------------------------------- namespaces
def test_a_prefix_matches_whole_labels_and_their_case_alone(store):
    names = [
        ("users", "a"),
        ("users", "ab"),
        ("users", "a", "x"),
        ("users", "A"),
        ("user",),
        ("users",),
        ("users_",),
        ("us%",),
    ]
    for name in names:
        store.put(name, "k", {})
    assert {i.namespace for i in store.search(("users", "a"))} == {("users", "a"), ("users", "a", "x")}
    assert {i.namespace for i in store.search(("users",))} == {n for n in names if n[0] == "users"}
    assert {i.namespace for i in store.search(())} == set(names)
    assert [i.namespace for i in store.search(("us%",))] == [("us%",)]
    assert store.search(("user_",)) == [] and store.search(("%",)) == [] and store.search(("*",)) == []
    assert store.list_namespaces(prefix=("users", "a")) == [("users", "a"), ("users", "a", "x")]


@pytest.mark.parametrize(
    "label", ["a_c", "a%c", "a*c", "a?c", "[ab]c", "a\\c", "a'c", 'a"c', "a,c", "a]c", "ÄÖ", "a\x1fc"]
)
def test_wildcards_and_quotes_in_labels_are_what_they_are(store, label):
    for name in (label, "abc", label + "x", label.swapcase()):
        store.put((name, "leaf"), "k", {"name": name})
    assert [i.value["name"] for i in store.search((label,))] == [label]
    assert store.list_namespaces(prefix=(label,)) == [(label, "leaf")]
    assert store.get((label, "leaf"), "k").value == {"name": label}


def test_labels_and_keys_never_run_into_each_other(store):
    store.put(("a", "b"), "c", {"n": 1})
    store.put(("a",), "b", {"n": 2})
    store.put(("a",), '["b","c"]', {"n": 3})
    store.put(('a","b',), "c", {"n": 4})
    assert [store.get(*name).value["n"] for name in ((("a", "b"), "c"), (("a",), "b"), (("a",), '["b","c"]'))] == [
        1,
        2,
        3,
    ]
    assert [i.value["n"] for i in store.search(('a","b',))] == [4]


NAMES = [
    ("test", "documents", "public"),
    ("test", "documents", "private"),
    ("test", "images", "public"),
    ("prod", "documents", "some", "nesting", "public"),
    ("prod", "documents", "private"),
]


@pytest.fixture
def named(store):
    for name in NAMES:
        store.put(name, "k", {})
    return store


def test_namespaces_are_listed_once_and_in_order(named):
    named.put(NAMES[0], "another", {})
    assert named.list_namespaces() == sorted(NAMES)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prefix": ("test",)}, NAMES[:3]),
        ({"prefix": ["test", "documents"]}, NAMES[:2]),
        ({"suffix": ("public",)}, [NAMES[0], *NAMES[2:4]]),
        ({"prefix": ("test",), "suffix": ("public",)}, [NAMES[0], NAMES[2]]),
        ({"prefix": ("*", "documents")}, [*NAMES[:2], *NAMES[3:]]),
        ({"suffix": ("some", "*", "public")}, [NAMES[3]]),
        ({"suffix": ("*", "private")}, [NAMES[1], NAMES[4]]),
        ({"prefix": ("tes",)}, []),
        ({"suffix": ("blic",)}, []),
        ({"prefix": ("*",) * 6}, []),
        ({"prefix": ()}, NAMES),
        ({"prefix": ("test", "*", "public", "*")}, []),
    ],
)
def test_namespaces_match_by_prefix_suffix_and_wildcard(named, asked, expected):
    assert named.list_namespaces(**asked) == sorted(expected)


def test_namespaces_are_cut_at_a_depth_and_paged_after_that(named):
    assert named.list_namespaces(max_depth=1) == [("prod",), ("test",)]
    cut = named.list_namespaces(max_depth=2, prefix=("*", "documents"))
    assert cut == [("prod", "documents"), ("test", "documents")]
    pages = [named.list_namespaces(limit=2, offset=start) for start in (0, 2, 4, 6)]
    assert [one for page in pages for one in page] == sorted(NAMES) and [len(page) for page in pages] == [2, 2, 1, 0]


def test_a_namespace_goes_with_its_last_item(named):
    named.delete(NAMES[0], "k")
    assert NAMES[0] not in named.list_namespaces()


@pytest.mark.parametrize("namespace", [("foo.bar",), ("foo", ""), ("foo", 1), ("foo", "a\x00b")])
@pytest.mark.parametrize("kind", ["get", "put", "delete", "search", "prefix", "suffix"])
def test_a_bad_label_is_refused_wherever_it_comes_and_nothing_is_written(store, namespace, kind):
    store.put(("foo", "bar"), "k", {"n": 1})
    bad = {
        "get": GetOp(namespace, "k"),
        "put": PutOp(namespace, "k", {}),
        "delete": PutOp(namespace, "k", None),
        "search": SearchOp(namespace),
        "prefix": ListNamespacesOp((MatchCondition("prefix", namespace),)),
        "suffix": ListNamespacesOp((MatchCondition("suffix", namespace),)),
    }[kind]
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("valid",), "k", {}), bad])
    assert store.get(("foo", "bar"), "k").value == {"n": 1} and store.get(("valid",), "k") is None


@pytest.mark.parametrize("namespace", [(), ("langgraph",), ("langgraph", "entries")])
def test_neither_the_empty_nor_the_reserved_namespace_can_be_put_into(store, namespace):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {})
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(namespace, "k", {})])


# ---------------------------------------------------------------------- search without a query
def test_any_key_of_a_value_is_filtered_from_the_root_too(store):
    value = {"vif": {"writer": "me"}, "": 1, "namespace": "n", "value": 2, "part": 3}
    store.put(("t",), "k", value)
    for key, part in value.items():
        assert keys(store.search((), filter={key: part})) == keys(store.search(("t",), filter={key: part})) == ["k"]
        assert store.search((), filter={key: "other"}) == []


def test_items_come_last_changed_first_and_in_pages_without_overlap(store):
    for n in range(7):
        store.put(("t",), f"k{n}", {"n": n})
    store.put(("t",), "k2", {"n": 22})
    assert keys(store.search(("t",))) == ["k2", "k6", "k5", "k4", "k3", "k1", "k0"]
    pages = [keys(store.search(("t",), limit=3, offset=start)) for start in (0, 3, 6, 9)]
    assert [one for page in pages for one in page] == keys(store.search(("t",))) and [len(page) for page in pages] == [
        3,
        3,
        1,
        0,
    ]
    assert store.search(("t",), limit=0) == [] and all(item.score is None for item in store.search(("t",)))


def test_a_filter_over_values_and_a_list_of_tags(store):
    items = [
        ("1", "John", ["important"]),
        ("2", "Jane", ["draft"]),
        ("3", "John", ["final"]),
        ("4", "Alice", ["draft"]),
    ]
    for key, author, tags in items:
        store.put(("base", "documents" if key < "3" else "reports", key), key, {"author": author, "tags": tags})
    assert sorted(keys(store.search(("base",), filter={"author": "John"}))) == ["1", "3"]
    assert sorted(keys(store.search(("base",), filter={"tags": ["draft"]}))) == ["2", "4"]
    assert keys(store.search(("base", "documents"), filter={"tags": ["draft"], "author": "Jane"})) == ["2"]


# ---------------------------------------------------------------------- search by meaning
def test_texts_are_embedded_on_put_and_again_on_update(indexed):
    store = indexed()
    store.put(("t",), "1", {"text": "zany zebra Xerxes"})
    store.put(("t",), "2", {"text": "something about dogs"})
    first = store.search(("t",), query="Zany Xerxes")
    assert first[0].key == "1" and first[0].score > first[1].score
    store.put(("t",), "1", {"text": "new text about dogs"})
    after = {item.key: item.score for item in store.search(("t",), query="Zany Xerxes")}
    assert after["1"] < first[0].score
    assert store.search(("t",), query="new text about dogs")[0].key == "1"


@pytest.mark.parametrize("query", ["aaa", "bbb", "ccc", "abcd", "poisson"])
def test_the_score_is_the_cosine(indexed, query):
    store = indexed("key0")
    store.put(("t",), "doc", {"key0": "aaab"}, index=["key0", "key1"])
    (found,) = store.search((), query=query)
    assert found.score == pytest.approx(cosine(Letters.one("aaab"), Letters.one(query)), abs=1e-5)


def test_filters_are_applied_before_the_best_are_taken(indexed):
    store = indexed("text")
    for n in range(60):
        store.put(("t",), f"k{n}", {"text": "apple" if n else "pear", "n": n})
    assert keys(store.search(("t",), query="apple", filter={"n": 0}, limit=1)) == ["k0"]
    assert len(store.search(("t",), query="pear", filter={"n": {"$gte": 10}}, limit=50)) == 50
    assert len(store.search(("t",), query="pear", limit=10)) == 10


def test_pages_of_a_search_follow_each_other_by_score(indexed):
    store = indexed("text", "more[*]")
    for n in range(9):
        store.put(("t",), f"k{n}", {"text": "a" * n + "b" * (9 - n), "more": ["a" * n, "c" * n + "a"]})
    whole = store.search(("t",), query="aab", limit=20)
    pages = [store.search(("t",), query="aab", limit=2, offset=start) for start in range(0, 10, 2)]
    assert keys([one for page in pages for one in page]) == keys(whole) and len(set(keys(whole))) == 9
    scores = [item.score for item in whole]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("query", ["", None, "  "])
def test_a_query_that_says_nothing_is_none(indexed, query):
    store = indexed()
    store.put(("t",), "1", {"text": "test document"})
    assert [item.score for item in store.search(("t",), query=query)] == [None]


@pytest.mark.parametrize("query", ["test " * 100, "test!@#$%^&*()", "\"' OR 1=1 --", "這是中文"])
def test_any_query_finds(indexed, query):
    store = indexed()
    store.put(("t",), "1", {"text": "test document"})
    assert len(store.search(("t",), query=query)) == 1


def test_the_best_of_several_fields_counts_and_an_item_comes_once(indexed):
    store = indexed("key0", "key1", "key3")
    store.put(("t",), "1", {"key1": "xxx", "key2": "yyy", "key3": "zzz"})
    store.put(("t",), "2", {"key0": "uuu", "key1": "vvv", "key2": "www", "key3": "xxx"})
    both = store.search(("t",), query="xxx")
    assert sorted(keys(both)) == ["1", "2"] and all(item.score > 0.99 for item in both)
    assert keys(store.search(("t",), query="uuu")) == ["2", "1"]
    assert keys(store.search(("t",), query="zzz")) == ["1", "2"]
    assert all(item.score < 0.9 for item in store.search(("t",), query="www"))
    assert len(store.search(("t",))) == 2 and len(store.list_namespaces()) == 1


def test_a_put_says_which_fields_are_searched(indexed):
    store = indexed("key17")
    store.put(("t",), "3", {"key0": "aaa", "key1": "bbb", "key2": "ccc"}, index=["key0", "key1"])
    store.put(("t",), "4", {"key0": "eee", "key1": "bbb", "key3": "ggg"}, index=["key1", "key3"])
    store.put(("t",), "5", {"key0": "hhh"}, index=False)
    store.put(("t",), "6", {"key0": "hhh"})
    assert store.search(("t",), query="aaa", limit=1)[0].key == "3"
    assert store.search(("t",), query="ggg", limit=1)[0].key == "4"
    assert [item.score for item in store.search(("t",), query="bbb", limit=2)] == pytest.approx([1, 1], abs=1e-5)
    assert store.search(("t",), query="ccc")[0].score < 0.9
    found = store.search(("t",), query="hhh")
    assert [(item.key, item.score) for item in found[2:]] == [("6", None), ("5", None)]
    assert len(store.search(("t",), query="hhh", limit=3)) == 3
    assert [item.key for item in store.search(("t",), query="hhh", limit=2, offset=3)] == ["5"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("context[*].content",), "bbb"),
        (("context[0].content",), "aaa"),
        (("context[-1].content",), "bbb"),
        (("meta.title",), "ttt"),
        (("{name,meta.title}",), "nnn"),
        (("meta.*",), "ttt"),
        (("$",), None),
        ((), None),
    ],
)
def test_paths_of_fields_are_those_of_langgraph(indexed, fields, text):
    store = indexed(*fields)
    store.put(
        ("t",), "1", {"name": "nnn", "meta": {"title": "ttt"}, "context": [{"content": "aaa"}, {"content": "bbb"}]}
    )
    (found,) = store.search(("t",), query=text or "context")
    assert found.score > (0.99 if text else 0.2)


def test_an_item_whose_texts_grow_fewer_is_not_found_by_the_old_ones(indexed):
    store = indexed("parts[*]")
    store.put(("t",), "1", {"parts": ["aaa", "bbb", "ccc"]})
    store.put(("t",), "1", {"parts": ["aaa"]})
    assert store.search(("t",), query="ccc")[0].score < 0.1
    store.put(("t",), "1", {"parts": []})
    assert [(item.value, item.score) for item in store.search(("t",), query="aaa")] == [({"parts": []}, None)]
    store.put(("t",), "1", {"parts": ["bbb", "ddd"]})
    store.delete(("t",), "1")
    assert store.search(("t",), query="ddd") == [] and store.list_namespaces() == []


def test_texts_in_many_scripts_find_themselves(indexed):
    store = indexed("text")
    texts = {"1": "这是中文", "2": "これは日本語です", "3": "이건 한국어야", "4": "Это русский", "5": "यह रूसी है"}
    for key, text in texts.items():
        store.put(("user_123", "memories"), key, {"text": text})
    for key, text in texts.items():
        assert store.search(("user_123", "memories"), query=text)[0].key == key


def test_without_an_index_a_query_ranks_by_words_and_leaves_nothing_out(store):
    for key, text in (("1", "the kettle is in the cellar"), ("2", "apples"), ("3", "the kettle boils: kettle, kettle")):
        store.put(("t",), key, {"text": text}, index=["ignored"])
    found = store.search(("t",), query="kettle")
    assert {item.key for item in found[:2]} == {"1", "3"} and found[2].key == "2"
    assert found[0].score > 0 and found[2].score is None


def test_what_is_not_indexed_comes_by_key_and_filter(store):
    store.put(("t",), "1", {"text": "the kettle"}, index=False)
    assert store.get(("t",), "1").value == {"text": "the kettle"}
    assert [item.score for item in store.search(("t",), query="kettle", filter={"text": "the kettle"})] == [None]


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    "op",
    [
        SearchOp((), limit=-1),
        SearchOp((), offset=-1),
        SearchOp((), limit=True),
        SearchOp((), limit=2.5),
        SearchOp((), query=7),
        SearchOp((), filter=["a"]),
        SearchOp((), filter=0),
        SearchOp((), filter={"a": {"$in": [1]}}),
        SearchOp((), filter={"a": {"$gt": None}}),
        SearchOp((), filter={"a": {"$gt": True}}),
        SearchOp((), filter={"a": {"$gt": [1]}}),
        SearchOp((), filter={"$or": [{"a": 1}]}),
        SearchOp((), filter={"a": {"$eq": 1, "b": 2}}),
        SearchOp((), filter={"a": object()}),
        SearchOp((), filter={"a": {"b": {"$x": 1}}}),
        SearchOp((), filter={"a": b"1"}),
        SearchOp((), filter={"a": [{"$like": "x"}]}),
        ListNamespacesOp(max_depth=0),
        ListNamespacesOp(max_depth="2"),
        ListNamespacesOp(limit=-3),
        ListNamespacesOp((MatchCondition("middle", ("a",)),)),
        PutOp(("t",), "k", ["no map"]),
        PutOp(("t",), "k", {}, index="text"),
        PutOp(("t",), "k", {}, index=7),
        PutOp(("t",), "k", {}, index=True),
        PutOp(("t",), "k", {}, ttl=0),
        PutOp(("t",), "k", {}, ttl=-1),
        PutOp(("t",), "k", {}, ttl=float("nan")),
        PutOp(("t",), "k", {}, ttl=True),
        PutOp(("t",), "k", {}, ttl="5"),
        PutOp(("t",), "k", {}, ttl=1e300),
        ("no", "operation"),
    ],
    ids=lambda op: type(op).__name__,
)
def test_what_is_wrong_is_said_and_changes_nothing(store, op):
    with pytest.raises(BadOperation) as caught:
        store.batch([PutOp(("valid",), "k", {}), op])
    assert isinstance(caught.value, ValueError) and caught.value.code == "invalid_input"
    assert store.get(("valid",), "k") is None


def test_values_that_json_cannot_hold_are_refused_with_their_place(store):
    for value in ({"a": {"b": object()}}, {"a": b"bytes"}, {(1, 2): 3}, {"a": "\ud800"}):
        with pytest.raises(BadOperation, match="value"):
            store.put(("t",), "k", value)
    assert store.search(()) == []


def test_dimensions_are_checked(tmp_path, through):
    with CMCStore(tmp_path / "a.db", index={"dims": DIMS + 1, "embed": Letters()}) as made:
        with pytest.raises(Exception, match="dimensions") as caught:
            through(made).put(("t",), "k", {"text": "a"})
        assert caught.value.code == "dimension_mismatch"
        assert through(made).get(("t",), "k") is None
