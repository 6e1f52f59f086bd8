"""Backup and restore: taken under writers, verified, switched in whole, and never over what was there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import Busy, Conflict, InvalidInput, NotFound, WrongKey
from cmc_mcp.memory import Memory
from cmc_mcp.store.sqlite import migrate, restoring
from cmc_mcp.store.sqlite.connection import Location
from scripts.make_golden import KEY, picture
from tests.operations.test_golden import Golden
from tests.serving.wire import CMC, environment
from tests.support.memories import live

LARGE = picture()


def made(path: Path, **more: Any) -> str:
    """A store with notes and an object; gives a checkpoint of it."""
    with live(path, **more) as memory:
        memory.remember("old news", source="news")
        memory.remember(LARGE, modality="image", media_type="image/png", title="harbour", source="harbour")
        return memory.checkpoint(bytes(32)).checkpoint


def grown(path: Path, **more: Any) -> str:
    """More of it, with an object of its own."""
    with live(path, **more) as memory:
        memory.remember("late news", source="news")
        memory.remember(LARGE + b"later", modality="image", media_type="image/png", title="later", source="later")
        return memory.checkpoint(bytes(32)).checkpoint


def news(path: Path, **more: Any) -> str:
    with live(path, **more) as memory:
        assert memory.verify().holds
        assert memory.read_source("harbour") == LARGE
        return memory.read_source("news").decode()


def cmc(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CMC, "--no-model", *arguments], env=environment(folder, **more), capture_output=True, text=True, check=False
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of late news, whose backup has the old."""
    path = tmp_path / "memory.db"
    made(path)
    with live(path) as memory:
        memory.backup(tmp_path / "backup.db")
    grown(path)
    return path


def test_a_backup_is_switched_in_and_the_store_before_is_kept_aside_whole(store: Path) -> None:
    done = cmc(store.parent, "restore", str(store.parent / "backup.db"))
    assert done.returncode == 0, done.stderr
    aside = store.parent / "memory.db.before-restore-1"
    assert str(aside) in done.stdout
    assert (news(store), news(aside)) == ("old news", "late news")
    with live(aside) as memory:
        assert memory.read_source("later") == LARGE + b"later"
    assert len(list(Path(f"{store}.objects").glob("*/*/*"))) == 1
    assert news(store.parent / "backup.db") == "old news"
    assert not list(store.parent.glob("*.restoring*"))
    again = json.loads(cmc(store.parent, "--json", "restore", str(store.parent / "backup.db")).stdout)
    assert again["aside"] == f"{store}.before-restore-2" and again["transactions"] == {"default": 2}


def test_a_backup_is_restored_to_a_new_place_and_nowhere_over_something(store: Path) -> None:
    backup, place = store.parent / "backup.db", store.parent / "new" / "place.db"
    assert cmc(store.parent, "restore", str(backup), "--to", str(place)).returncode == 0
    assert (news(place), news(store)) == ("old news", "late news")
    for taken in (place, backup, store):
        refused = cmc(store.parent, "restore", str(backup), "--to", str(taken))
        assert refused.returncode == 3 and "exists" in refused.stderr
    with pytest.raises(Conflict):
        Memory.restore(store, store, replace=True)
    with pytest.raises(NotFound):
        Memory.restore(store.parent / "none.db", place)


def test_python_restores_as_the_command_does_and_is_held_to_a_checkpoint(store: Path) -> None:
    backup = store.parent / "backup.db"
    with live(store) as memory:
        head = memory.checkpoint(bytes(32))
    signed = {"checkpoint": head.checkpoint, "public_key": head.public_key}
    refused = Memory.restore(backup, store, replace=True, **signed)
    assert refused.aside is None and "ends at 2, the checkpoint has 4" in refused.faults[0].reason
    assert news(store) == "late news"
    with pytest.raises(NotFound, match="no workspace elsewhere; it has default"):
        Memory.restore(backup, store, replace=True, workspace="elsewhere", **signed)
    with pytest.raises(Conflict):
        Memory.restore(backup, store)
    with pytest.raises(InvalidInput, match="database"):
        Memory.restore(backup, "postgresql://localhost/memory")
    done = Memory.restore(backup, str(store), replace=True)
    assert (done.path, done.transactions, done.faults) == (str(store), {"default": 2}, [])
    assert (news(store), news(Path(done.aside or ""))) == ("old news", "late news")


