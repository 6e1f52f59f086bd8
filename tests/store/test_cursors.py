"""The driver's cursors end with the calls that made them.

apsw-sqlite3mc 3.54.0.0 takes a reference to each living cursor whenever another is made or ends, and never gives it back; so
none may live while another statement runs, or a server grows with every call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cmc_mcp.memory import Memory
from tests.support.embedders import CountingEmbedder


def _cursors() -> int:
    gc.collect()
    return sum(isinstance(one, apsw.Cursor) for one in gc.get_objects())


CALLS: dict[str, Callable[[Memory], object]] = {
    "remember": lambda memory: memory.remember("The deploy target is Fly.io", tags={"topic": "deploy"}),
    "recall": lambda memory: memory.recall("deploy target"),
    "recall as of": lambda memory: memory.recall("deploy target", as_of=1),
    "history": lambda memory: memory.history(),
    "history of one": lambda memory: memory.history(memory.recall("deploy").items[0].id),
    "rollback, planned": lambda memory: memory.rollback(1, dry_run=True),
    "verify": lambda memory: memory.verify(deep=True),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_cursor_outlives_a_call(tmp_path: Path, call: str) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=CountingEmbedder()) as memory:
        for number in range(12):
            memory.remember(f"The deploy target was host {number}", confidence=number / 20)
        memory.remember("# Deploys\n\nThe target is Fly.io.\n\n## Later\n\nIt was Heroku once.", source="deploys.md")
        CALLS[call](memory)
        before = _cursors()
        for _ in range(5):
            CALLS[call](memory)
        assert _cursors() <= before
