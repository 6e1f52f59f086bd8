"""Effective histories and their replay, instant by instant and register by register."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.kernel.intervals import NOTHING, Interval, Intervals, at
from cmc_mcp.kernel.transaction import ROLLBACK, UNDO
from cmc_mcp.kernel.undo import Step, effective, replayed
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from tests.kernel.test_intervals import POINTS, Grid, coded, grids


def whole(**fields: str) -> Intervals:
    return (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts_of(fields)),)


@given(st.lists(grids, min_size=1, max_size=6))
def test_replaying_every_change_gives_the_last_state(states: list[Grid]) -> None:
    intervals = [NOTHING, *map(coded, states)]
    changes = [(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(intervals), start=1)]
    assert replayed(changes) == (intervals[-1], ())


@given(st.lists(grids, min_size=1, max_size=6), st.data())
def test_replay_without_some_changes_is_the_replay_of_each_instant(states: list[Grid], data: st.DataObject) -> None:
    intervals = [NOTHING, *map(coded, states)]
    changes = [(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(intervals), start=1)]
    kept = [change for change in changes if data.draw(st.booleans())]
    got = replayed(kept)
    orphaned = set()
    for point in POINTS:
        value: dict[str, object] | None = None
        for seq, before, after in kept:
            old, new = at(before, point), at(after, point)
            if old == new:
                continue
            if new is None:
                value = None
            elif old is None:
                value = {**(value or {}), **new.fields}
            elif value is None:
                orphaned.add(seq)
            else:
                for name in old.fields.keys() | new.fields.keys():
                    if old.fields.get(name) != new.fields.get(name):
                        value.pop(name, None)
                        if name in new.fields:
                            value[name] = new.fields[name]
        found = at(got.intervals, point)
        assert (None if found is None else dict(found.fields)) == value
    assert set(got.orphaned) == orphaned


def test_a_later_honest_tag_stays_without_the_poison_it_was_set_beside() -> None:
    first, poisoned, honest = whole(a="1"), whole(a="1", poison="x"), whole(a="2", poison="x")
    assert replayed([(1, NOTHING, first), (3, poisoned, honest)]) == (whole(a="2"), ())


def test_a_change_to_what_is_gone_is_dropped_and_named() -> None:
    assert replayed([(2, whole(a="1"), whole(a="2"))]) == (NOTHING, (2,))


@given(st.lists(grids, min_size=1, max_size=6), st.data())
def test_of_an_assigned_kind_each_instant_has_the_last_change_that_is_kept(
    states: list[Grid], data: st.DataObject
) -> None:
    intervals = [NOTHING, *map(coded, states)]
    changes = [(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(intervals), start=1)]
    kept = [change for change in changes if data.draw(st.booleans())]
    got = replayed(kept, assigned=True)
    assert got.orphaned == ()
    for point in POINTS:
        set_here = [at(after, point) for _, before, after in kept if at(before, point) != at(after, point)]
        assert at(got.intervals, point) == (set_here[-1] if set_here else None)


def test_undoing_who_came_first_loses_an_assigned_value_of_nobody_else() -> None:
    first, second = whole(manifest="one"), whole(manifest="two")
    assert replayed([(2, first, second)]).orphaned == (2,)
    assert replayed([(2, first, second)], assigned=True) == (second, ())


def test_a_write_enters_the_history_and_a_rollback_sets_it_to_that_of_its_target() -> None:
    writes = [Step(1, "remember"), Step(2, "revise"), Step(4, "revise")]
    assert effective(writes) == (1, 2, 4)
    assert effective([*writes, Step(5, ROLLBACK, target=3)]) == (1, 2)
    assert effective([*writes, Step(5, ROLLBACK, target=3), Step(6, ROLLBACK, target=4)]) == (1, 2, 4)
    assert effective([*writes, Step(5, ROLLBACK, target=0), Step(7, "remember")]) == (7,)


def test_an_undo_takes_what_it_matches_and_a_rollback_past_it_brings_it_back() -> None:
    odd = Step(5, UNDO, matches=lambda seq: seq % 2 == 1)
    writes = [Step(1, "a"), Step(2, "b"), Step(3, "c"), Step(4, "d")]
    assert effective([*writes, odd]) == (2, 4)
    assert effective([*writes, odd, Step(6, UNDO, matches=odd.matches)]) == (2, 4)
    assert effective([*writes, odd, Step(7, ROLLBACK, target=4)]) == (1, 2, 3, 4)
    assert effective([*writes, odd, Step(6, "e"), Step(7, UNDO, matches=lambda seq: seq > 3)]) == (2,)


@given(st.lists(st.tuples(st.sampled_from(("write", ROLLBACK, UNDO)), st.integers(0, 20)), max_size=12))
def test_effective_histories_equal_those_kept_whole(script: list[tuple[str, int]]) -> None:
    kept: list[tuple[int, ...]] = [()]
    steps = []
    for seq, (verb, number) in enumerate(script, start=1):
        if verb == ROLLBACK:
            steps.append(Step(seq, ROLLBACK, target=number % seq))
            kept.append(kept[number % seq])
        elif verb == UNDO:
            steps.append(Step(seq, UNDO, matches=lambda s, n=number: s % 3 == n % 3))
            kept.append(tuple(s for s in kept[-1] if s % 3 != number % 3))
        else:
            steps.append(Step(seq, "write"))
            kept.append((*kept[-1], seq))
    assert effective(steps) == kept[-1]
