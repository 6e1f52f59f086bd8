"""What is fuzzed: the server's own tools over a store, called as the SDK calls them, with a judge beside them."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol, cast

import apsw
import numpy as np
import numpy.typing as npt
from jsonschema import Draft202012Validator
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult

from cmc_mcp import Memory, errors
from cmc_mcp.clock import FixedClock
from cmc_mcp.embed import TokenCounter, load_token_counter
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.errors import CmcError
from cmc_mcp.limits import ANSWER_CHARS_MAX
from cmc_mcp.server.app import create_server
from cmc_mcp.server.session import Caller, Provider
from cmc_mcp.store.sqlite.store import SqliteStore
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.tool import ToolSpec
from tests.support import reach
from tests.support.load import Stopwatch

START_US: Final = 1_780_000_000_000_000
SLOW_S: Final = 5.0
FOREIGN: Final = "the harbour of another tenant"
CODES: Final = frozenset(
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CmcError)
) - {CmcError.code}
"""The documented set. `internal` is not in it: an error of ours is a failure here."""

LEAKS: Final = re.compile(
    r"Traceback|File \"|\.py\b|pydantic|errors\.pydantic|apsw|sqlite|psycopg|SELECT .* FROM|INSERT INTO"
    r"|constraint failed|unique constraint|no such (?:table|column)|(?:relation|column) \"|object at 0x|\bself\._"
    r"|NoneType|unhashable|not subscriptable|codec can't",
)
Call = tuple[str, Any]


class Hashed:
    """An embedder that needs no model: the same text, the same vector."""

    identity = EmbeddingIdentity(
        model_id="hashed", weights_digest="0" * 64, precision="fp32", dimension=8, maximum_tokens=0
    )

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        made = np.empty((len(texts), 8), dtype=np.float32)
        for row, text in enumerate(texts):
            made[row] = [1 + sum(map(ord, text[n::8])) % 17 for n in range(8)]
        return cast("npt.NDArray[np.float32]", made / np.linalg.norm(made, axis=1, keepdims=True))

    def close(self) -> None:
        """Close nothing."""


@cache
def counter() -> TokenCounter:
    """Load the token counter once for all stores."""
    return load_token_counter()


class One(Provider):
    """Gives every call the same memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def caller(self) -> Caller:
        return Caller("fuzz", "default")

    def memory(self, caller: Caller) -> Memory:
        return self._memory

    def probe(self) -> None:
        self._memory.status()

    def warm(self) -> None:
        """Load nothing."""

    def close(self) -> None:
        self._memory.close()


class Look(Protocol):
    """Sees, on a connection of its own, whether anything was committed."""

    def __call__(self) -> object: ...
    def close(self) -> None: ...


class _LookAtFile:
    def __init__(self, path: Path) -> None:
        self._raw = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)

    def __call__(self) -> object:
        return self._raw.execute("PRAGMA data_version").fetchall()

    def close(self) -> None:
        self._raw.close()


def looking(memory: Memory) -> Look:
    """Return what looks at a memory's store."""
    store = reach.store(memory)
    if isinstance(store, SqliteStore):
        return _LookAtFile(store.location.path)
    from tests.support.stores import LookAtDatabase

    return LookAtDatabase(store)


