"""The gate in front of HTTP: how long a request may take to arrive, how much may wait, and what is said at the end."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cmc_mcp.limits import HTTP_BODIES_BYTES_MAX, HTTP_CONNECTIONS_MAX, HTTP_PATIENCE_S

if TYPE_CHECKING:
    import asyncio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_GRACE_S: Final = 1  # whole seconds, as uvicorn wants it
_ANSWER_S: Final = 0.7  # after a stop was asked for: what is not answered by then is answered with 503
_DESCRIPTORS: Final = 512  # beside connections: the store, the model, files of this process
_SLOW: Final = (408, "the body did not arrive in time")
_MUCH: Final = (503, "too many large requests at once; nothing was changed, try again in a second")
_STOPPING: Final = (
    503, "the server is stopping and this call was not finished, so it is not known whether it took effect; "
    "call again with the same idempotency key",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one server takes on."""

    connections: int = HTTP_CONNECTIONS_MAX
    bodies_bytes: int = HTTP_BODIES_BYTES_MAX
    patience_s: float = HTTP_PATIENCE_S


class Gate:
    """Wraps the ASGI application: bodies arrive in time and within a sum, and a stop leaves no request unanswered."""

    def __init__(self, app: App, bounds: Bounds) -> None:
        self._app, self.bounds = app, bounds
        self.held_bytes = 0
        self._stopping: anyio.Event | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._stopping is None:
            self._stopping = anyio.Event()
        exchange = _Exchange(self, receive, send)
        error: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(exchange.end_after, self._stopping)
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as raised:  # raised again below: a task group would wrap it
                error = raised
            finally:
                exchange.release()
            group.cancel_scope.cancel()
        if error is not None:
            raise error

    def stop(self) -> None:
        """Answer every request that is not answered soon with an error."""
        if self._stopping is not None:
            self._stopping.set()


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Gate, receive: Receive, send: Send) -> None:
        self._gate, self._receive, self._send = gate, receive, send
        self._until = anyio.current_time() + gate.bounds.patience_s
        self._whole = self._started = self._ended = False
        self._bytes = 0

    async def receive(self) -> Message:
        """Return the next part of the body, or say that the client has gone when it does not come in time."""
        if self._whole:
            return await self._receive()
        try:
            with anyio.fail_after(self._until - anyio.current_time()):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse(*_SLOW)
        size = len(message.get("body", b""))
        self._bytes += size
        self._gate.held_bytes += size
        self._whole = not message.get("more_body", False)
        if self._gate.held_bytes > self._gate.bounds.bodies_bytes:
            return await self._refuse(*_MUCH)
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, unless another was given in its place."""
        if self._ended:
            return
        self._started = True
        self._ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end_after(self, stopping: anyio.Event) -> None:
        """Answer in place of the application when the server stops."""
        await stopping.wait()
        await anyio.sleep(_ANSWER_S)
        await self._refuse(*_STOPPING)

    def release(self) -> None:
        """Release the bytes that the body took."""
        self._gate.held_bytes -= self._bytes

    async def _refuse(self, status: int, said: str) -> Message:
        started, ended = self._started, self._ended
        self._started = self._ended = self._whole = True
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": said}}
        body = b"" if started else json.dumps(error).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close"), (b"retry-after", b"1")]
        headers.append((b"content-length", str(len(body)).encode()))
        if not started:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if not ended:
            await self._send({"type": "http.response.body", "body": body})
        return {"type": "http.disconnect"}


class Patient(H11Protocol):
    """A connection that is closed when a request's head does not arrive in time, or nobody takes its answer."""

    patience_s = HTTP_PATIENCE_S
    _before: tuple[object, ...] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it now and then: uvicorn alone would let a client that says nothing stay for ever.

        Small parts of an answer are sent at once: asyncio sees to that only where the listening socket names its protocol.
        """
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop.call_later(self.patience_s, self._look)

    def _look(self) -> None:
        if self not in self.connections:
            return
        cycle: RequestResponseCycle | None = self.cycle
        busy = cycle is not None and not cycle.response_complete
        unread = self.transport.get_write_buffer_size()
        # what shows that it stands still when it is the same at two looks
        seen = (cycle, unread) if unread else None if busy or self.timeout_keep_alive_task else (cycle,)
        if seen is not None and seen == self._before:
            self.transport.abort()
            return
        self._before = seen
        self.loop.call_later(self.patience_s, self._look)


class GatedServer(Server):
    """uvicorn within bounds. A stop is done in two seconds: `on_stop` is called when it is asked for, once."""

    def __init__(self, app: App, bounds: Bounds, on_stop: Callable[[], None]) -> None:
        self._gate, self._on_stop = Gate(app, bounds), on_stop
        super().__init__(
            Config(
                self._gate,
                http=type("Connection", (Patient,), {"patience_s": bounds.patience_s}),
                ws="none",
                limit_concurrency=_descriptors_for(bounds.connections),
                timeout_graceful_shutdown=_GRACE_S,
                log_config=None,
                access_log=False,
                server_header=False,
            )
        )

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop, however often it is asked: uvicorn's own second stop waits for ever."""
        if not self.should_exit:
            self.should_exit = True
            self._on_stop()

    async def shutdown(self, sockets: Any = None) -> None:
        """Let requests finish for a moment, answer the others, and close."""
        self._gate.stop()
        await super().shutdown(sockets)


def _descriptors_for(connections: int) -> int:
    """Raise the bound of open files as far as it is allowed and needed; return how many connections that bound allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return connections if soft == resource.RLIM_INFINITY else min(connections, max(16, soft - _DESCRIPTORS))
