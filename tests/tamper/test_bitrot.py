"""Bit rot: with checksums of pages, or under a cipher, a flipped bit is an error; without them it is not."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import IntegrityError, WrongKey
from cmc_mcp.memory import Memory
from cmc_mcp.store.sqlite import checksums
from cmc_mcp.store.sqlite.connection import Location, connect, look
from tests.soak import Job
from tests.support.memories import live
from tests.support.stores import store
from tests.tamper.bitrot import Patient, Rot, run
from tests.tamper.rich import build

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rot")
    (folder / "base").mkdir()
    build(folder / "base" / "memory.db", bulk=False)
    return folder


@pytest.mark.slow
def test_a_flipped_bit_never_reaches_an_answer_unnoticed_and_verify_finds_it(folder: Path) -> None:
    result = run(Job(40, 20261125, folder))
    assert result.failures == []
    assert result.done == 40 and result.errors and result.same, "both fates were met"


def test_without_checksums_the_same_flips_do_get_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checksums, "available", lambda: False)
        plain = build(tmp_path / "plain.db", bulk=False).path
    patient, result = Patient.of(plain, tmp_path / "unprotected.db"), Rot(1)
    missed: list[str] = []
    for number in range(40):
        patient.flipped(random.Random(number))
        missed += patient.examine(result)
        if missed:
            break
    assert missed


def test_every_page_of_a_new_store_has_a_checksum_and_doctor_is_told(tmp_path: Path) -> None:
    with live(tmp_path / "memory.db") as memory:
        assert memory.inspect()["page_checksums"] == "on"
        memory.backup(tmp_path / "copy.db")
    with live(tmp_path / "copy.db") as memory:
        assert memory.inspect()["page_checksums"] == "on", "a copy keeps them"
    with live(tmp_path / "secret.db", key=KEY) as memory:
        assert memory.inspect()["page_checksums"] == "by the cipher"
    store(tmp_path / "named.db", vfs="unix").close()
    connection = connect(Location(tmp_path / "named.db"))
    with closing(connection):
        assert not checksums.are_on(connection), "a VFS of one's own is left as it is"


def test_a_flipped_bit_in_any_page_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(path, embedder=None, clock=FixedClock(1, step_us=1)) as memory:
        memory.remember_many([{"content": f"note {n} " + "words " * 50} for n in range(200)])
    body = bytearray(path.read_bytes())
    place = body.index(b"note 77 ")
    body[place] ^= 1
    path.write_bytes(body)
    with (
        live(path) as memory,
        pytest.raises(IntegrityError, match=r"checksum.*last backup in its place"),
    ):
        memory.recall("note 77")


def test_looking_at_a_store_with_checksums_changes_no_byte_of_it(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with live(path) as memory:
        memory.remember("one")
    before = path.read_bytes()
    look(Location(path)).close()
    with live(path, read_only=True) as memory:
        memory.recall("one")
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_flipped_bit_in_an_encrypted_store_is_found_when_it_is_read(tmp_path: Path) -> None:
    path, clock = tmp_path / "memory.db", FixedClock(1_780_000_000_000_000, step_us=1)
    with Memory.open(path, embedder=None, key=KEY, clock=clock) as memory:
        memory.remember_many([{"content": f"note {n} " + "words " * 20} for n in range(100)])
    whole = path.read_bytes()
    for number in range(12):
        body = bytearray(whole)
        body[random.Random(number).randrange(len(body))] ^= 1 << number % 8
        for old in tmp_path.glob("memory.db-*"):
            old.unlink()
        path.write_bytes(body)
        with (
            pytest.raises((IntegrityError, WrongKey)),
            Memory.open(path, embedder=None, key=KEY, clock=clock) as memory,
        ):
            if not memory.verify().holds:
                raise IntegrityError("verify named it")


def test_where_the_driver_has_no_checksums_a_store_that_has_them_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.db"
    with live(path) as memory:
        memory.remember("one")
    monkeypatch.setattr(checksums, "VFS", "not there")  # as on a platform whose wheel lacks the extension
    monkeypatch.setattr(checksums, "available", lambda: False)
    with live(path, read_only=True) as memory:
        assert memory.recall("one").items
        assert memory.inspect()["page_checksums"] == "off"
    with pytest.raises(Exception, match="cannot keep them"):
        live(path)
    with live(tmp_path / "new.db") as memory:
        assert memory.inspect()["page_checksums"] == "off"
