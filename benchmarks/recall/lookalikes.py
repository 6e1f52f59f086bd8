"""Look-alikes: whether both of two statements that differ are in the answer's text, and at which place each stands.

Every pair is remembered alone, and all pairs of the set together in one workspace. `visible` counts a statement whose words
are in an item's text; which of equal ones are folded is for `tests/read` to say.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict, cast

from cmc_mcp.embed import MiniLM
from cmc_mcp.memory import Memory


class Pair(TypedDict):
    """Two statements; `same` says that either may stand for both."""

    kind: str
    a: str
    b: str
    query: str
    same: bool


def figures(folder: Path) -> dict[str, float]:
    """Return the shares of statements that are found in ten and of pairs of which both are visible: alone, and together."""
    rows = (folder / "lookalikes" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [cast(Pair, json.loads(row)) for row in rows if row.strip()]
    apart = [pair for pair in pairs if not pair["same"]]
    out: defaultdict[str, float] = defaultdict(float)
    with TemporaryDirectory() as place:
        for number, pair in enumerate(apart):
            with Memory.open(Path(place) / f"{number}.db", embedder=MiniLM()) as memory:
                _count(out, "alone", memory, [pair], len(apart))
        with Memory.open(Path(place) / "all.db", embedder=MiniLM()) as memory:
            _count(out, "together", memory, apart, len(apart))
    return {"pairs that differ": len(apart), **out}


def _count(out: defaultdict[str, float], said: str, memory: Memory, pairs: list[Pair], of: int) -> None:
    texts = dict.fromkeys(text for pair in pairs for text in (pair["a"], pair["b"]))
    memory.remember_many([{"content": text} for text in texts])
    for pair in pairs:
        shown = [item.text for item in memory.recall(pair["query"], limit=10).items]
        places = [shown.index(text) if text in shown else len(texts) for text in (pair["a"], pair["b"])]
        out[f"both visible in ten, {said}"] += all(place < len(texts) for place in places) / of
        out[f"one of them first, {said}"] += (min(places) == 0) / of
