"""Resources: one memory, one snapshot, one source by template; and the status. Reading them changes nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from cmc_mcp.errors import CmcError, LimitExceeded, NotFound
from cmc_mcp.limits import ANSWER_CHARS_MAX
from cmc_mcp.model.results import Result
from cmc_mcp.model.shown import escaped, flat
from cmc_mcp.server import logs
from cmc_mcp.server.call import run_blocking
from cmc_mcp.server.session import Provider
from cmc_mcp.tools import respond

if TYPE_CHECKING:
    from cmc_mcp.memory import Memory

T = TypeVar("T")
SOURCES: Final = "cmc://sources/{+origin}"
_COMPLETIONS_MAX: Final = 100  # of the protocol
_JSON: Final = "application/json"


async def _read(provider: Provider, uri: str, work: Callable[[Memory], T]) -> T:
    """Read something for the caller of the present request.

    Raises:
        ResourceError: with a message that is complete; nothing of an unexpected error's text.
    """
    try:
        caller = provider.caller()
        return await run_blocking(lambda cancelled: work(provider.memory(caller)))
    except NotFound as error:
        raise ResourceNotFoundError(flat(f"{uri}: {error} [{error.code}]")) from error
    except CmcError as error:
        raise ResourceError(flat(f"{uri}: {error} [{error.code}]")) from error
    except Exception as error:
        incident = secrets.token_hex(4)
        logs.log().exception("unexpected error", resource=uri, incident=incident)
        raise ResourceError(
            flat(f"{uri}: an error that is not yours; the server's log has it as {incident}")
        ) from error


def _json(result: Result) -> str:
    """Write a result as compact JSON within the bound."""
    _, structure, _ = respond.bounded(result)
    return escaped(json.dumps(structure, ensure_ascii=False, separators=(",", ":")))


def add_resources(server: MCPServer[Any], provider: Provider) -> None:
    """Register the resource templates and the status."""

    @server.resource(
        "cmc://atoms/{id}",
        name="atom",
        title="One memory",
        description="One memory by its id: its text, facts, witness, versions on both clocks, and lineage",
        mime_type=_JSON,
    )
    async def atom(id: str) -> str:
        return await _read(provider, f"cmc://atoms/{id}", lambda memory: _json(memory.history(id)))

    @server.resource(
        "cmc://snapshots/{id}",
        name="snapshot",
        title="One state",
        description="A state by its snapshot id or label: its transaction, and what has changed since",
        mime_type=_JSON,
        security=ResourceSecurity(exempt_params={"id"}),
    )
    async def snapshot(id: str) -> str:
        return await _read(provider, f"cmc://snapshots/{id}", lambda memory: _json(memory.history(from_=id)))

    # An origin is a name and never a path on this machine, so what looks like one is as good as any.
    @server.resource(
        SOURCES,
        name="source",
        title="One source",
        description="A document or conversation as it came, byte for byte, by its origin (? and # percent-encoded)",
        security=ResourceSecurity(exempt_params={"origin"}),
    )
    async def source(origin: str) -> str | bytes:
        data = await _read(provider, f"cmc://sources/{origin}", lambda memory: memory.read_source(origin))
        return _whole(origin, data)

    @server.resource(
        "cmc://status",
        name="status",
        title="Status",
        description="Which workspace, principal, model and state this connection has",
        mime_type=_JSON,
    )
    async def status() -> str:
        found = await _read(provider, "cmc://status", lambda memory: memory.status())
        access = "read only" if provider.caller().read_only else "read and write"
        said = {name: value for name, value in found.items() if value is not None}
        return escaped(json.dumps({"server": server.version, "access": access, **said}, ensure_ascii=False))


def _whole(origin: str, data: bytes) -> str | bytes:
    """Return a source as text where it is text; one that is too long is refused, not cut: it would not be the source."""
    try:
        if len(data) > ANSWER_CHARS_MAX:
            raise LimitExceeded.over("size", "ANSWER_CHARS_MAX", len(data), ANSWER_CHARS_MAX)
        return data.decode()
    except LimitExceeded as error:
        raise ResourceError(
            flat(f"cmc://sources/{origin}: {error}; read it with `cmc show`, or its parts with recall")
        ) from error
    except UnicodeDecodeError:
        return data


def add_completion(server: MCPServer[Any], provider: Provider) -> None:
    """Complete the origins of sources."""

    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        if not isinstance(ref, ResourceTemplateReference) or ref.uri != SOURCES or argument.name != "origin":
            return None
        origins = await _read(provider, SOURCES, lambda memory: memory.sources())
        found = [origin for origin in origins if origin.startswith(argument.value)]
        return Completion(values=found[:_COMPLETIONS_MAX], total=len(found), has_more=len(found) > _COMPLETIONS_MAX)

    register = cast("Callable[[], Callable[[object], object]]", server.completion)  # the SDK leaves it untyped
    register()(complete)
