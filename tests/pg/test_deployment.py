"""The example deployment: one command starts it, it does what it says, and Ctrl-C leaves nothing."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cmc_mcp.environment import Configuration
from cmc_mcp.server.principals import load_principals
from examples.deployment.__main__ import call
from tests.serving.wire import members

ROOT = Path(__file__).parents[2]
HERE = ROOT / "examples" / "deployment"
PATIENCE_S = 120.0


def _until(process: subprocess.Popen[bytes], words: str) -> str:
    """What it prints until it says these words."""
    assert process.stdout is not None
    said = b""
    while words.encode() not in said:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        part = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
        assert part, said.decode()
        said += part
    return said.decode()


@pytest.fixture
def aside() -> Iterator[Path]:
    """A folder for temporary files that `nobody` may enter, as whom PostgreSQL runs where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
def test_one_command_starts_it_and_ctrl_c_takes_everything_away(aside: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.deployment"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(aside)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said = _until(process, "Ctrl-C ends it")
        assert "recalled through two: The ferry to Tern Island leaves at noon" in said
        assert "The ferry now leaves at one" in said.partition("one is back")[2]
        assert "verify: the ledger holds" in said
        urls, token = re.findall(r"http://\S+/mcp", said), re.findall(r"token: (\S+)", said)[0]
        for url in urls:
            items = call(url, token, "recall", {"query": "Tern Island"})["items"]
            assert "The ferry to Tern Island leaves at noon" in [item["text"] for item in items]
            assert httpx.post(url, json={}).status_code == 401
        assert len(urls) == 2 and any(aside.iterdir())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert members(process.pid) == []
        assert list(aside.iterdir()) == []
        for url in urls:
            with pytest.raises(httpx.ConnectError):
                httpx.get(url.replace("/mcp", "/healthz"))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_example_of_tokens_is_one_that_a_server_reads() -> None:
    file = HERE / "tokens.example.toml"
    maya, reports = load_principals(Configuration("memory.db"), {}, file)
    assert (maya.caller.per_minute, reports.caller.read_only) == (600, True)
    assert len(tomllib.loads(file.read_text())["tokens"]) == 2


def test_what_was_not_run_says_so() -> None:
    for name in ("compose.yaml", "nginx.conf"):
        assert "not run by this project's tests" in (HERE / name).read_text().splitlines()[0]
