"""Equal read points give equal answers, byte for byte, whatever was written since, here or elsewhere, and however it is read."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import CmcError
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RecallResult
from tests.read.made import NO_MATRIX
from tests.support import reach
from tests.support.embedders import HashVectors

_SEEDS, _WRITES, _QUESTIONS_EACH = 10, 40, 2
_START_US, _DAY_US = 1_750_000_000_000_000, 86_400_000_000
_TEXT = """
    the a of deploy deploys target heroku fly limit 10 100 now no longer not budget $4,000 $5,000 maya zoe release friday
    2026-05-08 rollback database postgres index slow fast cache parse config server staging production never tests
"""
_WORDS = _TEXT.split()
_DOCUMENTS = "xyz"


@dataclass(frozen=True)
class _Case:
    """A question at a read point, and the answer that it gave the first time."""

    arguments: dict[str, Any]
    answer: str


def _open(folder: Path, clock: FixedClock, *, matrix: bool = True) -> Memory:
    memory = Memory.open(folder / "memory.db", embedder=HashVectors(), clock=clock, principal="maya")
    return memory if matrix else _without_matrix(memory)


def _without_matrix(memory: Memory) -> Memory:
    """The same memory as it reads through SQL alone; of the settings nothing else differs."""
    other = memory.as_principal(memory.principal)
    reach.alter(other, settings=replace(memory.settings, matrix_bytes_max=NO_MATRIX.matrix_bytes_max))
    return other


def _bytes(result: RecallResult) -> str:
    """The answer as it goes over a wire, less what each stage cost.

    Of an answer without items the trace is left out too: where a filter names what the store does not know yet, no stage
    runs; once it is known, by later writes, the stages run and find nothing.
    """
    timeless = [stage.model_copy(update={"ms": 0.0}) for stage in result.trace] if result.items else []
    return result.model_copy(update={"trace": timeless}).model_dump_json()


def _sentence(rnd: random.Random) -> str:
    return " ".join(rnd.choices(_WORDS, k=rnd.randint(2, 12)))


def _time(rnd: random.Random) -> str:
    return f"2025-{rnd.randint(1, 12):02}-{rnd.randint(1, 28):02}"


def _live(memory: Memory) -> list[str]:
    return [name for writer in ("maya", "zoe") for name in memory.forget(writer=writer, dry_run=True).ids]


def _document(rnd: random.Random) -> str:
    return "\n\n".join(rnd.choice(["# A", "## B", _sentence(rnd), _sentence(rnd)]) for _ in range(rnd.randint(2, 6)))


def _remember(memory: Memory, rnd: random.Random) -> None:
    tags = {"topic": rnd.choice("ab")}
    kind = rnd.choice(("note", "note", "turn", "turn", "document", "claim", "code", "premise"))
    if kind == "turn":
        speaker = rnd.choice(["Maya", "Zoe"])
        memory.remember(_sentence(rnd), session=rnd.choice("st"), speaker=speaker, occurred_at=_time(rnd), tags=tags)
    elif kind == "document":
        memory.remember(_document(rnd), source=rnd.choice(_DOCUMENTS), media_type="text/markdown", tags=tags)
    elif kind == "claim":
        said = rnd.choice(["heroku", "fly", "staging"])
        start = rnd.choice([None, _time(rnd)])
        claim: Any = {"subject": "production", "predicate": "deploys to", "object": said}
        memory.remember(f"production deploys to {said}", claim=claim, valid_from=start)
    elif kind == "code":
        memory.remember(f"def {rnd.choice(_WORDS[3:7])}():\n    return {rnd.randint(1, 9)}\n", modality="code")
    elif kind == "premise":
        memory.remember(_sentence(rnd), derived_from=rnd.sample(live := _live(memory), min(1, len(live))))
    else:
        sure, until = rnd.choice([None, 0.2, 0.9]), rnd.choice([None, "2025-12-31"])
        memory.remember(_sentence(rnd), confidence=sure, priority=rnd.choice([None, 0.9]), valid_to=until, tags=tags)


def _change(memory: Memory, rnd: random.Random) -> None:
    head, live = memory.snapshot().transaction, _live(memory)
    some = rnd.sample(live, min(len(live), rnd.randint(1, 3)))
    kinds: dict[str, Callable[[], object]] = {
        "forget": lambda: memory.forget(some),
        "reword": lambda: memory.revise(some[0], content=_sentence(rnd), valid_from=rnd.choice([None, _time(rnd)])),
        "retag": lambda: memory.revise(some[0], tags={"topic": rnd.choice("ab")}, confidence=rnd.random()),
        "rollback": lambda: memory.rollback(max(0, head - rnd.randint(1, 4))),
        "undo": lambda: memory.rollback(since=max(0, head - 6), writer="zoe"),
    }
    if (mark := getattr(memory, "mark", None)) is not None:
        kinds["mark"] = lambda: mark(some, rnd.choice(["used", "right", "wrong"]))
    name = rnd.choice(sorted(kinds))
    if some or name in ("rollback", "undo"):
        kinds[name]()


def _write(memory: Memory, elsewhere: Memory, rnd: random.Random) -> None:
    """Write something: mostly here, sometimes as somebody else, sometimes into another workspace of the store."""
    who = rnd.choice([memory, memory, memory.as_principal("zoe")])
    for _ in range(rnd.randint(0, 2)):
        _remember(elsewhere, rnd)
    try:
        if rnd.random() < 0.7:
            _remember(who, rnd)
        else:
            _change(who, rnd)
    except CmcError:  # an impossible change is refused, and changes nothing
        return


def _arguments(memory: Memory, rnd: random.Random) -> dict[str, Any]:
    head = memory.snapshot().transaction
    point = {
        "as_of": rnd.choice([head, rnd.randint(1, head)]),
        "valid_at": rnd.choice([None, None, _time(rnd), "2030-01-01"]),
    }
    filters: dict[str, list[Any]] = {
        "source": [*_DOCUMENTS], "writer": ["maya", "zoe"], "tags": [{"topic": "a"}], "modality": ["text", "code"],
        "min_confidence": [0.5],
    }  # fmt: skip
    some = {name: rnd.choice(values) for name, values in filters.items() if rnd.random() < 0.1}
    return {
        "query": _sentence(rnd), "limit": rnd.choice([1, 3, 10, 30]), "budget_tokens": rnd.choice([60, 200, 2_000]),
        "detail": rnd.choice(["concise", "detailed"]), "explain": rnd.random() < 0.3, **point, **some,
    }  # fmt: skip


def _case(memory: Memory, rnd: random.Random) -> list[_Case]:
    """Ask; where the answer goes on, ask for its next page too."""
    arguments = _arguments(memory, rnd)
    first = memory.recall(**arguments)
    cases = [_Case(arguments, _bytes(first))]
    if first.next_cursor:
        more = {name: value for name, value in arguments.items() if name not in ("as_of", "valid_at")}
        more["cursor"] = first.next_cursor
        cases.append(_Case(more, _bytes(memory.recall(**more))))
    return cases


def _history(folder: Path, seed: int) -> list[_Case]:
    """Write a random history, and ask along the way; before it ends, ask again of the caches that it made."""
    rnd, clock = random.Random(seed), FixedClock(_START_US, step_us=1_000_000)
    cases: list[_Case] = []
    with _open(folder, clock) as memory:
        elsewhere = memory.as_principal("eve", "elsewhere")
        _remember(memory, rnd)
        for number in range(_WRITES):
            _write(memory, elsewhere, rnd)
            clock.set_us(_START_US + number * _DAY_US)
            for _ in range(_QUESTIONS_EACH):
                cases += _case(memory, rnd)
        assert _differing(memory, cases) == []
    return cases


def _differing(memory: Memory, cases: list[_Case]) -> list[tuple[dict[str, Any], str, str]]:
    answers = [(case, _bytes(memory.recall(**case.arguments))) for case in cases]
    return [(case.arguments, case.answer, answer) for case, answer in answers if answer != case.answer]


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_an_answer_at_a_read_point_is_the_same_for_ever(tmp_path: Path, seed: int) -> None:
    cases = _history(tmp_path, seed)
    assert len(cases) >= 1_000 / _SEEDS
    assert sum('"items":[]' not in case.answer for case in cases) > len(cases) / 2
    later = FixedClock(_START_US + 1_000 * _DAY_US, step_us=1)
    for matrix in (True, False):
        with _open(tmp_path, later, matrix=matrix) as memory:
            assert _differing(memory, cases) == []


_SCRIPT = """
import json, sys
from pathlib import Path
from cmc_mcp.clock import FixedClock
from tests.read.test_equal_answers import _bytes, _open

with _open(Path(sys.argv[1]), FixedClock(1)) as memory:
    for arguments in json.load(sys.stdin):
        print(_bytes(memory.recall(**arguments)))
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_order_of_a_process_s_own_sets_moves_no_answer(tmp_path: Path, hash_seed: str) -> None:
    cases = _history(tmp_path, _SEEDS)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path)],
        input=json.dumps([case.arguments for case in cases]),
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [case.answer for case in cases]
