"""Two workspaces and their twins, for as long as one likes: examples from one seed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.isolation.play import Play, Reader
from tests.isolation.worlds import Interference, quick
from tests.soak import Job, Outcome, Soak

STEPS = 60


@dataclass
class Isolation(Outcome):
    """What came of it; `tried` goes through every place for a string with every kind of the other's handles."""

    calls: int = 0
    attacks: int = 0
    tried: int = 0


def run(job: Job, steps: int = STEPS) -> Isolation:
    """Live `count` examples. Durability is no matter here, so the stores are where the files are quick."""
    result = job.begun(Isolation)
    reader = Reader()
    for number in job.trials(result):
        with tempfile.TemporaryDirectory(dir=quick(job.folder)) as folder:
            play = Play(Path(folder), reader, f"{job.seed}/{number}", result.tried)
            try:
                play.run(steps)
            except Interference as error:
                result.failures.append(f"example {number}: {error}")
        result.calls += play.worlds.calls
        result.attacks += len(play.attacks)
        result.tried = play.tried
    return result


SOAK = Soak("what one workspace does, and another's answers: noninterference of every tool", "examples", 200, run)
