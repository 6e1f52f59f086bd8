"""Transports: stdio, and streamable HTTP that is closed to the network unless it is told who may come in."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import anyio.to_thread

from cmc_mcp.errors import CmcError, InvalidInput
from cmc_mcp.limits import HTTP_BODY_BYTES_MAX
from cmc_mcp.server import logs
from cmc_mcp.server.app import MemoryServer, create_server
from cmc_mcp.server.door import Door
from cmc_mcp.server.intake import HttpIntake
from cmc_mcp.server.session import LocalSession, Provider
from cmc_mcp.server.shutdown import leave, leave_in_time, when_client_leaves

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from cmc_mcp.environment import Configuration
    from cmc_mcp.server.principals import Principal

HTTP_PATH: Final = "/mcp"
HEALTH_PATH: Final = "/healthz"
_LOOPBACK_HOSTS: Final = ("127.0.0.1:*", "localhost:*", "[::1]:*")
_BACKLOG: Final = 1_024


# ---------------------------------------------------------------------- stdio
def serve_stdio(configuration: Configuration) -> None:
    """Serve one client over stdin and stdout, until either is closed or a signal comes; it ends within two seconds."""
    session = LocalSession(configuration)
    server = create_server(session, warm=True)

    async def serve() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_leave_on_signal, session)
            try:
                await server.run_stdio_async()
            except* (BrokenPipeError, ConnectionResetError):
                pass  # nobody reads what we answer
            leave_in_time()  # the pipe is closed; calls that still run have been cancelled
            group.cancel_scope.cancel()

    when_client_leaves(session.close)
    try:
        anyio.run(serve)
    finally:
        session.close()


async def _leave_on_signal(session: Provider) -> None:
    """Close the store and leave, on SIGTERM or Ctrl-C.

    The thread that waits for the next line of stdin cannot be interrupted, so the loop is not unwound: the process ends
    once the store is closed.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            leave_in_time()
            try:
                await anyio.to_thread.run_sync(session.close)
            except Exception:  # it ends all the same, and what is not committed leaves nothing behind
                logs.log().exception("the store did not close in order")
            leave()


# ---------------------------------------------------------------------- HTTP
def serve_http(
    configuration: Configuration,
    host: str = "127.0.0.1",
    port: int = 8000,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    tokens: Sequence[Principal] | Path | None = None,
) -> None:
    """Serve clients over streamable HTTP at `/mcp`, until a signal comes; `/healthz` says whether the store answers.

    On loopback anybody on this machine may come in, unless there are tokens. Any other address needs tokens and
    `allowed_hosts` (values of the Host header; `name:*` allows any port); `allowed_origins` are those of web pages.
    `tokens` may be the file that holds them; by default CMC_TOKENS and CMC_TOKEN are asked. SIGHUP reads them again.

    Raises:
        InvalidInput: the address is open to the network without these, or cannot be bound.
    """
    from cmc_mcp.store.opening import is_database

    known = _tokens(configuration, tokens)
    check_exposure(host, allowed_hosts, known)
    listening = _bound(host, port)
    session = session_for(configuration, known)
    with _signals_end_at_once(), _reload_on_hangup(session, lambda: _tokens(configuration, tokens)):
        try:
            stateless = is_database(configuration.store)  # others serve it too, and know no session of ours
            app = http_app(http_server(session, known), host, allowed_hosts, allowed_origins, stateless=stateless)
            _run(app, listening)
        finally:
            listening.close()
            session.close()


def _tokens(configuration: Configuration, given: Sequence[Principal] | Path | None) -> Sequence[Principal]:
    """Return the tokens given, or those of the file or the environment."""
    from cmc_mcp.server.principals import load_principals

    return load_principals(configuration, file=given) if given is None or isinstance(given, Path) else given


@contextmanager
def _reload_on_hangup(session: Provider, read: Callable[[], Sequence[Principal]]) -> Iterator[None]:
    """Read the tokens again on SIGHUP. Where they cannot be read, or none are left, those that were known stay."""
    from cmc_mcp.server.principals import TokenSession

    def reload(*_: object) -> None:
        if not isinstance(session, TokenSession):
            logs.log().info("nothing to reload: there are no tokens")
            return
        try:
            session.tokens.replace(read())
        except CmcError as error:
            logs.log().error("the tokens stay as they were", code=error.code, error=str(error))
        else:
            logs.log().info("the tokens were read again", tokens=len(session.tokens.callers))

    kept = signal.signal(signal.SIGHUP, reload)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, kept)


