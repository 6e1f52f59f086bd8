from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from cmc_mcp.errors import StoreError
from cmc_mcp.store import folders
from cmc_mcp.store.objects import files as object_files
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite import connection
from tests.crash import workload
from tests.crash.files import Event, watched
from tests.crash.lossy import crash_image
from tests.crash.power import run
from tests.soak import Job

SYNCED = [
    Event("create", "/d/wal"), Event("write", "/d/wal", 0, b"b" * 4096), Event("sync", "/d/wal"),
]  # fmt: skip


@pytest.mark.slow
def test_power_losses_at_any_moment_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = 20_261_125
    told = run(Job(300, seed, tmp_path))
    assert (told.failures, told.lost, told.done) == ([], 0, 300), told
    assert told.acknowledged > 1000, told
    assert {"open", "migrate", "downgrade"} <= told.phases.keys() and len(told.phases) >= 12, told


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_harness_notices_settings_that_do_lose_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    weaker = tuple(s.replace("synchronous=FULL", f"synchronous={synchronous}") for s in connection._SETTINGS)
    monkeypatch.setattr(connection, "_SETTINGS", weaker)
    monkeypatch.setattr(connection, "SYNCHRONOUS_FULL", {"NORMAL": 1, "OFF": 0}[synchronous])
    assert run(Job(40, 11, tmp_path)).lost


@pytest.mark.parametrize("left_out", ["the bytes", "the folder"])
def test_the_harness_notices_an_object_that_was_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    def unsynced(path: Path, data: bytes) -> None:
        folders.make_folder(path.parent)
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if left_out != "the bytes":
                os.fsync(file.fileno())
        part.rename(path)
        if left_out != "the folder":
            folders.sync_folder(path.parent)

    monkeypatch.setattr(object_files, "write_file", unsynced)
    monkeypatch.setattr(workload, "PHASES", ("object",))
    failures = run(Job(20, 7, tmp_path)).failures
    assert any("object" in line for line in failures), failures


def test_the_harness_notices_bytes_that_an_erase_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weaker = tuple(s.replace("secure_delete=ON", "secure_delete=OFF") for s in connection._SETTINGS)
    monkeypatch.setattr(connection, "_SETTINGS", weaker)
    monkeypatch.setattr(workload, "PHASES", ("remember", "object", "erase"))
    failures = run(Job(30, 7, tmp_path)).failures
    assert any("was erased and remains" in line for line in failures), failures


def test_what_was_synced_is_in_every_image() -> None:
    events = [*SYNCED, Event("write", "/d/wal", 4096, b"c" * 4096)]
    seen = set()
    for seed in range(200):
        image = crash_image(events, random.Random(seed), "/d")
        assert image["wal"].startswith(b"b" * 4096)
        seen.add(image["wal"])
    assert len(seen) > 50  # dropped, kept, and torn in many ways


def test_an_unlink_nobody_synced_may_be_undone() -> None:
    events = [*SYNCED, Event("unlink", "/d/wal")]
    assert {True, False} == {"wal" in crash_image(events, random.Random(seed), "/d") for seed in range(20)}
    synced = [*SYNCED, Event("unlink", "/d/wal", 1)]
    assert {False} == {"wal" in crash_image(synced, random.Random(seed), "/d") for seed in range(20)}


def test_a_file_is_lost_with_a_folder_above_it_that_was_not_synced() -> None:
    events = [
        Event("folder", "/d/a"), Event("create", "/d/a/part"), Event("write", "/d/a/part", 0, b"x"),
        Event("sync", "/d/a/part", 1), Event("rename", "/d/a/part", 0, b"/d/a/whole"),
    ]  # fmt: skip
    assert {(), ("a/part",), ("a/whole",)} == _names(events)
    assert {(), ("a/whole",)} == _names([*events, Event("sync folder", "/d/a")])
    assert {("a/whole",)} == _names([*events, Event("sync folder", "/d/a"), Event("sync folder", "/d")])


def _names(events: list[Event]) -> set[tuple[str, ...]]:
    return {tuple(sorted(crash_image(events, random.Random(seed), "/d"))) for seed in range(40)}


@pytest.mark.parametrize("fails", [1, 2, 3, 4])
def test_an_object_that_could_not_be_synced_is_synced_when_it_is_put_again(tmp_path: Path, fails: int) -> None:
    """A folder's sync failed: what is there already may still be gone after a power loss."""

    trace: list[Event] = []

    class Breaks:
        seen = 0

        def before(self, event: Event) -> OSError | None:
            self.seen += event.what == "sync folder"
            return OSError(5, "Input/output error") if event.what == "sync folder" and self.seen == fails else None

        def after(self, event: Event) -> None:
            trace.append(event)

    data, objects = b"an object", FileObjects(tmp_path / "objects")
    with watched(tmp_path, Breaks()):
        with pytest.raises(StoreError):
            objects.put(1, bytes(32), data)
        objects.put(1, bytes(32), data)
    for seed in range(20):
        assert list(crash_image(trace, random.Random(seed), str(tmp_path)).values()) == [data]
