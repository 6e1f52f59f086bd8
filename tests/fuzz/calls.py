"""Random calls of every tool, over stores that live for a chapter: each answer is judged, and what it may have changed.

A chapter is as many calls on one new store as make it full enough to be hit and small enough to be quick. It depends on
the seed and its number alone, so that a run goes on at a chapter, and a failure is shown again on a store of its own.
"""

from __future__ import annotations

import gc
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import anyio
from mcp_types import CallToolResult

from tests.fuzz.given import Giver, Pool, changed
from tests.fuzz.subject import Call, Subject, no_network
from tests.soak import FAILURES_MAX, Job, Outcome, Soak

CHAPTER: Final = 500
VERIFIED_EVERY: Final = 250
RSS_SPREAD: Final = 0.05
SAMPLES_MAX: Final = 2_000
WEIGHTS: Final = {"remember": 3.0, "verify": 0.15}  # any other tool: 1


@dataclass
class Fuzzed(Outcome):
    """What came of it."""

    answers: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    tools: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    slowest_ms: float = 0.0
    rss_mb: list[float] = field(default_factory=list)
    rss_spread: float = 0.0
    calls_a_second: float = 0.0


class Chapter:
    """The calls of one store. What is asked next depends on the seed and on what was answered, never on the time."""

    def __init__(self, subject: Subject, rng: random.Random) -> None:
        self.subject, self.rng, self.pool = subject, rng, Pool()
        self.giver = Giver(rng, self.pool)
        self._next: list[Call] = []
        self._names = [*subject.tools]
        self._weights = [WEIGHTS.get(name, 1.0) for name in self._names]
        for name in subject.foreign:
            self.pool.add("atom", name)

    def ask(self) -> Call:
        """Return the next call."""
        if self._next and self.rng.random() < 0.7:
            return self._next.pop()
        (name,) = self.rng.choices(self._names, self._weights)
        arguments = self.giver.arguments(self.subject.tools[name].input_schema)
        if not isinstance(arguments, dict):  # the protocol lets nothing else through to a tool
            arguments = {"content": arguments}
        return ("remeber" if self.rng.random() < 0.002 else name), arguments

    def learn(self, call: Call, result: CallToolResult) -> None:
        """Keep what was answered, and go on from it: a page, the real call after a dry run, a retry."""
        name, arguments = call
        answer = result.structured_content
        if answer is None:
            return
        self.pool.learn(answer)
        if isinstance(digest := answer.get("digest"), str):
            follow = changed(arguments, dry_run=None, digest=digest)
            if self.rng.random() < 0.2:
                follow = changed(follow, reason="otherwise", digest=self.giver.text("digest"))
            self._next.append((name, follow))
        elif isinstance(cursor := answer.get("next_cursor"), str):
            at = self.rng.randrange(len(cursor))
            edited = self.rng.choice((cursor, cursor, cursor[:at], cursor[:at] + "A" + cursor[at + 1 :]))
            self._next.append((name, changed(arguments, cursor=edited)))
        elif self.rng.random() < 0.03:
            self._next.append(call)
        del self._next[:-8]


async def chapter(subject: Subject, rng: random.Random, count: int, result: Fuzzed) -> tuple[list[Call], list[str]]:
    """Make so many calls; return those up to the first that went wrong, and what is wrong, or nothing."""
    made = Chapter(subject, rng)
    calls: list[Call] = []
    for number in range(1, count + 1):
        call = made.ask()
        calls.append(call)
        started = time.perf_counter()
        answer, wrong = await subject.call(call)
        result.slowest_ms = max(result.slowest_ms, (time.perf_counter() - started) * 1000)
        result.tools[call[0]] = result.tools.get(call[0], 0) + 1
        if answer is not None:
            code = "ok" if not answer.is_error else _code(answer)
            result.codes[code] = result.codes.get(code, 0) + 1
            result.answers += not answer.is_error
            made.learn(call, answer)
        if not wrong and number % VERIFIED_EVERY == 0:
            wrong = subject.verified()
        if wrong:
            return calls, wrong
    return calls, []


