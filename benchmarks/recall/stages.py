"""What each stage costs as a memory grows, from the traces of `--explain`; texts by Zipf's law, vectors given."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import p50, p95, timed
from benchmarks.read_latency import QUESTIONS, build, questions
from cmc_mcp.memory import Memory

LONG_WORDS = 12
KEYWORDS = ("terms", "lexical")


class Latency(NamedTuple):
    """Milliseconds at one size: of the whole recall without a trace, and p50 of each stage with one."""

    size: int
    p50: float
    p95: float
    stages: dict[str, float]
    keywords_new: float  # p50 of the keyword leg, for a question of 12 words not asked before
    keywords_again: float  # the same, asked again


def latency(place: Path, size: int) -> Latency:
    """Time recall at a size: 60 questions of 8 words, asked before; and 60 of 12 words for the keyword leg."""
    place.mkdir(parents=True, exist_ok=True)
    with build(place, size) as memory:
        asked = questions(QUESTIONS)
        for text, vector in asked:
            memory.recall_by_vector(text, vector)
        whole = [timed(lambda: memory.recall_by_vector(text, vector)) for text, vector in asked]
        stages: defaultdict[str, list[float]] = defaultdict(list)
        for text, vector in asked:
            for stage in memory.recall_by_vector(text, vector, explain=True).trace:
                stages[stage.stage].append(stage.ms)
        new, again = _keywords(memory), _keywords(memory)
    return Latency(size, p50(whole), p95(whole), {name: p50(ms) for name, ms in stages.items()}, new, again)


def _keywords(memory: Memory) -> float:
    """Return the p50 of the keyword leg for questions of 12 words."""
    spent = [
        sum(stage.ms for stage in memory.recall_by_vector(text, vector, explain=True).trace if stage.stage in KEYWORDS)
        for text, vector in questions(QUESTIONS, words=LONG_WORDS)
    ]
    return p50(spent)
