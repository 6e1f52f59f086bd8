"""Two workspaces in one store, and each of them alone: whatever one does, the other's answers stay as they are.

Every call is made twice: in the store that both share, and in one where the other never was. The two answers must be the
same to the byte. So an id of the other's answers as one that exists nowhere, since where the twin lives it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
from mcp.server.mcpserver import MCPServer

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.server.app import create_server
from cmc_mcp.server.session import Caller, Stores, check_may_write
from cmc_mcp.tools import TOOLS, respond
from cmc_mcp.tools.tool import Call
from tests.support.embedders import CountingEmbedder
from tests.support.memories import START_US

SETTINGS: Final = Settings(inline_bytes=45)  # half of the texts are objects
SPECS: Final = {spec.name: spec for spec in TOOLS}
_CLOCKED: Final = re.compile(r'"ms": ?[\d.e-]+|(?<=, )[\d.e-]+ ms\b|timings_ms"?[:=] ?\{[^}]*\}')
"""What a trace says of time is measured; everything else of an answer is compared."""

Arguments = Mapping[str, Any]

VERBS: Final[Mapping[str, Callable[[Memory, Arguments], Any]]] = {
    "quarantine": lambda memory, _: memory.quarantine(),
    "release": lambda memory, asked: memory.release(asked["id"]).model_copy(update={"timings_ms": {}}),
    "sources": lambda memory, _: memory.sources(),
    "read_source": lambda memory, asked: memory.read_source(asked["source"]),
    "status": lambda memory, _: memory.status(),
    "calibration": lambda memory, _: memory.calibration(),
    "set_policy": lambda memory, asked: memory.set_policy(asked["name"], asked["value"]),
    "put": lambda memory, asked: memory.collection(asked["name"]).put(
        [Entry(asked["id"], asked["text"], {"by": asked["by"]})]
    ),
    "get": lambda memory, asked: memory.collection(asked["name"]).get([asked["id"]]),
}
"""What a person or an adapter can do beside the tools."""


def quick(otherwise: Path | None = None) -> Path | None:
    """Return a folder in memory where there is one: what is tested here is not durability."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else otherwise


class Reader:
    """Reads resources through the real server, for whoever sits before it now: a server is slow to make."""

    def __init__(self) -> None:
        self._server: MCPServer[Any] = create_server(self)
        self._seat: tuple[Stores, Caller] | None = None

    def read(self, stores: Stores, caller: Caller, uri: str) -> str:
        """Read a resource as a caller; an error as its text."""
        self._seat = stores, caller

        async def body() -> str:
            try:
                return repr([(part.content, part.mime_type) for part in await self._server.read_resource(uri)])
            except Exception as error:
                return f"{type(error).__name__}: {error}"

        return anyio.run(body)

    def caller(self) -> Caller:
        assert self._seat is not None
        return self._seat[1]

    def memory(self, caller: Caller) -> Memory:
        assert self._seat is not None
        return self._seat[0].memory(caller)

    def probe(self) -> None:
        """Nothing to look at."""

    def warm(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """The houses close."""


class House:
    """A store with several callers, as a server keeps it. The time is told before each call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FixedClock(START_US)
        self.embedder = CountingEmbedder()
        self.said = ""
        self.stores = self._opened()

    def _opened(self) -> Stores:
        return Stores(
            lambda caller: Memory.open(
                self.path,
                workspace=caller.workspace,
                principal=caller.principal,
                embedder=self.embedder,
                clock=self.clock,
                settings=SETTINGS,
            )
        )

    def reopen(self) -> None:
        """Begin a process anew, with nothing at hand."""
        self.stores.close()
        self.stores = self._opened()

    def close(self) -> None:
        self.stores.close()

    def answer(self, caller: Caller, tool: str, arguments: Arguments) -> tuple[Any, str]:
        """Make a call as the server makes it; return the structure of the answer, and all of it as text."""
        memory, told = self.stores.memory(caller), len(self.embedder.texts)
        if tool in VERBS:
            structure, said = self._verb(memory, tool, arguments)
        else:
            structure, said = self._tool(memory, caller, tool, arguments)
        embedded = self.embedder.texts[told:]  # what is embedded again takes time, and time can be told
        self.said = _CLOCKED.sub("", said) + f"\nembedded {embedded}"
        return structure, self.said

    def _tool(self, memory: Memory, caller: Caller, tool: str, arguments: Arguments) -> tuple[Any, str]:
        spec = SPECS[tool]
        try:
            asked = spec.read(arguments)
            if spec.writes(asked):
                check_may_write(caller, tool)
            result = spec.run(Call(memory), asked)
        except CmcError as error:
            result = respond.failure(tool, error)
        return result.structured_content, result.model_dump_json(indent=1)

    def _verb(self, memory: Memory, verb: str, arguments: Arguments) -> tuple[Any, str]:
        try:
            return None, repr(VERBS[verb](memory, arguments))
        except CmcError as error:
            return None, f"{error.code}: {error}"


class Interference(AssertionError):
    """An answer that depends on another workspace."""


class Worlds:
    """A store that two workspaces share, and one for each alone."""

    def __init__(self, folder: Path, callers: Mapping[str, tuple[Caller, ...]], reader: Reader) -> None:
        self.callers = callers
        self._reader = reader
        self.shared = House(folder / "shared.db")
        self.alone = {side: House(folder / f"{side}.db") for side in callers}
        self._times = dict.fromkeys(callers, START_US)
        self.calls = 0

    def close(self) -> None:
        for house in (self.shared, *self.alone.values()):
            house.close()

    def call(self, side: str, tool: str, arguments: Arguments, *, who: int = 0, later_us: int = 1_000_000) -> Any:
        """Make a call in both worlds and compare; return the structure of the answer, None for an error.

        Raises:
            Interference: the answers differ.
        """
        caller = self.callers[side][who]
        self._times[side] += later_us
        told: list[tuple[Any, str]] = []
        for house in (self.alone[side], self.shared):
            house.clock.set_us(self._times[side])
            told.append(house.answer(caller, tool, arguments))
        self.calls += 1
        _compare(f"{caller.principal}@{side} {tool} {json.dumps(arguments)}", told[0][1], told[1][1])
        return told[1][0]

    def read(self, side: str, uri: str) -> None:
        """Read a resource in both worlds and compare."""
        caller = self.callers[side][0]
        for house in (self.alone[side], self.shared):
            house.clock.set_us(self._times[side])
        told = [self._reader.read(house.stores, caller, uri) for house in (self.alone[side], self.shared)]
        self.calls += 1
        _compare(f"{side} {uri}", *told)


def _compare(what: str, alone: str, shared: str) -> None:
    if alone == shared:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(alone, shared, strict=False)) if a != b), min(len(alone), len(shared))
    )
    start = max(0, place - 80)
    raise Interference(f"{what}\n  alone:  …{alone[start : place + 160]!r}\n  shared: …{shared[start : place + 160]!r}")
