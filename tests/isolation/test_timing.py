"""The clock does not tell what another workspace holds; and it would be noticed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cmc_mcp.store.sql.ledger import LedgerRows
from tests.isolation.timing import Compared, Rooms, compare, run
from tests.soak import Job

LEAK_NS = 300_000


@pytest.mark.slow
def test_no_question_takes_longer_for_what_only_another_workspace_holds(tmp_path: Path) -> None:
    told = run(Job(80, 1, tmp_path))
    assert told.failures == [], told
    assert told.done == 8


def test_a_leak_of_a_third_of_a_millisecond_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    between = LedgerRows.keys_between

    def slower(self: LedgerRows, kind: int, low: bytes, high: bytes, limit: int = 3) -> list[tuple[int, bytes]]:
        start = time.thread_time_ns()
        anywhere = self._c.execute("SELECT 1 FROM records WHERE key BETWEEN ? AND ? LIMIT 1", (low, high)).fetchone()
        while anywhere and time.thread_time_ns() < start + LEAK_NS:
            pass
        return between(self, kind, low, high, limit)

    rooms = Rooms(tmp_path, others=200)
    probes = rooms.questions()["an id"]
    assert not all(compare(*probes, 80).tells for _ in range(2))
    monkeypatch.setattr(LedgerRows, "keys_between", slower)
    assert any(compare(*probes, 80).tells for _ in range(3)), "the first on a quiet machine"
    rooms.close()


def test_what_is_certain_and_tiny_or_large_and_chance_does_not_tell() -> None:
    assert not Compared(usual_us=1_000, more_us=20, p=0.0).tells
    assert not Compared(usual_us=10_000, more_us=400, p=0.0).tells
    assert not Compared(usual_us=1_000, more_us=400, p=0.01).tells
    assert Compared(usual_us=1_000, more_us=-400, p=0.0).tells
