"""Over HTTP, with two tokens on one server: what one was given is nothing to the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from cmc_mcp.server.principals import Principal
from cmc_mcp.server.session import Caller
from tests.server.rig import data, http, text

ALICE = Principal("alice-" + "a" * 20, Caller("alice", "acme"))
BOB = Principal("bob-" + "b" * 20, Caller("bob", "globex"))
NOWHERE = "f" * 32


class Voice:
    """One token's way to the server."""

    def __init__(self, url: str, principal: Principal) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {principal.token}"}

    async def _with(self, tool: str | None, asked: Any) -> Any:
        async with (
            httpx2.AsyncClient(headers=self._headers, timeout=20) as web,
            Client(streamable_http_client(f"{self._url}/mcp", http_client=web)) as client,
        ):
            if tool is not None:
                return await client.call_tool(tool, asked)
            try:
                return repr((await client.read_resource(asked)).contents)
            except MCPError as error:
                return str(error)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool."""
        answer: CallToolResult = anyio.run(self._with, tool, dict(arguments))
        return answer

    def read(self, uri: str) -> str:
        """Read a resource; an error as its text."""
        return str(anyio.run(self._with, None, uri))


def test_handles_of_one_token_are_to_another_what_was_never_given(tmp_path: Path) -> None:
    with http(tmp_path, [ALICE, BOB]) as url:
        alice, bob = Voice(url, ALICE), Voice(url, BOB)
        for number in range(4):
            data(alice.call("remember", {"content": f"tea number {number}", "source": f"docs/{number}.md"}))
        data(bob.call("remember", {"content": "tea of my own"}))
        page = data(alice.call("history", {"limit": 1}))
        found = data(alice.call("recall", {"query": "tea number", "limit": 1}))
        label = data(alice.call("snapshot", {"label": "the label"}))
        atom, snapshot = found["items"][0]["id"], label["snapshot"]
        before = data(alice.call("history", {}))
        for tool, asked, handle, nothing in (
            ("history", "id", atom, f"atom_{NOWHERE}"),
            ("revise", "id", atom, f"atom_{NOWHERE}"),
            ("verify", "id", atom, f"atom_{NOWHERE}"),
            ("history", "from", snapshot, f"snap_{NOWHERE[:16]}"),
            ("rollback", "to", "the label", "no label"),
            ("recall", "as_of", snapshot, f"snap_{NOWHERE[:16]}"),
        ):
            more = {"revise": {"content": "mine now"}, "recall": {"query": "tea"}}.get(tool, {})
            theirs = text(bob.call(tool, {asked: handle, **more}))
            assert theirs.replace(handle, "it") == text(bob.call(tool, {asked: nothing, **more})).replace(nothing, "it")
            assert "failed" in theirs
        assert bob.call("history", {"limit": 1, "cursor": page["next_cursor"]}).is_error
        assert bob.call("recall", {"query": "tea number", "limit": 1, "cursor": found["next_cursor"]}).is_error
        for kind, handle, nothing in (
            ("atoms", atom, f"atom_{NOWHERE}"),
            ("snapshots", snapshot, f"snap_{NOWHERE[:16]}"),
            ("sources", "docs/1.md", "docs/9.md"),
        ):
            theirs = bob.read(f"cmc://{kind}/{handle}")
            assert theirs.replace(handle, "it") == bob.read(f"cmc://{kind}/{nothing}").replace(nothing, "it")
        assert data(alice.call("history", {})) == before
        assert not alice.call("history", {"limit": 1, "cursor": page["next_cursor"]}).is_error
        assert "tea" in alice.read(f"cmc://atoms/{atom}")
