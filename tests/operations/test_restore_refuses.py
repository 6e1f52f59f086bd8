"""Restore refuses what is no backup and what nobody can mean: typed, the store as it was, nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import (
    Busy,
    CmcError,
    Conflict,
    FutureStore,
    IntegrityError,
    InvalidInput,
    NotFound,
    StoreError,
    WrongKey,
)
from cmc_mcp.memory import Memory
from scripts.make_golden import KEY
from tests.operations.test_golden import Golden
from tests.operations.test_restore import cmc, grown, made, news
from tests.support.memories import live

Breaking = Callable[[Path], None]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of late news beside a backup of the old, closed, its lock file taken away."""
    path = tmp_path / "memory.db"
    made(path)
    with live(path) as memory:
        memory.backup(tmp_path / "backup.db")
    grown(path)
    Path(f"{path}.lock").unlink()
    return path


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def truncated(share: float) -> Breaking:
    def cut(backup: Path) -> None:
        data = backup.read_bytes()
        backup.write_bytes(data[: int(len(data) * share)])

    return cut


def flipped(place: int) -> Breaking:
    def flip(backup: Path) -> None:
        data = bytearray(backup.read_bytes())
        data[place % len(data)] ^= 1
        backup.write_bytes(data)

    return flip


def foreign(statement: str) -> Breaking:
    def make(backup: Path) -> None:
        backup.unlink()
        with sqlite3.connect(backup) as other:
            other.execute("CREATE TABLE notes(text)")
            other.execute(statement)
        other.close()

    return make


def folder(backup: Path) -> None:
    backup.unlink()
    backup.mkdir()


def broken_link(backup: Path) -> None:
    backup.unlink()
    backup.symlink_to(backup.with_name("nowhere.db"))


def pipe(backup: Path) -> None:
    backup.unlink()
    os.mkfifo(backup)


NO_BACKUPS: dict[str, tuple[Breaking, type[CmcError], str]] = {
    "an empty file": (lambda backup: backup.write_bytes(b"") and None, WrongKey, "empty"),
    "zeros": (lambda backup: backup.write_bytes(bytes(20_000)) and None, WrongKey, "not a CMC store"),
    "a text": (lambda backup: backup.write_text("a diary\n" * 999) and None, WrongKey, "not a CMC store"),
    "a few bytes": (lambda backup: backup.write_bytes(b"SQLite") and None, WrongKey, "not a CMC store"),
    "another database": (foreign("INSERT INTO notes VALUES('mine')"), WrongKey, "not a CMC store"),
    "another, empty database": (foreign("DROP TABLE notes"), WrongKey, "empty, and no CMC store"),
    "its first page": (
        lambda backup: backup.write_bytes(backup.read_bytes()[:4096]) and None,
        IntegrityError,
        "damaged",
    ),
    "a tenth of it": (truncated(0.1), IntegrityError, "damaged"),
    "all but its end": (truncated(0.95), IntegrityError, "damaged"),
    "a bit of its first page": (flipped(3_000), IntegrityError, "damaged"),
    "a bit of its middle": (flipped(60_000), IntegrityError, "damaged"),
    "a folder": (folder, NotFound, "no backup exists"),
    "nothing": (lambda backup: backup.unlink(), NotFound, "no backup exists"),
    "a broken link": (broken_link, NotFound, "no backup exists"),
    "a pipe": (pipe, NotFound, "no backup exists"),
}


@pytest.mark.parametrize("place", ["over the store", "in a new folder"])
@pytest.mark.parametrize("what", NO_BACKUPS)
def test_what_is_no_backup_is_refused_and_nothing_is_changed_or_left(what: str, place: str, store: Path) -> None:
    breaking, error, words = NO_BACKUPS[what]
    backup = store.parent / "backup.db"
    breaking(backup)
    before = everything(store.parent)
    target = store if place == "over the store" else store.parent / "new" / "deep" / "place.db"
    with pytest.raises(error, match=words) as refused:
        Memory.restore(backup, target, replace=target == store)
    assert type(refused.value) is error
    assert everything(store.parent) == before
    assert news(store) == "late news"


