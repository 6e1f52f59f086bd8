"""Power loss: one run is recorded, then cut at random points, and what a disk may hold then is opened and judged."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.files import Event
from tests.crash.lossy import Disk, recorded
from tests.crash.subject import Answer, Judgement, Told, judge, opened
from tests.crash.workload import Workload, take_back
from tests.soak import Job, Outcome, Soak

IMAGES_A_RUN: Final = 100
_SESSIONS: Final = 3
_CALLS: Final = 8
_RAM: Final = Path("/dev/shm")


@dataclass
class PowerLosses(Outcome):
    """What came of it; what is done are images, `distinct` of which were judged (equal ones of a run are judged once)."""

    acknowledged: int = 0
    lost: int = 0
    distinct: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def record(folder: Path, seed: int, *, sessions: int = _SESSIONS, calls: int = _CALLS) -> list[Event]:
    """Run a workload on a recording disk, opening and migrating included; gives what reached the disk, in order."""
    path, rng = folder / "memory.db", random.Random(seed)
    work = Workload(rng, f"p{seed % 1000}")
    with recorded(folder) as trace:

        def begin(phase: str, most: int = 0, asked: object = None) -> None:
            trace.append(Event("begin", phase, most, json.dumps(asked).encode()))

        def end(answer: Answer | None) -> None:
            trace.append(Event("ack", "", 0, json.dumps(answer and asdict(answer)).encode()))

        for session in range(sessions):
            if session:
                begin("downgrade")
                take_back(path, rng)
            begin("migrate" if session else "open")
            with opened(path) as subject:
                end(None)
                for _ in range(calls):
                    operation = work.next(subject)
                    begin(operation.phase, operation.most, operation.asked)
                    end(operation.run(subject))
    return trace


def run(job: Job) -> PowerLosses:
    """Judge `count` crash images, a hundred of each recorded run."""
    result = job.begun(PowerLosses)
    began, before = time.monotonic(), result.seconds
    with tempfile.TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None) as temporary:
        while result.done < job.count and len(result.failures) <= 100:
            folder = Path(temporary) / "run"
            folder.mkdir()
            seed = job.seed * 1_000_000 + result.done
            trace = record(folder, seed)
            _cut(str(folder), trace, random.Random(seed), min(IMAGES_A_RUN, job.count - result.done), result)
            shutil.rmtree(folder)
            result.seconds = round(before + time.monotonic() - began, 1)
            job.keep(result)
    return result


SOAK = Soak("cut the power at random points, and judge what the disk may hold then", "images", 1000, run)


def _cut(root: str, trace: list[Event], rng: random.Random, count: int, result: PowerLosses) -> None:
    """Judge images of one run, at ever later cuts."""
    disk, told, phase, done = Disk(root), Told(), "between", 0
    known: dict[bytes, Judgement] = {}
    sound: set[bytes] = set()
    for cut in sorted(rng.randrange(len(trace) + 1) for _ in range(count)):
        for event in trace[done:cut]:
            if event.what == "begin":
                phase = event.path
                told.begin(event.number, json.loads(event.data))
            elif event.what == "ack":
                phase, answer = "between", json.loads(event.data)
                told.hear(answer and Answer(**answer))
            else:
                disk.feed(event)
        done = cut
        wrong = _judged(disk.image(rng), Path(f"{root}-image"), told, known, sound, result)
        result.done += 1
        result.acknowledged += len(told.roots)
        result.phases[phase] = result.phases.get(phase, 0) + 1
        result.lost += sum("acknowledged and is" in line for line in wrong)
        result.failures += [f"image {result.done} of seed {result.seed}, cut {cut} in {phase}: {w}" for w in wrong]


def _judged(
    image: dict[str, bytes],
    target: Path,
    told: Told,
    known: dict[bytes, Judgement],
    sound: set[bytes],
    result: PowerLosses,
) -> list[str]:
    """Judge an image; one that is equal to another and was told the same need not be judged again."""
    key = hashlib.sha256(json.dumps([asdict(told), sorted(image)]).encode())
    for name in sorted(image):
        key.update(image[name])
    if (found := known.get(key.digest())) is None:
        target.mkdir(mode=0o700)
        try:
            for name, content in image.items():
                (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (target / name).write_bytes(content)
            found = known[key.digest()] = judge(target / "memory.db", told, sound)
        finally:
            shutil.rmtree(target)
        result.distinct += 1
    return found.faults
