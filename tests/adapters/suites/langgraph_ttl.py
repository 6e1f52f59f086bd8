"""Time to live, on a clock that the tests move: what expires, what reading prolongs, and what never comes back."""

from __future__ import annotations

import pytest
from langgraph.store.base import GetOp, PutOp

from cmc_mcp import Memory
from cmc_mcp.adapters.langgraph import BadOperation, CMCStore
from cmc_mcp.clock import FixedClock
from tests.adapters.suites.langgraph_made import Awaited, index, keys

MINUTE = 60_000_000
START = 1_790_000_000_000_000


class Rig:
    def __init__(self, path, through):
        self.clock = FixedClock(START)
        self.memory = Memory.open(path, embedder=None, clock=self.clock)
        self.through = through

    def store(self, **ttl):
        made = CMCStore(memory=self.memory, ttl=ttl or None, index=index("text", "more[*]"))
        return self.through(made)

    def at(self, minutes):
        self.clock.set_us(START + round(minutes * MINUTE))


@pytest.fixture(params=["sync", "async"])
def rig(request, tmp_path):
    made = Rig(tmp_path / "memory.db", Awaited if request.param == "async" else lambda store: store)
    yield made
    made.memory.close()


def seen(store, key="k"):
    """What each way of reading says of a key, without prolonging it."""
    got = store.get(("t",), key, refresh_ttl=False) is not None
    assert got is (key in keys(store.search(("t",), refresh_ttl=False)))
    assert got is (key in [i.key for i in store.search(("t",), query="aaa", refresh_ttl=False)])
    assert got or ("t",) not in store.list_namespaces() or store.search(("t",), refresh_ttl=False)
    return got


def test_an_item_is_gone_when_its_time_is_over_and_not_before(rig):
    store = rig.store(default_ttl=10)
    store.put(("t",), "k", {"text": "aaa", "more": ["bbb", "ccc"]})
    rig.at(9.999)
    assert seen(store)
    rig.at(10)
    assert not seen(store)
    assert store.list_namespaces() == []


def test_an_item_has_its_own_time_the_default_or_none(rig):
    store = rig.store(default_ttl=5)
    store.put(("t",), "short", {"text": "a"}, ttl=1)
    store.put(("t",), "default", {"text": "a"})
    store.put(("t",), "ever", {"text": "a"}, ttl=None)
    for minutes, left in (
        (0, ["default", "ever", "short"]),
        (1, ["default", "ever"]),
        (5, ["ever"]),
        (10**6, ["ever"]),
    ):
        rig.at(minutes)
        assert sorted(keys(store.search(("t",), refresh_ttl=False))) == left


@pytest.mark.parametrize(
    ("config", "asked", "prolonged"),
    [
        ({"refresh_on_read": True}, None, True),
        ({"refresh_on_read": True}, True, True),
        ({"refresh_on_read": True}, False, False),
        ({"refresh_on_read": False}, None, False),
        ({"refresh_on_read": False}, True, True),
        ({"refresh_on_read": False}, False, False),
        ({"default_ttl": 99.0}, None, True),
        ({"default_ttl": 99.0}, True, True),
        ({"default_ttl": 99.0}, False, False),
        ({"default_ttl": 99.0, "omit_expired": True}, None, True),
        ({}, None, True),
        ({}, True, True),
        ({}, False, False),
    ],
)
@pytest.mark.parametrize("way", ["get", "search", "query"])
def test_reading_prolongs_unless_the_store_or_the_call_says_no(rig, config, asked, prolonged, way):
    store = rig.store(**config)
    store.put(("t",), "k", {"text": "aaa", "more": ["bbb"]}, ttl=10)
    store.put(("t",), "other", {"text": "zzz"}, ttl=10)
    rig.at(8)
    before = rig.memory.status()["transaction"]
    if way == "get":
        store.get(("t",), "k", refresh_ttl=asked)
    else:
        store.search(("t",), query="bbb" if way == "query" else None, filter={"text": "aaa"}, refresh_ttl=asked)
    assert (rig.memory.status()["transaction"] == before) is not prolonged
    rig.at(12)
    assert seen(store) is prolonged and not seen(store, "other")
    if prolonged:
        assert store.search(("t",), query="bbb", refresh_ttl=False)[0].score > 0.99
    rig.at(18)
    assert not seen(store)


