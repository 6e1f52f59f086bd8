"""Intervals: the run-length coding of a function from valid time to facts, and its algebra.

Intervals of one record are ordered, never overlap, and equal neighbours are joined, so one function has one coding and
equal states have equal roots. All functions here are pure.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cmc_mcp.canon import digest
from cmc_mcp.kernel.kinds import Record
from cmc_mcp.model.facts import FactFields, Facts, facts_of, merged
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE

_ENDS = struct.Struct(">qq")


class Interval(NamedTuple):
    """Facts that hold on `[valid_from, valid_to)` (microseconds)."""

    valid_from: int
    valid_to: int
    facts: Facts


Intervals = tuple[Interval, ...]
NOTHING: Intervals = ()


def leaf(record: Record, intervals: Intervals) -> bytes:
    """Hash a record with its intervals (32 bytes): the value the state tree holds for it."""
    body = b"".join([_ENDS.pack(p.valid_from, p.valid_to) + p.facts.hash for p in intervals])
    return digest("cmc/leaf/1", bytes([record.kind]) + record.key, body)


def joined(intervals: Iterable[Interval]) -> Intervals:
    """Join equal neighbours of ordered intervals."""
    out: list[Interval] = []
    for interval in intervals:
        if out and out[-1].valid_to == interval.valid_from and out[-1].facts == interval.facts:
            out[-1] = Interval(out[-1].valid_from, interval.valid_to, interval.facts)
        else:
            out.append(interval)
    return tuple(out)


def at(intervals: Intervals, instant: int) -> Facts | None:
    """Return the facts that hold at an instant of valid time."""
    for interval in intervals:
        if interval.valid_from <= instant < interval.valid_to:
            return interval.facts
    return None


def pointwise(
    combine: Callable[[tuple[Facts | None, ...]], Facts | None],
    *functions: Intervals,
    valid_from: int = SINCE_ALWAYS,
    valid_to: int = UNTIL_FURTHER_NOTICE,
) -> Intervals:
    """Combine functions instant by instant inside `[valid_from, valid_to)`; outside it the first one stays."""
    cuts = {SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, valid_from, valid_to}
    for intervals in functions:
        for interval in intervals:
            cuts.update(interval[:2])
    ordered = sorted(cuts)
    out: list[Interval] = []
    for start, end in itertools.pairwise(ordered):
        values = tuple(at(intervals, start) for intervals in functions)
        value = combine(values) if valid_from <= start < valid_to else values[0]
        if value is not None:
            out.append(Interval(start, end, value))
    return joined(out)


def asserted(intervals: Intervals, valid_from: int, valid_to: int, changes: FactFields) -> Intervals:
    """Set fields on an interval (SQL:2011 FOR PORTION OF): what is not named, and time elsewhere, stays."""
    if not intervals:
        return (Interval(valid_from, valid_to, facts_of(merged({}, changes))),)
    return pointwise(
        lambda values: facts_of(merged(values[0].fields if values[0] else {}, changes)),
        intervals,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def revised(intervals: Intervals, changes: FactFields, *, replace_tags: bool) -> Intervals:
    """Set fields wherever the function holds; with `replace_tags`, tags that are not named go."""

    def change(values: tuple[Facts | None, ...]) -> Facts | None:
        if values[0] is None:
            return None
        old = values[0].fields
        kept = {k: v for k, v in old.items() if not (replace_tags and k.startswith("tag:"))}
        return facts_of(merged(kept, changes))

    return pointwise(change, intervals)


def bounded(intervals: Intervals, valid_from: int | None, valid_to: int | None) -> Intervals:
    """Make validity exactly `[valid_from, valid_to)`: cut, and stretch the outer facts where it grows.

    None keeps that end. The result is empty when nothing is left.
    """
    if not intervals:
        return NOTHING
    start = intervals[0].valid_from if valid_from is None else valid_from
    end = intervals[-1].valid_to if valid_to is None else valid_to
    out: list[Interval] = []
    for index, (old_from, old_to, facts) in enumerate(intervals):
        new_from = start if index == 0 and start < old_from else max(old_from, start)
        new_to = end if index == len(intervals) - 1 and end > old_to else min(old_to, end)
        if new_from < new_to:
            out.append(Interval(new_from, new_to, facts))
    return joined(out)


def without(intervals: Intervals, other: Intervals) -> Intervals:
    """Return a function restricted to where another one does not hold."""
    return pointwise(lambda values: None if values[1] is not None else values[0], intervals, other)


def overlaid(intervals: Intervals, other: Intervals) -> Intervals:
    """Set the fields of another function on top, wherever that one holds."""

    def lay(values: tuple[Facts | None, ...]) -> Facts | None:
        below, above = values
        if above is None or below is None:
            return above or below
        return facts_of(merged(below.fields, above.fields))

    return pointwise(lay, intervals, other)
