"""The reach behind a memory: what tests look at that the facade does not show. No other test module knows how.

Used as a module, so that a test reads `reach.reader(memory)`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeVar

from cmc_mcp.canon import Json
from cmc_mcp.index.following import Follower
from cmc_mcp.memory import Memory
from cmc_mcp.store.ports import AuditView, Objects, ReadView, WriteUnit
from cmc_mcp.workspace import Indexed, Kept

F = TypeVar("F", bound=Follower)


def reader(memory: Memory) -> AbstractContextManager[AuditView]:
    """Open a read transaction in the memory's workspace."""
    return memory._workspace.reader()


def writer(memory: Memory) -> AbstractContextManager[WriteUnit]:
    """Open a write transaction in the memory's workspace."""
    return memory._workspace.writer()


def commit(memory: Memory, unit: WriteUnit, verb: str, arguments: dict[str, Json]) -> Any:
    """Commit a write transaction as a verb does."""
    return memory._workspace.commit(unit, verb, arguments)


def store(memory: Memory) -> Any:
    """Return the store that keeps the memory, whichever backend it is; a test may use what only one of them has."""
    return memory._workspace.store


def exclusive(memory: Memory) -> Any:
    """Hold the write connection of the memory's store alone."""
    return store(memory).exclusive()


def objects(memory: Memory) -> Objects:
    """Return the store of large contents."""
    return memory._workspace.objects


def ws(memory: Memory) -> int:
    """Return the number of the memory's workspace."""
    return memory._workspace.ws


def clock(memory: Memory) -> Any:
    """Return the clock that the memory was opened with."""
    return memory._workspace.clock


def embedder(memory: Memory) -> Any:
    """Return the embedder that the memory was opened with."""
    return memory._workspace.embedder


def kept(memory: Memory) -> Kept:
    """Return the workspace's caches."""
    return memory._workspace.kept


def index(memory: Memory, view: ReadView, make: Indexed[F], model: int) -> F | None:
    """Return an index in memory at the state of a view; None where it has no room."""
    return memory._workspace.index(view, make, model)


def alter(memory: Memory, **changes: Any) -> None:
    """Exchange the settings, objects, … of an open memory."""
    memory._workspace = replace(memory._workspace, **changes)
