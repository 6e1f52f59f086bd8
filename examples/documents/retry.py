"""Calling a carrier that may be unwell, without making it worse.

This is the only place in Tidewatch that repeats a failed call (post-mortem of 19 May 2026). A caller that
catches `GaveUp` must not try again by itself; the next polling job will.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class CarrierError(Exception):
    """A carrier answered, and the answer was not a success."""

    def __init__(self, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(f"carrier answered {status}")
        self.status = status
        self.retry_after_s = retry_after_s


class GaveUp(Exception):
    """No further attempt is allowed; `reason` is one of `attempts`, `budget`, `breaker`, `fatal`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"gave up: {reason}")
        self.reason = reason


@dataclass
class RetryBudget:
    """Keeps repeats a small fraction of first tries, so that a sick carrier sees less traffic, not more.

    Every first attempt earns a tenth of a token and every repeat spends a whole one. The ceiling lets a
    quiet hour pay for a short burst, but not for a storm.
    """

    ratio: float = 0.1
    ceiling: float = 20.0
    tokens: float = 5.0

    def earn(self) -> None:
        self.tokens = min(self.ceiling, self.tokens + self.ratio)

    def spend(self) -> bool:
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


@dataclass
class Breaker:
    """Stops calling after a run of failures, then sends a single scout before it trusts the carrier again."""

    threshold: int = 5
    pause_s: float = 30.0
    longest_pause_s: float = 300.0
    now: Callable[[], float] = time.monotonic
    failures: int = 0
    open_until: float | None = None
    current_pause_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.current_pause_s = self.pause_s

    def allows(self) -> bool:
        return self.open_until is None or self.now() >= self.open_until

    def succeeded(self) -> None:
        self.failures = 0
        self.open_until = None
        self.current_pause_s = self.pause_s

    def failed(self) -> None:
        scout_failed = self.open_until is not None
        self.failures += 1
        if scout_failed:
            self.current_pause_s = min(self.longest_pause_s, self.current_pause_s * 2)
        if scout_failed or self.failures >= self.threshold:
            self.open_until = self.now() + self.current_pause_s


def full_jitter(attempt: int, base_s: float = 0.5, cap_s: float = 30.0) -> float:
    """Draw the pause before repeat number `attempt` (from 0) evenly between nothing and a doubling bound."""
    return random.uniform(0.0, min(cap_s, base_s * 2**attempt))


def call_with_retry(
    call: Callable[[], T],
    budget: RetryBudget,
    breaker: Breaker,
    max_attempts: int = 3,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run `call`, repeating it only while the attempts, the budget and the breaker all agree.

    A wait that the carrier itself asked for with `Retry-After` is respected, and never shortened by chance.
    """
    budget.earn()
    for attempt in range(max_attempts):
        if not breaker.allows():
            raise GaveUp("breaker")
        try:
            result = call()
        except CarrierError as error:
            if error.status not in RETRYABLE_STATUS:
                raise GaveUp("fatal") from error
            breaker.failed()
            if attempt + 1 == max_attempts:
                raise GaveUp("attempts") from error
            if not budget.spend():
                raise GaveUp("budget") from error
            sleep(max(full_jitter(attempt), error.retry_after_s or 0.0))
        else:
            breaker.succeeded()
            return result
    raise GaveUp("attempts")
