"""Times and intervals: integer microseconds since 1970 UTC, half-open, open ends as extreme integers."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from cmc_mcp.errors import InvalidInput, brief
from cmc_mcp.limits import TIME_US_MAX, TIME_US_MIN

SINCE_ALWAYS: Final = -(1 << 62)
"""The open start of an interval: the start is unknown."""
UNTIL_FURTHER_NOTICE: Final = 1 << 62
"""The open end of an interval."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z")
_HELP: Final = "pass an RFC 3339 time with offset, such as 2026-06-01T09:00:00Z, or a date, such as 2026-06-01"

TimeLike = str | datetime | date | int
"""A time as callers may pass it; an integer is microseconds since 1970."""
PointLike = str | int | datetime | date
"""A state of the ledger as callers may pass it: a snapshot id, a label, a transaction's number, or a time."""


def is_time(text: str) -> bool:
    """Return whether a text has the form of a time or a date.

    >>> is_time("2026-06-01"), is_time("deploy")
    (True, False)
    """
    return bool(_DATE.match(text) or _RFC3339.match(text))


def parse_time(value: TimeLike, path: str = "time") -> int:
    """Parse a time into microseconds since 1970 UTC. A date means its first instant in UTC; a naive time is refused.

    Raises:
        InvalidInput: the time is not RFC 3339, is naive, or lies outside the years 1 to 9999.

    >>> parse_time("1970-01-02"), parse_time("1970-01-01T01:00:00+01:00")
    (86400000000, 0)
    """
    if isinstance(value, bool):
        raise InvalidInput.at(path, f"is a boolean; {_HELP}")
    if isinstance(value, int):
        return _bounded(value, path)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput.at(path, f"is a naive time; {_HELP}")
        return _bounded((value - _EPOCH) // _MICROSECOND, path)
    if isinstance(value, date):
        return (datetime(value.year, value.month, value.day, tzinfo=UTC) - _EPOCH) // _MICROSECOND
    given: object = value
    if not isinstance(given, str) or not is_time(given):
        raise InvalidInput.at(path, f"{brief(value, 60)} is not a time, or has no offset; {_HELP}")
    try:
        parsed = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise InvalidInput.at(path, f"{value!r} is not on the calendar; {_HELP}") from error
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)  # a bare date, by the pattern above
    try:
        return (parsed - _EPOCH) // _MICROSECOND
    except OverflowError as error:
        raise InvalidInput.at(path, f"{value!r} is outside the years 1 to 9999") from error


def _bounded(value_us: int, path: str) -> int:
    if not TIME_US_MIN <= value_us <= TIME_US_MAX:
        raise InvalidInput.at(path, f"{brief(value_us)} µs is outside the years 1 to 9999")
    return value_us


def format_time(value_us: int) -> str | None:
    """Format a time as RFC 3339 in UTC; an open end is None.

    >>> format_time(0), format_time(1), format_time(SINCE_ALWAYS)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:00.000001Z', None)
    """
    if not TIME_US_MIN <= value_us <= TIME_US_MAX:
        return None
    text = (_EPOCH + timedelta(microseconds=value_us)).isoformat()
    return text.replace("+00:00", "Z")


def interval(valid_from: TimeLike | None, valid_to: TimeLike | None) -> tuple[int, int]:
    """Parse a half-open interval `[valid_from, valid_to)`; None is an open end.

    Raises:
        InvalidInput: an end is not a time, or `valid_to` is not after `valid_from`.

    >>> interval("1970-01-01", None) == (0, UNTIL_FURTHER_NOTICE)
    True
    """
    start = SINCE_ALWAYS if valid_from is None else parse_time(valid_from, "valid_from")
    end = UNTIL_FURTHER_NOTICE if valid_to is None else parse_time(valid_to, "valid_to")
    if start >= end:
        raise InvalidInput.at("valid_to", "must be after valid_from; intervals are half-open [valid_from, valid_to)")
    return start, end
