"""Time as it would pass on a quiet machine: what others do to the processors is no fault of what is tested.

A bar on how long something takes is held against seconds less those in which it was ready to run and had no processor.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STEP_S = 0.01


class Stopwatch:
    """Count the seconds of this thread and of whole processes, without their waits for a processor.

    Never less than the processor time of the busiest thread, so that work is not mistaken for waiting. Look now and then at
    a process whose threads come and go: what a thread waited is known while it is there.
    """

    def __init__(self, *pids: int) -> None:
        own = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}")
        self._places = [own] if os.getpid() not in pids else []
        self._tasks = [Path(f"/proc/{pid}/task") for pid in pids]
        self._seen: dict[Path, tuple[int, int]] = {}
        self._look()
        self._first, self._began_s = dict(self._seen), time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since it was made."""
        passed_s = time.monotonic() - self._began_s
        self._look()
        worked, waited = [], []
        for place, (work_ns, wait_ns) in self._seen.items():
            before = self._first.get(place, (0, 0))
            worked.append(work_ns - before[0])
            waited.append(wait_ns - before[1])
        return max(passed_s - sum(waited) / 1e9, max(worked) / 1e9)

    def _look(self) -> None:
        for place in (*self._places, *(thread for tasks in self._tasks for thread in _within(tasks))):
            try:
                work, wait, _ = (place / "schedstat").read_text().split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended
            self._seen[place] = int(work), int(wait)


def _within(tasks: Path) -> Iterator[Path]:
    try:
        yield from list(tasks.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return


def ended(process: subprocess.Popen[Any], within_s: float, watch: Stopwatch | None = None) -> float | None:
    """Wait for a child's end; return the seconds of the watch, None when it was still there after so many."""
    if process.returncode is not None:
        return 0.0 if watch is None else watch.seconds()
    watch = watch or Stopwatch(process.pid)
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if watch.seconds() > within_s:
            return None
        time.sleep(_STEP_S)
    seconds = watch.seconds()  # before it is reaped, and what is known of it with it
    process.wait()
    return seconds if seconds <= within_s else None
