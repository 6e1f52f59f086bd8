"""Our HTTP server in this process, within bounds of the test's choosing, and bare sockets to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cmc_mcp.environment import Configuration
from cmc_mcp.server.admission import Bounds, GatedServer
from cmc_mcp.server.principals import Principal, StaticTokens, TokenSession
from cmc_mcp.server.session import LocalSession, Provider
from cmc_mcp.server.transports import http_app, http_server
from tests.serving.wire import MODERN, PATIENCE_S, Message, event, http_request, read_answer, tool

Place = tuple[str, int]


class Running(GatedServer):
    """The gated server, which says when it listens and can be stopped as by a signal."""

    def __init__(self, app: Any, bounds: Bounds) -> None:
        self.ready, self.stopped = threading.Event(), threading.Event()
        super().__init__(app, bounds, self.stopped.set)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def running(folder: Path, bounds: Bounds, principals: Sequence[Principal] = ()) -> Iterator[tuple[Place, Running]]:
    """Serve a store in a folder on a loopback port of its own."""
    configured = Configuration(store=str(folder / "memory.db"))
    session: Provider = (
        TokenSession(configured, StaticTokens(principals), embedder=None)
        if principals
        else LocalSession(configured, embedder=None)
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that an answer nobody takes is soon noticed
    server = Running(http_app(http_server(session, principals)), bounds)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    assert server.ready.wait(PATIENCE_S)
    try:
        yield listening.getsockname()[:2], server
    finally:
        server.handle_exit(15, None)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        listening.close()
        session.close()


def connect(place: Place) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(place, timeout=PATIENCE_S)


def call(name: str, arguments: dict[str, Any], id: int = 1, **headers: str) -> bytes:
    """The bytes of a tool call of the newer era, which needs no session."""
    said = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name, **headers}
    return http_request(tool(id, name, arguments, MODERN), **said)


def exchange(place: Place, data: bytes) -> tuple[int, bytes]:
    """Send bytes on a connection of their own; the status and body of the answer, 0 when there was none."""
    with connect(place) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has all, and close
            connection.sendall(data)
        try:
            status, _, body = read_answer(connection)
        except ConnectionResetError:
            return 0, b""
    return status, body


def result(body: bytes) -> Message:
    """The structure in an answer that is no error."""
    answer = event(body)["result"]
    assert not answer.get("isError"), answer
    found: Message = answer["structuredContent"]
    return found


def closed(connection: socket.socket) -> bytes:
    """Wait until the other side closes; what it said before."""
    said = b""
    try:
        while part := connection.recv(1 << 16):
            said += part
    except ConnectionResetError:
        pass
    return said
