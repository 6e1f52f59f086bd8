"""With a key no word reaches the disk in the clear, whatever the process does and however it ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cmc_mcp.errors import IntegrityError, WrongKey
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import CIPHER, Location, connect
from tests.encryption.disk import CANARY, CLOCK, KEY, RecordingVFS, opened, work
from tests.erase.scan import in_bytes, in_folder

ROOT = Path(__file__).resolve().parents[2]
KEYS = pytest.mark.parametrize("key", [KEY, None])
NEXT = Migration(MIGRATIONS[-1].number + 1, "shoes", ("CREATE TABLE shoes(ws INTEGER) STRICT",))


@pytest.fixture
def vfs() -> Iterator[RecordingVFS]:
    made = RecordingVFS("recording")
    yield made
    made.unregister()


@KEYS
def test_nothing_that_is_written_is_in_the_clear(tmp_path: Path, vfs: RecordingVFS, key: bytes | None) -> None:
    path = tmp_path / "memory.db"
    seen: list[str] = []
    with opened(path, key, "recording") as memory:
        for number in range(4):
            work(memory, number, tmp_path)
            seen += in_folder(tmp_path, CANARY)
    migrate.run(Location(path, key, vfs="recording"), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, NEXT)))
    seen += in_folder(tmp_path, CANARY)
    seen += in_bytes(b"\n".join(vfs.written), CANARY)
    names = {found.name for found in tmp_path.iterdir()}
    assert {"copy-0.db", "copy-3.db", f"memory.db.v{NEXT.number - 1}.backup", "memory.db.objects"} <= names
    assert len(vfs.written) > 100
    assert (seen == []) == (key is not None), seen[:5]


@KEYS
def test_a_killed_process_leaves_nothing_in_the_clear(tmp_path: Path, key: bytes | None) -> None:
    store, temporary = tmp_path / "store", tmp_path / "temporary"
    temporary.mkdir()
    places = {name: str(temporary) for name in ("TMPDIR", "SQLITE_TMPDIR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.encryption.disk", str(store), "key" if key else "none"],
        cwd=ROOT,
        env={**os.environ, **places, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    for _ in range(random.randint(2, 5)):
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)  # it is in the middle of the next round
    child.wait()
    child.stdout.close()
    assert (store / "memory.db-wal").exists()
    found = in_folder(tmp_path, CANARY)
    assert (found == []) == (key is not None), found[:5]


def test_the_cipher_in_use_is_named_and_read_back(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db", KEY) as memory:
        said = memory.inspect()
        assert (said["encrypted"], said["cipher"]) == ("true", f"{CIPHER}, objects aes-256-gcm")
    assert CIPHER == "chacha20"
    with opened(tmp_path / "plain.db", None) as memory:
        assert memory.inspect()["encrypted"] == "false" and "cipher" not in memory.inspect()


def test_a_bit_turned_in_an_encrypted_page_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with opened(path, KEY) as memory:
        for number in range(30):
            memory.remember(f"note {number} " * 30)
    whole = path.read_bytes()
    rng = random.Random(3)
    connection = connect(Location(path, KEY))
    pages = connection.pragma("page_count")
    connection.close()
    for page in [*rng.sample(range(pages), 15), 0]:
        turned = bytearray(whole)
        turned[page * 4096 + rng.randrange(100, 4096)] ^= 1 << rng.randrange(8)
        path.write_bytes(turned)
        try:
            with opened(path, KEY) as memory:
                found = [fault.reason for fault in memory.verify().faults]
        except (IntegrityError, WrongKey) as error:  # the first page cannot be told from one under another key
            found = [error.message]
        assert found, f"page {page} was read as if nothing had happened"
