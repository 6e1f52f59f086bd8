"""The README says what is so: its code runs, and what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs_and_finds_what_it_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = (code for code in _blocks("python") if "adapters" not in code)  # those: tests/adapters

    exec(compile(block, "README.md", "exec"), {})

    assert "Fly.io" in capsys.readouterr().out


def test_the_client_configuration_of_the_readme_is_json_that_starts_our_server() -> None:
    (block,) = _blocks("json")
    server = json.loads(block)["mcpServers"]["memory"]

    assert f"{server['command']} = " in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_variable_the_readme_names_is_read_somewhere() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cmc_mcp").rglob("*.py"))

    missing = [name for name in sorted(set(re.findall(r"CMC_[A-Z_]+", README))) if name not in source]

    assert missing == []


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_every_file_the_readme_links_to_is_there(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|docs|examples)/[a-z_./]+)`", README))))
def test_every_test_and_page_the_readme_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
