"""Who calls, and which memory they see. Identity comes from the connection, never from an argument."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cmc_mcp.environment import EMBEDDERS
from cmc_mcp.errors import AccessDenied, RateLimited, StoreError
from cmc_mcp.limits import PRINCIPAL_CHARS_MAX

if TYPE_CHECKING:
    from cmc_mcp.embed.protocol import Embedder
    from cmc_mcp.environment import Configuration
    from cmc_mcp.memory import Memory

DECLARED: Final = "declared:"
"""Marks a writer whose name only the client itself vouches for."""

CONFIGURED: Final = "configured"
"""In place of an embedder: the one that the configuration names."""

_VIEWS_MAX: Final = 256
CLIENT: Final[ContextVar[str | None]] = ContextVar("cmc_client", default=None)
"""The name that the client of the present request declares. Set by the server for each request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of a call, its workspace, whether it may write, and how often it may call (0: as it likes)."""

    principal: str
    workspace: str
    read_only: bool = False
    per_minute: int = 0


class Provider(Protocol):
    """Provides each call with its memory."""

    def caller(self) -> Caller:
        """Return the principal of the current call.

        Raises:
            AccessDenied: the connection carries no known token.
        """
        ...

    def memory(self, caller: Caller) -> Memory:
        """Return a caller's memory, opening the store for the first caller. The method may block, so it runs in a worker thread.

        Raises:
            StoreError: the store cannot be opened.
        """
        ...

    def probe(self) -> None:
        """Read from the store, opening the store when nobody has yet. The method may block.

        Raises:
            CmcError: the store cannot be opened or read.
        """
        ...

    def warm(self) -> None:
        """Load what the first call will need, where that changes nothing. The method may block."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...


class Stores:
    """Opens one store on first use, and hands each caller their own view of the store."""

    def __init__(self, open_: Callable[[Caller], Memory]) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._first: Memory | None = None
        self._views: dict[Caller, Memory] = {}
        self._closed = False

    def memory(self, caller: Caller) -> Memory:
        """Return a caller's memory."""
        with self._lock:
            if self._closed:
                raise StoreError("the server is stopping; nothing was changed")
            view = self._views.get(caller)
            if view is None:
                while len(self._views) >= _VIEWS_MAX:  # names that clients declare must not fill the memory
                    self._views.pop(next(iter(self._views)))
                if self._first is None:
                    view = self._first = self._open(caller)
                else:
                    view = self._first.as_principal(caller.principal, caller.workspace)
                self._views[caller] = view
            return view

    def close(self) -> None:
        """Close the store; later calls are refused."""
        with self._lock:
            self._closed = True
            first, self._first = self._first, None
            self._views.clear()
        if first is not None:
            first.close()


class Model:
    """The embedder of a server: the configured one, or another; one that runs here is loaded ahead of its first use.

    Raises:
        EmbedderError: the extra of the configured model is not installed.
    """

    def __init__(self, configuration: Configuration, embedder: Embedder | str | None = CONFIGURED) -> None:
        self._embedder = configuration.embedder if embedder == CONFIGURED else embedder
        self._loads = isinstance(self._embedder, str)
        self._lock = threading.Lock()
        if self._embedder != EMBEDDERS[0]:
            self._made()  # a server whose model is missing must not start; to make one is to look for its files

    def get(self) -> Embedder | None:
        """Return the embedder, loading nothing; waits for a `warm` that is at work, so that no two threads load at once."""
        with self._lock:
            return self._made()

    def warm(self) -> None:
        """Load a model that runs here, and what opens a store, so that the first call need not. No store is opened.

        Raises:
            EmbedderError: the model cannot be loaded.
        """
        with self._lock:
            import cmc_mcp.memory  # noqa: F401

            if self._loads and (embedder := self._made()) is not None:
                embedder.embed(["warm"])

    def _made(self) -> Embedder | None:
        if isinstance(self._embedder, str):
            from cmc_mcp.embed import embedder_named

            self._embedder = embedder_named(self._embedder)
        return self._embedder


class LocalSession:
    """One principal, one workspace: a process on stdio, or HTTP on loopback without tokens.

    Without a configured principal, the writer is the name that the client declares, marked as declared.
    """

    def __init__(self, configuration: Configuration, *, embedder: Embedder | str | None = CONFIGURED) -> None:
        self._configuration = configuration
        self._model = Model(configuration, embedder)
        self._stores = Stores(lambda caller: open_memory(configuration, caller, self._model.get()))

    def caller(self) -> Caller:
        """Return the configured principal, or the declared one."""
        configured = self._configuration
        return Caller(configured.principal or declared(CLIENT.get()), configured.workspace)

    def memory(self, caller: Caller) -> Memory:
        """Return the memory."""
        return self._stores.memory(caller)

    def probe(self) -> None:
        """Read the head from the store, which costs the same however much is stored."""
        self._stores.memory(self.caller()).snapshot()

    def warm(self) -> None:
        """Load the model, and import what the first call imports."""
        self._model.warm()

    def close(self) -> None:
        """Close the store."""
        self._stores.close()


def declared(client: str | None) -> str:
    """Name a writer after what its client says it is, so marked.

    >>> declared("claude-code")
    'declared:claude-code'
    """
    name = "".join(c if c.isprintable() else " " for c in client or "").strip() or "unknown"
    return f"{DECLARED}{name}".encode("utf-8", "replace").decode()[:PRINCIPAL_CHARS_MAX]


def open_memory(configuration: Configuration, caller: Caller, embedder: Embedder | None) -> Memory:
    """Open the configured store for a caller."""
    from cmc_mcp.memory import Memory

    return Memory.open(
        configuration.store,
        workspace=caller.workspace,
        principal=caller.principal,
        embedder=embedder,
        settings=configuration.settings,
        key=configuration.key,
        objects=configuration.objects,
    )


def check_rate(caller: Caller, memory: Memory) -> None:
    """Count a call, and refuse the call when the principal has used up this minute's calls, on whichever server.

    Raises:
        RateLimited: the caller has used up the calls of this minute.
    """
    if not caller.per_minute:
        return
    calls, left_s = memory.count_call()
    if calls > caller.per_minute:
        raise RateLimited(
            f"{caller.principal} may make {caller.per_minute:,} calls a minute and has made them; nothing was changed, "
            f"try again in {left_s} s",
            principal=caller.principal,
            retry_after_s=left_s,
        )


def check_may_write(caller: Caller, tool: str) -> None:
    """Refuse a write by a principal that may only read.

    Raises:
        AccessDenied: the principal may only read.
    """
    if caller.read_only:
        raise AccessDenied(f"{caller.principal} may only read here, and {tool} writes", principal=caller.principal)
