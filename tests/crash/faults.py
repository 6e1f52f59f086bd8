"""Every operation of the disk failed, in every kind of call: whatever the caller was told must be true."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cmc_mcp.errors import IntegrityError, OutcomeUnknown, StoreError
from tests.crash.faulty import FAULTS, Fault, Faulty, faulty
from tests.crash.lossy import without_checksums
from tests.crash.subject import Subject, Told, judge, opened
from tests.crash.workload import PHASES as CALLS
from tests.crash.workload import Operation, Workload, take_back
from tests.soak import Job, Outcome, Soak

KINDS: Final = ("create", "open", "migrate", *CALLS, "recall", "verify")


Lasts = Literal["once", "until mended", "for ever"]
LASTS: Final[tuple[Lasts, ...]] = ("once", "until mended", "for ever")
"""For ever: the process ends on the broken disk; else it goes on."""


class Case(NamedTuple):
    """One kind of call, one way to fail."""

    kind: str
    fault: Fault
    lasts: Lasts
    reads: bool

    @property
    def said(self) -> str:
        """The case in words."""
        return f"{self.kind}, {self.fault} {self.lasts}{' on read' * self.reads}"


CASES: Final = tuple(
    Case(kind, fault, lasts, reads)
    for kind in KINDS
    for reads in (False, True)
    for fault in (FAULTS if not reads else FAULTS[:1])
    for lasts in LASTS
)


@dataclass
class Faults(Outcome):
    """What came of it; what is done are points (one operation failed in one way), of cases in order."""

    case: int = 0
    point: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    """How the calls ended: kept, not kept, unknown, answered; `unmet` where this time there were fewer operations."""
    seconds: float = 0.0


def run(job: Job) -> Faults:
    """Fail up to `count` operations, case by case, each case with its share of them, drawn from the seed."""
    result = job.begun(Faults)
    began, before = time.monotonic(), result.seconds
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as temporary:
        bench = Bench(Path(temporary))
        while result.case < len(CASES) and len(result.failures) <= 100:
            case = CASES[result.case]
            points = list(range(1, bench.points(case) + 1))
            share = max(1, job.count // len(CASES))
            if share < len(points):
                points = sorted(random.Random(f"{job.seed}/{result.case}").sample(points, share))
            for point in points[result.point :]:
                outcome, wrong = bench.fail(case, point)
                result.answers[outcome] = result.answers.get(outcome, 0) + 1
                result.failures += [f"{case.said}, operation {point}: {line}" for line in wrong]
                result.done, result.point = result.done + 1, result.point + 1
                result.seconds = round(before + time.monotonic() - began, 1)
                if result.point % 50 == 0:
                    job.keep(result)
            result.case, result.point = result.case + 1, 0
            job.keep(result)
    return result


SOAK = Soak("fail every operation of the disk in every kind of call, in every way", "points at most", 1_000_000, run)


class Bench:
    """A store of everything to copy, and calls to make on the copies while the disk fails."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._current, self._old = folder, folder / "current", folder / "old"
        self._current.mkdir()
        with without_checksums(), opened(self._current / "memory.db") as subject:
            work = Workload(random.Random(1), "t")
            for phase in ("remember", "object", "document", "pending", "entries", "snapshot", "revise"):
                work.next(subject, phase).run(subject)
            self._recalled, self._ledger = _answer(subject), subject.ledger()
        shutil.copytree(self._current, self._old)
        with without_checksums():
            take_back(self._old / "memory.db", random.Random(1))
        self._expected: dict[str, int] = {}

    def points(self, case: Case) -> int:
        """Count the operations that can fail in a case; nothing fails."""
        tried, wrong = self._attempt(case, None)
        assert not wrong and tried.outcome in ("kept", "answered"), (case, tried, wrong)
        self._expected[case.kind] = tried.length - tried.before
        return tried.count

    def fail(self, case: Case, point: int) -> tuple[str, list[str]]:
        """Fail one operation; gives how the call ended, and what was untrue or is broken."""
        tried, wrong = self._attempt(case, point)
        more, most = tried.length - tried.before, self._expected[case.kind]
        if tried.outcome in ("kept", "answered") and more != most:
            wrong.append(f"it was done, and made {more} transactions, not {most}")
        if tried.outcome == "not kept" and more and not tried.owns_up:
            wrong.append(f"it said {tried.message!r}, and made {more} transactions")
        if more > most:
            wrong.append(f"it made {more} transactions, not {most}")
        return tried.outcome if tried.failed else "unmet", wrong

    def _attempt(self, case: Case, point: int | None) -> tuple[Tried, list[str]]:
        folder = self._folder / "run"
        if case.kind == "create":
            folder.mkdir(mode=0o700)
        else:
            shutil.copytree(self._old if case.kind == "migrate" else self._current, folder)
        ledger = {} if case.kind == "create" else self._ledger
        path, tried = folder / "memory.db", Tried(before=len(ledger), told=Told(dict(ledger), most=0))
        try:
            with faulty(folder) as disk:
                wrong = self._call(case, point, path, disk, tried)
            found = judge(path, tried.told)
            if tried.length < 0:  # it could not be asked before the disk was mended
                tried.length = found.length
            return tried, wrong + found.faults
        finally:
            shutil.rmtree(folder)

    def _call(self, case: Case, point: int | None, path: Path, disk: Faulty, tried: Tried) -> list[str]:
        mends = case.lasts != "for ever" or point is None
        opening = case.kind in ("create", "open", "migrate")
        wrong: list[str] = []

        def arm() -> None:
            disk.arm(point, case.fault, for_ever=case.lasts != "once", reads=case.reads)

        def ended(outcome: str, message: str = "") -> None:
            tried.outcome, tried.message, tried.count, tried.failed = outcome, message, disk.count, disk.failed
            if mends or opening:
                disk.arm(None)

        if opening:
            arm()
        try:
            with opened(path) as subject:
                if opening:
                    ended("answered")
                if not opening:
                    call = self._calls(case.kind, subject)
                    tried.told.asked, tried.told.most = call.asked, call.most
                    arm()
                    wrong = _ended(call, ended)
                if mends:
                    tried.length = subject.head()[0]
                    subject.memory.remember("the disk is mended, and this process goes on")
                    tried.told.roots, tried.told.most = subject.ledger(), 0
        except StoreError as error:
            if tried.outcome:
                raise
            ended("not kept", error.message)
        except Exception as error:
            ended("broken", str(error))
            wrong.append(f"{type(error).__name__}: {error}")
        finally:
            disk.arm(None)
        return wrong

    def _calls(self, kind: str, subject: Subject) -> Operation:
        if kind in CALLS:
            return Workload(random.Random(2), "f").next(subject, kind)

        def call() -> None:
            if kind == "verify":
                answer = subject.memory.verify(deep=True)
                assert answer.holds, f"a false alarm: {answer.faults[:3]}"
            else:
                assert _answer(subject) == self._recalled, "a wrong answer"

        return Operation(kind, call, most=0)


@dataclass
class Tried:
    """What came of one attempt."""

    outcome: str = ""
    message: str = ""
    count: int = 0
    failed: bool = False
    before: int = 0
    length: int = -1
    told: Told = field(default_factory=Told)

    @property
    def owns_up(self) -> bool:
        """Whether an error said that a part was kept."""
        return "kept" in self.message and "nothing was changed" not in self.message


def _ended(call: Operation, ended: Callable[[str, str], None]) -> list[str]:
    """Make the call and note how it ended."""
    try:
        call.call()
    except OutcomeUnknown as error:
        ended("unknown", error.message)
    except (StoreError, IntegrityError) as error:
        ended("not kept", error.message)
        if isinstance(error, IntegrityError):
            return [f"it blames the store: {error.message}"]
    except Exception as error:
        ended("broken", str(error))
        return [f"{type(error).__name__}: {error}"]
    else:
        ended("kept", "")
    return []


def _answer(subject: Subject) -> list[str]:
    return [item.text for item in subject.memory.recall("deploy region of the plan", limit=5).items]
