"""Run what is asked, over scopes, in one process or in several: first the stores, then the questions."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.recall import baselines, shipped
from benchmarks.recall.mixed import MIXED, mixtures
from benchmarks.recall.sets import SETS, Scope, load, load_metrics
from benchmarks.recall.shipped import Answers, Row
from benchmarks.recall.variants import FIRST_TEN, IN_BUDGET, SHIPPED, Changes, known

Way = tuple[str, Changes | None]  # a variant and its settings; None: the baselines


class Task(NamedTuple):
    """Something one process does by itself."""

    eval: Path
    keep: Path
    set: str
    scope: str
    variant: str
    changes: Changes | None
    written: str


@dataclass(slots=True)
class SetFigures:
    """All that was found on a set: rows of each variant, and the times of the product as shipped."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    recall_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)


def scopes_of(folder: Path, name: str) -> list[Scope]:
    """Return the scopes of a set, the mixtures of all sets included."""
    if name == MIXED:
        return mixtures(folder, [one for one in SETS if (folder / one / "queries.jsonl").exists()])
    return load(folder, name)


def _scope(task: Task) -> Scope:
    return next(scope for scope in scopes_of(task.eval, task.set) if scope.name == task.scope)


def _build(task: Task) -> Task:
    shipped.build(task.keep, _scope(task), task.written)
    return task


def _ask(task: Task) -> tuple[Task, dict[str, Answers]]:
    metrics = load_metrics(task.eval)
    assert metrics is not None
    scope = _scope(task)
    if task.changes is None:
        found = baselines.search(task.keep, scope, metrics)
        return task, {name: {"rows": rows, "recall_ms": [], "stages_ms": {}} for name, rows in found.items()}
    limit, budget = _asked(task.variant)
    return task, {task.variant: shipped.ask(task.keep, scope, task.changes, metrics, limit, budget)}


def _asked(variant: str) -> tuple[int, bool]:
    """Return how many memories a variant's metric needs, and whether it needs an answer of 2,000 tokens."""
    if variant == SHIPPED:
        return shipped.DEPTH, True
    if variant != FIRST_TEN and known()[variant].metric == IN_BUDGET:
        return 0, True
    return shipped.TEN, False


def _worker() -> None:
    """Ignore the interrupt: the parent handles it and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _each(work: Callable[[Task], Any], tasks: Sequence[Task], jobs: int, said: str, console: Console) -> Iterator[Any]:
    """Run tasks with a progress bar; yield results as they are done."""
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        line = bar.add_task(said, total=len(tasks))
        if jobs == 1 or len(tasks) == 1:
            for number, task in enumerate(tasks, 1):
                bar.update(line, description=f"{said} {task.set}/{task.scope} {task.variant}"[:44])
                yield work(task)
                bar.advance(line)
                _log(console, said, number, len(tasks))
            return
        with multiprocessing.get_context("spawn").Pool(min(jobs, len(tasks)), _worker) as pool:
            for number, result in enumerate(pool.imap_unordered(work, tasks), 1):
                yield result
                bar.advance(line)
                _log(console, said, number, len(tasks))


def _log(console: Console, said: str, number: int, total: int) -> None:
    """Print the progress on a line of its own, for output without a bar."""
    if not console.is_terminal and (number % 10 == 0 or number == total):
        console.print(f"{said} {number}/{total}")


def measure(
    folder: Path, keep: Path, names: Sequence[str], ways: Sequence[Way], jobs: int, console: Console
) -> dict[str, SetFigures]:
    """Build the stores of the sets, then ask every question in every way."""
    written = shipped.stamp()
    scopes = [(name, scope.name, len(scope.asks)) for name in names for scope in scopes_of(folder, name)]
    builds = [Task(folder, keep, name, scope, "", {}, written) for name, scope, _ in scopes]
    for _ in _each(_build, builds, jobs, "remembering", console):
        pass
    tasks = [
        Task(folder, keep, name, scope, variant, changes, written)
        for name, scope, asks in scopes
        if asks
        for variant, changes in ways
    ]
    out = {name: SetFigures() for name in names}
    done: dict[tuple[str, str], dict[str, Answers]] = {}
    for task, answers in _each(_ask, tasks, jobs, "asking", console):
        done.setdefault((task.set, task.scope), {}).update(answers)
    for name, scope, _ in scopes:  # in the order of the files, whoever was done first
        for variant, answer in done.get((name, scope), {}).items():
            out[name].rows.setdefault(variant, []).extend(answer["rows"])
            if variant == SHIPPED:
                out[name].recall_ms += answer["recall_ms"]
    for name, group in groupby(scopes, key=lambda each: each[0]):
        laps = [done[name, scope][SHIPPED]["stages_ms"] for _, scope, asks in group if asks and (name, scope) in done]
        stages = dict.fromkeys(stage for lap in laps for stage in lap)
        out[name].stages_ms = {stage: sum(lap.get(stage, 0.0) for lap in laps) / len(laps) for stage in stages}
    return out