def session_for(configuration: Configuration, tokens: Sequence[Principal]) -> Provider:
    """Return the provider of memories: by token where there are any, else the one local principal."""
    if tokens:
        from cmc_mcp.server.principals import StaticTokens, TokenSession

        return TokenSession(configuration, StaticTokens(tokens))
    return LocalSession(configuration)


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, allowed_hosts: Sequence[str], tokens: Sequence[Principal]) -> None:
    """Refuse an address that the network reaches without saying who may come in.

    Raises:
        InvalidInput: tokens, or the list of allowed hosts, are missing.
    """
    if is_loopback(host):
        return
    if not tokens:
        raise InvalidInput.at(
            "host",
            f"{host} is reachable from the network, and no token is set: anybody could read and write this memory. "
            "Set CMC_TOKEN or CMC_TOKENS, or serve on 127.0.0.1",
        )
    if not allowed_hosts:
        raise InvalidInput.at(
            "allowed_hosts",
            f"{host} is reachable from the network, so name the hosts that clients will use in their address (such as "
            "memory.example.org:*), and the origins of web pages where there are any; or serve on 127.0.0.1",
        )


def http_server(session: Provider, tokens: Sequence[Principal] = ()) -> MCPServer[Any]:
    """Make the server that HTTP serves: with `/healthz`, and behind bearer tokens where there are any."""
    from mcp.server.auth.settings import AuthSettings
    from pydantic import AnyHttpUrl

    from cmc_mcp.server.principals import StaticTokens, TokenSession

    auth, verifier = None, None
    if tokens:
        # Static tokens have no issuer to look up; the SDK wants a URL, and publishes nothing without a resource's.
        auth = AuthSettings(issuer_url=AnyHttpUrl("http://localhost"), resource_server_url=None)
        verifier = session.tokens if isinstance(session, TokenSession) else StaticTokens(tokens)
    server = create_server(session, auth=auth, token_verifier=verifier)
    server.custom_route(HEALTH_PATH, methods=["GET"])(_health(session))
    return server


def http_app(
    server: MCPServer[Any],
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    *,
    stateless: bool = False,
) -> Starlette:
    """Make the ASGI application, which checks the Host and Origin headers whatever the address.

    `stateless` keeps no sessions of the older era, so that any request may come to any server.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    local = _LOOPBACK_HOSTS if is_loopback(host) else ()
    hosts = [*local, *allowed_hosts]
    origins = [*(f"http://{name}" for name in local), *allowed_origins]
    app = server.streamable_http_app(
        streamable_http_path=HTTP_PATH,
        max_request_body_size=HTTP_BODY_BYTES_MAX,
        transport_security=TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins),
        host=host,
        stateless_http=stateless,
    )
    app.router.redirect_slashes = False  # a redirect would send a client, and its token, to whatever Host it named
    app.add_middleware(Door, path=HTTP_PATH, hosts=hosts, origins=origins)
    if isinstance(server, MemoryServer):
        manager = server.session_manager
        # in the place of what only bounds a body, and keeps it twice
        manager.asgi_app = cast("Any", HttpIntake(manager.asgi_app.app, server.intake))
    return app


def _health(session: Provider) -> Callable[[Request], Awaitable[Response]]:
    async def health(request: Request) -> Response:
        """Return whether the store can be read. The address is open to all, so the answer says no more than that."""
        from starlette.responses import JSONResponse

        try:
            await anyio.to_thread.run_sync(session.probe)
        except CmcError as error:
            logs.log().error("the store does not answer", code=error.code, error=str(error))
            return JSONResponse({"status": "unavailable", "code": error.code}, status_code=503)
        except Exception:
            logs.log().exception("the store does not answer")
            return JSONResponse({"status": "unavailable", "code": "internal"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return health


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput.at(
            "port", f"{host}:{port} cannot be bound ({reason}); choose another port or address"
        ) from error


def _run(app: Starlette, listening: socket.socket) -> None:
    from cmc_mcp.server.admission import Bounds, GatedServer

    host, port = listening.getsockname()[:2]
    logs.log().info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}{HTTP_PATH}")
    GatedServer(app, Bounds(), _stopped).run(sockets=[listening])


def _stopped() -> None:
    leave_in_time()
    logging.getLogger("uvicorn.error").disabled = True  # what is cut off now has been answered, and is no news


@contextmanager
def _signals_end_at_once() -> Iterator[None]:
    """Let a signal end the process before it serves and while the store is closed; in between uvicorn has handlers."""
    kept = {number: signal.signal(number, lambda *_: leave()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
