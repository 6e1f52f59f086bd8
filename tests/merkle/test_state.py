"""The state tree: the root and the stored nodes are those of the set, whatever the order and history of updates."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import IntegrityError, InvalidInput
from cmc_mcp.merkle import state
from cmc_mcp.merkle.node import BUCKET, DEPTH_MAX
from tests.merkle import reference
from tests.merkle.made import Changes, batches, key, keyed, value

NOTHING: dict[int, bytes] = {}


class Store:
    """A store of nodes, the set that it should hold, and a check of one against the other."""

    def __init__(self) -> None:
        self.nodes: dict[int, bytes] = {}
        self.model: dict[bytes, bytes] = {}
        self.root = state.EMPTY_ROOT

    def update(self, changes: Changes) -> dict[int, bytes | None]:
        before, given = dict(self.nodes), dict(changes)
        self.root, writes = state.update(self.nodes.get, changes)
        assert self.nodes == before and changes == given, "update is pure"
        for path, node in writes.items():
            assert node != self.nodes.get(path) or node is None, "a node that stays as it is is not written"
            if node is None:
                self.nodes.pop(path, None)
            else:
                self.nodes[path] = node
        for k, v in changes.items():
            if v is None:
                self.model.pop(k, None)
            else:
                self.model[k] = v
        return writes

    def check(self) -> None:
        assert (self.root, self.nodes) == state.build(self.model.items())
        assert self.root == state.root(self.nodes.get)
        assert list(state.entries(self.nodes.get)) == sorted(self.model.items())


def of(changes: Changes) -> Store:
    store = Store()
    store.update(changes)
    store.check()
    return store


@settings(max_examples=300, deadline=None)
@given(st.lists(batches, max_size=12), st.randoms(use_true_random=False))
def test_the_tree_is_that_of_the_set_whatever_its_history(history: list[Changes], rng: random.Random) -> None:
    store = Store()
    for changes in history:
        store.update(changes)
        store.check()
    singly, order = Store(), list(store.model.items())
    rng.shuffle(order)
    for k, v in order:
        singly.update({k: v})
    assert (singly.root, singly.nodes) == (store.root, store.nodes)
    store.update(dict.fromkeys(store.model))
    assert (store.root, store.nodes) == (state.EMPTY_ROOT, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(batches, min_size=1, max_size=4))
def test_build_is_the_definition(history: list[Changes]) -> None:
    model = {k: v for changes in history for k, v in changes.items() if v is not None}
    assert state.build(model.items()) == reference.state(model)


@settings(deadline=None)
@given(batches, st.integers(0, 200), st.integers(0, 3))
@example({}, 0, 0)
def test_different_sets_have_different_roots(changes: Changes, n: int, v: int) -> None:
    store = of(changes)
    root, before = store.root, dict(store.model)
    store.update({keyed(n): value(v)})
    assert (store.root == root) == (store.model == before)
    store.update({keyed(n): before.get(keyed(n))})
    assert store.root == root


def test_pinned_roots() -> None:
    """These are the format: a change here changes every hash ever given out."""
    few = {keyed(n): value(n) for n in range(32)}
    many = {keyed(n): value(n) for n in range(1000)}
    deep = {key("00000000", n): value(n) for n in range(33)}
    assert [state.build(entries.items())[0].hex() for entries in ({}, few, many, deep)] == PINNED
    assert state.EMPTY_ROOT.hex() == PINNED[0]


PINNED = [
    "e24a946cdd47e9c7f47556543c3c75118f2f618ba31e3e02b3e5411dcf6bf107",
    "3d6a00a72bdf6306e73c5bf8a3ae83fe61dc9e6689c862f7766bd212fa2a1815",
    "b708672e9c3d99e676107c6fea80f4a633ffa85318f806537ae6268d93490ec0",
    "3830178db999a362e3f647f57952ea0ed0b5123d110e494f1b32424fa6c37aa8",
]


def test_a_long_random_history() -> None:
    rng, store = random.Random(7), Store()
    for step in range(300):
        pool = rng.choice([50, 500, 3000])
        size = rng.choice([1, 1, 1, 5, 50, 400])
        wipe = rng.random()
        store.update({keyed(rng.randrange(pool)): None if rng.random() < wipe else value(step) for _ in range(size)})
        if step % 10 == 0 or len(store.model) < 100:
            store.check()
    store.check()


@pytest.mark.parametrize("depth", range(DEPTH_MAX + 1))
def test_a_bucket_splits_at_33_and_merges_at_32_and_never_at_the_depth_limit(depth: int) -> None:
    prefix = "0" * depth  # the keys differ in nibble `depth`, so the split is there
    keys = [key(prefix + "123456789abcdef"[n % 15], n) for n in range(BUCKET + 1)]
    store = of({k: value(1) for k in keys[:BUCKET]})
    assert set(store.nodes) == {1}
    root = store.root

    store.update({keys[BUCKET]: value(1)})
    store.check()
    chain = {1 << 4 * level for level in range(min(depth, DEPTH_MAX) + 1)}
    if depth < DEPTH_MAX:
        assert set(store.nodes) == chain | {(1 << 4 * depth) << 4 | digit for digit in range(1, 16)}
    else:
        assert set(store.nodes) == chain
        assert len(store.nodes[1 << 4 * DEPTH_MAX]) == 1 + 48 * (BUCKET + 1)

    writes = store.update({keys[BUCKET]: None})
    store.check()
    assert store.root == root and set(store.nodes) == {1}
    assert all(node is None for path, node in writes.items() if path != 1)


def test_at_the_depth_limit_a_bucket_takes_any_number() -> None:
    store = of({key("123456789", n): value(n) for n in range(2000)})
    assert max(path.bit_length() for path in store.nodes) == 1 + 4 * DEPTH_MAX
    assert len(store.nodes) == 1 + DEPTH_MAX
    store.update({key("123456789", n): None for n in range(1968)})
    store.check()
    assert set(store.nodes) == {1}


def test_a_chain_goes_when_its_last_key_does() -> None:
    store = of({key("", n): value(n) for n in range(33)} | {key("f", n): value(n) for n in range(33)})
    store.update({key("", n): None for n in range(33)})
    store.check()
    assert all(path == 1 or f"{path:x}".startswith("1f") for path in store.nodes)


def test_a_batch_may_empty_one_subtree_and_split_another() -> None:
    store = of({key("1", n): value(n) for n in range(40)} | {key("2", n): value(n) for n in range(20)})
    store.update({key("1", n): None for n in range(40)} | {key("2", n): value(n) for n in range(20, 45)})
    store.check()
    store.update({key("2", n): None for n in range(13)} | {key("3", 0): value(0)})
    store.check()


def test_the_order_within_a_batch_does_not_matter() -> None:
    entries = [(keyed(n), value(n)) for n in range(200)]
    assert of(dict(entries)).root == of(dict(reversed(entries))).root == state.build(reversed(entries))[0]


def test_what_changes_nothing_writes_nothing() -> None:
    store = of({keyed(n): value(n) for n in range(1000)})
    root = store.root
    for changes in ({}, {keyed(7): value(7)}, {keyed(5000): None}, {keyed(n): value(n) for n in range(1000)}):
        assert store.update(changes) == {}
        assert store.root == root
    assert state.update(NOTHING.get, {keyed(0): None}) == (state.EMPTY_ROOT, {})
    assert state.update(NOTHING.get, {}) == (state.EMPTY_ROOT, {})


def test_one_change_reads_and_writes_one_path() -> None:
    store = of({keyed(n): value(n) for n in range(10_000)})
    reads: list[int] = []

    def get(path: int) -> bytes | None:
        reads.append(path)
        return store.nodes.get(path)

    _, writes = state.update(get, {keyed(77): value(0)})
    assert sorted(reads) == sorted(writes) and len(reads) == len(set(reads)) <= 5


def test_a_batch_writes_each_dirty_node_once() -> None:
    store = of({keyed(n): value(n) for n in range(10_000)})
    reads: list[int] = []

    def get(path: int) -> bytes | None:
        reads.append(path)
        return store.nodes.get(path)

    _, writes = state.update(get, {keyed(n): value(1) for n in range(0, 10_000, 10)})
    assert sorted(reads) == sorted(writes) and len(reads) == len(set(reads))


@pytest.mark.parametrize("bad", [{b"": value(0)}, {bytes(15): None}, {bytes(17): None}, {bytes(16): bytes(31)}])
def test_bad_entries_are_invalid(bad: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidInput):
        state.update(NOTHING.get, bad)
    if None not in bad.values():
        with pytest.raises(InvalidInput):
            state.build(bad.items())


def test_build_refuses_a_key_that_comes_twice() -> None:
    for second in (value(0), value(1)):
        with pytest.raises(InvalidInput, match="twice"):
            state.build([(bytes(16), value(0)), (bytes(16), second)])


def damaged(nodes: dict[int, bytes]) -> Iterable[dict[int, bytes]]:
    victim = next(path for path, node in nodes.items() if path != 1 and node[:1] == b"L")
    yield {path: node for path, node in nodes.items() if path != victim}
    for path in (1, victim):
        for bad in (b"", b"L", b"X" + nodes[path][1:], nodes[path][:-1], b"I" + bytes(48), b"L" + bytes(47)):
            yield nodes | {path: bad}


def test_a_missing_or_damaged_node_is_an_integrity_error() -> None:
    everything = {keyed(n): value(n) for n in range(200)}
    _, nodes = state.build(everything.items())
    for store in damaged(nodes):
        with pytest.raises(IntegrityError):
            state.update(store.get, {k: value(0) for k in everything})
        with pytest.raises(IntegrityError):
            list(state.entries(store.get))
        with pytest.raises(IntegrityError):
            for k in everything:
                state.prove(store.get, k)
