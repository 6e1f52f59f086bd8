"""Selective rollback: what a record would be, had the matching writes not been made.

Each record has an effective history, a list of the transactions whose change of it is in force. A write appends itself;
a whole rollback to S sets the list to what it was at S; a selective one removes what it matched. The value is the
replay of the list, per instant of valid time and per field, so a later honest re-tag keeps its tag and not the
poison it was set beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from cmc_mcp.ids import START, Seq
from cmc_mcp.kernel.intervals import NOTHING, Intervals, pointwise
from cmc_mcp.kernel.transaction import ROLLBACK, UNDO
from cmc_mcp.model.facts import Facts, facts_of, merged


class Step(NamedTuple):
    """A transaction as the history of a record sees it: a write, or one of the two rollbacks.

    `matches` is asked only of an undo: did it match the change that transaction `seq` made to this record?
    """

    seq: Seq
    verb: str
    target: Seq = START  # of a whole rollback
    matches: Callable[[Seq], bool] | None = None  # of a selective one


def effective(steps: Iterable[Step]) -> tuple[Seq, ...]:
    """Resolve the history of one record into the transactions whose change of it is in force, in order.

    `steps` are the record's own changes and every rollback of the workspace, by ascending `seq`.
    """
    force: tuple[Seq, ...] = ()
    seen: list[tuple[Seq, tuple[Seq, ...]]] = [(START, ())]
    for step in steps:
        if step.verb == ROLLBACK:
            force = next(past for seq, past in reversed(seen) if seq <= step.target)
        elif step.verb == UNDO and step.matches is not None:
            matches = step.matches
            force = tuple(seq for seq in force if not matches(seq))
        else:
            force += (step.seq,)
        seen.append((step.seq, force))
    return force


class Replayed(NamedTuple):
    """The outcome of a replay, and the transactions whose change had nothing left to stand on."""

    intervals: Intervals
    orphaned: tuple[int, ...]


def replayed(changes: Iterable[tuple[Seq, Intervals, Intervals]], *, assigned: bool = False) -> Replayed:
    """Replay recorded changes `(seq, before, after)` of one record onto nothing.

    Of an `assigned` kind each change sets its after-state, whatever stood before: nothing of who came after is lost with
    who came first, and no change can be orphaned.
    """
    value: Intervals = NOTHING
    orphaned: list[int] = []
    for seq, before, after in changes:
        lost = False

        def carry(values: tuple[Facts | None, ...]) -> Facts | None:
            nonlocal lost
            current, old, new = values
            if old == new:
                return current
            if assigned:
                return new
            if new is None:
                return None
            if old is None:
                return new if current is None else facts_of(merged(current.fields, new.fields))
            if current is None:
                lost = True
                return None
            was, now = old.fields, new.fields
            changed = {k: now.get(k) for k in was.keys() | now.keys() if was.get(k) != now.get(k)}
            return facts_of(merged(current.fields, changed))

        value = pointwise(carry, value, before, after)
        if lost:
            orphaned.append(seq)
    return Replayed(value, tuple(orphaned))
