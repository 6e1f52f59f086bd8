"""Precedence: which of several goes first, by relevance, recency and authority (`docs/design/scores.md` §4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cmc_mcp.config import Quality
from cmc_mcp.ids import Rid
from cmc_mcp.model.facts import FactFields, tags_of
from cmc_mcp.read.point import Point
from cmc_mcp.read.quality import authority_part, recency_part

Relevance = Callable[[Sequence[Rid]], Mapping[Rid, float]]
"""Returns the match of memories with the question, in [0, 1]; a memory that is left out does not match."""


class Shares(NamedTuple):
    """The weight of each part; the weights sum to 1."""

    relevance: float
    recency: float
    authority: float


def since_us(valid_from: int, recorded_us: int, point: Point) -> int:
    """Return the time from which a memory speaks: its explicit begin, where that has come, else when it was recorded."""
    return valid_from if 0 <= valid_from <= point.reference_us else recorded_us


def precedence(
    relevance: float, since: int, fields: FactFields, point: Point, shares: Shares, quality: Quality
) -> float:
    """Return the precedence of a memory, in [0, 1], rounded to 1e-6. `since` is in microseconds."""
    age_s = (point.reference_us - since) / 1_000_000
    score = shares.relevance * relevance + shares.recency * recency_part(age_s, quality)
    return round(score + shares.authority * authority_part(tags_of(fields), quality), 6)
