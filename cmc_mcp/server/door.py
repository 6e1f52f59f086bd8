"""The door of HTTP: a request that can be read in two ways, or that names a host or origin only by its beginning, is refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_ONCE: Final = (b"authorization", b"host", b"origin", b"content-length", b"mcp-session-id")
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")


class Door:
    """ASGI middleware that stands before the token's check."""

    def __init__(self, app: App, path: str, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._app, self._path = app, path
        self._hosts, self._origins = tuple(hosts), tuple(origins)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refused = self._refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
            return
        status, said = refused
        body = said.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        names = [name for name, _ in scope["headers"]]
        for name in _ONCE:
            if names.count(name) > 1:
                return 400, f"The header {name.decode()} is given more than once; send it once"
        if b"transfer-encoding" in names and b"content-length" in names:
            return 400, "Both Transfer-Encoding and Content-Length are given; send one"
        if scope["path"] != self._path:
            return None
        found = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not matches(found.get(b"host", ""), self._hosts):
            return 421, "Invalid Host header"
        if (origin := found.get(b"origin")) and not matches(origin, self._origins):
            return 403, "Invalid Origin header"
        return None


def matches(value: str, allowed: Sequence[str]) -> bool:
    """Return whether a host or origin is one of those allowed; `name:*` allows any port, which is a number.

    >>> matches("localhost:80", ["localhost:*"]), matches("localhost:80.evil.example", ["localhost:*"])
    (True, False)
    """
    for each in allowed:
        if value == each:
            return True
        if each.endswith(":*") and value.startswith(each[:-1]) and _PORT.match(value[len(each) - 1 :]):
            return True
    return False
