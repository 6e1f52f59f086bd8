"""SIGKILL in every phase: a child writes and acknowledges; its parent stops it, looks where it is, kills it and judges."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.crash.subject import Answer, Told, judge, opened
from tests.crash.workload import PHASES as CALLS
from tests.crash.workload import Workload, take_back
from tests.soak import Job, Outcome, Soak

KILLS_A_STORE: Final = 20
PHASES: Final = ("open", "migrate", "downgrade", *CALLS)
_TRIES: Final = 40


@dataclass
class Kills(Outcome):
    """What came of it. `done` kills with `seed` can be gone on from."""

    acknowledged: int = 0
    lost: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    """Where the kills hit; `between` is between two calls."""
    reopen_ms_max: float = 0.0
    seconds: float = 0.0


def run(job: Job) -> Kills:
    """Kill `count` children, one phase after the other. Every store is made anew for 20 kills.

    The stores are in memory: what was written outlives the process there as in the page cache, and no sync is waited for.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else job.folder) as folder:
        return _run(job, Path(folder) / "store" / "memory.db")


def _run(job: Job, path: Path) -> Kills:
    result = job.begun(Kills)
    began, before = time.monotonic(), result.seconds
    told, lasted = Told(), dict.fromkeys(PHASES, 0.004)
    for number in job.trials(result):
        if number % KILLS_A_STORE == 0 or not path.parent.exists():
            told = Told()
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir(mode=0o700)
        phase = _one(path, PHASES[number % len(PHASES)], random.Random(f"{job.seed}/{number}"), number, told, lasted)
        result.phases[phase] = result.phases.get(phase, 0) + 1
        result.acknowledged += len(told.roots)
        found = judge(path, told)
        told.roots.update(found.ledger)  # what the judge wrote, and what was in flight, is told now
        told.begin(0, None)
        result.reopen_ms_max = max(result.reopen_ms_max, round(found.reopen_s * 1000, 1))
        result.lost += sum("acknowledged and is" in line for line in found.faults)
        result.failures += [f"kill {number} in {phase}: {line}" for line in found.faults]
        for backup in path.parent.glob("*.backup"):
            backup.unlink()
        result.seconds = round(before + time.monotonic() - began, 1)
    return result


SOAK = Soak("SIGKILL a writing process in every phase, from opening to erasing", "kills", 1000, run)


class _Child:
    """The process to be killed, and what it said."""

    def __init__(self, path: Path, phase: str, rng: random.Random, number: int) -> None:
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(read)
                for line in _work(path, phase, rng, f"k{number}"):
                    os.write(write, json.dumps(line).encode() + b"\n")
            except BaseException:  # it never ends by itself, so this is what is told
                os.write(write, json.dumps({"died": traceback.format_exc()}).encode() + b"\n")
            finally:
                os._exit(1)
        os.close(write)
        self._read, self._rest = read, b""

    def lines(self, *, wait: bool) -> Iterator[dict[str, Any]]:
        """What it has said since; with `wait` at least one line, unless it is dead."""
        while wait or select.select([self._read], [], [], 0)[0]:
            part = os.read(self._read, 1 << 16)
            if not part:
                return
            *whole, self._rest = (self._rest + part).split(b"\n")
            wait = wait and not whole
            yield from map(json.loads, whole)

    def stop(self) -> None:
        """Let it stand still; it can be looked at, and go on."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self) -> None:
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it for good."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)


def _one(path: Path, wanted: str, rng: random.Random, number: int, told: Told, lasted: dict[str, float]) -> str:
    """Start a child and kill it in a phase, at a random moment of it; gives where it really was."""
    child = _Child(path, wanted, rng, number)
    told.begin(0, None)
    phase = "between"

    def hear(*, wait: bool) -> str:
        nonlocal phase
        for line in child.lines(wait=wait):
            if "died" in line:
                raise RuntimeError(line["died"])
            if "begin" in line:
                phase = line["begin"]
                told.begin(line["most"], line["asked"])
            else:
                lasted[phase] = line["s"]
                phase = "between"
                told.hear(line["answer"] and Answer(**line["answer"]))
        return phase

    for _ in range(_TRIES):
        while hear(wait=True) != wanted:
            pass
        time.sleep(rng.random() * lasted[wanted])
        child.stop()
        if hear(wait=False) == wanted:
            break
        child.go_on()
    child.kill()
    hear(wait=False)
    child.close()
    return phase


def _work(path: Path, wanted: str, rng: random.Random, tag: str) -> Iterator[dict[str, Any]]:
    """Open, do a few things of every kind, then what is wanted over and over; yields what a client is told."""
    work = Workload(rng, tag)
    while True:
        opening = "open"
        if wanted in ("migrate", "downgrade") and path.exists():
            yield _begin("downgrade")
            start = time.perf_counter()
            take_back(path, rng)
            yield _end(start, None)
            opening = "migrate"
        yield _begin(opening)
        start = time.perf_counter()
        with opened(path) as subject:
            yield _end(start, None)
            calls = rng.randint(0, 6)
            while calls > 0 or wanted in CALLS:
                calls -= 1
                operation = work.next(subject, None if calls >= 0 else wanted)
                yield _begin(operation.phase, operation.most, operation.asked)
                start = time.perf_counter()
                yield _end(start, operation.run(subject))


def _begin(phase: str, most: int = 0, asked: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"begin": phase, "most": most, "asked": asked}


def _end(start: float, answer: Answer | None) -> dict[str, Any]:
    return {"s": time.perf_counter() - start, "answer": answer and asdict(answer)}
