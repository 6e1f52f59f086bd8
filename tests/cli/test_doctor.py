"""Doctor: on a healthy store, and on every kind of broken one."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from cmc_mcp.cli.holder import holder_of
from tests.support.memories import live


def findings(answer: Any) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(answer.out)["findings"]}


def filled(path: Path) -> None:
    with live(path) as memory:
        memory.remember_many([{"content": f"note number {n} about herons"} for n in range(40)])
        memory.snapshot("a label")


def test_a_healthy_store_is_healthy_and_its_settings_are_explained(
    cmc: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    answer = cmc("--json", "doctor")
    assert answer.code == 0, answer.out
    found = findings(answer)
    assert {finding["state"] for finding in found.values()} <= {"ok", "note"}
    for check in (
        "versions",
        "tokenizer",
        "round trip",
        "disk",
        "file",
        "journal",
        "write lock",
        "store",
        "quarantine",
        "integrity",
    ):
        assert found[check]["state"] == "ok", found[check]
    assert "environment, CMC_STORE" in found["store path"]["says"]
    assert "default" in found["workspace"]["says"]
    assert "0600" in found["file"]["says"]
    assert all(f.get("do") for f in found.values() if f["state"] != "ok" and f["check"] != "model")
    monkeypatch.setenv("CMC_WORKSPACE", "acme")
    assert "CMC_WORKSPACE" in findings(cmc("--json", "doctor", "--quick"))["workspace"]["says"]
    assert "option --workspace" in findings(cmc("--json", "doctor", "--quick", "--workspace", "b"))["workspace"]["says"]


def test_the_file_is_named_when_a_setting_is_from_it(cmc: Any, tmp_path: Path) -> None:
    (tmp_path / "cmc.toml").write_text('workspace = "from-file"\nprincipal = "ann"\n')
    found = findings(cmc("--json", "doctor"))
    assert "from-file" in found["workspace"]["says"] and "cmc.toml" in found["workspace"]["says"]
    (tmp_path / "cmc.toml").write_text("workspace = [")
    answer = cmc("--json", "doctor")
    assert answer.code == 1 and findings(answer)["settings"]["state"] == "fault"


def test_the_doctor_changes_nothing(cmc: Any, store: Path) -> None:
    filled(store)
    before = cmc("--json", "log").json
    data = store.read_bytes()
    cmc("doctor", "--deep")
    cmc("--workspace", "other", "doctor")
    assert cmc("--json", "log").json == before
    assert store.read_bytes() == data


def test_without_a_store_it_says_how_to_make_one(cmc: Any, store: Path) -> None:
    answer = cmc("doctor")
    assert answer.code == 0
    assert "cmc remember" in answer.out
    assert not store.exists()


def test_the_model_is_probed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cmc_mcp.cli.app import run

    filled(store)
    assert run(["--json", "doctor"]) == 0
    found = {f["check"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["model"]["state"] == "ok" and "paraphrase" in found["model"]["says"]
    assert found["vectors"]["state"] == "note" and found["vectors"]["do"] == "cmc embed"
    assert run(["embed"]) == 0
    capsys.readouterr()
    assert run(["--json", "doctor", "--deep"]) == 0
    assert "vectors" not in {f["check"] for f in json.loads(capsys.readouterr().out)["findings"]}


def test_a_held_lock_is_found_with_its_holder(cmc: Any, store: Path) -> None:
    filled(store)
    code = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(d, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    lock = f"{store}.lock"
    with subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        answer = cmc("--json", "doctor")
        assert child.stdin is not None
        child.stdin.close()
    assert answer.code == 1
    found = findings(answer)
    assert found["write lock"]["state"] == "fault" and f"process {child.pid}" in found["write lock"]["says"]
    assert found["integrity"]["state"] == "ok"  # what needs no lock is checked all the same
    assert cmc("doctor").code == 0


def test_trying_a_lock_gives_it_back(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    assert holder_of(lock).free and not lock.exists()
    lock.touch()
    assert holder_of(lock).free
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not holder_of(lock, patience_s=0).free
    os.close(descriptor)
    assert holder_of(lock, patience_s=0).free


def test_a_file_that_others_may_read_is_a_fault(cmc: Any, store: Path) -> None:
    filled(store)
    store.chmod(0o644)
    answer = cmc("--json", "doctor")
    assert answer.code == 1
    assert "chmod 600" in findings(answer)["file"]["do"]


def test_a_read_only_file_is_a_fault_and_is_still_examined(cmc: Any, store: Path) -> None:
    filled(store)
    store.chmod(0o400)
    answer = cmc("--json", "doctor")
    found = findings(answer)
    assert answer.code == 1
    assert found["file"]["state"] == "fault" and "chmod u+w" in found["file"]["do"]
    assert found["integrity"]["state"] == "ok"


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        ("foreign", "not a CMC store"),
        ("garbage", "not a CMC store"),
        ("future", "upgrade"),
        ("damaged", "damaged"),
    ],
)
def test_a_store_that_cannot_be_opened_is_explained(cmc: Any, store: Path, break_: str, message: str) -> None:
    filled(store)
    if break_ == "foreign":
        store.unlink()
        with sqlite3.connect(store) as other:
            other.execute("CREATE TABLE t(x)")
        other.close()
    elif break_ == "garbage":
        store.write_bytes(b"this is no database, but a text of some length\n" * 100)
    elif break_ == "future":
        connection = apsw.Connection(str(store))
        connection.pragma("user_version", 999)
        connection.close()
    else:
        data = bytearray(store.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        store.write_bytes(data)
    store.chmod(0o600)
    before = store.read_bytes()
    answer = cmc("--json", "doctor")
    assert answer.code == 1
    faults = [f for f in findings(answer).values() if f["state"] == "fault"]
    assert any(message in f["says"] or message in f["do"] for f in faults), faults
    assert all(f["do"] for f in faults)
    assert store.read_bytes() == before
    assert cmc("recall", "heron").code == 3


def test_an_edited_store_fails_its_integrity(cmc: Any, store: Path) -> None:
    filled(store)
    connection = apsw.Connection(str(store))
    connection.execute(
        "UPDATE payloads SET body = CAST('forged' AS BLOB) WHERE body = CAST('note number 7 about herons' AS BLOB)"
    )
    assert connection.changes() == 1
    connection.close()
    answer = cmc("--json", "doctor")
    assert answer.code == 1
    assert "payloads" in findings(answer)["integrity"]["says"]
    assert cmc("--json", "doctor", "--quick").code == 0


def test_what_waits_in_quarantine_is_named(cmc: Any) -> None:
    cmc("policy", "set", "gate.min_confidence", "0.5")
    cmc("remember", "perhaps", "--confidence", "0.1")
    found = findings(cmc("--json", "doctor"))
    assert found["quarantine"]["state"] == "note" and "release" in found["quarantine"]["do"]


def test_calibration_is_shown_for_each_writer_and_model_with_advice(cmc: Any, store: Path) -> None:
    with live(store) as memory:
        memory.remember("not judged yet", confidence=0.9)
    assert findings(cmc("--json", "doctor", "--quick"))["calibration"]["state"] == "ok"
    with live(store) as memory:
        bold, shy = memory.as_principal("bold"), memory.as_principal("shy")
        said = [bold.remember(f"bold {n}", confidence=0.95, model_id="m1").added[0] for n in range(30)]
        few = [shy.remember(f"shy {n}", confidence=0.2).added[0] for n in range(3)]
        memory.mark(said[:15], "right")
        memory.mark(said[15:], "wrong")
        memory.mark(few, "right")
    found = [f for f in json.loads(cmc("--json", "doctor", "--quick").out)["findings"] if f["check"] == "calibration"]
    by = {finding["says"].partition(":")[0]: finding for finding in found}
    assert set(by) == {"bold with m1", "shy"}
    assert by["bold with m1"]["state"] == by["shy"]["state"] == "note"
    assert "30 judged, said 0.95 and was right 0.50" in by["bold with m1"]["says"]
    assert "(gap +0.45), calibration error 0.45" in by["bold with m1"]["says"]
    assert "divide the logit by" in by["bold with m1"]["do"] and "0.5" in by["bold with m1"]["do"]
    assert "mark more" in by["shy"]["do"] and "more confidence" in by["shy"]["do"]
