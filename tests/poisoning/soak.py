"""The poisoning drill at full size, from one seed after another."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.poisoning.drill import UNDO_S_MAX, Drill, Report
from tests.soak import Job, Outcome, Soak

MEMORIES, POISONED = 10_000, 500


@dataclass
class Poisoning(Outcome):
    """What came of it; times are seconds."""

    memories: int = 0
    poisoned: int = 0
    touched: int = 0
    lost: int = 0
    preview_s_max: float = 0.0
    undo_s_max: float = 0.0


def drill(folder: Path, seed: int, memories: int = MEMORIES, poisoned: int = POISONED) -> Report:
    """Run one drill in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        made = Drill(Path(inner), seed, memories, poisoned)
        try:
            return made.run()
        finally:
            made.close()


def run(job: Job) -> Poisoning:
    """Run `count` drills."""
    result = job.begun(Poisoning)
    for number in job.trials(result):
        report = drill(job.folder, job.seed + number)
        result.memories += report.memories
        result.poisoned += report.poisoned
        result.touched += report.touched
        result.lost += report.lost
        result.preview_s_max = max(result.preview_s_max, report.preview_s)
        result.undo_s_max = max(result.undo_s_max, report.undo_s)
        wrong = [*report.wrong, *([f"the undo took {report.undo_s:.2f} s"] if report.undo_s > UNDO_S_MAX else [])]
        result.failures += [f"drill {number}: {line}" for line in wrong]
    return result


SOAK = Soak("500 poisoned among 10,000 memories, undone by writer, beside a twin that never saw them", "drills", 5, run)
