"""The state machine: random histories over both clocks, told to the product and to the oracle."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.kernel.moves import ORIGINS, WHO, Moves
from tests.kernel.oracle import CELLS
from tests.kernel.rig import TEXTS, Rig
from tests.pg.plugin import examples

FAST = settings(
    max_examples=examples(25, 2), stateful_step_count=20, deadline=None, database=None, derandomize=True, print_blob=False,
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


some_writes = st.one_of(
    st.tuples(
        st.just("note"),
        st.fixed_dictionaries({"by": who, "text": texts, "cells": some_cells(), "changes": some_changes()}),
    ),
    st.tuples(
        st.just("document"),
        st.fixed_dictionaries(
            {
                "by": who, "origin": st.sampled_from(ORIGINS), "parts": st.lists(texts, min_size=1, max_size=5),
                "cells": some_cells(), "changes": some_changes(),
            }
        ),
    ),
    st.tuples(st.just("undo"), st.fixed_dictionaries({"by": who, "steps": back, "writer": who})),
    st.tuples(st.just("label"), st.fixed_dictionaries({"by": who, "label": st.just("first")})),
)  # fmt: skip


class KernelMachine(RuleBasedStateMachine):
    """Every rule is one move; after each, everything is compared."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.moves = Moves(self.rig)

    @initialize(changes=some_changes())
    def begin(self, changes: dict[str, Any]) -> None:
        everywhere = range(len(CELLS))
        self.moves.note("ben", TEXTS[0], everywhere, changes)
        self.moves.document("ana", ORIGINS[0], TEXTS[1:3], everywhere, {})

    # ------------------------------------------------------------------ writes
    @rule(by=who, text=texts, cells=some_cells(), changes=some_changes(), premise=st.none() | pick)
    def note(self, by: str, text: str, cells: range, changes: dict[str, Any], premise: int | None) -> None:
        self.moves.note(by, text, cells, changes, premise)

    @rule(by=who, some=st.lists(st.tuples(texts, some_cells(), some_changes()), min_size=2, max_size=4))
    def notes(self, by: str, some: list[tuple[str, range, dict[str, Any]]]) -> None:
        self.moves.notes(by, some)

    @rule(
        by=who, origin=st.sampled_from(ORIGINS), parts=st.lists(texts, min_size=1, max_size=5), cells=some_cells(),
        changes=some_changes(),
    )  # fmt: skip
    def document(self, by: str, origin: str, parts: list[str], cells: range, changes: dict[str, Any]) -> None:
        self.moves.document(by, origin, parts, cells, changes)

    @rule(
        by=who, session=st.sampled_from("st"),
        said=st.lists(st.tuples(texts, st.sampled_from("uv"), st.none() | st.integers(0, 2)), min_size=1, max_size=3),
        changes=some_changes(),
    )  # fmt: skip
    def turns(self, by: str, session: str, said: list[tuple[str, str, int | None]], changes: dict[str, Any]) -> None:
        self.moves.turns(by, session, said, changes)

    @rule(
        by=who, number=pick, changes=some_changes(), tags=st.none() | tags, low=st.none() | st.integers(1, len(CELLS) - 1),
        high=st.none() | st.integers(1, len(CELLS) - 1), text=st.none() | texts,
    )  # fmt: skip
    def revise(
        self, by: str, number: int, changes: dict[str, Any], tags: dict[str, str | None] | None, low: int | None,
        high: int | None, text: str | None,
    ) -> None:  # fmt: skip
        self.moves.revise(by, number, changes, tags, low, high, text)

    @rule(by=who, number=pick, ends=st.lists(st.integers(1, len(CELLS) - 1), min_size=4, max_size=4))
    def resize(self, by: str, number: int, ends: list[int]) -> None:
        self.moves.resize(by, number, ends)

    @rule(by=who, numbers=st.lists(pick, min_size=1, max_size=3))
    def forget(self, by: str, numbers: list[int]) -> None:
        self.moves.forget(by, numbers)

    @rule(x=who, some=st.lists(st.tuples(who, tags), min_size=2, max_size=4), number=pick, by=who)
    def poison(self, x: str, some: list[tuple[str, dict[str, str | None]]], number: int, by: str) -> None:
        self.moves.poison(x, some, number, by)

    # ------------------------------------------------------------------ rollbacks
    @rule(by=who, steps=back, how=st.sampled_from(("number", "snapshot", "label")), number=pick)
    def rollback(self, by: str, steps: int, how: str, number: int) -> None:
        self.moves.rollback(by, steps, how, number)

    @rule(by=who, steps=back, between=st.none() | texts)
    def rollback_of_rollback(self, by: str, steps: int, between: str | None) -> None:
        self.moves.rollback_of_rollback(by, steps, between)

    @rule(
        by=who, steps=back, writer=st.none() | who, source=st.none() | st.sampled_from((*ORIGINS, "session:s")),
        key=st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from("12")),
    )  # fmt: skip
    def undo(self, by: str, steps: int, writer: str | None, source: str | None, key: tuple[str, str] | None) -> None:
        self.moves.undo(by, steps, writer, source, key)

    # ------------------------------------------------------------------ and the rest
    @precondition(lambda self: not self.moves.undid_by_tag and self.moves.seq > 6)
    @rule(by=who, number=pick)
    def erase(self, by: str, number: int) -> None:
        if number % 3 == 0:  # seldom: no tag can be undone after it
            self.moves.erase(by, number)

    @rule(by=who, label=st.sampled_from(("first", "second")))
    def label(self, by: str, label: str) -> None:
        self.moves.label(by, label)

    @rule(by=who, value=st.none() | st.just(0.0))
    def policy(self, by: str, value: float | None) -> None:
        self.moves.policy(by, value)

    @rule(hours=st.integers(-1, 1), tick_us=st.sampled_from((0, 7)))
    def clock(self, hours: int, tick_us: int) -> None:
        self.moves.clock(hours, tick_us)

    @rule(how=st.sampled_from(("reopen", "crash")))
    def stop(self, how: str) -> None:
        getattr(self.moves, how)()

    @rule(move=some_writes, moment=st.integers(0, 40), crash=st.booleans())
    def cut(self, move: tuple[str, dict[str, Any]], moment: int, crash: bool) -> None:
        self.moves.cut(*move, moment, crash)

    @invariant()
    def agrees(self) -> None:
        self.rig.check()

    def teardown(self) -> None:
        try:
            if len(self.rig.heads) > self.rig.oracle.seq:  # else a difference was found, and is on its way
                self.rig.judge()
                self.rig.hold()
        finally:
            self.rig.close()
