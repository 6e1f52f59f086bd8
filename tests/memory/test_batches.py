"""Idempotency keys, and batches: many things at once are what they would be one by one."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import Cancelled, Conflict, InvalidInput, LimitExceeded, NotFound
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Receipt
from tests.support.embedders import CountingEmbedder
from tests.support.memories import opened, root
from tests.support.together import together


def _plain(receipt: Receipt) -> Receipt:
    return receipt.model_copy(update={"timings_ms": {}})


# ---------------------------------------------------------------------- idempotency
def test_a_repeated_key_gives_the_original_receipt_and_changes_nothing(memory: Memory) -> None:
    first = memory.remember("a\n\nb", source="doc", tags={"t": "1"}, idempotency_key="k1")
    memory.remember("between")
    head = memory.status()["transaction"]
    again = memory.remember("a\n\nb", source="doc", tags={"t": "1"}, idempotency_key="k1")
    assert _plain(again) == _plain(first)
    assert memory.status()["transaction"] == head


@pytest.mark.parametrize(
    "other",
    [{"content": "b"}, {"tags": {"t": "2"}}, {"confidence": 0.5}, {"source": "x"}, {"valid_from": "2026-01-01"}],
    ids=str,
)
def test_a_key_used_for_something_else_is_a_conflict(memory: Memory, other: dict[str, object]) -> None:
    first = memory.remember("a", idempotency_key="k1")
    with pytest.raises(Conflict) as caught:
        memory.remember(**{"content": "a", "idempotency_key": "k1", **other})  # type: ignore[arg-type]
    assert caught.value.fields["transaction"] == first.transaction
    assert memory.status()["transaction"] == 1


def test_a_turn_with_a_key_is_not_appended_twice(memory: Memory) -> None:
    for _ in range(3):
        memory.remember("yes", session="s", idempotency_key="once")
    assert memory.read_source("session:s") == b"yes"


def test_a_repeated_receipt_says_what_undid_it_until_that_is_undone(memory: Memory) -> None:
    start = memory.remember("start")
    memory.remember("kept", idempotency_key="kept")
    memory.remember("gone", idempotency_key="k")
    before = memory.snapshot()
    undo = memory.rollback(start.transaction + 1).receipt
    assert undo is not None
    assert memory.remember("gone", idempotency_key="k").undone_by == undo.transaction
    assert memory.remember("kept", idempotency_key="kept").undone_by is None
    memory.rollback(before)
    assert memory.remember("gone", idempotency_key="k").undone_by is None


def test_a_rollback_that_only_touches_the_same_memory_did_not_undo_its_first_write(memory: Memory) -> None:
    first = memory.remember("a", idempotency_key="k")
    memory.revise(first.added[0], tags={"x": "1"})
    memory.rollback(first.transaction)
    assert memory.remember("a", idempotency_key="k").undone_by is None


def test_a_selective_rollback_shows_in_the_receipts_of_its_writer_alone(memory: Memory) -> None:
    other = memory.as_principal("mallory")
    memory.remember("honest", idempotency_key="h")
    other.remember("poison", idempotency_key="p")
    undo = memory.rollback(since=0, writer="mallory").receipt
    assert undo is not None
    assert other.remember("poison", idempotency_key="p").undone_by == undo.transaction
    assert memory.remember("honest", idempotency_key="h").undone_by is None


def test_one_key_in_many_threads_is_executed_once(memory: Memory) -> None:
    receipts: list[Receipt] = []
    barrier = threading.Barrier(6)

    def write() -> None:
        barrier.wait()
        receipts.append(memory.remember("once", session="s", idempotency_key="k"))

    together(write, [()] * 6)
    assert len({_plain(receipt).model_dump_json() for receipt in receipts}) == 1
    assert memory.read_source("session:s") == b"once"


def _remember_once(folder: str) -> str:
    with opened(Path(folder)) as memory:
        return _plain(memory.remember("once", session="s", idempotency_key="k")).model_dump_json()


def test_one_key_in_several_processes_is_executed_once(memory: Memory, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        receipts = pool.map(_remember_once, [str(tmp_path)] * 6)
    assert len(set(receipts)) == 1
    assert memory.read_source("session:s") == b"once"


# ---------------------------------------------------------------------- many
_ITEM = st.fixed_dictionaries(
    {"content": st.sampled_from(["one", "two", "one\n\ntwo", "two\n\none\n\none", "x\r\ny\r\n\r\nz"])},
    optional={
        "source": st.sampled_from(["a.md", "b.md"]),
        "session": st.sampled_from(["s", "t"]),
        "speaker": st.sampled_from(["ana", "bo"]),
        "occurred_at": st.sampled_from(["2026-05-08", "2026-05-09"]),
        "tags": st.dictionaries(st.sampled_from(["p", "q"]), st.sampled_from(["1", "2", None]), max_size=2),
        "valid_from": st.sampled_from(["2026-01-01", "2026-03-01"]),
        "valid_to": st.sampled_from(["2026-04-01", "2026-06-01"]),
        "confidence": st.sampled_from([0.2, 0.95]),
        "model_id": st.sampled_from(["gpt-9"]),
        "modality": st.sampled_from(["text", "code", "event"]),
        "idempotency_key": st.sampled_from(["k1", "k2"]),
        "priority": st.sampled_from([0.5, 0.9]),
    },
)


def _one_by_one(memory: Memory, items: list[dict[str, object]]) -> tuple[list[str], bool]:
    added: list[str] = []
    for item in items:
        try:
            added += memory.remember(**item).added  # type: ignore[arg-type]
        except Conflict:
            return added, True
    return added, False


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(items=st.lists(_ITEM, min_size=1, max_size=8))
def test_many_at_once_are_what_they_would_be_one_by_one(tmp_path: Path, items: list[dict[str, object]]) -> None:
    name = f"{len(list(tmp_path.iterdir()))}"
    apart, together = opened(tmp_path, f"{name}-apart.db"), opened(tmp_path, f"{name}-together.db")
    with apart, together:
        added, conflict = _one_by_one(apart, items)
        if conflict:
            with pytest.raises(Conflict):
                together.remember_many(items)  # type: ignore[arg-type]
        else:
            assert dict.fromkeys(together.remember_many(items).added) == dict.fromkeys(added)  # type: ignore[arg-type]
        assert root(together) == root(apart)
        assert together.verify().faults == []


def test_premises_inside_a_batch_are_found(tmp_path: Path) -> None:
    with opened(tmp_path, "elsewhere.db") as other:
        premise = other.remember("premise").added[0]
    memory, apart = opened(tmp_path), opened(tmp_path, "apart.db")
    items = [
        {"content": "before"},
        {"content": "premise"},
        {"content": "so", "derived_from": [premise]},
        {"content": "end"},
    ]
    receipt = memory.remember_many(items)  # type: ignore[arg-type]
    for item in items:
        apart.remember(**item)  # type: ignore[arg-type]
    assert len(receipt.added) == 4
    assert receipt.transactions == 2
    assert root(memory) == root(apart)


def test_an_unknown_premise_names_its_item_and_what_came_before_stays(memory: Memory) -> None:
    with pytest.raises(NotFound, match=r"items\[1\]"):
        memory.remember_many(
            [{"content": "a"}, {"content": "b", "derived_from": ["atom_" + "0" * 32]}, {"content": "c"}]
        )
    assert [item.text for item in memory.recall("a b c").items] == ["a"]


def test_a_batch_has_at_most_a_thousand_items_and_gives_its_range(memory: Memory) -> None:
    memory.remember("before")
    before = memory.snapshot()
    seen: list[tuple[int, int]] = []
    items = [{"content": f"item {n}"} for n in range(2_300)]
    receipt = memory.remember_many(items, progress=lambda done, total: seen.append((done, total)))  # type: ignore[arg-type]
    assert seen == [(1_000, 2_300), (2_000, 2_300), (2_300, 2_300)]
    assert (receipt.first_transaction, receipt.transaction, receipt.transactions) == (2, 4, 3)
    assert receipt.snapshot.before == before.snapshot
    assert receipt.snapshot.after == memory.snapshot().snapshot
    assert len(receipt.added) == 2_300
    memory.rollback(receipt.snapshot.before)
    assert memory.status()["memories"] == 1


def test_an_interrupt_keeps_whole_batches(memory: Memory) -> None:
    calls = 0

    def given_up() -> bool:
        nonlocal calls
        calls += 1
        return calls > 1

    with pytest.raises(Cancelled):
        memory.remember_many([{"content": f"item {n}"} for n in range(1_500)], cancel=given_up)
    assert memory.status()["memories"] == 1_000
    assert memory.verify().holds


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"content": " "}, r"items\[2\]\.content"),
        ({"content": "x", "confidence": 7}, r"items\[2\]\.confidence"),
        ({"content": "x", "colour": "red"}, r"items\[2\]\.colour"),
        ("just text", r"items\[2\]"),
    ],
)
def test_a_wrong_item_names_its_number(memory: Memory, wrong: object, path: str) -> None:
    with pytest.raises(InvalidInput, match=path):
        memory.remember_many([{"content": "a"}, {"content": "b"}, wrong])  # type: ignore[list-item]
    assert memory.status()["transaction"] == 0


def test_an_item_past_a_bound_says_which_bound(memory: Memory) -> None:
    with pytest.raises(LimitExceeded) as caught:
        memory.remember_many([{"content": "a", "title": "t" * 513}])
    assert caught.value.fields["limit"] == "TITLE_CHARS_MAX"
    assert caught.value.fields["paths"] == ["items[0].title"]


def test_nothing_to_remember_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput):
        memory.remember_many([])


def test_repeated_keys_in_a_batch_do_not_move_its_range(memory: Memory) -> None:
    first = memory.remember("a", idempotency_key="k")
    receipt = memory.remember_many([{"content": "b"}, {"content": "a", "idempotency_key": "k"}])
    assert receipt.transaction == first.transaction + 1
    assert receipt.transactions == 1
    assert receipt.snapshot.after == memory.snapshot().snapshot


def test_claims_of_one_batch_that_disagree_are_noticed(memory: Memory) -> None:
    claims = [{"subject": "app", "predicate": "runs on", "object": where} for where in ("Heroku", "Fly.io")]
    receipt = memory.remember_many([{"content": c["object"], "claim": c} for c in claims])  # type: ignore[typeddict-item]
    assert {note.with_id for note in receipt.conflicts} == set(receipt.added)


def test_an_embedder_that_is_down_leaves_what_is_remembered_pending(tmp_path: Path) -> None:
    embedder = CountingEmbedder(fails=True)
    memory = opened(tmp_path, embedder=embedder)
    receipt = memory.remember_many([{"content": "one"}, {"content": "two"}])
    assert receipt.pending == 2
    assert memory.recall("one").items[0].text == "one"
    embedder.fails = False
    assert memory.embed_pending() == 2
    assert memory.remember("one").pending == 0
