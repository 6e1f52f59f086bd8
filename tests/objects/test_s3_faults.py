"""What a server of objects, or the line to it, can do wrong, over real HTTP: each fault with what must come out of it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.canon import payload_hash
from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError, IntegrityError, StoreError
from cmc_mcp.store.objects import open_objects
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.objects.place import Bucket
from cmc_mcp.store.objects.s3 import Bounds, S3Objects
from tests.objects.server import CREDENTIALS, Proxy, Server, proxy, signed_in
from tests.support import reach
from tests.support.load import Stopwatch
from tests.support.memories import live

DATA = b"some bytes that are too many for the database " * 40
HASH = payload_hash(DATA)
QUICK = Bounds(connect_s=2, read_s=1.0, body_s=1.5, tries=3, pause_s=0.01)


class Rig:
    """Objects behind a proxy, and the server behind that."""

    def __init__(self, place: str, bucket: str, told: Proxy) -> None:
        self.place, self.bucket, self.told, self.server = place, bucket, told, Server()
        self.objects = S3Objects.open(Bucket.of(place), bounds=QUICK)
        told.seen.clear()

    def stored(self) -> list[bytes]:
        return list(self.server.raw(self.bucket).values())


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    signed_in(monkeypatch)
    bucket = Server().bucket(tmp_path)
    with proxy() as (address, told):
        yield Rig(f"s3://{bucket}/p?endpoint={address}", bucket, told)


@pytest.mark.parametrize("fault", ["stall", "503", "cut", "flip", "short", "long", "trickle", "InternalError"])
def test_a_read_that_fails_twice_is_tried_again_and_is_whole(rig: Rig, fault: str) -> None:
    rig.objects.put(1, HASH, DATA)
    rig.told.spoil("GET", fault, 2)
    assert rig.objects.get(1, HASH) == DATA
    assert rig.told.seen.count("GET") == 3


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("stall", StoreError, "try again"),
        ("503", StoreError, "SlowDown.*try again"),
        ("cut", StoreError, "try again"),
        ("flip", IntegrityError, "does not match its hash; bring it back from a backup"),
        ("short", IntegrityError, "does not match"),
        ("long", IntegrityError, "does not match"),
        ("trickle", StoreError, r"bytes came in 1\.5 s"),
    ],
)
def test_a_read_that_always_fails_ends_within_its_bound_and_says_why(
    rig: Rig, fault: str, kind: type[CmcError], said: str
) -> None:
    rig.objects.put(1, HASH, DATA)
    rig.told.spoil("GET", fault, 100)
    watch = Stopwatch(os.getpid())
    with pytest.raises(kind, match=said):
        rig.objects.get(1, HASH)
    assert watch.seconds() < 20
    assert rig.told.seen.count("GET") == QUICK.tries


@pytest.mark.parametrize("fault", ["stall", "lost", "503", "BadDigest", "ConditionalRequestConflict"])
def test_a_write_that_fails_twice_is_tried_again_and_is_kept_once(rig: Rig, fault: str) -> None:
    rig.told.spoil("PUT", fault, 2)
    rig.objects.put(1, HASH, DATA)
    assert rig.stored() == [DATA]


@pytest.mark.parametrize("fault", ["stall", "503", "BadDigest"])
def test_a_write_that_always_fails_says_that_nothing_was_changed(rig: Rig, tmp_path: Path, fault: str) -> None:
    with live(tmp_path / "m.db", settings=Settings(inline_bytes=64), objects=rig.place) as memory:
        reach.alter(memory, objects=rig.objects)  # of the short bounds
        memory.remember("a note")
        before = memory.snapshot().root
        rig.told.spoil("PUT", fault, 100)
        with pytest.raises(StoreError, match=r"could not be written.*nothing was changed, try again"):
            memory.remember("word " * 100, modality="event")
        assert before == memory.snapshot().root
        assert rig.stored() == []
        rig.told._faults.clear()
        memory.remember("word " * 100, modality="event")
        assert memory.verify().holds
    assert len(rig.stored()) == 1


def test_a_server_without_conditional_writes_is_asked_first_and_nothing_is_overwritten(rig: Rig) -> None:
    rig.told.spoil("PUT", "NotImplemented")
    rig.objects.put(1, HASH, DATA)
    assert rig.told.seen == ["PUT", "HEAD", "PUT"]
    rig.objects.put(1, HASH, DATA)
    assert rig.told.seen == ["PUT", "HEAD", "PUT", "HEAD"]
    assert rig.stored() == [DATA]


def test_an_erase_whose_object_could_not_be_removed_is_finished_by_the_next_open(rig: Rig, tmp_path: Path) -> None:
    settings = Settings(inline_bytes=64)
    with live(tmp_path / "m.db", settings=settings, objects=rig.place) as memory:
        reach.alter(memory, objects=rig.objects)
        added = memory.remember("secret " * 100, modality="event").added
        plan = memory.forget(added, erase=True, dry_run=True)
        rig.told.spoil("DELETE", "503", QUICK.tries)
        receipt = memory.forget(added, erase=True, digest=plan.digest).receipt
        assert receipt is not None and receipt.pages_pending
        assert len(rig.stored()) == 1
    with live(tmp_path / "m.db", settings=settings, objects=rig.place) as memory:
        assert rig.stored() == []
        assert memory.verify().holds


def test_a_bucket_that_keeps_versions_keeps_none_of_what_is_deleted(rig: Rig) -> None:
    rig.server.client.put_bucket_versioning(Bucket=rig.bucket, VersioningConfiguration={"Status": "Enabled"})
    rig.objects.put(1, HASH, DATA)
    other = payload_hash(b"other")
    rig.objects.put(1, other, b"other")
    rig.objects.delete(1, HASH)
    rig.objects.delete(1, HASH)
    left = rig.server.client.list_object_versions(Bucket=rig.bucket)
    assert [one["Key"] for one in left["Versions"]] == [f"p/1/{other.hex()[:2]}/{other.hex()}"]
    assert "DeleteMarkers" not in left


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("NoSuchBucket", "the bucket .* does not exist .* create it"),
        ("InvalidAccessKeyId", "rejects the credentials .*AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "rejects the credentials"),
        ("ExpiredToken", "rejects the credentials"),
        ("AccessDenied", "may not be opened .*s3:ListBucket"),
        ("PermanentRedirect", r"another region .*\?region=NAME"),
        ("503", "SlowDown.*try again"),
    ],
)
def test_a_bucket_that_refuses_is_found_when_the_store_is_opened_and_nothing_is_made(
    rig: Rig, tmp_path: Path, code: str, said: str
) -> None:
    rig.told.spoil("GET", code, 100)
    with pytest.raises(StoreError, match=said) as caught:
        live(tmp_path / "m.db", objects=rig.place)
    assert list(tmp_path.iterdir()) == []
    shown = caught.value.message
    assert not any(secret in shown for secret in CREDENTIALS.values())


def test_a_bucket_that_does_not_exist_a_server_that_is_not_there_and_no_credentials(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = rig.place.partition("?")[2]
    with pytest.raises(StoreError, match=r"the bucket no-such-bucket does not exist"):
        live(tmp_path / "m.db", objects=f"s3://no-such-bucket?{address}")
    with pytest.raises(StoreError, match=r"could not be opened .*check the network"):
        S3Objects.open(Bucket.of("s3://bucket?endpoint=http://127.0.0.1:1"), bounds=QUICK)
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match=r"no credentials were found .*AWS_PROFILE"):
        live(tmp_path / "m.db", objects=rig.place)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"nobody.*AWS_PROFILE"):
        live(tmp_path / "m.db", objects=rig.place)
    assert list(tmp_path.iterdir()) == []


def test_a_list_longer_than_a_page_is_whole_sorted_and_without_what_is_not_ours(rig: Rig) -> None:
    hashes = sorted(payload_hash(str(n).encode()) for n in range(20))
    for hash_ in hashes:
        rig.server.client.put_object(Bucket=rig.bucket, Key=f"p/7/{hash_.hex()[:2]}/{hash_.hex()}", Body=b"")
    for stray in ("p/7/readme.txt", "p/notes/aa/x", "p/70/ab/cd", f"q/7/{hashes[0].hex()[:2]}/{hashes[0].hex()}"):
        rig.server.client.put_object(Bucket=rig.bucket, Key=stray, Body=b"")
    rig.told.page = 7
    assert list(rig.objects.hashes(7)) == hashes
    assert list(rig.objects.hashes(70)) == []
    assert rig.told.seen.count("GET") == 4  # three pages, one


def test_a_backup_of_a_store_with_a_bucket_is_a_store_with_a_folder(rig: Rig, tmp_path: Path) -> None:
    text, settings, key = "word " * 100, Settings(inline_bytes=64), b"k" * 32
    with live(tmp_path / "m.db", settings=settings, objects=rig.place, key=key) as memory:
        memory.remember(text, modality="event", source="log")
        rig.told.spoil("GET", "cut")
        memory.backup(tmp_path / "copy.db")
        assert text.encode() not in b"".join(rig.stored())
    with live(tmp_path / "copy.db", key=key, read_only=True) as copy:
        assert copy.read_source("log") == text.encode()
        assert copy.verify().holds
    (hash_,) = FileObjects(tmp_path / "copy.db.objects", key).hashes(1)
    assert FileObjects(tmp_path / "copy.db.objects", key).get(1, hash_) == text.encode()


def test_a_damaged_object_is_never_copied_into_a_backup(rig: Rig, tmp_path: Path) -> None:
    rig.objects.put(1, HASH, DATA)
    rig.told.spoil("GET", "", 1)  # the list
    rig.told.spoil("GET", "flip", 100)
    with pytest.raises(IntegrityError):
        rig.objects.copy_to(tmp_path / "copy")
    assert [path for path in (tmp_path / "copy").rglob("*") if path.is_file()] == []


def test_a_forked_child_speaks_on_a_connection_of_its_own(rig: Rig) -> None:
    rig.objects.put(1, HASH, DATA)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if all(rig.objects.get(1, HASH) == DATA for _ in range(3)) else 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(2)
    assert all(rig.objects.get(1, HASH) == DATA for _ in range(3))
    assert os.waitpid(child, 0)[1] == 0


def test_without_the_driver_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "cmc_mcp.store.objects.s3")
    with pytest.raises(StoreError, match=r"pip install 'cmc-mcp\[s3\]'"):
        live(tmp_path / "m.db", objects="s3://bucket")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_needs_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    open_objects(tmp_path).put(1, HASH, DATA)
    assert open_objects(f"file://{tmp_path}").get(1, HASH) == DATA
