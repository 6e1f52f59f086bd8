"""Clocks: the only way in which the present time enters the system. All times are integer microseconds since 1970, UTC."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of the present time. A clock need not be monotonic: the ledger orders its own times."""

    def now_us(self) -> int:
        """Return the present time in microseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's clock.

    >>> SystemClock().now_us() > 1_700_000_000_000_000
    True
    """

    def now_us(self) -> int:
        """Return the present time in microseconds since 1970, UTC."""
        return time.time_ns() // 1_000


class FixedClock:
    """A clock that stands still until `set_us` moves it; with `step_us`, every reading advances the clock.

    >>> clock = FixedClock(1_000_000, step_us=1)
    >>> clock.now_us(), clock.now_us()
    (1000000, 1000001)
    """

    def __init__(self, now_us: int, *, step_us: int = 0) -> None:
        self._now_us = now_us
        self._step_us = step_us

    def now_us(self) -> int:
        """Return the current time, then advance the clock by the step."""
        now = self._now_us
        self._now_us += self._step_us
        return now

    def set_us(self, now_us: int) -> None:
        """Move the clock, forward or back."""
        self._now_us = now_us
