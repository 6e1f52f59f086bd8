"""Progress on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cmc_mcp.model.calls import Progress

_PLAIN_EVERY_S = 2.0


@contextmanager
def progress(label: str, total: int | None, patience_s: float) -> Iterator[Progress]:
    """Return a callback for (done, total); a total of 0 is unknown. Plain lines begin after the patience."""
    if sys.stderr.isatty():
        with _bar(label, total) as report:
            yield report
    else:
        yield _Lines(label, total, patience_s)


class _Lines:
    """Prints one line at the first step, then at most one every two seconds, then one at the end."""

    def __init__(self, label: str, total: int | None, patience_s: float) -> None:
        self._label, self._total = label, total or 0
        self._first_s = self._next_s = time.monotonic() + patience_s

    def __call__(self, done: int, total: int) -> None:
        whole = total or self._total
        now = time.monotonic()
        if now < self._first_s or (now < self._next_s and done != whole):
            return
        self._next_s = now + _PLAIN_EVERY_S
        of = f" of {whole:,}" if whole else ""
        print(f"{self._label}: {done:,}{of}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _bar(label: str, total: int | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=total or None)

    def report(done: int, whole: int) -> None:
        bar.start()  # with the first step, so that nothing flickers before there is one; again: no effect
        bar.update(task, completed=done, total=whole or total or None)

    try:
        yield report
    finally:
        bar.stop()
