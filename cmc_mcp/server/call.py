"""Calls: blocking work in a worker thread, cancelled before its commit or not at all, with progress while it runs."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")
Report = Callable[[float, float | None, str], Awaitable[None]]

_PROGRESS_EVERY_S: Final = 0.25


class Meter:
    """How far a call is, written by its thread and read by the loop. The reported progress never decreases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = 0  # of the steps that are complete
        self._done = 0
        self._total = 0

    def step(self, done: int, total: int) -> None:
        """Record the progress of the current step; a smaller number begins the next step."""
        with self._lock:
            if done < self._done:
                self._before += self._done
            self._done, self._total = done, total

    def read(self) -> tuple[int, int | None]:
        """Return the progress in all, and the total if it is known."""
        with self._lock:
            total = self._before + self._total if self._total else None
            return self._before + self._done, total


async def run_blocking(work: Callable[[Callable[[], bool]], T]) -> T:
    """Run `work` in a worker thread, handing it a question that becomes true when this call is cancelled.

    The thread is always waited for: a write that was past the question when it became true is committed whole, any
    other not at all, and the store is at rest when the cancellation goes on.
    """
    cancelled = threading.Event()

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    outcome: list[T] = []
    error: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            outcome.append(await anyio.to_thread.run_sync(work, cancelled.is_set))
        except Exception as raised:  # raised again below: a task group would wrap it
            error = raised
        group.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint_if_cancelled()
    if error is not None:
        raise error
    return outcome[0]


async def with_progress(meter: Meter, tool: str, report: Report, call: Callable[[], Awaitable[T]]) -> T:
    """Await a call that raises nothing, and report its progress: at once, whenever it has moved, and at the end."""
    last = 0.0
    outcome: list[T] = []

    async def tell() -> None:
        nonlocal last
        waited = 0
        await report(0, None, f"{tool}: started")
        while True:
            await anyio.sleep(_PROGRESS_EVERY_S)
            waited += 1
            done, total = meter.read()
            if done > last:
                last = done
                await report(done, total, f"{tool}: at work")
            elif done == 0 and waited % 8 == 0:  # nothing to count: say that it goes on
                last += 0.001
                await report(last, None, f"{tool}: still at work after {waited * _PROGRESS_EVERY_S:.0f} s")

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        outcome.append(await call())
        group.cancel_scope.cancel()
    done, total = meter.read()
    await report(max(done, last + 1), total if total is None else max(total, done, last + 1), f"{tool}: done")
    return outcome[0]