@pytest.mark.parametrize(
    "what", ["an empty file", "another, empty database", "a bit of its middle", "a folder", "nothing"]
)
def test_the_command_refuses_it_in_words_and_changes_nothing(what: str, store: Path) -> None:
    breaking, _, words = NO_BACKUPS[what]
    breaking(store.parent / "backup.db")
    before = everything(store.parent)
    done = cmc(store.parent, "restore", str(store.parent / "backup.db"))
    assert done.returncode == 3, done.stdout
    assert words in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    assert everything(store.parent) == before


@pytest.mark.parametrize("kind", ["with checksums", "without", "encrypted"])
def test_a_bit_flipped_anywhere_is_a_typed_refusal_or_does_no_harm(kind: str, store: Path, tmp_path: Path) -> None:
    key = KEY if kind == "encrypted" else None
    if kind == "with checksums":
        source = store.parent / "backup.db"
    else:  # format 1 has no checksums of pages, an encrypted one has tags
        source = Golden("format-4-encrypted" if key else "format-1", tmp_path / "golden").path
    backup, seed = tmp_path / "flipped.db", random.Random(13)
    shutil.copytree(f"{source}.objects", f"{backup}.objects")
    refused = 0
    for number in range(24):
        shutil.copy(source, backup)
        flipped(seed.randrange(100) if number % 4 == 0 else seed.randrange(source.stat().st_size))(backup)
        place = tmp_path / "place" / "restored.db"
        try:
            done = Memory.restore(backup, place, key=key)
        except CmcError as error:
            assert isinstance(error, IntegrityError | WrongKey | FutureStore), error
            refused += 1
        else:
            refused += bool(done.faults)
            if not done.faults:
                shutil.rmtree(place.parent)
        assert not place.parent.exists()
    assert refused >= 4


@pytest.mark.parametrize("kind", ["with checksums", "encrypted"])
def test_a_backup_that_is_not_as_long_as_its_pages_is_refused(kind: str, store: Path, tmp_path: Path) -> None:
    key = KEY if kind == "encrypted" else None
    source = store.parent / "backup.db" if key is None else Golden("format-4-encrypted", tmp_path / "golden").path
    backup, whole = tmp_path / "cut.db", source.read_bytes()
    if Path(f"{source}.objects").exists():
        shutil.copytree(f"{source}.objects", f"{backup}.objects")
    cuts = [whole[:-gone] for gone in (*range(1, 10), 100, 4_095, 4_096)]
    grown = [whole + more for more in (b"\0", b"junk", bytes(4_096), whole[-4_096:])]
    backup.write_bytes(whole)
    before = everything(store.parent)
    for data in cuts + grown:
        backup.write_bytes(data)
        with pytest.raises(IntegrityError, match="damaged"):
            Memory.restore(backup, store, key=key, replace=True)
        backup.write_bytes(whole)
        assert everything(store.parent) == before
    assert Memory.restore(backup, tmp_path / "whole.db", key=key).faults == []


def test_a_backup_with_faults_leaves_no_folder_and_no_lock(store: Path) -> None:
    backup = store.parent / "backup.db"
    (found,) = Path(f"{backup}.objects").glob("*/*/*")
    found.write_bytes(b"another picture")
    before = everything(store.parent)
    for target in (store, store.parent / "new" / "place.db"):
        assert Memory.restore(backup, target, replace=target == store).faults
        assert everything(store.parent) == before


def test_a_backup_may_be_reached_by_a_link_with_its_objects(store: Path) -> None:
    link, place = store.parent / "latest", store.parent / "new" / "place.db"
    link.symlink_to(store.parent / "backup.db")
    assert Memory.restore(link, place).faults == []
    assert news(place) == "old news"


def test_a_store_that_is_a_link_is_not_replaced_but_named(store: Path) -> None:
    link = store.parent / "link.db"
    link.symlink_to(store)
    with pytest.raises(Conflict, match="is a link; name the file that it leads to") as refused:
        Memory.restore(store.parent / "backup.db", link, replace=True)
    assert str(store) in str(refused.value)
    assert link.is_symlink() and news(store) == "late news"


@pytest.mark.parametrize("end", ["", ".part", ".objects", "-wal"])
def test_a_backup_under_a_name_that_the_restore_uses_itself_is_not_lost(end: str, store: Path) -> None:
    backup = Path(f"{store}.restoring{end}")
    shutil.copy(store.parent / "backup.db", backup)
    with pytest.raises(Conflict, match="rename the backup"):
        Memory.restore(backup, store, replace=True)
    assert backup.read_bytes() == (store.parent / "backup.db").read_bytes()


