"""The Inspector's command line, strict about schemas, over stdio and HTTP, in both eras."""

from __future__ import annotations

import json

import pytest

from cmc_mcp.tools import TOOLS
from tests.server import external

PACKAGE = "@modelcontextprotocol/inspector@2.12.0"
ENTRY = ".bin/mcp-inspector"
TOOL_ERROR = 5

pytestmark = pytest.mark.slow


def inspect(folder, target, *arguments, code=0):
    program = external.npm(PACKAGE, ENTRY)
    result = external.run([*program, "--cli", *target, *arguments], folder)
    assert result.returncode == code, result.stdout + result.stderr
    return json.loads(result.stdout) if code == 0 else result.stdout + result.stderr


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_every_schema_is_portable(tmp_path, era):
    arguments = ("--method", "tools/list", "--strict", "--protocol-era", era)
    listed = inspect(tmp_path, external.SERVE_STDIO, *arguments)
    assert [tool["name"] for tool in listed["tools"]] == [tool.name for tool in TOOLS]


def test_the_main_job_works_from_the_inspector(tmp_path):
    def call(tool, arguments, code=0):
        made = ("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        return inspect(tmp_path, target, *made, code=code)

    with external.shipped_over_http(tmp_path) as url:
        target = [url, "--transport", "http"]
        call("remember", {"content": "The kettle is in the cellar", "tags": {"topic": "tea"}})
        found = call("recall", {"query": "where is the kettle?"})
        assert "The kettle is in the cellar" in found["content"][0]["text"]
        assert found["structuredContent"]["items"]
        assert "did you mean limit?" in call("recall", {"query": "x", "limt": 1}, code=TOOL_ERROR)
        status = inspect(tmp_path, target, "--method", "resources/read", "--uri", "cmc://status")
        assert "default" in json.dumps(status)
        asked = ("--method", "prompts/get", "--prompt-name", "recall_context", "--prompt-args", "task=tea")
        assert "tea" in json.dumps(inspect(tmp_path, target, *asked))
