"""A word that only a long text holds is found there, however far from the question the vector of its beginning is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cmc_mcp.embed.minilm import MiniLM
from tests.read.made import opened

PEOPLE = ("Anna", "Tom", "Priya", "Luis", "Mei", "Omar")
DEEDS = ("reviewed", "postponed", "cancelled", "approved", "rewrote")
THINGS = ("the quarterly budget", "the onboarding guide", "the login page", "the hiring plan", "the holiday rota")
SHORT = [f"{who} {did} {what}." for who in PEOPLE for did in DEEDS for what in THINGS]


def _log(size: int) -> str:
    lines = [
        f"2026-01-0{1 + n % 9}T0{n % 10}:00:00Z INFO worker-{n} disk took {n * 7 % 99}ms;" for n in range(size // 50)
    ]
    lines[len(lines) * 2 // 3] += " FATAL walrus lost quorum code=Q-9917;"
    return " ".join(lines)


def _json(size: int) -> str:
    rows: list[dict[str, object]] = [{"id": n, "name": "desk", "qty": n * 7 % 999} for n in range(size // 40)]
    rows[len(rows) * 2 // 3] = {"id": 0, "name": "walrus", "code": "Q-9917", "quorum": 1}
    return json.dumps(rows)


def _prose(size: int) -> str:
    lines = [SHORT[n * 37 % len(SHORT)] for n in range(size // 40)]
    lines[len(lines) * 2 // 3] = "The walrus lost quorum with code Q-9917."
    return " ".join(lines)


@pytest.mark.parametrize("size", [300, 1_500, 6_000])
@pytest.mark.parametrize("made", [_log, _json, _prose])
def test_a_word_that_one_long_text_alone_holds_finds_it_first(tmp_path: Path, made: object, size: int) -> None:
    assert callable(made)
    text = made(size)
    with opened(tmp_path, embedder=MiniLM()) as memory:
        memory.remember(text)
        memory.remember_many([{"content": short} for short in SHORT])
        for query in ("walrus", "Q-9917", "walrus quorum", "why did the walrus lose quorum?"):
            answer = memory.recall(query, budget_tokens=300)
            assert "walrus" in answer.items[0].text, query
            assert answer.relevance is not None