def _code(answer: CallToolResult) -> str:
    return getattr(answer.content[0], "text", "").partition("[")[2].partition("]")[0]


@contextmanager
def opened(folder: Path, name: str, *, embedded: bool) -> Iterator[Subject]:
    """A new store for a chapter, gone afterwards."""
    subject = Subject(folder / f"{name}.db", embedded=embedded)
    try:
        yield subject
    finally:
        subject.close()


def again(folder: Path, calls: list[Call], *, embedded: bool) -> list[str]:
    """Make these calls on a new store; say what is wrong with the last."""

    async def replay() -> list[str]:
        wrong: list[str] = []
        with opened(folder, "again", embedded=embedded) as subject:
            for call in calls:
                _, wrong = await subject.call(call)
            return wrong or subject.verified()

    return anyio.run(replay)


def shortest(folder: Path, calls: list[Call], *, embedded: bool) -> list[Call] | None:
    """Find few calls before the last that make it fail again; None if even all of them do not."""
    size = 1
    while not again(folder, calls[-size:], embedded=embedded):
        if size >= len(calls):
            return None
        size = min(size * 4, len(calls))
    kept = calls[-size:]
    part = max(1, len(kept) // 2)
    for _ in range(40):  # leave out a part at a time, ever smaller ones
        at = 0
        while at < len(kept) - 1:
            fewer = kept[:at] + kept[min(at + part, len(kept) - 1) :]
            if len(fewer) < len(kept) and again(folder, fewer, embedded=embedded):
                kept = fewer
            else:
                at += part
        if part == 1:
            break
        part //= 2
    return kept


def run(job: Job) -> Fuzzed:
    """Make `count` calls, without a network."""
    result = job.begun(Fuzzed)
    with no_network():
        while result.done < job.count and len(result.failures) < FAILURES_MAX:
            number = result.done // CHAPTER
            count = min(CHAPTER, job.count - number * CHAPTER)
            started, worked = time.perf_counter(), time.process_time()
            _one(job, result, number, count)
            result.done = number * CHAPTER + count
            result.seconds += time.perf_counter() - started
            result.cpu_seconds += time.process_time() - worked
            _sample(result)
            job.keep(result)
    result.rss_spread = spread(result.rss_mb)
    if result.rss_spread > RSS_SPREAD:
        result.failures.append(f"memory is not flat: {result.rss_spread:+.1%} over the run")
    result.calls_a_second = round(result.done / result.seconds, 1) if result.seconds else 0.0
    result.rss_mb = result.rss_mb[:: max(1, len(result.rss_mb) // 20)]
    return result


def _one(job: Job, result: Fuzzed, number: int, count: int) -> None:
    embedded = number % 4 == 3

    async def write() -> tuple[list[Call], list[str]]:
        rng = random.Random(f"{job.seed}/{number}")
        with opened(job.folder, f"chapter-{number}", embedded=embedded) as subject:
            return await chapter(subject, rng, count, result)

    calls, wrong = anyio.run(write)
    if wrong:
        few = shortest(job.folder, calls, embedded=embedded)
        shown = "not shown again" if few is None else f"shown again by {len(few)}: {said(few)}"
        result.failures.append(
            f"seed {job.seed}, call {number * CHAPTER + len(calls)}: {'; '.join(wrong)}; "
            f"the call: {said(calls[-1:])}; {shown}"
        )


def said(calls: list[Call]) -> str:
    """Write calls as JSON, the long ones cut."""
    return json.dumps(calls, ensure_ascii=True)[:2_000]


def _sample(result: Fuzzed) -> None:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    result.rss_mb.append(round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 2))
    if len(result.rss_mb) > SAMPLES_MAX:
        del result.rss_mb[1::2]


def spread(samples: list[float]) -> float:
    """Return how much more memory the last quarter of a run has than its second quarter; the first warms up."""
    quarter = len(samples) // 4
    if quarter < 2:
        return 0.0
    return round(median(samples[-quarter:]) / median(samples[quarter : 2 * quarter]) - 1, 4)


SOAK: Final[Soak] = Soak("fuzz every tool by its schema: no crash, no partial write, memory flat", "calls", 20_000, run)
