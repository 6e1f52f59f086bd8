"""The state machine: random histories over both clocks, told to the product and to the oracle."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.kernel.oracle import CELLS, Entry, Name
from tests.kernel.rig import HOUR_US, START_US, TEXTS, Rig

WHO = ("ana", "ben", "eve")
ORIGINS = ("guide.txt", "plan.txt")
_EXAMPLES = 8 if "CMC_TEST_POSTGRES" in os.environ else 60  # each makes a database there
FAST = settings(
    max_examples=_EXAMPLES, stateful_step_count=20, deadline=None, database=None, derandomize=True, print_blob=False,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
HUNT = settings(FAST, max_examples=150, phases=(Phase.generate,), report_multiple_bugs=False)
"""For seeded bugs: stop at the first failure, shrink nothing."""

who = st.sampled_from(WHO)
texts = st.sampled_from(TEXTS)
pick = st.integers(0, 99)
back = st.integers(0, 5) | st.integers(0, 30)
values = st.sampled_from(("1", "2", None))
tags = st.dictionaries(st.sampled_from("ab"), values, max_size=2)


@st.composite
def some_cells(draw: st.DrawFn) -> range:
    """Some neighbouring cells; often all of them."""
    if draw(st.booleans()):
        return range(len(CELLS))
    start = draw(st.integers(0, len(CELLS) - 1))
    return range(start, draw(st.integers(start + 1, len(CELLS))))


@st.composite
def some_changes(draw: st.DrawFn) -> dict[str, Any]:
    """Tags, and now and then a confidence."""
    changes: dict[str, Any] = {f"tag:{k}": v for k, v in draw(tags).items()}
    if draw(st.integers(0, 3)) == 0:
        changes["confidence"] = draw(st.sampled_from(("0.500000", "0.900000")))
    return changes


class KernelMachine(RuleBasedStateMachine):
    """Every rule is one call, sometimes a few; after each, everything is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.erased_any = self.undid_by_tag = False

    def atom(self, number: int, *, live: bool = True) -> Name | None:
        atoms = self.rig.oracle.atoms() if live else list(self.rig.oracle.known)
        return atoms[number % len(atoms)] if atoms else None

    @property
    def seq(self) -> int:
        return self.rig.oracle.seq

    @initialize(changes=some_changes())
    def begin(self, changes: dict[str, Any]) -> None:
        everywhere = range(len(CELLS))
        self.rig.remember("ben", [{"text": TEXTS[0], "cells": everywhere, "changes": changes}])
        self.rig.remember("ana", [{"origin": ORIGINS[0], "texts": TEXTS[1:3], "cells": everywhere, "changes": {}}])

    # ------------------------------------------------------------------ writes
    @rule(by=who, text=texts, cells=some_cells(), changes=some_changes(), premise=st.none() | pick)
    def note(self, by: str, text: str, cells: range, changes: dict[str, Any], premise: int | None) -> None:
        known = [] if premise is None else [name for name in [self.atom(premise, live=False)] if name]
        self.rig.remember(by, [{"text": text, "cells": cells, "changes": changes, "premises": known}])

    @rule(by=who, some=st.lists(st.tuples(texts, some_cells(), some_changes()), min_size=2, max_size=4))
    def notes(self, by: str, some: list[tuple[str, range, dict[str, Any]]]) -> None:
        self.rig.remember(by, [{"text": text, "cells": cells, "changes": changes} for text, cells, changes in some])

    @rule(
        by=who, origin=st.sampled_from(ORIGINS), parts=st.lists(texts, min_size=1, max_size=5), cells=some_cells(),
        changes=some_changes(),
    )  # fmt: skip
    def document(self, by: str, origin: str, parts: list[str], cells: range, changes: dict[str, Any]) -> None:
        self.rig.remember(by, [{"origin": origin, "texts": parts, "cells": cells, "changes": changes}])

    @rule(
        by=who, session=st.sampled_from("st"),
        said=st.lists(st.tuples(texts, st.sampled_from("uv"), st.none() | st.integers(0, 2)), min_size=1, max_size=3),
        changes=some_changes(),
    )  # fmt: skip
    def turns(self, by: str, session: str, said: list[tuple[str, str, int | None]], changes: dict[str, Any]) -> None:
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

    @rule(
        by=who, number=pick, changes=some_changes(), tags=st.none() | tags, low=st.none() | st.integers(1, len(CELLS) - 1),
        high=st.none() | st.integers(1, len(CELLS) - 1), text=st.none() | texts,
    )  # fmt: skip
    def revise(
        self, by: str, number: int, changes: dict[str, Any], tags: dict[str, str | None] | None, low: int | None,
        high: int | None, text: str | None,
    ) -> None:  # fmt: skip
        name = self.atom(number, live=number % 8 != 0)
        if name is not None:
            plain = {k: v for k, v in changes.items() if not k.startswith("tag:")}
            self.rig.revise(by, name, plain, tags, low, high, text)

    @rule(by=who, number=pick, ends=st.lists(st.integers(1, len(CELLS) - 1), min_size=4, max_size=4))
    def resize(self, by: str, number: int, ends: list[int]) -> None:
        """A narrow validity, then another one: what grows is stretched, what shrinks is cut."""
        name = self.atom(number)
        if name is not None:
            for low, high in (sorted(ends[:2]), sorted(ends[2:])):
                self.rig.revise(by, name, {}, None, low, high, None)

    @rule(by=who, numbers=st.lists(pick, min_size=1, max_size=3))
    def forget(self, by: str, numbers: list[int]) -> None:
        names = list(dict.fromkeys(name for number in numbers if (name := self.atom(number)) is not None))
        if names:
            self.rig.forget(by, names)

    @rule(x=who, some=st.lists(st.tuples(who, tags), min_size=2, max_size=4), number=pick, by=who)
    def poison(self, x: str, some: list[tuple[str, dict[str, str | None]]], number: int, by: str) -> None:
        """Several writers on one memory, then one of them undone."""
        since = self.seq
        for writer, wanted in some:
            name = self.atom(number)
            if name is None:
                return
            self.rig.revise(writer, name, {}, wanted, None, None, None)
        self.rig.undo(by, Entry(by, "undo", since=since, writer=x))

    # ------------------------------------------------------------------ rollbacks
    @rule(by=who, steps=back, how=st.sampled_from(("number", "snapshot", "label")), number=pick)
    def rollback(self, by: str, steps: int, how: str, number: int) -> None:
        target = max(0, self.seq - steps)
        reference: Any = target
        if how == "label" and self.rig.labels:
            reference, target = sorted(self.rig.labels.items())[number % len(self.rig.labels)]
        elif how == "snapshot":
            reference, states = self.rig.snapshot_of(target), self.rig.oracle.states
            target = max(seq for seq, state in enumerate(states) if state == states[target])
        self.rig.rollback(by, target, reference)

    @rule(
        by=who, steps=back, writer=st.none() | who, source=st.none() | st.sampled_from((*ORIGINS, "session:s")),
        key=st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from("12")),
    )  # fmt: skip
    def undo(self, by: str, steps: int, writer: str | None, source: str | None, key: tuple[str, str] | None) -> None:
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
    @precondition(lambda self: not self.undid_by_tag and self.seq > 6)
    @rule(by=who, number=pick)
    def erase(self, by: str, number: int) -> None:
        name = self.atom(number)
        oracle = self.rig.oracle
        if number % 3 == 0 and name is not None and name[3 if name[0] != "note" else 2] not in oracle.destroyed:
            self.erased_any = True
            self.rig.erase(by, [name])

    @rule(by=who, label=st.sampled_from(("first", "second")))
    def label(self, by: str, label: str) -> None:
        self.rig.label(by, label)

    @rule(by=who, value=st.none() | st.just(0.0))
    def policy(self, by: str, value: float | None) -> None:
        self.rig.policy(by, value)

    @rule(hours=st.integers(-1, 1))
    def clock(self, hours: int) -> None:
        self.rig.clock.set_us(self.rig.clock.now_us() + hours * HOUR_US)

    @rule()
    def reopen(self) -> None:
        self.rig.reopen()

    @invariant()
    def agrees(self) -> None:
        self.rig.check()

    def teardown(self) -> None:
        try:
            self.rig.hold()
        finally:
            self.rig.close()