def test_a_damaged_backup_is_refused_and_nothing_is_changed(store: Path) -> None:
    backup = store.parent / "backup.db"
    (found,) = Path(f"{backup}.objects").glob("*/*/*")
    found.write_bytes(b"another picture")
    done = cmc(store.parent, "--json", "restore", str(backup))
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["restored"] is None and told["faults"][0]["table"] == "objects"
    data = bytearray(backup.read_bytes())
    data[100 : len(data) // 2] = bytes(len(data) // 2 - 100)
    backup.write_bytes(data)
    done = cmc(store.parent, "restore", str(backup))
    assert done.returncode in (1, 3) and "Traceback" not in done.stderr
    assert news(store) == "late news"
    assert not list(store.parent.glob("*restor*"))


def test_a_backup_older_than_the_checkpoint_is_refused_with_sizes(store: Path) -> None:
    backup = store.parent / "backup.db"
    with live(store) as memory:
        head = memory.checkpoint(bytes(32))
    file = store.parent / "head.txt"
    file.write_text(head.checkpoint)
    done = cmc(store.parent, "restore", str(backup), "--checkpoint", str(file), "--public-key", head.public_key)
    assert done.returncode == 1 and "ends at 2, the checkpoint has 4" in done.stdout, done.stdout
    assert news(store) == "late news"
    assert cmc(store.parent, "restore", str(backup)).returncode == 0
    verified = cmc(store.parent, "verify", "--checkpoint", str(file), "--public-key", head.public_key)
    assert verified.returncode == 1 and "ends at 2, the checkpoint has 4" in verified.stdout
    aside = f"{store}.before-restore-1"
    back = cmc(store.parent, "restore", aside, "--checkpoint", str(file), "--public-key", head.public_key)
    assert back.returncode == 0, back.stdout
    assert news(store) == "late news"


def test_a_store_that_somebody_has_open_is_not_switched(store: Path) -> None:
    code = (
        "import sys; from cmc_mcp.memory import Memory\nm = Memory.open(sys.argv[1], embedder=None); m.status()\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == b"open\n"
        done = cmc(store.parent, "restore", str(store.parent / "backup.db"))
        assert reader.stdin is not None
        reader.stdin.close()
    assert done.returncode == 3 and "stop servers" in done.stderr
    assert news(store) == "late news"


def test_a_running_writer_is_refused_by_its_lock(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.serving.wire import lock_held

    monkeypatch.setattr(restoring, "_PATIENCE_MS", 50)
    with lock_held(store), pytest.raises(Busy):
        Memory.restore(store.parent / "backup.db", store, replace=True)


def test_a_store_that_was_replaced_while_open_says_so_and_takes_no_write(store: Path) -> None:
    with live(store) as memory:
        memory.recall("news")
        restored = store.parent / "other.db"
        shutil.copy(store.parent / "backup.db", restored)
        restored.rename(store)
        for use in (lambda: memory.recall("news"), lambda: memory.remember("into nowhere")):
            with pytest.raises(Exception, match="replaced while it was open"):
                use()


def test_an_encrypted_store_is_backed_up_and_restored_encrypted(tmp_path: Path) -> None:
    path, backup = tmp_path / "m.db", tmp_path / "b.db"
    made(path, key=KEY)
    with live(path, key=KEY) as memory:
        memory.backup(backup)
    Memory.restore(backup, path, key=KEY, replace=True)
    assert news(path, key=KEY) == "old news"
    with pytest.raises(WrongKey):
        Memory.restore(backup, path, key=b"x" * 32, replace=True)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or (b"old news" not in file.read_bytes() and b"harbour" not in file.read_bytes())


@pytest.mark.parametrize("name", ["format-1", "format-4-encrypted"])
def test_a_backup_of_an_older_format_is_restored_in_the_present_one(name: str, tmp_path: Path) -> None:
    golden = Golden(name, tmp_path)
    before = golden.path.read_bytes()
    place = tmp_path / "restored.db"
    done = Memory.restore(golden.path, place, key=golden.key)
    assert done.faults == [] and migrate.is_current(Location(place, golden.key))
    assert golden.path.read_bytes() == before
    with live(place, key=golden.key) as memory:
        assert memory.read_source("harbour.png") == picture()


def test_a_store_that_is_no_database_any_more_is_replaced_and_kept(store: Path) -> None:
    store.write_bytes(b"\0" * 10_000)
    assert cmc(store.parent, "restore", str(store.parent / "backup.db")).returncode == 0
    assert news(store) == "old news"
    assert Path(f"{store}.before-restore-1").read_bytes() == b"\0" * 10_000


# ---------------------------------------------------------------------- under writers, and cut off anywhere
def test_a_backup_taken_while_four_write_is_a_prefix_and_verifies(tmp_path: Path) -> None:
    path, stop, begun = tmp_path / "memory.db", threading.Event(), threading.Semaphore(0)
    made(path)

    def write(name: str) -> None:
        with live(path, principal=name) as memory:
            number = 0
            while not stop.is_set():
                memory.remember(f"{name} {number}", source=f"{name}/{number}")
                number += 1
                if number == 1:
                    begun.release()
                if number % 3 == 0:
                    memory.remember(LARGE + f"{name}{number}".encode(), modality="image", media_type="image/png",
                                    title=f"{name} {number}", source=f"{name}/picture/{number}")  # fmt: skip

    writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    try:
        assert all(begun.acquire(timeout=60) for _ in writers)  # a busy machine may start them late
        with live(path) as memory:
            for number in range(3):
                memory.backup(tmp_path / f"backup-{number}.db")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    sizes = []
    with live(path) as memory:
        final = memory.status()["transaction"]
        for number in range(3):
            with live(tmp_path / f"backup-{number}.db") as copy:
                head = copy.checkpoint(bytes(32))
                assert copy.verify().holds
            sizes.append(head.transaction)
            assert memory.verify(checkpoint=head.checkpoint, public_key=head.public_key).holds, "no prefix"
    assert sizes == sorted(sizes) and sizes[-1] > 2
    assert isinstance(final, int) and sizes[-1] <= final


@pytest.mark.slow
@pytest.mark.parametrize("job", ["restore", "backup"])
def test_killed_at_any_point_the_place_holds_the_old_or_the_new(job: str, store: Path) -> None:
    told = cut_everywhere(job, store)
    assert told["wrong"] == []
    assert told["points"] >= 15, told
    if job == "restore":
        assert told["ended_with"]["late news"] and told["ended_with"]["old news"], told


def test_a_switch_that_is_not_atomic_is_seen(store: Path) -> None:
    told = cut_everywhere("clumsy", store)
    assert told["wrong"], "a store that is removed before the new one has its place was not noticed"


def cut_everywhere(job: str, store: Path) -> Any:
    """Kill a restore or a backup at every change it makes to the file system; what was wrong afterwards."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.operations.cuts", job, str(store)],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)
