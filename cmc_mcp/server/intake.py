"""The intake: each message is measured before anything is made of it, and refused where it passes a bound.

What is refused costs no more than its bytes. What goes on is read by the protocol's library in a few milliseconds.
"""

from __future__ import annotations

import json
import mmap
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import anyio.to_thread
from mcp_types import INVALID_PARAMS, INVALID_REQUEST

from cmc_mcp import limits
from cmc_mcp.errors import CmcError, LimitExceeded
from cmc_mcp.limits import (
    CONTENT_BYTES_MAX,
    HTTP_BODY_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_DEPTH_MAX,
    MESSAGE_ELEMENTS_MAX,
)
from cmc_mcp.model.shown import flat
from cmc_mcp.server import logs
from cmc_mcp.server.outline import Data, Outline, Span, outline
from cmc_mcp.server.session import Provider, check_may_write
from cmc_mcp.tools import TOOLS, respond
from cmc_mcp.tools.schema import elements_max
from cmc_mcp.verbs.argument import About

Reply = dict[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_SMALL_BYTES: Final = 65_536  # that are not measured unless they hold many lists or objects
_CONTENT_CHARS_MAX: Final = (CONTENT_BYTES_MAX + 2) // 3 * 4 + 4  # of base64, the longest form of content
_SPECS: Final = {spec.name: spec for spec in TOOLS}


def is_plain(data: Data) -> bool:
    """Return whether a message keeps to every bound however its bytes are read, so that it need not be measured."""
    if len(data) > _SMALL_BYTES or isinstance(data, mmap.mmap):
        return False
    return data.count(b"[") + data.count(b"{") <= MESSAGE_DEPTH_MAX


def over(found: Outline) -> LimitExceeded | None:
    """Return what to say of a message that passes a bound, naming the argument that does, or None."""
    named = _SPECS[found.tool].verb.abouts if found.tool in _SPECS else {}
    size = found.size
    for name, span in found.arguments.items():
        about = named.get(name) or named.get(f"{name}_")
        if about is None:
            continue
        if (error := _argument_over(name, about, span)) is not None:
            return error
        if about.argument.form == "content":
            size -= span.end - span.start
    if found.deep_at >= 0:
        within = (name for name, span in found.arguments.items() if span.start <= found.deep_at < span.end)
        path = next(within, "message")[:80]
        return LimitExceeded.over(path, "MESSAGE_DEPTH_MAX", MESSAGE_DEPTH_MAX + 1, MESSAGE_DEPTH_MAX)
    if found.elements > MESSAGE_ELEMENTS_MAX:
        return LimitExceeded.over("message", "MESSAGE_ELEMENTS_MAX", found.elements, MESSAGE_ELEMENTS_MAX)
    if size > MESSAGE_BYTES_MAX:
        return LimitExceeded.over("message", "MESSAGE_BYTES_MAX", size, MESSAGE_BYTES_MAX)
    return None


def _argument_over(name: str, about: About, span: Span) -> LimitExceeded | None:
    if about.argument.form == "content":
        if span.least_bytes > _CONTENT_CHARS_MAX:
            return LimitExceeded.over(name, "CONTENT_BYTES_MAX", span.least_bytes, CONTENT_BYTES_MAX)
    elif span.least_bytes > MESSAGE_BYTES_MAX and not span.elements:
        limit_name = about.argument.limit or "REFERENCE_CHARS_MAX"
        return LimitExceeded.over(name, limit_name, span.least_bytes, getattr(limits, limit_name))
    if span.elements > MESSAGE_ELEMENTS_MAX:
        limit_name, maximum = elements_max(about, list if about.argument.form == "texts" else dict)
        return LimitExceeded.over(name, limit_name, span.elements, maximum)
    return None


class Intake:
    """Admits messages for a provider's callers."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def refusal(self, data: Data) -> Reply | None:
        """Return the answer to a message that passes a bound, or None for one that goes on."""
        if is_plain(data):
            return None
        return await anyio.to_thread.run_sync(self._measured, data)

    def _measured(self, data: Data) -> Reply | None:
        found = outline(data, MESSAGE_DEPTH_MAX)
        error: CmcError | None = over(found)
        return None if error is None else _reply(found, self._admission(found) or error)

    def _admission(self, found: Outline) -> CmcError | None:
        """Count the message as a call, and return why its caller could not have made it in any size."""
        try:
            caller = self._provider.caller()
            self._provider.memory(caller)
            spec = _SPECS.get(found.tool)
            if spec is not None and spec.always_writes:
                check_may_write(caller, spec.name)
        except CmcError as error:
            return error
        except Exception:
            logs.log().exception("unexpected error", tool=found.tool, incident=secrets.token_hex(4))
        return None


def _reply(found: Outline, error: CmcError) -> Reply:
    reply: Reply = {"jsonrpc": "2.0", "id": found.id}
    if found.tool in _SPECS and found.id is not None:
        result = respond.failure(found.tool, error).model_dump(by_alias=True, mode="json", exclude_none=True)
        return {**reply, "result": {"resultType": "complete", **result}}
    code = INVALID_REQUEST if found.id is None or not found.method else INVALID_PARAMS
    return {**reply, "error": {"code": code, "message": flat(f"{error} [{error.code}]")}}


class HttpIntake:
    """Stands between the token's check and the protocol's library: takes a body within its bound and has it measured."""

    def __init__(self, app: App, intake: Intake) -> None:
        self._app, self._intake = app, intake

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        body: bytearray | mmap.mmap = bytearray()
        size = 0
        whole = scope["type"] != "http" or scope["method"] != "POST"
        if not whole and _declared(scope) > HTTP_BODY_BYTES_MAX:
            await _answer(send, 413, "text/plain; charset=utf-8", b"Request body too large")
            return
        if not whole and _declared(scope) > _SMALL_BYTES:  # pages of its own, which take memory as they are filled
            body = mmap.mmap(-1, _declared(scope))
        last: Message | None = None
        while not whole:
            last = await receive()
            if last["type"] != "http.request":
                break
            part = last.get("body", b"")
            size += len(part)
            whole = not last.get("more_body", False)
            if size > HTTP_BODY_BYTES_MAX or (isinstance(body, mmap.mmap) and size > len(body)):
                await _answer(send, 413, "text/plain; charset=utf-8", b"Request body too large")
                return
            if isinstance(body, mmap.mmap):
                body.write(part)
            else:
                body += part
        if last is None or not whole:
            await self._app(scope, receive, send)
            return
        reply = await self._intake.refusal(body)
        if reply is not None:
            status = 200 if "result" in reply else 400
            await _answer(send, status, "application/json", json.dumps(reply, ensure_ascii=False).encode())
            return
        given = body[:size] if isinstance(body, mmap.mmap) else bytes(body)
        waiting: list[Message] = [{"type": "http.request", "body": given, "more_body": False}]
        del body, last, given

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)


def _declared(scope: MutableMapping[str, Any]) -> int:
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(said) if said.isdigit() else 0


async def _answer(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
