"""Real clients: malformed frames over stdio, fuzzed calls over stdio and HTTP; and no secret in anything that is said."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from pydantic_core import to_jsonable_python

from cmc_mcp.cli import doctor
from cmc_mcp.cli.app import run
from cmc_mcp.environment import Configuration
from cmc_mcp.server.principals import load_principals
from cmc_mcp.tools import TOOLS
from tests.fuzz.given import TEXTS, Giver, Pool
from tests.fuzz.subject import CODES, LEAKS, no_network
from tests.server.rig import call, http, local, text

INITIALIZE = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}},
}  # fmt: skip
GOOD = {"method": "tools/call", "params": {"name": "history", "arguments": {"limit": 1}}}
LONE = {"params": {"name": "recall", "arguments": {"query": "\ud800"}}}
SECRETS = {
    "CMC_KEY": "canary-passphrase-0xC0FFEE",
    "CMC_TOKEN": "canary-token-" + "5" * 32,
    "OPENAI_API_KEY": "sk-canary-777",
}


class Pipes:
    """The server behind bare pipes."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "CMC_STORE": str(folder / "memory.db"), "CMC_CONFIG": str(folder / "none.toml")}
        self.log = (folder / "stderr").open("wb+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cmc_mcp.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
        )
        self.number = 0
        assert "result" in self.ask(INITIALIZE, 0)
        self.tell(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def tell(self, frame: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(frame + b"\n")
        self.process.stdin.flush()

    def ask(self, message: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        """Send a good request, and read on until its answer; every line of the wire must be JSON-RPC."""
        if number is None:
            self.number += 1
            number = 1_000_000 + self.number
        self.tell(json.dumps({"jsonrpc": "2.0", **message, "id": number}).encode())
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, "the server went away"
            answer = json.loads(line)
            assert answer["jsonrpc"] == "2.0"
            assert "Traceback" not in line.decode()
            if answer.get("id") == number:
                return dict(answer)


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[Pipes]:
    made = Pipes(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()
    made.log.close()


def frames(rng: random.Random, count: int) -> Iterator[bytes]:
    """Frames that are no good requests."""
    good = json.dumps({"jsonrpc": "2.0", "id": 7, **GOOD}).encode()
    whole: list[Any] = [
        1, None, "x", [], {}, {"jsonrpc": "2.0"}, {"jsonrpc": "1.0", "id": 1, "method": "ping"}, {"id": 1, "method": "ping"},
        [json.loads(good)], {"jsonrpc": "2.0", "id": None, "method": "tools/list"}, {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": {"a": 1}, "method": "tools/list"}, {"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 2, "error": {"code": 1, "message": "x"}}, {"jsonrpc": "2.0", "id": 2**70, "method": "x"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 999}},
        {"jsonrpc": "2.0", "method": "notifications/nothing", "params": 3},
    ]  # fmt: skip
    raw = [b"", b"\0", b"\xff\xfe", b"{", b"}", b'{"jsonrpc": "2.0", "id": 1, "method"', b"[" * 100_000,
           b'{"a":' * 20_000,
           b"Content-Length: 5\r\n\r\n{}", b"GET / HTTP/1.1", b'"' + b"x" * 1_000_000 + b'"', b"\xef\xbb\xbf" + good,
           b"1e999999", b"NaN",
           json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", **LONE}).encode()]  # fmt: skip
    methods = [
        "tools/call",
        "tools/list",
        "prompts/get",
        "resources/read",
        "completion/complete",
        "nothing",
        "",
        "initialize",
    ]
    giver = Giver(rng, Pool())
    for number in range(count):
        roll = rng.random()
        if roll < 0.2:
            yield rng.choice(raw)
        elif roll < 0.4:
            yield json.dumps(rng.choice(whole)).encode()
        elif roll < 0.55:
            broken = bytearray(good)
            broken[rng.randrange(len(broken))] = rng.choice(b'\0"{}[]:,x\x80')
            yield bytes(broken).replace(b"\n", b" ")
        else:
            params = rng.choice([None, [], "x", 3, {"name": 7}, {"name": "recall"}, {"name": "recall", "arguments": []},
                                 {"uri": rng.choice(TEXTS)}, {"name": rng.choice(TEXTS), "arguments": {}},
                                 giver.value({"type": "object"}, "", 0)])  # fmt: skip
            yield json.dumps(
                {"jsonrpc": "2.0", "id": 10 + number, "method": rng.choice(methods), "params": params}
            ).encode()


def test_a_server_on_stdio_answers_the_next_good_request_whatever_came_before(pipes: Pipes) -> None:
    for number, frame in enumerate(frames(random.Random(29), 300)):
        pipes.tell(frame)
        if number % 10 == 9:
            assert "result" in pipes.ask(GOOD), frame[:200]
    assert pipes.process.poll() is None


async def _fuzzed(client: Client, count: int) -> dict[str, int]:
    rng = random.Random(31)
    giver, seen = Giver(rng, Pool()), dict[str, int]()
    for _ in range(count):
        tool = rng.choice(TOOLS)
        arguments = giver.arguments(tool.input_schema)
        try:
            json.dumps(arguments, allow_nan=False).encode()
            json.dumps(arguments, ensure_ascii=False).encode()
            to_jsonable_python(arguments)  # what is too deep for the SDK's models never leaves the client
        except ValueError:
            continue  # no client can send it
        if not isinstance(arguments, dict):
            continue
        result = await client.call_tool(tool.name, arguments)  # it checks answers by the schema published
        said = text(result)
        code = said.partition("[")[2].partition("]")[0] if result.is_error else "ok"
        assert code in CODES | {"ok"}, said[:300]
        leak = LEAKS.search(said) if result.is_error else None
        assert leak is None or leak[0] in json.dumps(arguments, ensure_ascii=False), said[:300]
        giver.pool.learn(result.structured_content)
        seen[code] = seen.get(code, 0) + 1
    proof = (await client.call_tool("verify", {})).structured_content
    assert proof is not None and proof["holds"]
    return seen


def test_the_official_client_over_stdio_meets_the_same(tmp_path: Path) -> None:
    environment = {**os.environ, "CMC_STORE": str(tmp_path / "memory.db"), "CMC_CONFIG": str(tmp_path / "none.toml")}

    async def main() -> dict[str, int]:
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "cmc_mcp.server"], env=environment)
        async with Client(stdio_client(parameters)) as client:
            return await _fuzzed(client, 150)

    assert anyio.run(main)["ok"] > 20


def test_and_over_http(tmp_path: Path) -> None:
    with http(tmp_path) as url:

        async def main() -> dict[str, int]:
            async with Client(f"{url}/mcp") as client:
                return await _fuzzed(client, 150)

        assert anyio.run(main)["ok"] > 20


# ---------------------------------------------------------------------- secrets
@pytest.mark.parametrize("leaks", [False, True])
def test_no_secret_is_in_a_log_an_error_the_doctor_or_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], leaks: bool
) -> None:
    if leaks:  # the control: a doctor that tells too much is found
        monkeypatch.setattr(doctor, "_versions", lambda: doctor._ok("versions", SECRETS["CMC_KEY"]))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name, value in (("CMC_STORE", tmp_path / "memory.db"), ("CMC_CONFIG", tmp_path / "none.toml")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CMC_SIGNING_KEY_FILE", str(tmp_path / "signing.key"))
    said: list[str] = []
    with no_network():
        assert run(["--no-model", "remember", "a note"]) == 0
        for arguments in (
            ["doctor"],
            ["--json", "doctor"],
            ["verify"],
            ["checkpoint"],
            ["config"],
            ["recall", "x", "--as-of", "no"],
        ):
            run(["--no-model", *arguments])
        monkeypatch.setenv("CMC_KEY", SECRETS["CMC_KEY"] + "-another")
        assert run(["--no-model", "recall", "note"]) == 3
        monkeypatch.setenv("CMC_KEY", "canary-short")
        assert run(["--no-model", "recall", "note"]) == 2
        (tmp_path / "tokens.json").write_text(
            json.dumps({"tokens": [{"token": SECRETS["CMC_TOKEN"], "colour": 1}]}) + "]"
        )
        with pytest.raises(Exception) as caught:
            load_principals(Configuration(store="x"), {}, tmp_path / "tokens.json")
        said.append(str(caught.value) + repr(Configuration(store="x", key=b"canary-passphrase-0xC0FFEE------")))
        with local(tmp_path / "other", principal="p", key=b"canary-passphrase-0xC0FFEE------") as session:
            said += [str(call(session, "recall", {"query": "x"})), str(session.memory(session.caller()).status())]
    captured = capfd.readouterr()
    written = "\n".join([captured.out, captured.err, *said])
    assert len(written) > 2_000
    told = {
        secret
        for secret in (*SECRETS.values(), "canary", (tmp_path / "signing.key").read_text().strip())
        if secret in written
    }
    assert told == ({SECRETS["CMC_KEY"], "canary"} if leaks else set())
