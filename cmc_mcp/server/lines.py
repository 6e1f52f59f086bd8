"""Lines of stdin that are no messages: whoever sent one is told, since the SDK only logs them and a request would wait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_NO_JSON: Final = "this line is not JSON as RFC 8259 says (a lone surrogate such as \\ud800 is no text); send it again"
_NO_MESSAGE: Final = (
    "this line is no JSON-RPC 2.0 request or notification; send jsonrpc, id, method and params as an object"
)


async def serve_lines(server: MCPServer[Any]) -> None:
    """Serve one client over stdin and stdout, and answer every line that cannot be read with an error."""
    inner = server._lowlevel_server  # `run_stdio_async` has no place for what stands between
    forward, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    async with stdio_server() as (lines, answers), anyio.create_task_group() as group:

        async def sort() -> None:
            async with forward:
                async for line in lines:
                    answer = refusal(line) if isinstance(line, Exception) else None
                    if not isinstance(line, Exception):
                        await forward.send(line)
                    elif answer is not None:
                        await answers.send(SessionMessage(answer))

        group.start_soon(sort)
        await inner.run(messages, answers, inner.create_initialization_options())
        group.cancel_scope.cancel()


def refusal(error: Exception) -> JSONRPCError | None:
    """Return the answer to a line that could not be read: under its id, where that can be read; None to no request.

    >>> from mcp_types import jsonrpc_message_adapter
    >>> try:
    ...     jsonrpc_message_adapter.validate_json('{"jsonrpc": "2.0", "id": 7, "method": "x", "params": "\\\\ud800"}')
    ... except ValidationError as error:
    ...     answer = refusal(error)
    >>> answer.id, answer.error.code
    (7, -32700)
    """
    if not isinstance(error, ValidationError):
        return None
    found = error.errors(include_url=False)
    if found[0]["type"] != "json_invalid":
        whole = [fault["input"] for fault in found if fault["type"] == "missing" or len(fault["loc"]) == 1]
        return _error(INVALID_REQUEST, _NO_MESSAGE, whole[0] if whole else None)
    line = found[0]["input"]
    if isinstance(line, str) and not line.strip():
        return None
    try:
        return _error(PARSE_ERROR, _NO_JSON, json.loads(line))  # it reads more than the SDK does: lone surrogates, NaN
    except (ValueError, RecursionError):
        return _error(PARSE_ERROR, _NO_JSON, None)


def _error(code: int, message: str, read: object) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=_id(read), error=ErrorData(code=code, message=message))


def _id(read: object) -> int | str | None:
    """Return the id of a request that was read, if it is one and can be written."""
    found = read.get("id") if isinstance(read, dict) else None
    if isinstance(found, str):
        return found if found == found.encode("utf-8", "replace").decode() else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
