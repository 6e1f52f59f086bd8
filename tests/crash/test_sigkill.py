from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash.kills import PHASES

ROOT = Path(__file__).resolve().parents[2]


def soak(*arguments: str) -> dict[str, Any]:
    """Run the harness in a process of its own: forking wants a parent without threads. The same seed unless one is given."""
    seed = () if {"--seed", "--resume"} & {*arguments} else ("--seed", "20261125")
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *arguments, *seed],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_kills_in_every_phase_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    told = soak("kills", "--count", str(5 * len(PHASES)), "--folder", str(tmp_path))
    assert (told["failures"], told["lost"], told["done"]) == ([], 0, 5 * len(PHASES)), told
    acknowledged, phases, reopened = told["acknowledged"], told["phases"], told["reopen_ms_max"]
    assert isinstance(acknowledged, int) and acknowledged >= 100, told
    assert isinstance(phases, dict) and all(phases.get(phase, 0) >= 0.02 * told["done"] for phase in PHASES), told
    assert isinstance(reopened, float) and reopened <= 1000, told


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    first = soak("kills", "--count", "3", "--seed", "5", "--folder", str(tmp_path))
    then = soak("kills", "--count", "5", "--resume", "--folder", str(tmp_path))
    assert (first["done"], then["done"], first["seed"], then["seed"]) == (3, 5, 5, 5)
    assert then["failures"] == []
