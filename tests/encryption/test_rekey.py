"""Another key: the old one then opens nothing, and whoever is cut short leaves a store that opens with one of the two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.errors import Busy, IntegrityError, InvalidInput, NotFound, StoreError, WrongKey
from cmc_mcp.memory import Memory
from cmc_mcp.store.sqlite import rekey as rekeying
from tests.crash.test_sigkill import soak
from tests.encryption.rekeys import CANARY, CHANGES, ONE, TWO, judge, made
from tests.erase.scan import in_folder
from tests.support.memories import live
from tests.support.stores import contents, raw

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("change", CHANGES, ids=["another", "the first", "none"])
def test_the_new_key_opens_everything_and_the_old_one_nothing(
    tmp_path: Path, change: tuple[bytes | None, bytes | None]
) -> None:
    path = tmp_path / "memory.db"
    root = made(path, change[0])
    before = path.read_bytes()
    Path(f"{path}.v1.backup").write_bytes(before)
    told: list[tuple[int, int]] = []
    Memory.rekey(path, key=change[0], new_key=change[1], progress=lambda done, total: told.append((done, total)))
    assert judge(tmp_path, *change, root, before) == ("new", [])
    assert told[-1] == (2, 2), "of objects"
    assert (in_folder(tmp_path, CANARY) == []) == (change[1] is not None)
    assert {oct(found.stat().st_mode & 0o777) for found in tmp_path.rglob("*") if found.is_file()} == {"0o600"}


@pytest.mark.slow
def test_killed_or_failed_wherever_it_touches_the_disk_one_key_opens_everything(tmp_path: Path) -> None:
    told = soak("rekey", "--count", "20", "--folder", str(tmp_path))
    assert (told["failures"], told["done"]) == ([], 20), told
    assert isinstance(told["old"], int) and told["old"] >= 3, told
    assert isinstance(told["new"], int) and told["new"] >= 3, told


def test_the_judge_of_that_run_sees_what_it_is_to_see(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    root = made(path, None)
    before = path.read_bytes()
    assert judge(tmp_path, None, ONE, root, before) == ("old", [])
    assert judge(tmp_path, ONE, TWO, root, before) == ("none", ["the store opens with []"])
    assert judge(tmp_path, ONE, None, root, before)[1], "pages of the old file"
    assert judge(tmp_path, None, ONE, "another root", before) == ("old", ["something is lost"])
    (tmp_path / "memory.db.rekeying.bak").touch()
    assert judge(tmp_path, None, ONE, root, before)[1], "a file too many"


def test_a_switch_without_the_journal_of_renames_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the objects change places first, as they would without an instant that decides."""
    path = tmp_path / "memory.db"
    root = made(path, ONE)
    before = path.read_bytes()

    def objects_first(old: Path, new: Path) -> None:
        if old.name == "store":
            raise OSError(5, "cut short here")
        old.rename(new)

    monkeypatch.setattr(rekeying, "finish", lambda _: None)
    monkeypatch.setattr(rekeying, "exchanged", lambda found: Path(f"{found}.nobody-looks"))
    monkeypatch.setattr(rekeying, "_rename", objects_first)
    with pytest.raises(StoreError):
        Memory.rekey(path, key=ONE, new_key=TWO)
    assert judge(tmp_path, ONE, TWO, root, before)[1]