class Subject:
    """A store with its server, and a second connection that sees whether anything at all was committed."""

    def __init__(self, path: Path, *, embedded: bool = False) -> None:
        self.path = path
        clock = FixedClock(START_US, step_us=1_000)
        self.store = Memory.open(path, embedder=Hashed() if embedded else None, clock=clock, principal="fuzz")
        reach.kept(self.store).tokens = counter()  # its vocabulary takes longer to load than a chapter's recalls
        other = self.store.as_principal("eve", "other")
        self.foreign = other.remember(FOREIGN, source="doc:foreign").added
        self.server = create_server(One(self.store))
        self.tools: dict[str, ToolSpec[Any, Any]] = {tool.name: tool for tool in TOOLS}
        self._look = looking(self.store)
        self._objects = Path(f"{path}.objects")
        self._validators = VALIDATORS

        async def report(*told: object) -> None:
            """Hear of progress."""

        session = SimpleNamespace(report_progress=report)
        self._context: Context[Any, Any] = Context(request_context=cast(Any, SimpleNamespace(session=session)))

    def close(self) -> None:
        """Close it, and leave no file."""
        self._look.close()
        self.store.close()
        for left in sorted(self.path.parent.glob(f"{self.path.name}*"), reverse=True):
            remove(left)

    def seen(self) -> object:
        """Return what any commit and any object file would change. On a file it costs microseconds."""
        return self._look(), sorted(name for _, _, names in os.walk(self._objects) for name in names)

    async def call(self, call: Call) -> tuple[CallToolResult | None, list[str]]:
        """Make one call, and say what is wrong with how it went."""
        name, arguments = call
        before, watch = self.seen(), Stopwatch(os.getpid())
        try:
            result = await self.server.call_tool(name, arguments, self._context)
        except ToolError as error:
            return None, [] if name not in self.tools else [f"{name} raised {error!r}"]
        except Exception as error:
            return None, [f"{name} raised {error!r}"]
        took = watch.seconds()
        assert isinstance(result, CallToolResult)
        wrong = [] if took < SLOW_S else [f"{name} took {took:.1f} s"]
        if self.seen() != before and (result.is_error or not self._writes(name, arguments)):
            wrong.append(f"{name} {'failed' if result.is_error else 'only reads'}, and the store changed")
        return result, wrong + self.judged(name, arguments, result)

    def judged(self, name: str, arguments: Any, result: CallToolResult) -> list[str]:
        """Return what is wrong with an answer by itself."""
        (block,) = result.content
        text = getattr(block, "text", "")
        wrong = []
        try:
            result.model_dump_json(by_alias=True)
        except ValueError as error:
            wrong.append(f"{name}: the answer cannot be sent: {error}")
        if len(text) > ANSWER_CHARS_MAX:
            wrong.append(f"{name}: {len(text)} characters of text")
        if FOREIGN in text or FOREIGN in str(result.structured_content):
            wrong.append(f"{name}: told of another workspace")
        if not result.is_error:
            error = next(self._validators[name].iter_errors(result.structured_content), None)
            return [*wrong, f"{name}: not by its schema: {error.message:.200}"] if error else wrong
        found = re.match(r"(\w+) failed \[(\w+)\]: (?s:.+)\nWhat to do: .+\Z", text)
        if found is None or found[1] != name or result.structured_content is not None:
            return [*wrong, f"{name}: an error of another form: {text[:200]!r}"]
        if found[2] not in CODES:
            wrong.append(f"{name}: the code {found[2]} is not documented: {text[:200]!r}")
        if str(self.path.parent) in text:
            wrong.append(f"{name}: the error names a path of the server: {text[:300]!r}")
        leak = LEAKS.search(text)
        if leak and leak[0] not in json.dumps(arguments, ensure_ascii=False, default=str):
            wrong.append(f"{name}: the error says {leak[0]!r}: {text[:300]!r}")
        return wrong

    def _writes(self, name: str, arguments: Any) -> bool:
        try:
            return self.tools[name].writes(self.tools[name].read(arguments))
        except CmcError:
            return False

    def verified(self) -> list[str]:
        """Return what does not hold in the whole store."""
        found = self.store.verify()
        return [f"verify: {fault.table} {fault.key}: {fault.reason}" for fault in found.faults]


VALIDATORS: Final = {tool.name: Draft202012Validator(tool.output_schema) for tool in TOOLS}


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        for part in path.iterdir():
            remove(part)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


class NetworkUsed(AssertionError):
    """Somebody reached for the network."""


@contextmanager
def no_network() -> Iterator[None]:
    """Let nothing connect, listen, send or look up a name; the loop's own pair of sockets stays."""

    def refuse(*arguments: object, **named: object) -> Any:
        raise NetworkUsed(f"the network was used: {arguments[1:]!r:.100}")

    kept: dict[tuple[Any, str], Any] = {}
    for holder, names in (
        (socket.socket, ("connect", "connect_ex", "sendto", "bind")),
        (socket, ("getaddrinfo", "create_connection", "gethostbyname")),
    ):
        for name in names:
            kept[holder, name] = getattr(holder, name)
            setattr(holder, name, refuse)
    try:
        yield
    finally:
        for (holder, name), original in kept.items():
            if holder is socket:
                setattr(holder, name, original)
            else:
                delattr(holder, name)  # inherited from the C class
