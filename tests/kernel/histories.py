"""Random histories by the thousand: the moves of the state machine without Hypothesis, one grid a history.

A past state is read from rows that only grow, so the grid of both clocks at the end covers what was read on the way; a few
histories are compared whole after every step all the same. A difference is told with its seed, its number, and the fewest
steps that show it, as a test to paste.
"""

from __future__ import annotations

import pprint
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.kernel.moves import ORIGINS, WHO, Moves
from tests.kernel.oracle import CELLS
from tests.kernel.place import Place
from tests.kernel.rig import TEXTS, Rig
from tests.soak import FAILURES_MAX, Job, Outcome, Soak

Step: TypeAlias = tuple[str, dict[str, Any]]
SHARED = 25
"""So many histories share a store, each in a workspace of its own: none may change what another sees."""
WHOLE, VERIFIED, KEPT_UP = 100, 20, 40
"""Of so many histories one is compared whole after each step; verified; and compared again after the file was rewritten."""
KEEP = 100
"""After so many the state is written down."""


@dataclass
class Histories(Outcome):
    """What came of it: `done` histories of so many steps, states compared on the whole grid, and which moves there were."""

    steps: int = 0
    transactions: int = 0
    compared: int = 0
    moves: dict[str, int] = field(default_factory=dict)


# ---------------------------------------------------------------------- drawing
def draw(rng: random.Random) -> list[Step]:
    """Draw a history. It begins with something to change."""
    everywhere = range(len(CELLS))
    begun: list[Step] = [
        ("note", {"by": "ben", "text": TEXTS[0], "cells": everywhere, "changes": _changes(rng)}),
        (
            "document",
            {"by": "ana", "origin": ORIGINS[0], "parts": list(TEXTS[1:3]), "cells": everywhere, "changes": {}},
        ),
    ]
    names = rng.choices(list(_DRAWN), [weight for weight, _ in _DRAWN.values()], k=rng.randint(6, 14))
    return begun + [(name, _DRAWN[name][1](rng)) for name in names]


def _cells(rng: random.Random) -> range:
    """Some neighbouring cells; often all of them."""
    if rng.random() < 0.5:
        return range(len(CELLS))
    start = rng.randrange(len(CELLS))
    return range(start, rng.randint(start + 1, len(CELLS)))


def _tags(rng: random.Random) -> dict[str, str | None]:
    return {key: rng.choice(("1", "2", None)) for key in rng.sample("ab", rng.randint(0, 2))}


def _changes(rng: random.Random) -> dict[str, Any]:
    changes: dict[str, Any] = {f"tag:{key}": value for key, value in _tags(rng).items()}
    if rng.random() < 0.25:
        changes["confidence"] = rng.choice(("0.500000", "0.900000"))
    return changes


def _maybe(rng: random.Random, draw_one: Callable[[], Any]) -> Any:
    return draw_one() if rng.random() < 0.5 else None


def _back(rng: random.Random) -> int:
    return rng.randint(0, rng.choice((5, 30)))


def _note(rng: random.Random) -> dict[str, Any]:
    return {
        "by": rng.choice(WHO), "text": rng.choice(TEXTS), "cells": _cells(rng), "changes": _changes(rng),
        "premise": _maybe(rng, lambda: rng.randrange(100)),
    }  # fmt: skip


def _notes(rng: random.Random) -> dict[str, Any]:
    some = [(rng.choice(TEXTS), _cells(rng), _changes(rng)) for _ in range(rng.randint(2, 4))]
    return {"by": rng.choice(WHO), "some": some}


def _document(rng: random.Random) -> dict[str, Any]:
    return {
        "by": rng.choice(WHO), "origin": rng.choice(ORIGINS), "parts": rng.choices(TEXTS, k=rng.randint(1, 5)),
        "cells": _cells(rng), "changes": _changes(rng),
    }  # fmt: skip


def _turns(rng: random.Random) -> dict[str, Any]:
    said = [
        (rng.choice(TEXTS), rng.choice("uv"), _maybe(rng, lambda: rng.randrange(3))) for _ in range(rng.randint(1, 3))
    ]
    return {"by": rng.choice(WHO), "session": rng.choice("st"), "said": said, "changes": _changes(rng)}


def _revise(rng: random.Random) -> dict[str, Any]:
    return {
        "by": rng.choice(WHO), "number": rng.randrange(100), "changes": _changes(rng),
        "tags": _maybe(rng, lambda: _tags(rng)), "low": _maybe(rng, lambda: rng.randint(1, len(CELLS) - 1)),
        "high": _maybe(rng, lambda: rng.randint(1, len(CELLS) - 1)), "text": _maybe(rng, lambda: rng.choice(TEXTS)),
    }  # fmt: skip


def _resize(rng: random.Random) -> dict[str, Any]:
    ends = [rng.randint(1, len(CELLS) - 1) for _ in range(4)]
    return {"by": rng.choice(WHO), "number": rng.randrange(100), "ends": ends}


def _forget(rng: random.Random) -> dict[str, Any]:
    return {"by": rng.choice(WHO), "numbers": [rng.randrange(100) for _ in range(rng.randint(1, 3))]}


def _poison(rng: random.Random) -> dict[str, Any]:
    some = [(rng.choice(WHO), _tags(rng)) for _ in range(rng.randint(2, 4))]
    return {"x": rng.choice(WHO), "some": some, "number": rng.randrange(100), "by": rng.choice(WHO)}


def _rollback(rng: random.Random) -> dict[str, Any]:
    how = rng.choice(("number", "snapshot", "label"))
    return {"by": rng.choice(WHO), "steps": _back(rng), "how": how, "number": rng.randrange(100)}


