"""The algebra of intervals, against functions on a small grid that are computed point by point."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.kernel.intervals import (
    NOTHING,
    Interval,
    Intervals,
    asserted,
    at,
    bounded,
    joined,
    leaf,
    overlaid,
    pointwise,
    revised,
    without,
)
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import Facts, facts_of, merged
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE

POINTS = range(8)
Grid = tuple[Facts | None, ...]
fields = st.dictionaries(st.sampled_from(("tag:a", "tag:b", "title")), st.sampled_from("12"), max_size=2)
changes = st.dictionaries(st.sampled_from(("tag:a", "tag:b", "title")), st.sampled_from(("1", "2", None)), max_size=3)
grids = st.tuples(*(st.none() | fields.map(facts_of) for _ in POINTS))
inside = st.tuples(st.sampled_from(POINTS), st.sampled_from(POINTS)).filter(lambda p: p[0] != p[1]).map(sorted)


def coded(grid: Grid) -> Intervals:
    """Code a grid: point 0 reaches back for ever, the last one on for ever."""
    intervals = [
        Interval(SINCE_ALWAYS if p == 0 else p, UNTIL_FURTHER_NOTICE if p == POINTS[-1] else p + 1, facts)
        for p, facts in enumerate(grid)
        if facts is not None
    ]
    return joined(intervals)


def read(intervals: Intervals) -> Grid:
    assert canonical(intervals)
    return tuple(at(intervals, p) for p in POINTS)


def canonical(intervals: Intervals) -> bool:
    """Ordered, not empty, not overlapping, and equal neighbours joined."""
    fit = all(p.valid_from < p.valid_to for p in intervals)
    return fit and all(
        a.valid_to < b.valid_from or (a.valid_to == b.valid_from and a.facts != b.facts)
        for a, b in itertools.pairwise(intervals)
    )


@given(grids)
def test_coding_is_lossless_and_canonical(grid: Grid) -> None:
    assert read(coded(grid)) == grid


@given(grids)
def test_equal_functions_have_equal_pieces_and_leaves_however_they_were_cut(grid: Grid) -> None:
    whole = coded(grid)
    halves = tuple(
        part
        for a, b, facts in whole
        for part in ((Interval(a, 3, facts), Interval(3, b, facts)) if a < 3 < b else (Interval(a, b, facts),))
    )
    assert joined(halves) == whole
    assert leaf(atom_record(bytes(16)), joined(halves)) == leaf(atom_record(bytes(16)), whole)


@given(grids, grids)
def test_different_functions_have_different_leaves(one: Grid, other: Grid) -> None:
    record = atom_record(bytes(16))
    assert (leaf(record, coded(one)) == leaf(record, coded(other))) == (one == other)


@given(grids, grids, inside)
def test_pointwise_combines_inside_and_keeps_the_first_outside(one: Grid, other: Grid, ends: list[int]) -> None:
    low, high = ends
    out = pointwise(lambda values: values[1], coded(one), coded(other), valid_from=low, valid_to=high)
    assert read(out) == tuple(other[p] if low <= p < high else one[p] for p in POINTS)


@given(grids, inside, changes)
def test_remember_sets_facts_on_its_interval_alone(grid: Grid, ends: list[int], named: dict[str, str | None]) -> None:
    low, high = ends
    expected = tuple(
        facts_of(merged(facts.fields if facts else {}, named)) if low <= p < high else facts
        for p, facts in enumerate(grid)
    )
    assert read(asserted(coded(grid), low, high, named)) == expected


@given(changes)
def test_the_first_assertion_holds_for_ever_both_ways(named: dict[str, str | None]) -> None:
    (interval,) = asserted(NOTHING, SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, named)
    assert interval == Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts_of(merged({}, named)))


@given(grids, changes, st.booleans())
def test_revise_changes_facts_wherever_something_holds(grid: Grid, named: dict[str, str | None], replace: bool) -> None:
    def change(facts: Facts) -> Facts:
        kept = {k: v for k, v in facts.fields.items() if not (replace and k.startswith("tag:"))}
        return facts_of(merged(kept, named))

    expected = tuple(change(facts) if facts else None for facts in grid)
    assert read(revised(coded(grid), named, replace_tags=replace)) == expected


@given(grids, st.none() | st.integers(1, 7), st.none() | st.integers(1, 7))
def test_a_new_validity_cuts_and_stretches_the_outer_facts(grid: Grid, low: int | None, high: int | None) -> None:
    live = [p for p in POINTS if grid[p] is not None]
    out = bounded(coded(grid), low, high)
    if not live:
        assert out == NOTHING
        return
    start, end = live[0] if low is None else low, live[-1] + 1 if high is None else high
    expected = tuple((grid[min(max(p, live[0]), live[-1])] if start <= p < end else None) for p in POINTS)
    assert read(out) == expected


@given(grids, grids)
def test_without_keeps_what_the_other_does_not_cover(one: Grid, other: Grid) -> None:
    expected = tuple(None if b else a for a, b in zip(one, other, strict=True))
    assert read(without(coded(one), coded(other))) == expected


@given(grids, grids)
def test_overlaid_sets_registers_on_top(one: Grid, other: Grid) -> None:
    expected = tuple(
        facts_of(merged(a.fields, b.fields)) if a and b else a or b for a, b in zip(one, other, strict=True)
    )
    assert read(overlaid(coded(one), coded(other))) == expected


@given(grids)
def test_nothing_added_nothing_changed(grid: Grid) -> None:
    intervals = coded(grid)
    assert without(intervals, NOTHING) == intervals
    assert overlaid(intervals, NOTHING) == intervals
    assert bounded(intervals, None, None) == intervals
    assert revised(intervals, {}, replace_tags=False) == intervals
