"""Who uses the public API with types is told what is right and what is wrong, by both checkers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import cmc_mcp

ROOT = Path(__file__).resolve().parents[2]
USAGE = Path(__file__).with_name("usage.py")
CONFIGURATION = USAGE.with_name("pyrightconfig.json")

pytestmark = pytest.mark.slow

Said = Mapping[str, Sequence[str]]
"""What a checker complains of, by the name of the program: the program as it is, and one with two mistakes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it is, and one with a wrong type and an expected error that is none."""
    made = tmp_path_factory.mktemp("typing")
    text = USAGE.read_text(encoding="utf-8")
    wrong = text.replace("assert_type(receipt, Receipt)", "assert_type(receipt, str)")
    right = "assert_type(memory, Memory)"
    wrong = wrong.replace(right, f"{right}  # type: ignore[misc]  # pyright: ignore[reportCallIssue]")
    (made / "usage.py").write_text(text, encoding="utf-8")
    (made / "wrong.py").write_text(wrong, encoding="utf-8")
    options = json.loads(CONFIGURATION.read_text(encoding="utf-8"))
    options |= {"include": ["."], "extraPaths": [str(ROOT)]}
    (made / "pyrightconfig.json").write_text(json.dumps(options), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def mypy(folder: Path) -> Said:
    """What mypy says, with the options and the cache of the project."""
    programs = [str(folder / "usage.py"), str(folder / "wrong.py")]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *programs]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stdout + found.stderr
    lines = found.stdout.splitlines()
    said = {name: [line for line in lines if f"{name}:" in line] for name in ("usage.py", "wrong.py")}
    assert sum(map(len, said.values())) == len(lines), lines
    return said


@pytest.fixture(scope="module")
def pyright(folder: Path) -> Said:
    """What pyright says, strict."""
    command = [str(Path(sys.executable).with_name("pyright")), "-p", str(folder), "--outputjson"]
    command += ["--pythonpath", sys.executable]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    answer = json.loads(found.stdout)
    assert answer["summary"]["filesAnalyzed"] == 2
    return {
        name: [each["message"] for each in answer["generalDiagnostics"] if each["file"].endswith(name)]
        for name in ("usage.py", "wrong.py")
    }


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_agrees_with_every_line(checker: str, request: pytest.FixtureRequest) -> None:
    said: Said = request.getfixturevalue(checker)

    assert said["usage.py"] == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_checker_finds_a_wrong_type_and_an_error_that_is_none(checker: str, request: pytest.FixtureRequest) -> None:
    said: Said = request.getfixturevalue(checker)

    assert len(said["wrong.py"]) == 2


def test_every_public_name_is_used() -> None:
    imported, used = USAGE.read_text(encoding="utf-8").partition("\nversion: ")[::2]

    assert [name for name in cmc_mcp.__all__ if name not in imported or name not in used] == []