def _rollback_of_rollback(rng: random.Random) -> dict[str, Any]:
    return {"by": rng.choice(WHO), "steps": _back(rng), "between": _maybe(rng, lambda: rng.choice(TEXTS))}


def _undo(rng: random.Random) -> dict[str, Any]:
    return {
        "by": rng.choice(WHO), "steps": _back(rng), "writer": _maybe(rng, lambda: rng.choice(WHO)),
        "source": _maybe(rng, lambda: rng.choice((*ORIGINS, "session:s"))),
        "key": _maybe(rng, lambda: (rng.choice("ab"), rng.choice("12"))),
    }  # fmt: skip


def _cut(rng: random.Random) -> dict[str, Any]:
    move = rng.choice(("note", "notes", "document", "turns", "revise", "forget", "rollback", "undo", "label"))
    moment = rng.randint(0, rng.choice((0, 20, 20, 40)))
    return {"move": move, "arguments": _DRAWN[move][1](rng), "moment": moment, "crash": rng.random() < 0.5}


_DRAWN: dict[str, tuple[float, Callable[[random.Random], dict[str, Any]]]] = {
    "note": (5, _note),
    "notes": (1, _notes),
    "document": (3, _document),
    "turns": (2, _turns),
    "revise": (5, _revise),
    "resize": (1, _resize),
    "forget": (2.5, _forget),
    "poison": (1, _poison),
    "rollback": (3, _rollback),
    "rollback_of_rollback": (1.2, _rollback_of_rollback),
    "undo": (3.5, _undo),
    "erase": (0.4, lambda rng: {"by": rng.choice(WHO), "number": rng.randrange(100)}),
    "label": (1.5, lambda rng: {"by": rng.choice(WHO), "label": rng.choice(("first", "second"))}),
    "policy": (0.3, lambda rng: {"by": rng.choice(WHO), "value": rng.choice((None, 0.0))}),
    "clock": (1.5, lambda rng: {"hours": rng.randint(-1, 1), "tick_us": rng.choice((0, 7))}),
    "reopen": (0.25, lambda rng: {}),
    "crash": (0.3, lambda rng: {}),
    "cut": (0.8, _cut),
}
"""How often, and with what."""


# ---------------------------------------------------------------------- playing
def play(steps: Iterable[Step], rig: Rig | None = None, *, whole: bool = True, after: Iterable[str] = ("hold",)) -> Rig:
    """Play a history and compare; without a rig in a store of its own, compared whole after each step."""
    own = rig is None
    rig = Rig() if rig is None else rig
    try:
        moves = Moves(rig)
        for name, arguments in steps:
            before = rig.oracle.seq
            getattr(moves, name)(**arguments)
            if whole:
                rig.check()
            elif rig.oracle.seq == before:
                rig.glance()  # else every transaction was looked at
        rig.judge()
        for what in after:
            getattr(rig, what)()
            rig.judge()
    finally:
        if own:
            rig.close()
    return rig


def shrunk(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Leave out what a failure does not need: ever smaller runs of steps, until no single one can go."""
    size = len(steps)
    while size:
        at = 0
        while at < len(steps):
            shorter = steps[:at] + steps[at + size :]
            if fails(shorter):
                steps = shorter
            else:
                at += size
        size //= 2
    return steps


def failure(steps: list[Step]) -> str | None:
    """Play in a store of its own, file rewritten and all; say what was wrong."""
    try:
        play(steps, after=("hold", "keep_up", "hold"))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def told(seed: int, number: int, steps: list[Step], first: Exception) -> str:
    """A difference in words, and as a test to paste."""
    said = f"history {number} of seed {seed}: {type(first).__name__}: {first}"
    if failure(steps) is None:
        return f"{said}\nIt does not show in a store of its own: run the {SHARED} histories of its store."
    steps = shrunk(steps, lambda some: failure(some) is not None)
    body = pprint.pformat(steps, width=112, sort_dicts=False).replace("\n", "\n        ")
    return (
        f"{said}\n{len(steps)} steps show it: {failure(steps)}\n\n"
        f"def test_history_{number}_of_seed_{seed}() -> None:\n    play(\n        {body}\n    )\n"
    )


# ---------------------------------------------------------------------- the long run
def differences(result: Histories, count: int) -> Iterator[tuple[int, list[Step], Exception]]:
    """Play on until `count` histories are done, and give those that differ. A store is left after some, or after one."""
    place: Place | None = None
    try:
        for number in range(result.done, count):
            if place is not None and number % SHARED == 0:
                place.close()
                place = None
            place = place or Place()
            steps = draw(random.Random(f"{result.seed}/{number}"))
            try:
                _one(result, place, number, steps)
            except Exception as error:
                with suppress(Exception):
                    place.close()
                place = None
                yield number, steps, error
            result.done = number + 1
    finally:
        if place is not None:
            place.close()


def _one(result: Histories, place: Place, number: int, steps: list[Step]) -> None:
    rig = Rig(place, f"history-{number}")
    after = ["hold"] * (number % VERIFIED == 0) + ["keep_up", "hold"] * (number % KEPT_UP == 1)
    play(steps, rig, whole=number % WHOLE == 2, after=after)
    rig.close()
    result.steps += len(steps)
    result.transactions += rig.oracle.seq
    result.compared += rig.compared
    for name, _ in steps:
        result.moves[name] = result.moves.get(name, 0) + 1


def run(job: Job) -> Histories:
    """Play `count` histories."""
    result = job.begun(Histories)
    while result.done < job.count and len(result.failures) < FAILURES_MAX:
        upto = min(job.count, result.done - result.done % KEEP + KEEP)
        for number, steps, error in differences(result, upto):
            result.failures.append(told(job.seed, number, steps, error))
        job.keep(result)
    return result


SOAK = Soak("histories over both clocks against a naive oracle", "histories", 100_000, run)
