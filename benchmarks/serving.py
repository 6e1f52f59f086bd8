"""Serving: the handshake against an empty server of the same SDK, and a tool call against the library call."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.common import Figures, folder, p50, texts, timed
from cmc_mcp.memory import Memory

_EMPTY = """
from mcp.server import MCPServer
server = MCPServer("empty", version="0")
@server.tool()
def noop(x: int) -> str:
    "Do nothing."
    return "ok"
server.run()
"""


class RawClient:
    """A client that speaks JSON-RPC over pipes by itself, so that what is measured is the server."""

    def __init__(self, command: list[str]) -> None:
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        self._number = 0

    def request(self, method: str, params: dict[str, object]) -> dict[str, object]:
        """Send a request and wait for its answer."""
        self._number += 1
        number = self._number
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: dict[str, object] = json.loads(line)
            if message.get("id") == number:
                return message
        raise RuntimeError("the server closed its output")

    def _send(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def initialize(self) -> float:
        """Shake hands; return the milliseconds since the process was started."""
        self.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "0"}},
        )
        elapsed = (time.perf_counter() - self._started) * 1000
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return elapsed

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def serving(rounds: int = 8, calls: int = 300) -> Figures:
    """Interleave empty and real servers; then compare a recall over stdio with the same one by the library."""
    empty, ours, over, direct, noop = [], [], [], [], []
    words = texts(2_000, words=16)
    with folder() as place:
        path = place / "memory.db"
        with Memory.open(path) as memory:
            memory.remember_many([{"content": text} for text in words[:500]])  # type: ignore[arg-type]
        command = [sys.executable, "-m", "cmc_mcp", "--store", str(path), "serve"]
        for _ in range(rounds):
            for kind, into in (([sys.executable, "-c", _EMPTY], empty), (command, ours)):
                client = RawClient(kind)
                into.append(client.initialize())
                client.close()
        client = RawClient(command)
        client.initialize()
        bare = RawClient([sys.executable, "-c", _EMPTY])
        bare.initialize()
        with Memory.open(path) as memory:
            questions = [" ".join(text.split()[:6]) for text in words[500 : 500 + calls]]
            for question in (questions[0], *questions):
                ask = {"name": "recall", "arguments": {"query": question}}
                over.append(timed(lambda: client.request("tools/call", ask)))
                direct.append(timed(lambda: memory.recall(question)))
                noop.append(timed(lambda: bare.request("tools/call", {"name": "noop", "arguments": {"x": 1}})))
        client.close()
        bare.close()
    return {
        "initialize, empty server, median ms": float(np.median(empty)),
        "initialize, cmc, median ms": float(np.median(ours)),
        "initialize, cmc / empty (≤ 1.2), medians": float(np.median(ours) / np.median(empty)),
        "initialize, cmc / empty (≤ 1.2), best of each": min(ours) / min(empty),
        "no-op call of an empty server p50 ms": p50(noop[1:]),
        "recall by the library p50 ms": p50(direct[1:]),
        "recall over stdio p50 ms": p50(over[1:]),
        "recall over stdio - library call, ms (≤ 1)": p50(over[1:]) - p50(direct[1:]),
    }