def test_neighbours_of_the_copy_and_names_with_brackets_stay_what_they_are(store: Path) -> None:
    other, place = Path(f"{store}.restoring-notes.txt"), store.parent / "new[1].db"
    other.write_text("mine")
    Path(f"{place}.restoring").write_text("what an earlier restore left")
    assert Memory.restore(store.parent / "backup.db", store, replace=True).faults == []
    assert other.read_text() == "mine"
    assert Memory.restore(store.parent / "backup.db", place).faults == []
    assert not Path(f"{place}.restoring").exists()


# ---------------------------------------------------------------------- arguments
WRONG: dict[str, list[Any]] = {
    "backup": [5, 1.5, None, True, b"backup.db", ["backup.db"], {}, object(), "", " ", "a\0b", "\ud800"],
    "path": [5, 1.5, None, True, b"memory.db", ["memory.db"], {}, object(), "", " ", "a\0b", "\ud800"],
    "key": [5, "a passphrase, and a long one", ["k"], {}, True, object(), b"short", b""],
    "replace": [1, 0, None, "yes", "", [], object()],
    "checkpoint": [5, b"head", ["head"], {}, True, object()],
    "public_key": [5, b"key", ["key"], {}, True, "", "f" * 63, "g" * 64, "f" * 65],
    "workspace": [5, None, b"default", ["default"], True, "", "Default", "a b", "x" * 65, "a\0b"],
    "progress": [5, "progress", "", {}, True, object()],
}


@pytest.mark.parametrize("name", WRONG)
def test_every_wrong_argument_is_named_before_anything_is_touched(name: str, store: Path) -> None:
    before = everything(store.parent)
    for value in WRONG[name]:
        arguments: dict[str, Any] = {"backup": store.parent / "backup.db", "path": store, "replace": True}
        if name == "public_key":
            arguments["checkpoint"] = "a head"
        arguments[name] = value
        with pytest.raises(InvalidInput) as refused:
            Memory.restore(**arguments)
        assert [problem.path for problem in refused.value.problems] == [name], value
    assert everything(store.parent) == before


def test_all_wrong_arguments_are_named_at_once(store: Path) -> None:
    wrong: dict[str, Any] = {name: values[0] for name, values in WRONG.items()}
    with pytest.raises(InvalidInput) as refused:
        Memory.restore(**wrong)
    assert {problem.path for problem in refused.value.problems} == set(WRONG)


def test_a_name_too_long_for_the_disk_is_said(store: Path) -> None:
    for arguments in (("x" * 5_000, store), (store.parent / "backup.db", store.parent / ("x" * 5_000))):
        with pytest.raises(StoreError, match="File name too long"):
            Memory.restore(*arguments, replace=True)


def test_a_public_key_without_a_checkpoint_is_not_passed_over(store: Path) -> None:
    with pytest.raises(InvalidInput, match="public_key: says who signed a checkpoint, and none is given"):
        Memory.restore(store.parent / "backup.db", store, replace=True, public_key="ab" * 32)
    done = cmc(store.parent, "restore", str(store.parent / "backup.db"), "--public-key", "ab" * 32)
    assert done.returncode != 0 and "none is given" in " ".join(done.stderr.split())
    assert news(store) == "late news"


# ---------------------------------------------------------------------- open here
def test_a_store_that_this_process_has_open_is_not_switched_under_it(store: Path) -> None:
    backup = store.parent / "backup.db"
    with live(store) as memory:
        memory.recall("news")
        with pytest.raises(Busy, match="a memory of this process"):
            Memory.restore(backup, store, replace=True)
        memory.remember("after the refusal", source="later")
        assert memory.read_source("news") == b"late news"
        elsewhere = store.parent / "new.db"
        assert Memory.restore(backup, elsewhere).faults == []
    assert Memory.restore(backup, store, replace=True).faults == []
    assert news(store) == news(elsewhere) == "old news"


def test_a_backup_that_is_open_as_a_store_is_restored(store: Path) -> None:
    backup = store.parent / "backup.db"
    with live(backup) as memory:
        memory.remember("newer than the backup was", source="later")
        done = Memory.restore(backup, store, replace=True)
        assert memory.remember("and it can still be written", source="later still").transaction == 4
    assert done.transactions == {"default": 3}