def test_prolonging_leaves_the_item_and_its_times_as_they_were(rig):
    store = rig.store(refresh_on_read=True, default_ttl=10)
    store.put(("t",), "k", {"text": "aaa"})
    first = store.get(("t",), "k", refresh_ttl=False)
    rig.at(5)
    assert store.get(("t",), "k") == first
    rig.at(6)
    assert store.get(("t",), "k") == first
    assert len(store.versions(("t",), "k")) == 1


def test_prolonging_never_ends_what_somebody_made_lasting_in_between(rig):
    store = CMCStore(memory=rig.memory, ttl={"refresh_on_read": True})
    store.put(("t",), "k", {"n": 1}, ttl=10)
    (stale,) = store.collection.entries()
    store.put(("t",), "k", {"n": 2})
    store._refresh([stale])
    rig.at(1_000)
    assert store.get(("t",), "k").value == {"n": 2}


def test_a_put_in_the_same_batch_has_the_last_word(rig):
    store = rig.store(refresh_on_read=True)
    store.put(("t",), "k", {"text": "aaa"}, ttl=10)
    rig.at(5)
    store.batch([GetOp(("t",), "k"), PutOp(("t",), "k", {"text": "bbb"}, ttl=1)])
    rig.at(6)
    assert not seen(store)
    store.put(("t",), "k", {"text": "aaa"}, ttl=10)
    store.batch([GetOp(("t",), "k"), PutOp(("t",), "k", None)])
    assert not seen(store)


@pytest.mark.parametrize("text", ["aaa", "other words"])
@pytest.mark.parametrize("before", [None, 60, 1])
def test_no_older_wording_comes_back_when_a_newer_one_expires(rig, text, before):
    store = rig.store(default_ttl=None)
    store.put(("t",), "k", {"text": "aaa", "more": ["x", "y"]}, ttl=before)
    rig.at(0.5)
    store.put(("t",), "k", {"text": text}, ttl=5)
    rig.at(5.4)
    assert store.get(("t",), "k", refresh_ttl=False).value == {"text": text}
    for minutes in (5.5, 30, 59, 61, 10**6):
        rig.at(minutes)
        assert not seen(store)


def test_a_put_without_a_time_makes_an_item_last_and_one_after_expiry_begins_anew(rig):
    store = rig.store(default_ttl=None)
    store.put(("t",), "k", {"text": "aaa"}, ttl=5)
    created = store.get(("t",), "k").created_at
    store.put(("t",), "k", {"text": "aaa"})
    rig.at(10**5)
    assert seen(store) and store.get(("t",), "k").created_at == created
    store.put(("t",), "k", {"text": "aaa"}, ttl=5)
    rig.at(10**5 + 6)
    store.put(("t",), "k", {"text": "aaa"}, ttl=5)
    assert store.get(("t",), "k").created_at > created


def test_what_expired_is_still_known_to_have_been(rig):
    store = rig.store(default_ttl=5)
    store.put(("t",), "k", {"text": "aaa"})
    label = rig.memory.snapshot("before").transaction
    rig.at(60)
    assert not seen(store)
    assert store.at(label).get(("t",), "k").value == {"text": "aaa"}
    assert store.at(valid_at=START + 2 * MINUTE).get(("t",), "k") is not None
    assert store.at(label, valid_at=START + 5 * MINUTE).get(("t",), "k") is None


@pytest.mark.parametrize(
    "ttl",
    [
        {"default_ttl": 0},
        {"default_ttl": "5"},
        {"default_ttl": True},
        {"refresh": True},
        [5],
        {"default_ttl": float("inf")},
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, ttl):
    with pytest.raises(BadOperation, match="ttl"):
        CMCStore(tmp_path / "memory.db", ttl=ttl)