def test_somebody_who_has_the_store_open_keeps_its_key(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    made(path, ONE)
    with live(path, key=ONE) as other:
        with pytest.raises(Busy, match=r"open; end the servers.*the old one as before"):
            Memory.rekey(path, key=ONE, new_key=TWO)
        other.remember("goes on")
    Memory.rekey(path, key=ONE, new_key=TWO)
    with live(path, key=TWO) as memory:
        assert memory.recall("goes on").items[0].text == "goes on"


def test_another_process_that_opened_it_before_is_told_and_changes_nothing(tmp_path: Path) -> None:
    """It holds no connection while it waits, as after a fork: what it does next meets another file."""
    path = tmp_path / "memory.db"
    made(path, ONE)
    memory = live(path, key=ONE)
    child = os.fork()  # closes the parent's connections; both open their own when next they need one
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    Memory.rekey(path, key=ONE, new_key=TWO)
    before = contents(tmp_path)
    for call in (lambda: memory.remember("late"), lambda: memory.recall("note")):
        with pytest.raises(StoreError, match="replaced"):
            call()
    memory.close()
    assert contents(tmp_path) == before


def test_a_change_that_was_decided_is_finished_by_reading_too(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    made(path, ONE)
    Memory.rekey(path, key=ONE, new_key=TWO)
    folder = tmp_path / "memory.db.rekeyed"
    folder.mkdir()
    path.rename(folder / "store")
    (tmp_path / "memory.db.objects").rename(folder / "objects")
    with pytest.raises(WrongKey):
        live(path, key=ONE, read_only=True)
    with live(path, key=TWO, read_only=True) as memory:
        assert memory.read_source("big").decode() == f"{CANARY} " * 40
    assert not folder.exists()


def test_what_cannot_be_rekeyed_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path, link, plain = tmp_path / "memory.db", tmp_path / "link.db", tmp_path / "other.db"
    made(path, ONE)
    link.symlink_to(path)
    other = raw(plain)
    other.execute("CREATE TABLE t(x)")
    other.close()
    before = contents(tmp_path)
    with pytest.raises(WrongKey):
        Memory.rekey(path, key=TWO, new_key=ONE)
    with pytest.raises(WrongKey):
        Memory.rekey(path, key=None, new_key=TWO)
    with pytest.raises(InvalidInput, match="has already"):
        Memory.rekey(path, key=ONE, new_key=ONE)
    with pytest.raises(InvalidInput, match="at least 16"):
        Memory.rekey(path, key=ONE, new_key=b"short")
    with pytest.raises(StoreError, match="is a link"):
        Memory.rekey(link, key=ONE, new_key=TWO)
    with pytest.raises(WrongKey, match="not a CMC store"):
        Memory.rekey(plain, key=None, new_key=TWO)
    with pytest.raises(NotFound):
        Memory.rekey(tmp_path / "none.db", key=None, new_key=TWO)
    after = contents(tmp_path)
    assert {name: body for name, body in after.items() if not name.endswith(".lock")} == {
        name: body for name, body in before.items() if not name.endswith(".lock")
    }


def test_a_damaged_object_stops_it_before_anything_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    made(path, ONE)
    found = next(found for found in (tmp_path / "memory.db.objects").rglob("*") if found.is_file())
    whole = found.read_bytes()
    found.write_bytes(whole[:-1])
    with pytest.raises(IntegrityError):
        Memory.rekey(path, key=ONE, new_key=TWO)
    found.write_bytes(whole)
    with live(path, key=ONE) as memory:
        assert memory.verify().holds
    assert not (tmp_path / "memory.db.rekeying").exists()


# ---------------------------------------------------------------------- the command
def test_the_command_takes_the_new_key_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = tmp_path / "memory.db", tmp_path / "new.key"
    made(path, None)
    file.write_text(ONE.hex() + "\n")
    front = ["--no-model", "--store", str(path), "--json"]
    assert run([*front, "rekey", "--new-key-file", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": str(path), "encrypted": True}
    monkeypatch.setenv("CMC_KEY_FILE", str(file))
    monkeypatch.setenv("CMC_NEW_KEY", "correct horse battery staple")
    assert run([*front, "rekey"]) == 0
    monkeypatch.delenv("CMC_KEY_FILE")
    monkeypatch.setenv("CMC_KEY", "correct horse battery staple")
    assert run([*front, "rekey", "--decrypt"]) == 2, "a key and none"
    monkeypatch.delenv("CMC_NEW_KEY")
    assert run([*front, "rekey"]) == 2, "nothing is said"
    assert run([*front, "rekey", "--decrypt"]) == 0
    monkeypatch.delenv("CMC_KEY")
    assert run([*front, "recall", "note"]) == 0
    told = capsys.readouterr()
    for secret in (ONE.hex(), "correct horse"):
        assert secret not in told.out + told.err


def test_a_key_is_in_no_message_when_the_copy_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.db"
    made(path, ONE)

    def made_a_folder(found: Path) -> None:
        found.mkdir()

    monkeypatch.setattr(rekeying, "create_file", made_a_folder)
    with pytest.raises(StoreError, match=r"cannot be written.*the old one as before") as caught:
        Memory.rekey(path, key=ONE, new_key=TWO)
    shown, error = "", caught.value
    while error is not None:
        shown, error = shown + repr(error), error.__cause__  # type: ignore[assignment]
    assert TWO.hex() not in shown and ONE.hex() not in shown


def test_the_help_names_it_and_says_what_stays(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cmc_mcp", "rekey", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    text = " ".join(done.stdout.split())
    assert "Earlier backups keep their key" in text and "flash disk" in text
