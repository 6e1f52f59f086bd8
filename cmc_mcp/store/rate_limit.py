"""Calls of each principal in the present minute, as one process counts them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple

from cmc_mcp.ids import Ws

MINUTE_S = 60


class CallCount(NamedTuple):
    """How many calls a principal made in the present minute, and how many seconds are left of it."""

    calls: int
    left_s: int


class CallCounter:
    """Counts calls by workspace and principal; what was counted is forgotten when a minute ends. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._calls: Counter[tuple[Ws, str]] = Counter()

    def count(self, ws: Ws, principal: str, now_us: int) -> CallCount:
        """Count a call; return how many this makes in the present minute, and the seconds until the next.

        >>> tally = CallCounter()
        >>> tally.count(1, "maya", 59_000_000)
        CallCount(calls=1, left_s=1)
        >>> tally.count(1, "maya", 59_999_999).calls, tally.count(1, "maya", 60_000_000).calls
        (2, 1)
        """
        minute, second = divmod(now_us // 1_000_000, MINUTE_S)
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._calls.clear()
            self._calls[ws, principal] += 1
            return CallCount(self._calls[ws, principal], MINUTE_S - second)
