"""SIGKILL at random points, over every phase: a child writes and acknowledges, its parent kills it and judges."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.subject import Workload, judge, opened
from tests.soak import Job, Outcome, Soak

KILLS_A_STORE = 20


@dataclass
class Kills(Outcome):
    """What came of it. `done` kills with `seed` can be gone on from."""

    acknowledged: int = 0
    lost: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    reopen_ms_max: float = 0.0


def run(job: Job) -> Kills:
    """Kill `count` children. Every store is made anew for 20 kills, so that opening and migrating are hit too."""
    result = Kills(**job.told) if job.told else Kills(job.seed)
    seed, folder = job.seed, job.folder
    acknowledged: dict[int, str] = {}
    for number in range(result.done, job.count):
        path = folder / f"{seed}-{number // KILLS_A_STORE}.db"
        if number % KILLS_A_STORE == 0 or not path.exists():
            acknowledged = {}
            for old in folder.glob(f"{seed}-{number // KILLS_A_STORE}.db*"):
                if old.is_file():
                    old.unlink()
        elif not acknowledged:  # a run that goes on
            with opened(path) as subject:
                acknowledged = subject.ledger()
        rng = random.Random(f"{seed}/{number}")
        seen, phase = _one(path, rng, f"{seed}-{number}", first=not acknowledged)
        acknowledged.update(seen)
        result.acknowledged += len(seen)
        result.phases[phase] = result.phases.get(phase, 0) + 1
        start = time.perf_counter()
        wrong = judge(path, acknowledged) if path.exists() else ["the store is gone"] if acknowledged else []
        result.reopen_ms_max = max(result.reopen_ms_max, (time.perf_counter() - start) * 1000)
        result.lost += sum("acknowledged and is" in line for line in wrong)
        result.failures += [f"kill {number} in {phase}: {line}" for line in wrong]
        if path.exists():
            with opened(path) as subject:
                acknowledged.update(subject.ledger())  # what the judge wrote, and what was in flight, is told now
        result.done = number + 1
        job.keep(result)
    return result


SOAK = Soak("SIGKILL a writing process at random points, over every phase", "kills", 1000, run)


def _one(path: Path, rng: random.Random, tag: str, *, first: bool) -> tuple[dict[int, str], str]:
    """Start a child, kill it, and give what it acknowledged, and the phase it was in."""
    read, write = os.pipe()
    early = rng.random() < (0.5 if first else 0.15)  # so that opening gets its share of kills
    wanted = rng.randint(0, 10)  # after so many answers, whatever the load of the machine
    delay = rng.random() * (0.012 if early else 0.008)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            _child(path, rng, tag, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    told = bytearray()
    while not early and (told.count(b"ack ") < wanted or not told) and (part := os.read(read, 4096)):
        told += part
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    while select.select([read], [], [], 10)[0] and (part := os.read(read, 65536)):
        told += part
    os.close(read)
    os.waitpid(child, 0)
    phase, seen = "open", {}
    for line in told.decode().splitlines():
        what, _, rest = line.partition(" ")
        if what == "begin":
            phase = rest
        elif what == "ack":
            seq, root = rest.split()
            seen[int(seq)] = root
            phase = "between"
    return seen, phase


def _child(path: Path, rng: random.Random, tag: str, pipe: int) -> None:
    with opened(path) as subject:
        work = Workload(rng, tag)
        while True:
            phase, call = work.next(subject)
            os.write(pipe, f"begin {phase}\n".encode())
            call()
            seq, root = subject.head()
            os.write(pipe, f"ack {seq} {root}\n".encode())
