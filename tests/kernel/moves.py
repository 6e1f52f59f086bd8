"""The moves of a history: each is one call of the product, sometimes a few, given by plain values alone.

A move takes numbers where it means a memory or a transaction, so that it means something after others were left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.kernel.oracle import CELLS, Entry, Name
from tests.kernel.place import START_US
from tests.kernel.rig import HOUR_US, Rig

WHO = ("ana", "ben", "eve")
ORIGINS = ("guide.txt", "plan.txt")
Changes = dict[str, Any]


class Moves:
    """Every move, on one rig."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.erased_any = self.undid_by_tag = False

    def atom(self, number: int, *, live: bool = True) -> Name | None:
        atoms = self.rig.oracle.atoms() if live else list(self.rig.oracle.known)
        return atoms[number % len(atoms)] if atoms else None

    @property
    def seq(self) -> int:
        return self.rig.oracle.seq

    # ------------------------------------------------------------------ writes
    def note(self, by: str, text: str, cells: range, changes: Changes, premise: int | None = None) -> None:
        known = [] if premise is None else [name for name in [self.atom(premise, live=False)] if name]
        self.rig.remember(by, [{"text": text, "cells": cells, "changes": changes, "premises": known}])

    def notes(self, by: str, some: Sequence[tuple[str, range, Changes]]) -> None:
        self.rig.remember(by, [{"text": text, "cells": cells, "changes": changes} for text, cells, changes in some])

    def document(self, by: str, origin: str, parts: Sequence[str], cells: range, changes: Changes) -> None:
        self.rig.remember(by, [{"origin": origin, "texts": parts, "cells": cells, "changes": changes}])

    def turns(self, by: str, session: str, said: Sequence[tuple[str, str, int | None]], changes: Changes) -> None:
        self.rig.remember(
            by,
            [
                {
                    "session": session, "text": text, "speaker": speaker, "cells": range(len(CELLS)), "changes": changes,
                    "occurred": None if day is None else START_US + day * HOUR_US,
                }
                for text, speaker, day in said
            ],
        )  # fmt: skip

    def revise(
        self, by: str, number: int, changes: Changes, tags: dict[str, str | None] | None = None, low: int | None = None,
        high: int | None = None, text: str | None = None,
    ) -> None:  # fmt: skip
        name = self.atom(number, live=number % 8 != 0)
        if name is not None:
            plain = {k: v for k, v in changes.items() if not k.startswith("tag:")}
            self.rig.revise(by, name, plain, tags, low, high, text)

    def resize(self, by: str, number: int, ends: Sequence[int]) -> None:
        """A narrow validity, then another one: what grows is stretched, what shrinks is cut."""
        name = self.atom(number)
        if name is not None:
            for low, high in (sorted(ends[:2]), sorted(ends[2:])):
                self.rig.revise(by, name, {}, None, low, high, None)

    def forget(self, by: str, numbers: Sequence[int]) -> None:
        names = list(dict.fromkeys(name for number in numbers if (name := self.atom(number)) is not None))
        if names:
            self.rig.forget(by, names)

    def poison(self, x: str, some: Sequence[tuple[str, dict[str, str | None]]], number: int, by: str) -> None:
        """Several writers on one memory; then one of them undone, and another, which must not bring the first back."""
        since = self.seq
        for writer, wanted in some:
            name = self.atom(number)
            if name is None:
                return
            self.rig.revise(writer, name, {}, wanted, None, None, None)
        for writer in (x, some[0][0]):
            self.rig.undo(by, Entry(by, "undo", since=since, writer=writer))

    # ------------------------------------------------------------------ rollbacks
    def rollback(self, by: str, steps: int, how: str, number: int) -> None:
        target = max(0, self.seq - steps)
        reference: Any = target
        if how == "label" and self.rig.labels:
            reference, target = sorted(self.rig.labels.items())[number % len(self.rig.labels)]
        elif how == "snapshot":
            reference, states = self.rig.snapshot_of(target), self.rig.oracle.states
            target = max(seq for seq, state in enumerate(states) if state == states[target])
        self.rig.rollback(by, target, reference)
        if number % 3 == 0:  # an undo that reaches behind it must not bring back what it took away
            self.rig.undo(by, Entry(by, "undo", since=max(0, target - 4), writer=WHO[number % 4 % 3]))

    def rollback_of_rollback(self, by: str, steps: int, between: str | None) -> None:
        """Back, perhaps a write there, and forward again to where it was before: nothing is missing."""
        before = self.seq
        self.rig.rollback(by, max(0, before - steps), max(0, before - steps))
        if between is not None:
            self.note(by, between, range(len(CELLS)), {"tag:a": "2"})
        self.rig.rollback(by, before, before)
        assert self.rig.oracle.states[-1] == self.rig.oracle.states[before] or self.erased_any

    def undo(
        self, by: str, steps: int, writer: str | None = None, source: str | None = None,
        key: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        if key is not None and self.erased_any:
            key = None  # tags of what was erased are gone, so what they matched cannot be known again
        self.undid_by_tag |= key is not None
        since = max(0, self.seq - steps)
        entry = Entry(by, "undo", since=since, writer=writer, source=source, tags=() if key is None else (key,))
        self.rig.undo(by, entry)
        before = self.rig.oracle.states[-1]
        if steps % 2:
            self.rig.undo(by, entry)
            assert self.rig.oracle.states[-1] == before, "undoing twice is undoing once"

    # ------------------------------------------------------------------ and the rest
    def erase(self, by: str, number: int) -> None:
        name = self.atom(number)
        destroyed = self.rig.oracle.destroyed
        if not self.undid_by_tag and name is not None and name[3 if name[0] != "note" else 2] not in destroyed:
            self.erased_any = True
            self.rig.erase(by, [name])

    def label(self, by: str, label: str) -> None:
        self.rig.label(by, label)

    def policy(self, by: str, value: float | None) -> None:
        self.rig.policy(by, value)

    def clock(self, hours: int, tick_us: int) -> None:
        """The clock jumps, and from now on goes so fast; 0 is a clock that stands still."""
        self.rig.clock_us += hours * HOUR_US
        self.rig.tick_us = tick_us

    def reopen(self) -> None:
        self.rig.reopen()

    def crash(self) -> None:
        self.rig.crash()

    def cut(self, move: str, arguments: dict[str, Any], moment: int, crash: bool) -> None:
        """Another move, stopped in its midst."""
        self.rig.cut(lambda: getattr(self, move)(**arguments), moment, crash=crash)
