"""The modality `data` is taken wherever it is offered: library, tool, command line, import."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cmc_mcp import Memory
from cmc_mcp.cli.app import run
from cmc_mcp.errors import InvalidInput
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.tool import Call

BYTES = b"\x89\x00\xffmodel"
(REMEMBER,) = (tool for tool in TOOLS if tool.name == "remember")


def kept(memory: Memory) -> list[tuple[str, bytes]]:
    return [
        (memory.history(id).memory.modality, memory.read_source(memory.history(id).memory.source))  # type: ignore[union-attr,arg-type]
        for id in memory.forget(tags={}, since=0, dry_run=True).ids
    ]


def test_the_library_takes_bytes(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        memory.remember(BYTES, modality="data", source="model.bin")
        assert kept(memory) == [("data", BYTES)]


def test_the_tool_takes_base64_and_needs_no_media_type(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        sent = {"content": base64.b64encode(BYTES).decode(), "modality": "data", "source": "model.bin"}
        REMEMBER.run(Call(memory), REMEMBER.read(sent))
        assert kept(memory) == [("data", BYTES)]
        with pytest.raises(InvalidInput, match="content: is not base64, as data takes it"):
            REMEMBER.run(Call(memory), REMEMBER.read({**sent, "content": "no, text"}))


@pytest.mark.parametrize("content", [BYTES, b"plain text is data too"])
def test_the_command_line_takes_a_file(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CMC_STORE", str(tmp_path / "m.db"))
    monkeypatch.setenv("CMC_WORKSPACE", "w")
    (tmp_path / "x.bin").write_bytes(content)
    command = [
        "remember",
        "--file",
        str(tmp_path / "x.bin"),
        "--modality",
        "data",
        "--source",
        "x",
        "--json",
        "--no-model",
    ]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["added"]
    with Memory.open(tmp_path / "m.db", workspace="w", embedder=None) as memory:
        assert kept(memory) == [("data", content)]


def test_the_command_line_imports_a_line_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CMC_STORE", str(tmp_path / "m.db"))
    monkeypatch.setenv("CMC_WORKSPACE", "w")
    line = {"content": base64.b64encode(BYTES).decode(), "modality": "data", "source": "x"}
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n")
    assert run(["import", str(tmp_path / "lines.jsonl"), "--no-model"]) == 0
    with Memory.open(tmp_path / "m.db", workspace="w", embedder=None) as memory:
        assert kept(memory) == [("data", BYTES)]
