"""Patterns: regular expressions that are compiled when they are first used.

One whose sets span many scripts takes 1 to 3 ms to compile, which each start of the product would pay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache


def late(pattern: str) -> Callable[[], re.Pattern[str]]:
    r"""Return a function that compiles a pattern when it is first called, and returns it.

    >>> number = late(r"\d+")
    >>> number().findall("7 of 12"), number() is number()
    (['7', '12'], True)
    """

    @cache
    def compiled() -> re.Pattern[str]:
        return re.compile(pattern)

    return compiled
