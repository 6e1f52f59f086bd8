"""The stopwatch counts what a process does and sleeps, and not what other processes take from it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.load import Stopwatch, ended

SPIN = "while True: pass"


def _work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.fixture
def crowded() -> Iterator[None]:
    """Share one processor with three others that never rest."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(3)]
    yield
    for other in others:
        other.kill()
        other.wait()
    os.sched_setaffinity(0, allowed)


@pytest.mark.usefixtures("crowded")
def test_time_that_others_took_is_not_counted_and_work_is() -> None:
    watch, began_s = Stopwatch(), time.monotonic()
    _work(0.3)
    passed_s = time.monotonic() - began_s
    assert passed_s > 0.6, "the machine was not crowded"
    assert 0.29 <= watch.seconds() < 0.45


@pytest.mark.usefixtures("crowded")
def test_a_child_that_works_too_long_is_found_on_a_busy_machine_too() -> None:
    code = "import time\nwhile time.process_time() < {}: pass"
    with subprocess.Popen([sys.executable, "-S", "-c", code.format(0.3)]) as child:
        seconds = ended(child, 0.6)
        assert seconds is not None and seconds >= 0.25  # it worked a little before it was looked at
    with subprocess.Popen([sys.executable, "-S", "-c", code.format(0.9)]) as child:
        assert ended(child, 0.6) is None
        child.kill()


def test_what_sleeps_and_what_waits_for_another_thread_takes_its_time() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.5)"]) as child:
        assert ended(child, 0.4) is None
    watch, done = Stopwatch(os.getpid()), threading.Event()
    done.wait(0.3)
    assert 0.29 < watch.seconds() < 0.4
