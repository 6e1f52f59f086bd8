"""A server as its own process group, spoken to over bare pipes or sockets, and what must be left when it has gone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.load import Stopwatch, ended

SCRIPTS = Path(sysconfig.get_path("scripts"))
CMC, CMC_MCP = str(SCRIPTS / "cmc"), str(SCRIPTS / "cmc-mcp")
MODULE = (sys.executable, "-m", "cmc_mcp.server")
LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT = {"name": "wire", "version": "1"}
INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
PATIENCE_S = 60.0
ENDING_S = 8.0  # past the bar; what takes longer is ended by the test

Message = dict[str, Any]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a server whose store is in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CMC_")}
    return {**kept, "CMC_STORE": str(folder / "memory.db"), "CMC_CONFIG": str(folder / "none.toml"), **more}


def request(id: int, method: str, parameters: Mapping[str, Any] | None = None, era: str = LEGACY) -> Message:
    """A request of either era."""
    found = dict(parameters or {})
    if era == MODERN:
        prefix = "io.modelcontextprotocol"
        about = {
            f"{prefix}/protocolVersion": MODERN,
            f"{prefix}/clientCapabilities": {},
            f"{prefix}/clientInfo": CLIENT,
        }
        found["_meta"] = {**found.get("_meta", {}), **about}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": found}


def tool(id: int, name: str, arguments: Mapping[str, Any], era: str = LEGACY) -> Message:
    """A call of a tool."""
    return request(id, "tools/call", {"name": name, "arguments": dict(arguments)}, era)


class Server:
    """A server process, leader of a group of its own."""

    def __init__(self, command: Sequence[str], folder: Path, **more: str) -> None:
        self.folder = folder
        self.errors = (folder / f"stderr-{time.monotonic_ns()}").open("w+b")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(folder, **more),
            start_new_session=True,
            bufsize=0,
        )
        self._pending = bytearray()

    @property
    def pid(self) -> int:
        return self.process.pid

    # ------------------------------------------------------------------ stdio
    def send(self, *messages: Message) -> None:
        """Write messages, one a line."""
        assert self.process.stdin is not None
        _write(self.process.stdin.fileno(), b"".join(json.dumps(m).encode() + b"\n" for m in messages))

    def line(self) -> bytes:
        """The next line of stdout; empty at its end."""
        assert self.process.stdout is not None
        until = time.monotonic() + PATIENCE_S
        while (end := self._pending.find(b"\n")) < 0:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            assert ready, f"no answer within {PATIENCE_S:.0f} s: {self.stderr()}"
            part = os.read(self.process.stdout.fileno(), 1 << 20)
            if not part:
                return b""
            self._pending += part
        found = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return found

    def answer(self, id: int) -> Message:
        """The answer to a request; notifications before it are passed over."""
        while True:
            line = self.line()
            assert line, f"the server went away: {self.stderr()}"
            message: Message = json.loads(line)
            if message.get("id") == id:
                return message

    def ask(self, message: Message) -> Message:
        """Send a request and return its answer."""
        self.send(message)
        return self.answer(message["id"])

    def handshake(self) -> Self:
        """Do what a client of the older era does first."""
        self.ask(request(0, "initialize", INITIALIZE))
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    # ------------------------------------------------------------------ HTTP
    def address(self) -> tuple[str, int]:
        """Where it listens, once it says so."""
        found = re.search(r"url=http://([\d.]+):(\d+)/mcp", self.until_logged("url="))
        assert found is not None
        return found[1], int(found[2])

    def until_logged(self, words: str) -> str:
        """Wait until a line of the log holds these words."""
        until = time.monotonic() + PATIENCE_S
        while words not in (said := self.stderr()):
            assert self.process.poll() is None and time.monotonic() < until, said
            time.sleep(0.01)
        return said

    # ------------------------------------------------------------------ the end
    def ended(self, within_s: float, watch: Stopwatch | None = None) -> float | None:
        """Wait for the end; gives the seconds it took whatever else the machine did, None when it was still there."""
        return ended(self.process, within_s, watch)

    def stderr(self) -> str:
        return Path(self.errors.name).read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None and not stream.closed:
                stream.close()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def members(group: int) -> list[int]:
    """The living processes of a process group; zombies have gone."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def waits_for_a_lock(pid: int) -> bool:
    """Return whether the kernel has a process queued for a file lock."""
    lines = map(str.split, Path("/proc/locks").read_text().splitlines())
    return any(fields[1] == "->" and int(fields[5]) == pid for fields in lines)


@contextmanager
def lock_held(store: Path) -> Iterator[None]:
    """Hold the write lock of a store, as another process would."""
    descriptor = os.open(f"{store}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def until(condition: Any, what: str, within_s: float = PATIENCE_S) -> None:
    """Look until something holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.005)


# ---------------------------------------------------------------------- HTTP over a bare socket
def http_request(body: bytes | Message | None, *, method: str = "POST", path: str = "/mcp", **headers: str) -> bytes:
    """A request as bytes; a header given as an empty string is left out."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    said = {
        "Host": "127.0.0.1:80",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + content


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole answer: status, headers, body. The status is 0 when the other side closed without one."""
    stream = connection.makefile("rb")
    first = stream.readline()
    if not first:
        return 0, {}, b""
    status = int(first.split()[1])
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    else:
        body = stream.read(int(headers.get("content-length", 0)))
    return status, headers, body


def event(body: bytes) -> Message:
    """The JSON-RPC answer in a body, whether it came plain or as a stream of events."""
    text = body.decode()
    if text.startswith("{"):
        found: Message = json.loads(text)
        return found
    messages = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and line[5:].strip()]
    return next(m for m in messages if "id" in m)
