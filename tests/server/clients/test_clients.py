"""The clients of LlamaIndex and LangChain, each in a virtual environment of its own, over stdio and HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cmc_mcp.tools import TOOLS
from tests.server import external

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


def drive(folder, program, *requirements):
    python = external.python_with(program, *requirements)
    (folder / "http").mkdir()
    with external.shipped_over_http(folder / "http") as url:
        given = json.dumps([external.SERVE_STDIO, external.environment(folder), url])
        result = external.run([python, str(HERE / f"{program}_client.py"), given], folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("program", "requirements"),
    [
        ("llamaindex", ["llama-index-tools-mcp>=0.6"]),
        ("langchain", ["langchain-mcp-adapters==0.3.2", "mcp>=1.30,<2"]),
    ],
)
def test_a_framework_remembers_and_recalls_and_is_told_what_went_wrong(tmp_path, program, requirements):
    said = drive(tmp_path, program, *requirements)
    for name in ("stdio", "http"):
        assert said[name]["tools"] == sorted(tool.name for tool in TOOLS)
        assert f"The kettle is in the cellar, says {name}" in said[name]["found"]
        assert re.search(r"(?<![0-9a-f])[0-9a-f]{6}(?![0-9a-f])", said[name]["found"])
        assert "recall failed [invalid_input]" in said[name]["wrong"]
        assert "What to do" in said[name]["wrong"]
