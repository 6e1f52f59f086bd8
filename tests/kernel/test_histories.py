"""Random histories over both clocks against the oracle: none differs, and every bug put in on purpose makes one differ."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.kernel import histories
from tests.kernel.histories import Histories, Step, differences, draw, failure, play, run, shrunk, told
from tests.kernel.moves import Moves
from tests.kernel.oracle import CELLS
from tests.kernel.rig import TEXTS, Rig
from tests.kernel.seeded import BUGS, MORE_BUGS, Bug, what_was_erased_comes_back
from tests.soak import Job

COUNT, SEED = 45, 1
HUNTED = 500
"""So many histories are enough to meet the rarest of the bugs."""

EVERYWHERE = range(len(CELLS))
BEGUN: list[Step] = [
    ("note", {"by": "ana", "text": TEXTS[0], "cells": EVERYWHERE, "changes": {"tag:a": "1"}}),
    ("document", {"by": "ben", "origin": "guide.txt", "parts": TEXTS[1:], "cells": EVERYWHERE, "changes": {}}),
    ("label", {"by": "ana", "label": "first"}),
]
CUT: list[Step] = [
    ("note", {"by": "ana", "text": TEXTS[1], "cells": range(2, 4), "changes": {"tag:a": "2"}}),
    ("document", {"by": "eve", "origin": "guide.txt", "parts": TEXTS[:2], "cells": EVERYWHERE, "changes": {}}),
    ("rollback", {"by": "eve", "steps": 2, "how": "number", "number": 0}),
    ("undo", {"by": "eve", "steps": 4, "writer": "ben"}),
    ("forget", {"by": "eve", "numbers": [0, 1]}),
]


@pytest.mark.slow
def test_no_history_differs_from_the_oracle(tmp_path: Path) -> None:
    result = run(Job(COUNT, SEED, tmp_path))
    assert not result.failures, result.failures[0]
    assert result.done == COUNT and set(result.moves) == set(histories._DRAWN)


@pytest.mark.parametrize("bug", [*BUGS, *MORE_BUGS], ids=lambda bug: bug.__name__)
def test_histories_find(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    assert next(differences(Histories(SEED), HUNTED), None) is not None


@pytest.mark.parametrize("move", CUT, ids=lambda move: move[0])
def test_a_write_cut_before_any_of_its_statements_leaves_nothing(move: Step) -> None:
    rig = Rig()
    try:
        play(BEGUN, rig, whole=False, after=())
        moves, (name, arguments) = Moves(rig), move
        for moment in range(1, 200):
            before = rig.oracle.seq
            moves.cut(name, arguments, moment, crash=moment % 5 == 0)
            rig.glance()
            if rig.oracle.seq > before:
                break
        assert 10 < moment < 199, "it was cut everywhere, and in the end it was not"
        moves.cut(name, arguments, 0, crash=False)
        assert rig.oracle.seq == before + 1, "a COMMIT that was refused is no transaction"
        play([], rig, after=("hold", "keep_up", "hold"))
    finally:
        rig.close()


def test_undoing_a_version_keeps_the_plan_that_an_erasure_put_in_its_place() -> None:
    whole: list[str] = [TEXTS[1], TEXTS[0], TEXTS[1]]
    later = {"cells": EVERYWHERE, "changes": {"tag:a": "2"}}
    play(
        [
            ("document", {"by": "eve", "origin": "plan.txt", "parts": whole, "cells": EVERYWHERE, "changes": {}}),
            ("document", {"by": "ben", "origin": "plan.txt", "parts": whole[1:2], **later}),
            ("erase", {"by": "eve", "number": 0}),
            ("undo", {"by": "ana", "steps": 4, "writer": "ben", "source": None, "key": None}),
        ]
    )


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(Job(6, 3, tmp_path))
    half = run(Job(3, 3, tmp_path))
    assert asdict(run(Job(6, 3, tmp_path, asdict(half)))) == asdict(whole)
    assert draw(random.Random("3/1")) == draw(random.Random("3/1")) != draw(random.Random("3/2"))


def test_a_difference_is_told_as_the_fewest_steps_and_as_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    what_was_erased_comes_back(monkeypatch)
    number, steps, error = next(differences(Histories(SEED), HUNTED))
    text = told(SEED, number, steps, error)
    assert text.startswith(f"history {number} of seed {SEED}: ")
    made: dict[str, object] = {}
    exec(text[text.index("def test_") :], {"play": lambda steps: made.update(steps=steps)}, made)
    made[f"test_history_{number}_of_seed_{SEED}"]()  # type: ignore[operator]
    fewest = made["steps"]
    assert isinstance(fewest, list) and len(fewest) < len(steps) and ("erase" in dict(fewest))
    with pytest.raises(AssertionError):
        play(fewest)
    monkeypatch.undo()
    assert failure(fewest) is None


def test_shrinking_keeps_only_what_the_failure_needs() -> None:
    steps: list[Step] = [(str(n), {}) for n in range(40)]
    assert shrunk(steps, lambda some: {"3", "17", "38"} <= {name for name, _ in some}) == [
        ("3", {}), ("17", {}), ("38", {}),
    ]  # fmt: skip
