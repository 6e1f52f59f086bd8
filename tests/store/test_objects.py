from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError, StoreError
from cmc_mcp.store.objects import files
from cmc_mcp.store.objects.files import FileObjects
from tests.objects.kept import PLACES, Kept, kept_in
from tests.support.stores import memory
from tests.support.together import together

DATA = b"some bytes that are too many for the database"
HASH = payload_hash(DATA)
KEYS = pytest.mark.parametrize("key", [None, b"k" * 32])


@pytest.fixture(params=PLACES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return kept_in(request.param, tmp_path, monkeypatch)


@KEYS
def test_an_object_comes_back_as_it_went(kept: Kept, key: bytes | None) -> None:
    objects = kept.open(key)
    objects.put(1, HASH, DATA)
    assert objects.get(1, HASH) == DATA
    assert list(objects.hashes(1)) == [HASH]
    (envelope,) = kept.raw().values()
    assert (DATA in envelope) == (key is None)


@KEYS
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_object_is_never_given_back(kept: Kept, key: bytes | None, damage: str) -> None:
    objects = kept.open(key)
    objects.put(1, HASH, DATA)
    ((name, envelope),) = kept.raw().items()
    body = bytearray(envelope)
    body[len(body) // 2] ^= 1
    kept.write(name, {"flip": bytes(body), "cut": bytes(body[:-1]), "empty": b""}[damage])
    with pytest.raises(IntegrityError) as caught:
        objects.get(1, HASH)
    assert HASH.hex() == caught.value.fields["key"]


def test_a_missing_object_is_damage_and_says_what_helps(kept: Kept) -> None:
    with pytest.raises(IntegrityError, match=r"missing.*backup"):
        kept.open().get(1, HASH)


def test_an_object_moved_under_another_hash_does_not_decrypt(kept: Kept) -> None:
    objects = kept.open(b"k" * 32)
    objects.put(1, HASH, DATA)
    other = payload_hash(b"other")
    objects.put(1, other, b"other")
    raw = {name.rpartition("/")[2]: (name, envelope) for name, envelope in kept.raw().items()}
    kept.write(raw[other.hex()][0], raw[HASH.hex()][1])
    with pytest.raises(IntegrityError):
        objects.get(1, other)


def test_another_key_does_not_open_an_object(kept: Kept) -> None:
    kept.open(b"k" * 32).put(1, HASH, DATA)
    with pytest.raises(IntegrityError, match="decrypted"):
        kept.open(b"l" * 32).get(1, HASH)


def test_workspaces_do_not_share_objects(kept: Kept) -> None:
    objects = kept.open()
    objects.put(1, HASH, DATA)
    with pytest.raises(IntegrityError):
        objects.get(2, HASH)
    assert list(objects.hashes(2)) == []


def test_an_object_is_written_once(kept: Kept) -> None:
    objects = kept.open(b"k" * 32)
    objects.put(1, HASH, DATA)
    before = kept.raw()
    objects.put(1, HASH, DATA)
    assert before == kept.raw()  # an envelope has a nonce of its own


def test_many_threads_may_write_the_same_object_at_once(kept: Kept) -> None:
    objects = kept.open()
    ready = threading.Barrier(8)

    def put() -> None:
        ready.wait(10)
        objects.put(1, HASH, DATA)

    together(put, [()] * 8)
    assert objects.get(1, HASH) == DATA
    assert [HASH.hex()] == [name.rpartition("/")[2] for name in kept.raw()]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*nothing was changed"):
        FileObjects(tmp_path).put(1, HASH, DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_deleting_what_is_not_there_is_no_error(kept: Kept) -> None:
    objects = kept.open()
    objects.put(1, HASH, DATA)
    objects.delete(1, HASH)
    objects.delete(1, HASH)
    assert list(objects.hashes(1)) == []


@KEYS
@pytest.mark.parametrize("modality", ["event", "image"])
def test_content_over_the_inline_limit_goes_to_objects_and_is_remembered_whole(
    tmp_path: Path, key: bytes | None, modality: str
) -> None:
    text = "an event about zebras " + "with many words " * 20
    with memory(tmp_path / "memory.db", key=key, inline_bytes=64) as opened:
        if modality == "event":
            opened.remember(text, modality="event", source="log:1")
        else:
            opened.remember(text.encode(), modality="image", media_type="image/png", title="zebras", source="log:1")
        (item,) = opened.recall("zebras").items
        assert modality == item.modality
        assert text.encode() == opened.read_source("log:1")
        assert opened.verify().holds
    with memory(tmp_path / "memory.db", key=key, inline_bytes=64) as opened:
        assert text.encode() == opened.read_source("log:1")
    stored = (tmp_path / "memory.db").read_bytes()
    assert text.encode() not in stored


def test_verify_names_an_object_that_is_missing_and_one_that_is_damaged(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", inline_bytes=64) as opened:
        opened.remember("first " + "word " * 40, modality="event")
        opened.remember("second " + "word " * 40, modality="event")
        first, second = sorted(p for p in (tmp_path / "memory.db.objects").rglob("*") if p.is_file())
        first.unlink()
        second.write_bytes(b"something else")
        found = {fault.key: fault.reason for fault in opened.verify().faults if fault.table == "objects"}
    assert {first.name, second.name} == set(found)
    assert "missing" in found[first.name] and "does not match" in found[second.name]


def test_an_orphan_object_is_harmless(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", inline_bytes=64) as opened:
        opened.remember("a note")
        FileObjects(tmp_path / "memory.db.objects").put(1, HASH, DATA)
        assert opened.verify().holds
        opened.backup(tmp_path / "copy.db")
    with memory(tmp_path / "copy.db") as opened:
        assert opened.verify().holds
