"""Restore refuses what is no backup and what nobody can mean: typed, the store as it was, nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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

Breaking = Callable[[Path], object]


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


@pytest.fixture
def backup(store: Path) -> Path:
    return store.parent / "backup.db"


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Assert that every path below a folder stays what it is, to the byte."""

    def everything() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}

    before = everything()
    yield
    assert everything() == before


def bytes_of(change: Callable[[bytes], bytes]) -> Breaking:
    return lambda backup: backup.write_bytes(change(backup.read_bytes()))


def flipped(place: int) -> Breaking:
    def flip(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return bytes_of(flip)


def instead(make: Breaking) -> Breaking:
    def replace(backup: Path) -> None:
        backup.unlink()
        make(backup)

    return replace


def database(statement: str) -> Breaking:
    def make(backup: Path) -> None:
        with closing(sqlite3.connect(backup)) as other, other:
            other.execute("CREATE TABLE notes(text)")
            other.execute(statement)

    return instead(make)


NO_BACKUPS: dict[str, tuple[Breaking, type[CmcError], str]] = {
    "an empty file": (bytes_of(lambda _: b""), WrongKey, "empty"),
    "zeros": (bytes_of(lambda _: bytes(20_000)), WrongKey, "not a CMC store"),
    "a text": (bytes_of(lambda _: b"a diary\n" * 999), WrongKey, "not a CMC store"),
    "a few bytes": (bytes_of(lambda _: b"SQLite"), WrongKey, "not a CMC store"),
    "another database": (database("INSERT INTO notes VALUES('mine')"), WrongKey, "not a CMC store"),
    "another, empty database": (database("DROP TABLE notes"), WrongKey, "empty, and no CMC store"),
    "its first page": (bytes_of(lambda data: data[:4096]), IntegrityError, "damaged"),
    "a tenth of it": (bytes_of(lambda data: data[: len(data) // 10]), IntegrityError, "damaged"),
    "all but its end": (bytes_of(lambda data: data[: int(len(data) * 0.95)]), IntegrityError, "damaged"),
    "a bit of its first page": (flipped(3_000), IntegrityError, "damaged"),
    "a bit of its middle": (flipped(60_000), IntegrityError, "damaged"),
    "a folder": (instead(Path.mkdir), NotFound, "no backup exists"),
    "nothing": (Path.unlink, NotFound, "no backup exists"),
    "a broken link": (instead(lambda at: at.symlink_to(at.with_name("nowhere.db"))), NotFound, "no backup exists"),
    "a pipe": (instead(os.mkfifo), NotFound, "no backup exists"),
}


@pytest.mark.parametrize("place", ["over the store", "in a new folder"])
@pytest.mark.parametrize("what", NO_BACKUPS)
def test_what_is_no_backup_is_refused_and_nothing_is_changed_or_left(
    what: str, place: str, store: Path, backup: Path
) -> None:
    breaking, error, words = NO_BACKUPS[what]
    breaking(backup)
    target = store if place == "over the store" else store.parent / "new" / "deep" / "place.db"
    with unchanged(store.parent), pytest.raises(error, match=words) as refused:
        Memory.restore(backup, target, replace=target == store)
    assert type(refused.value) is error
    assert news(store) == "late news"


@pytest.mark.parametrize(
    "what", ["an empty file", "another, empty database", "a bit of its middle", "a folder", "nothing"]
)
def test_the_command_refuses_it_in_words_and_changes_nothing(what: str, backup: Path) -> None:
    breaking, _, words = NO_BACKUPS[what]
    breaking(backup)
    with unchanged(backup.parent):
        done = cmc(backup.parent, "restore", str(backup))
    assert done.returncode == 3, done.stdout
    assert words in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


def copied(kind: str, backup: Path) -> tuple[Path, bytes | None]:
    """Copy a backup that breaks in a way of its own; format 1 has no checksums of pages, an encrypted one has tags."""
    golden = {"without": "format-1", "encrypted": "format-4-encrypted"}.get(kind)
    source = backup if golden is None else Golden(golden, backup.parent / "golden").path
    copy = backup.with_name("copy.db")
    shutil.copy(source, copy)
    shutil.copytree(f"{source}.objects", f"{copy}.objects")
    return copy, KEY if kind == "encrypted" else None


@pytest.mark.parametrize("kind", ["with checksums", "without", "encrypted"])
def test_a_bit_flipped_anywhere_is_a_typed_refusal_or_does_no_harm(kind: str, backup: Path) -> None:
    copy, key = copied(kind, backup)
    whole, seed, refused = copy.read_bytes(), random.Random(13), 0
    for number in range(24):
        copy.write_bytes(whole)
        flipped(seed.randrange(100) if number % 4 == 0 else seed.randrange(len(whole)))(copy)
        place = backup.parent / "place" / "restored.db"
        try:
            done = Memory.restore(copy, place, key=key)
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
def test_a_backup_that_is_not_as_long_as_its_pages_is_refused(kind: str, store: Path, backup: Path) -> None:
    copy, key = copied(kind, backup)
    whole = copy.read_bytes()
    cuts = [whole[:-gone] for gone in (*range(1, 10), 100, 4_095, 4_096)]
    longer = [whole + more for more in (b"\0", b"junk", bytes(4_096), whole[-4_096:])]
    for data in cuts + longer:
        copy.write_bytes(data)
        with unchanged(store.parent), pytest.raises(IntegrityError, match="damaged"):
            Memory.restore(copy, store, key=key, replace=True)
    copy.write_bytes(whole)
    assert Memory.restore(copy, store.parent / "whole.db", key=key).faults == []


def test_a_backup_with_faults_leaves_no_folder_and_no_lock(store: Path, backup: Path) -> None:
    (found,) = Path(f"{backup}.objects").glob("*/*/*")
    found.write_bytes(b"another picture")
    for target in (store, store.parent / "new" / "place.db"):
        with unchanged(store.parent):
            assert Memory.restore(backup, target, replace=target == store).faults


def test_a_backup_may_be_reached_by_a_link_with_its_objects(backup: Path) -> None:
    link, place = backup.with_name("latest"), backup.parent / "new" / "place.db"
    link.symlink_to(backup)
    assert Memory.restore(link, place).faults == []
    assert news(place) == "old news"


def test_a_store_that_is_a_link_is_not_replaced_but_named(store: Path, backup: Path) -> None:
    link = store.parent / "link.db"
    link.symlink_to(store)
    with pytest.raises(Conflict, match="is a link; name the file that it leads to") as refused:
        Memory.restore(backup, link, replace=True)
    assert str(store) in str(refused.value)
    assert link.is_symlink() and news(store) == "late news"


@pytest.mark.parametrize("end", ["", ".part", ".objects", "-wal"])
def test_a_backup_under_a_name_that_the_restore_uses_itself_is_not_lost(end: str, store: Path, backup: Path) -> None:
    named = Path(f"{store}.restoring{end}")
    shutil.copy(backup, named)
    with unchanged(store.parent), pytest.raises(Conflict, match="rename the backup"):
        Memory.restore(named, store, replace=True)


def test_neighbours_of_the_copy_and_names_with_brackets_stay_what_they_are(store: Path, backup: Path) -> None:
    other, place = Path(f"{store}.restoring-notes.txt"), store.parent / "new[1].db"
    other.write_text("mine")
    Path(f"{place}.restoring").write_text("what an earlier restore left")
    assert Memory.restore(backup, store, replace=True).faults == []
    assert other.read_text() == "mine"
    assert Memory.restore(backup, place).faults == []
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
def test_every_wrong_argument_is_named_before_anything_is_touched(name: str, store: Path, backup: Path) -> None:
    arguments: dict[str, Any] = {"backup": backup, "path": store, "replace": True}
    if name == "public_key":
        arguments["checkpoint"] = "a head"
    with unchanged(store.parent):
        for value in WRONG[name]:
            with pytest.raises(InvalidInput) as refused:
                Memory.restore(**(arguments | {name: value}))
            assert [problem.path for problem in refused.value.problems] == [name], value


def test_all_wrong_arguments_are_named_at_once(store: Path) -> None:
    wrong: dict[str, Any] = {name: values[0] for name, values in WRONG.items()}
    with pytest.raises(InvalidInput) as refused:
        Memory.restore(**wrong)
    assert {problem.path for problem in refused.value.problems} == set(WRONG)


def test_a_name_too_long_for_the_disk_is_said(store: Path, backup: Path) -> None:
    for arguments in (("x" * 5_000, store), (backup, store.parent / ("x" * 5_000))):
        with pytest.raises(StoreError, match="File name too long"):
            Memory.restore(*arguments, replace=True)


def test_a_public_key_without_a_checkpoint_is_not_passed_over(store: Path, backup: Path) -> None:
    with pytest.raises(InvalidInput, match="public_key: says who signed a checkpoint, and none is given"):
        Memory.restore(backup, store, replace=True, public_key="ab" * 32)
    done = cmc(store.parent, "restore", str(backup), "--public-key", "ab" * 32)
    assert done.returncode != 0 and "none is given" in " ".join(done.stderr.split())
    assert news(store) == "late news"


# ---------------------------------------------------------------------- open here
def test_a_store_that_this_process_has_open_is_not_switched_under_it(store: Path, backup: Path) -> None:
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


def test_a_backup_that_is_open_as_a_store_is_restored(store: Path, backup: Path) -> None:
    with live(backup) as memory:
        memory.remember("newer than the backup was", source="later")
        done = Memory.restore(backup, store, replace=True)
        assert memory.remember("and it can still be written", source="later still").transaction == 4
    assert done.transactions == {"default": 3}
