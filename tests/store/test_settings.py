from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from cmc_mcp.errors import StoreError
from cmc_mcp.store import folders
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import connection
from cmc_mcp.store.sqlite.connection import APPLICATION_ID, Location, connect, filesystem, prepare_folder
from tests.support.stores import memory, mode, store


@pytest.mark.parametrize(
    ("pragma", "expected"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("secure_delete", 1),
        ("cell_size_check", 1),
        ("temp_store", 2),
        ("application_id", APPLICATION_ID),
        ("user_version", MIGRATIONS[-1].number),
    ],
)
def test_every_connection_has_the_settings_that_durability_rests_on(
    tmp_path: Path, pragma: str, expected: str | int
) -> None:
    path = tmp_path / "memory.db"
    with memory(path):
        connected = connect(Location(path))
        try:
            assert expected == connected.pragma(pragma)
        finally:
            connected.close()


def test_a_double_quoted_name_is_never_taken_for_a_string(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path):
        connected = connect(Location(path))
        try:
            with pytest.raises(apsw.SQLError):
                connected.execute('SELECT "no such column"').fetchall()
            with pytest.raises(apsw.SQLError):
                connected.execute('CREATE TABLE t(a CHECK(a <> "no such column"))')
        finally:
            connected.close()


def test_no_extension_can_be_loaded_once_the_store_is_open(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path):
        connected = connect(Location(path))
        try:
            with pytest.raises(apsw.Error, match="not authorized"):
                connected.execute("SELECT load_extension('anything')").fetchall()
        finally:
            connected.close()


def test_the_store_says_how_it_is_opened(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db") as opened:
        assert opened.inspect()["encrypted"] == "false"
    with memory(tmp_path / "other.db", key=b"k" * 32) as opened:
        assert opened.inspect()["encrypted"] == "true"


def test_the_key_shows_in_no_text(tmp_path: Path) -> None:
    location = Location(tmp_path / "memory.db", b"very secret canary")
    assert "canary" not in f"{location!r} {location}"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
def test_folders_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "new" / "deeper" / "memory.db"
    before = os.umask(umask)
    try:
        with memory(path, inline_bytes=16) as opened:
            opened.remember("something long enough to become an object", modality="event")
            found = {p: mode(p) for p in path.parent.parent.rglob("*")}
            opened.backup(tmp_path / "backup" / "copy.db")
    finally:
        os.umask(before)
    found |= {path.parent.parent: mode(path.parent.parent), tmp_path / "backup": mode(tmp_path / "backup")}
    found |= {p: mode(p) for p in (tmp_path / "backup").rglob("*")}
    names = {p.name for p in found}
    assert {"memory.db", "memory.db-wal", "memory.db-shm", "memory.db.lock", "memory.db.objects", "copy.db"} <= names
    assert {str(p): oct(m) for p, m in found.items() if m != (0o700 if p.is_dir() else 0o600)} == {}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with memory(tmp_path / "memory.db"):
        assert mode(tmp_path) == 0o755


def test_the_entry_of_a_new_file_is_synced_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool, int]] = []
    path = tmp_path / "new" / "memory.db"
    real = folders.sync_folder

    def spy(folder: Path) -> None:
        synced.append((folder, path.exists(), path.stat().st_size if path.exists() else 0))
        real(folder)

    for module in (folders, connection):
        monkeypatch.setattr(module, "sync_folder", spy)
    with memory(path):
        pass
    assert [(tmp_path, False, 0), (path.parent, True, 0)] == synced


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(connection, "filesystem", lambda folder: kind)
    with pytest.raises(StoreError, match=f"network file system \\({kind}\\).*local disk"):
        memory(tmp_path / "memory.db")
    assert not (tmp_path / "memory.db").exists()


def test_the_file_system_is_the_one_of_the_deepest_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = tmp_path / "my share"
    share.mkdir()
    mounts = f"rootfs / ext4 rw 0 0\nserver:/x {str(share).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n"
    real = Path.read_text

    def read(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return mounts if str(path) == "/proc/mounts" else real(path, encoding, errors)

    monkeypatch.setattr(connection.sys, "platform", "linux")
    monkeypatch.setattr(Path, "read_text", read)
    assert (filesystem(share), filesystem(tmp_path)) == ("nfs4", "ext4")
    with pytest.raises(StoreError, match="network file system"):
        prepare_folder(share / "memory.db")


def test_a_place_that_cannot_hold_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere" / "x.db")
    for path, said in (
        (tmp_path / "file" / "memory.db", "cannot be opened"),
        (tmp_path / "link.db", "broken link"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(StoreError, match=said):
            store(path)


def test_a_file_system_without_shared_memory_is_refused_rather_than_written_less_durably(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"journal_mode=WAL.*local file system"):
        store(tmp_path / "memory.db", vfs="unix-none")
