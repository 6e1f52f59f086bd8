"""What the server's tests share: a session on a fresh store, and a talk with the official client."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from mcp import Client, MCPError
from mcp_types import CallToolResult

from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity
from cmc_mcp.environment import Configuration
from cmc_mcp.server.app import create_server
from cmc_mcp.server.principals import Principal, StaticTokens, TokenSession
from cmc_mcp.server.session import LocalSession, Provider
from cmc_mcp.server.transports import http_app, http_server

T = TypeVar("T")
MODES = ("auto", "legacy", "2026-07-28")


def configured(folder: Path, **changes: Any) -> Configuration:
    """A configuration of a store in a folder."""
    return Configuration(store=str(folder / "memory.db"), **changes)


@contextmanager
def local(folder: Path, embedder: Embedder | None = None, **changes: Any) -> Iterator[LocalSession]:
    """A local session on a store in a folder."""
    session = LocalSession(configured(folder, **changes), embedder=embedder)
    try:
        yield session
    finally:
        session.close()


def talk(session: Provider, body: Callable[[Client], Awaitable[T]], mode: str = "auto") -> T:
    """Connect the official client in this process and do something with it."""

    async def main() -> T:
        async with Client(create_server(session), mode=mode) as client:
            return await body(client)

    return anyio.run(main)


def call(
    session: Provider, tool: str, arguments: Mapping[str, Any] | None = None, mode: str = "auto"
) -> CallToolResult:
    """Make one call."""

    async def body(client: Client) -> CallToolResult:
        return await client.call_tool(tool, dict(arguments or {}))

    return talk(session, body, mode)


def refused(session: Provider, body: Callable[[Client], Awaitable[object]], mode: str = "auto") -> MCPError:
    """Do something that must end in a protocol error, and return the error."""

    async def guarded(client: Client) -> MCPError:
        with pytest.raises(MCPError) as caught:
            await body(client)
        return caught.value

    return talk(session, guarded, mode)


def text(result: CallToolResult) -> str:
    """The one text block of an answer."""
    (block,) = result.content
    assert block.type == "text"
    return block.text


def data(result: CallToolResult) -> dict[str, Any]:
    """The structure of an answer that is no error."""
    assert not result.is_error, text(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


@contextmanager
def http(folder: Path, principals: Sequence[Principal] = (), **options: Any) -> Iterator[str]:
    """Our HTTP application, served by uvicorn on a loopback port of its own."""
    config = configured(folder)
    session: Provider = (
        TokenSession(config, StaticTokens(principals), embedder=None)
        if principals
        else LocalSession(config, embedder=None)
    )
    with serving(http_app(http_server(session, principals), **options)) as url:
        yield url
    session.close()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application on a loopback port of its own; gives the address."""
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready.set()

    server = Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


class HeldEmbedder:
    """An embedder that waits in the middle of its work until it is let go."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity(
            model_id="held", weights_digest="0" * 64, precision="fp32", dimension=8, maximum_tokens=0
        )

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.entered.set()
        assert self.release.wait(10)
        return np.tile(np.eye(8, dtype=np.float32)[0], (len(texts), 1))

    def close(self) -> None:
        self.release.set()
