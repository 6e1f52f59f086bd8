"""The demo, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmc_mcp.demo import Stage
from tests.support.memories import live


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CMC_")}
    environment |= {"HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd / "config"), "XDG_DATA_HOME": str(cwd / "data")}
    return subprocess.run(
        [sys.executable, "-m", "cmc_mcp", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_demo_does_the_whole_job_and_leaves_the_store_when_asked(tmp_path: Path) -> None:
    done = run("demo", "--keep", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("399 memories", "Heroku", "Fly.io", "Azure", "dry run", "byte for byte", "Everything came out"):
        assert said in done.stdout
    assert "\x1b" not in done.stdout and "✗" not in done.stdout
    with live(tmp_path / "kept" / "memory.db", workspace="demo") as memory:
        assert memory.verify().holds
        assert not any("Azure" in item.text for item in memory.recall("Azure App Service").items)
        assert any(
            "Azure" in item.text
            for item in memory.recall("Azure App Service", as_of=memory.history().transactions[1].transaction).items
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]  # nothing of the user's is made


def test_the_fast_demo_answers_in_json_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("--json", "demo", "--fast", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["holds"] and len(answer["steps"]) == 8 and all(step["holds"] for step in answer["steps"])
    assert not list(tmp_path.iterdir())


def test_the_demo_keeps_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    done = run("demo", "--keep", "full", cwd=tmp_path)
    assert done.returncode == 3
    assert "not empty" in done.stderr and done.stderr.count("\n") == 1


def test_a_step_that_does_not_come_out_as_it_should_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(quiet=False)
    with stage.step("Good") as check:
        check.expect(True, "unseen")
    with stage.step("Bad") as check:
        check.expect(False, "the sky is green")
    assert [step.holds for step in stage.steps] == [True, False]
    out = capsys.readouterr().out
    assert "✗ the sky is green" in out and "unseen" not in out


def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "cmc_mcp", "demo"], env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert "Start the server" in child.stdout.readline()
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does it: to the server too
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.startswith("cmc: interrupted") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
