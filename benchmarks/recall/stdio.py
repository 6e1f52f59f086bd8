"""Recall as an agent has it: through the MCP server in a child process, by the official client over stdio."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from benchmarks.common import p50
from benchmarks.recall.sets import Ask, Scope, load
from benchmarks.recall.shipped import Shipped, place_of
from benchmarks.recall.vectors import KeptVectors
from cmc_mcp.config import Settings

ASKS_MIN = 50
LIMIT, BUDGET = 10, 20_000


class Served(NamedTuple):
    """What a scope gave over the wire, beside the library's own answers."""

    set: str
    scope: str
    questions: int
    recall: float  # R@10
    recall_library: float
    same: int  # answers with the very same memories in the same order
    p50_ms: float  # the question's embedding by the bundled model included


def smallest(folder: Path, names: Sequence[str]) -> Scope | None:
    """Return the scope with the fewest documents among those with enough questions."""
    scopes = [scope for name in names for scope in load(folder, name) if len(scope.asks) >= ASKS_MIN]
    return min(scopes, key=lambda scope: len(scope.docs), default=None)


def served(keep: Path, scope: Scope, metrics: ModuleType) -> Served:
    """Ask every question of a built scope through `tools/call`, and through the library."""
    environment = {
        **os.environ,
        "CMC_STORE": str(place_of(keep, scope) / "memory.db"),
        "CMC_CONFIG": str(keep / "no-such-file.toml"),
    }
    wire, times = anyio.run(_ask, environment, scope.asks)
    shipped = Shipped(keep, scope, Settings(), KeptVectors(keep / "vectors.db"))
    with shipped.memory as memory:
        own = [
            [item.id for item in memory.recall(ask["text"], limit=LIMIT, budget_tokens=BUDGET, detail="concise").items]
            for ask in scope.asks
        ]
    both = [_recalled(metrics, scope, shipped.documents, answers) for answers in (wire, own)]
    same = sum(one == other for one, other in zip(wire, own, strict=True))
    return Served(scope.set, scope.name, len(scope.asks), both[0], both[1], same, p50(times))


async def _ask(environment: dict[str, str], asks: Sequence[Ask]) -> tuple[list[list[str]], list[float]]:
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "cmc_mcp.server"], env=environment)
    answers: list[list[str]] = []
    times: list[float] = []
    async with Client(stdio_client(parameters)) as client:
        for ask in asks:
            start = time.perf_counter()
            result = await client.call_tool("recall", {"query": ask["text"], "limit": LIMIT, "budget_tokens": BUDGET})
            times.append((time.perf_counter() - start) * 1000)
            if result.is_error or not isinstance(result.structured_content, dict):
                raise RuntimeError(f"recall of {ask['text']!r} failed: {result.content}")
            answers.append([str(item["id"]) for item in result.structured_content["items"]])
    return answers, times


def _recalled(metrics: ModuleType, scope: Scope, documents: dict[str, list[str]], answers: list[list[str]]) -> float:
    """Return R@10 of answers, as ids of atoms."""
    shares = []
    for ask, ids in zip(scope.asks, answers, strict=True):
        ranking = list(dict.fromkeys(doc for name in ids for doc in documents.get(name, [name])))[:LIMIT]
        shares.append(len(set(ranking) & set(ask["relevant"])) / len(ask["relevant"]))
    return sum(shares) / len(shares)
