from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from cmc_mcp.store.sqlite import connection
from tests.crash.lossy import Event, crash_image
from tests.crash.power import run
from tests.soak import Job


@pytest.mark.slow
def test_a_hundred_and_fifty_power_losses_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = secrets.randbelow(1 << 31)
    told = run(Job(150, seed, tmp_path))
    assert (told.failures, told.lost, told.done) == ([], 0, 150), told
    assert told.acknowledged > 1000


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_harness_notices_settings_that_do_lose_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    weaker = tuple(s.replace("synchronous=FULL", f"synchronous={synchronous}") for s in connection._SETTINGS)
    monkeypatch.setattr(connection, "_SETTINGS", weaker)
    monkeypatch.setattr(connection, "SYNCHRONOUS_FULL", {"NORMAL": 1, "OFF": 0}[synchronous])
    told = run(Job(20, 11, tmp_path))
    assert told.failures


def test_what_was_synced_is_in_every_image() -> None:
    events = [
        Event("write", "db", 0, b"a" * 4096),
        Event("sync", "db"),
        Event("create", "wal"),
        Event("write", "wal", 0, b"b" * 4096),
        Event("sync", "wal"),
        Event("write", "wal", 4096, b"c" * 4096),
    ]
    seen = set()
    for seed in range(200):
        image = crash_image(events, random.Random(seed))
        assert image["db"] == b"a" * 4096 and image["wal"].startswith(b"b" * 4096)
        seen.add(image["wal"])
    assert len(seen) > 50  # dropped, kept, and torn in many ways


def test_an_unlink_nobody_synced_may_be_undone() -> None:
    events = [Event("create", "wal"), Event("write", "wal", 0, b"x"), Event("sync", "wal"), Event("unlink", "wal")]
    assert {True, False} == {"wal" in crash_image(events, random.Random(seed)) for seed in range(20)}
    synced = [*events[:3], Event("unlink", "wal", 1)]
    assert {False} == {"wal" in crash_image(synced, random.Random(seed)) for seed in range(20)}
