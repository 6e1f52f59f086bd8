"""Forget ends belief, and selects by everything that it is given; a plan binds what it showed."""

from __future__ import annotations

import pytest

from cmc_mcp.errors import Ambiguous, Conflict, InvalidInput, LimitExceeded, NotFound
from cmc_mcp.kernel.identity import note_origin, source_name
from cmc_mcp.memory import Memory
from tests.support.memories import root


def test_what_is_forgotten_is_not_recalled_and_stays_readable_at_its_time(memory: Memory) -> None:
    receipt = memory.remember("the launch is on Monday")
    result = memory.forget(receipt.added, reason="it was moved")
    assert result.receipt is not None
    assert result.receipt.retracted == receipt.added
    assert memory.recall("launch").items == []
    assert [item.id for item in memory.recall("launch", as_of=receipt.transaction).items] == receipt.added
    assert memory.history().transactions[0].reason == "it was moved"


def test_everything_given_has_to_match(memory: Memory) -> None:
    zoe = memory.as_principal("zoe")
    memory.remember("1", source="a", tags={"t": "x", "u": "y"})
    start = memory.snapshot("start")
    ids = {
        "all": zoe.remember("2", source="a", tags={"t": "x", "u": "y"}).added[0],
        "tag": zoe.remember("3", source="c", tags={"t": "x", "u": "z"}).added[0],
        "writer": memory.remember("4", source="d", tags={"t": "x", "u": "y"}).added[0],
    }
    zoe.remember("5", source="e")

    def chosen(**selection: object) -> list[str]:
        return memory.forget(dry_run=True, **selection).ids  # type: ignore[arg-type]

    assert chosen(source="a", tags={"t": "x", "u": "y"}, writer="zoe", since=start.label) == [ids["all"]]
    assert chosen(tags={"t": "x"}, since="start") == [ids["all"], ids["tag"], ids["writer"]]
    assert chosen(tags={"t": "x", "u": "y"}, since="start") == [ids["all"], ids["writer"]]
    assert chosen(writer="zoe", tags={"t": "x"}) == [ids["all"], ids["tag"]]
    assert chosen(source=source_name("d")) == [ids["writer"]]
    assert chosen(source="a", writer="maya", since="start") == []
    assert len(chosen(writer="zoe")) == 3
    assert chosen(tags={"none": "such"}) == []


def test_a_note_is_selected_by_its_origin(memory: Memory) -> None:
    one, many = memory.remember("one"), memory.remember("one\n\ntwo")
    assert memory.forget(source=note_origin(b"one"), dry_run=True).ids == one.added
    assert memory.forget(source=note_origin(b"one\n\ntwo"), dry_run=True).ids == many.added


def test_ids_are_taken_by_unique_prefix(memory: Memory) -> None:
    ids = [memory.remember(f"n{n}").added[0] for n in range(3)]
    assert memory.forget([ids[1][:15], ids[0].removeprefix("atom_"), ids[1]], dry_run=True).ids == [ids[1], ids[0]]
    with pytest.raises(NotFound):
        memory.forget("atom_" + "0" * 32)
    with pytest.raises(InvalidInput, match="ids"):
        memory.forget("atom_zz")


def test_a_prefix_of_several_memories_is_refused(memory: Memory) -> None:
    memory.remember_many([{"content": f"n{n}"} for n in range(700)])
    prefixes = [id[5:9] for id in memory.forget(writer="maya", dry_run=True).ids]
    shared = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    with pytest.raises(Ambiguous):
        memory.forget(shared)


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"ids": "atom_00000000", "source": "a"},
        {"ids": "atom_00000000", "tags": {"a": "b"}},
        {"tags": {"a": None}},
        {"tags": {"a": "\ud800"}},
        {"tags": ["a"]},
        {"writer": "\ud800"},
        {"source": "a", "reason": "\ud800"},
        {"source": "a", "reason": " "},
    ],
    ids=str,
)
def test_a_wrong_selection_is_refused(memory: Memory, selection: dict[str, object]) -> None:
    memory.remember("x")
    with pytest.raises(InvalidInput):
        memory.forget(**selection)  # type: ignore[arg-type]
    assert memory.status()["transaction"] == 1


def test_bounds_are_held(memory: Memory) -> None:
    with pytest.raises(LimitExceeded):
        memory.forget(["atom_00000000"] * 10_001)
    with pytest.raises(LimitExceeded):
        memory.forget(source="a", reason="r" * 2_049)


def test_a_dry_run_changes_nothing_and_its_digest_is_for_this_state_alone(memory: Memory) -> None:
    receipt = memory.remember("x")
    plan = memory.forget(receipt.added, dry_run=True)
    assert plan.dry_run
    assert plan.receipt is None
    assert memory.status()["transaction"] == 1
    assert memory.forget(receipt.added, dry_run=True).digest == plan.digest
    assert memory.forget(receipt.added, dry_run=True, erase=True).digest != plan.digest
    memory.remember("y")
    with pytest.raises(Conflict):
        memory.forget(receipt.added, digest=plan.digest)
    assert memory.status()["memories"] == 2
    fresh = memory.forget(receipt.added, dry_run=True)
    done = memory.forget(receipt.added, digest=fresh.digest)
    assert (done.dry_run, done.digest) == (False, fresh.digest)


def test_forgetting_what_is_forgotten_changes_nothing(memory: Memory) -> None:
    receipt = memory.remember("x")
    memory.forget(receipt.added)
    before = root(memory)
    assert memory.forget(receipt.added).ids == []
    assert root(memory) == before


def test_a_forget_is_undone_by_a_rollback(memory: Memory) -> None:
    memory.remember("x", tags={"a": "1"})
    before = memory.snapshot()
    memory.forget(tags={"a": "1"})
    memory.rollback(before)
    assert root(memory) == before.root
    assert memory.recall("x").items[0].tags == {"a": "1"}
