"""A snapshot names a state; a label names a snapshot, and is moved only by force."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import Ambiguous, Conflict, InvalidInput, LimitExceeded, NotFound
from cmc_mcp.memory import Memory
from tests.support.memories import opened


def test_without_a_label_nothing_is_written_and_the_same_state_has_the_same_id(memory: Memory) -> None:
    empty = memory.snapshot()
    assert empty == memory.snapshot()
    assert (empty.transaction, empty.recorded_at, empty.counts) == (0, None, {"atoms": 0, "passages": 0})
    memory.remember("a")
    one = memory.snapshot()
    memory.remember("b")
    memory.rollback(one)
    again = memory.snapshot()
    assert (again.snapshot, again.root) == (one.snapshot, one.root)
    assert again.transaction == 3
    assert one.snapshot == "snap_" + one.root[:16]


def test_equal_memories_have_equal_snapshots_however_they_came_about(memory: Memory, tmp_path: Path) -> None:
    other = opened(tmp_path, "other.db", workspace="elsewhere")
    memory.remember("a", tags={"t": "1"})
    memory.remember("b")
    other.remember("b")
    gone = other.remember("c")
    other.remember("a")
    other.forget(gone.added)
    other.remember("a", tags={"t": "1"})
    assert other.snapshot().root == memory.snapshot().root


def test_a_label_names_the_state_it_was_given_for(memory: Memory) -> None:
    memory.remember("a")
    named = memory.snapshot("first", note="before the change")
    assert (named.label, named.transaction) == ("first", 1)
    memory.remember("b")
    assert [item.text for item in memory.recall("a b", as_of="first").items] == ["a"]
    assert memory.history().transactions[1].verb == "label"
    assert memory.history().transactions[2].labels == ["first"]


def test_a_label_is_moved_by_force_alone(memory: Memory) -> None:
    memory.remember("a")
    memory.snapshot("mark")
    assert memory.snapshot("mark").transaction == 1  # the same state: nothing to move
    memory.remember("b")
    with pytest.raises(Conflict) as caught:
        memory.snapshot("mark")
    assert caught.value.fields["transaction"] == 1
    moved = memory.snapshot("mark", force=True)
    assert moved.transaction == 3
    assert [row.labels for row in memory.history().transactions] == [[], ["mark"], [], []]


def test_a_label_does_not_change_the_state(memory: Memory) -> None:
    memory.remember("a")
    before = memory.snapshot().root
    memory.snapshot("mark")
    assert memory.snapshot().root == before


@pytest.mark.parametrize("label", ["", "  ", "a\0b", "\ud800"])
def test_a_label_that_cannot_be_is_refused(memory: Memory, label: str) -> None:
    with pytest.raises(InvalidInput, match="label"):
        memory.snapshot(label)
    assert memory.status()["transaction"] == 0


def test_bounds_are_held(memory: Memory) -> None:
    with pytest.raises(LimitExceeded):
        memory.snapshot("l" * 129)
    with pytest.raises(LimitExceeded):
        memory.snapshot("l", note="n" * 2_049)
    with pytest.raises(InvalidInput, match="note"):
        memory.snapshot(note="alone")
    with pytest.raises(InvalidInput, match="note"):
        memory.snapshot("l", note="\ud800")


def test_a_snapshot_that_occurs_twice_is_the_earliest_to_read_and_the_latest_to_count_from(memory: Memory) -> None:
    memory.remember("a")
    state = memory.snapshot()
    memory.remember("b")
    memory.rollback(state)
    memory.remember("c")
    assert memory.recall("a", as_of=state.snapshot).read_point.transaction == 1
    assert len(memory.forget(since=state.snapshot, dry_run=True).ids) == 1


@pytest.mark.parametrize("label", ["1", "2026-01-01"])
def test_a_reference_that_could_be_two_things_is_refused(memory: Memory, label: str) -> None:
    memory.remember("a")
    memory.snapshot(label)
    with pytest.raises(Ambiguous):
        memory.recall("a", as_of=label)
    assert memory.recall("a", as_of=1).items


@pytest.mark.parametrize("reference", ["nothing", "99", "snap_0000000000000000", "snap_xyz", "9" * 5_000, "٣", "snap_"])
def test_a_reference_that_names_nothing_is_not_found(memory: Memory, reference: str) -> None:
    memory.remember("a")
    with pytest.raises(NotFound):
        memory.recall("a", as_of=reference)


@pytest.mark.parametrize("reference", ["", " ", "\ud800", "a\0b"])
def test_a_reference_that_cannot_be_is_refused(memory: Memory, reference: str) -> None:
    with pytest.raises(InvalidInput):
        memory.recall("a", as_of=reference)


def test_states_are_found_by_prefix_and_by_their_whole_root(memory: Memory) -> None:
    memory.remember("a")
    state = memory.snapshot()
    memory.remember("b")
    for reference in (state.snapshot, state.snapshot[:12], state.root, state.root.upper(), state.transaction):
        assert memory.recall("a", as_of=reference).read_point.transaction == 1


def test_the_state_before_anything_is_a_state_too(memory: Memory) -> None:
    empty = memory.snapshot()
    memory.remember("a")
    memory.rollback(empty.snapshot)
    assert memory.snapshot().root == empty.root
    assert memory.recall("a").items == []
