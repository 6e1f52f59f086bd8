"""Power loss: one run is recorded, then cut at random points, and what a disk may hold then is opened and judged."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.crash.lossy import Event, LossyVFS, crash_image
from tests.crash.subject import Workload, judge, opened, work_through
from tests.soak import Job, Outcome, Soak

_STEPS = 40


@dataclass
class PowerLosses(Outcome):
    """What came of it; what is done are images."""

    acknowledged: int = 0
    lost: int = 0


def record(folder: Path, seed: int, steps: int = _STEPS) -> tuple[Path, list[Event]]:
    """Run a workload on a recording file system; gives the database's path and what reached the disk, in order."""
    folder.mkdir()
    path = folder / "memory.db"
    name = f"lossy-{seed}"
    vfs = LossyVFS(name)
    try:
        with opened(path, vfs=name) as subject:
            work = Workload(random.Random(seed), f"p{seed}", erases_objects=False)
            work_through(subject, work, steps, lambda seq, root: vfs.trace.append(Event("ack", root, seq)))
    finally:
        vfs.unregister()
    return path, vfs.trace


def run(job: Job) -> PowerLosses:
    """Judge `count` crash images, 50 of each recorded run."""
    result = PowerLosses(**job.told) if job.told else PowerLosses(job.seed)
    while result.done < job.count:
        batch = job.seed * 1_000_000 + result.done
        made = job.folder / f"run-{batch}"
        path, trace = record(made, batch)
        for _ in range(min(50, job.count - result.done)):
            _image(path, trace, random.Random(f"{batch}/{result.done}"), job.folder / "image", result)
        shutil.rmtree(made)
        job.keep(result)
    return result


def _image(path: Path, trace: list[Event], rng: random.Random, target: Path, result: PowerLosses) -> None:
    cut = rng.randrange(len(trace) + 1)
    acknowledged = {event.number: event.path for event in trace[:cut] if event.what == "ack"}
    target.mkdir(mode=0o700)
    try:
        for name, content in crash_image(trace[:cut], rng).items():
            (target / Path(name).name).write_bytes(content)
        if (objects := Path(f"{path}.objects")).exists():
            shutil.copytree(objects, target / objects.name)
        wrong = judge(target / path.name, acknowledged)
    finally:
        shutil.rmtree(target)
    result.done += 1
    result.acknowledged += len(acknowledged)
    result.lost += sum("acknowledged and is" in line for line in wrong)
    result.failures += [f"image {result.done} of seed {result.seed}, cut {cut}: {line}" for line in wrong]


SOAK = Soak("cut the power at random points, and judge what the disk may hold then", "images", 1000, run)
