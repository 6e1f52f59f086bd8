"""The command line as tests call it: in the process, with a store and a home of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cmc_mcp.cli.app import run


class Answer(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.out)


Cmc = Callable[..., Answer]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CMC_WORKSPACE", "CMC_PRINCIPAL", "CMC_KEY", "CMC_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "home" / "memory.db"
    monkeypatch.setenv("CMC_STORE", str(path))
    monkeypatch.setenv("CMC_CONFIG", str(tmp_path / "cmc.toml"))
    monkeypatch.setenv("CMC_SIGNING_KEY_FILE", str(tmp_path / "signing.key"))
    return path


@pytest.fixture
def cmc(store: Path, capsys: pytest.CaptureFixture[str]) -> Cmc:
    """Run `cmc --no-model …` in this process."""

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(["--no-model", *arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
