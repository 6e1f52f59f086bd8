"""The memories of tests: a store in a folder, a clock that steps, no model unless one is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmc_mcp.clock import Clock, FixedClock, SystemClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import ForgetResult
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.opening import open_store
from cmc_mcp.store.ports import Objects, Store
from cmc_mcp.store.registry import Registry
from cmc_mcp.workspace import Workspace

START_US = 1_750_000_000_000_000
NOON_US = 1_780_000_000_000_000


def at(path: str | Path, *, start_us: int = START_US, step_us: int = 1_000_000, **more: Any) -> Memory:
    """Open a store with a clock that steps a second a look, or as told."""
    given = {"principal": "maya", "embedder": None, "clock": FixedClock(start_us, step_us=step_us), **more}
    return Memory.open(path, **given)


def live(path: str | Path, **more: Any) -> Memory:
    """Open a store without a model, on the clock of the machine: what a command or a server finds there."""
    return Memory.open(path, embedder=None, **more)


def opened(folder: Path, name: str = "memory.db", **more: Any) -> Memory:
    """Open a store in a folder, as `at` does."""
    return at(folder / name, **more)


def on(
    place: str | Path, *, embedder: Embedder | None = None, clock: Clock | None = None, settings: Settings | None = None,
    workspace: str = "default", principal: str = "maya", objects: str | Path | None = None, registry: Registry = REGISTRY,
) -> Memory:  # fmt: skip
    """Open a file or a database, whichever the place names, beside the seam that diverts stores to a database."""
    clock = clock or FixedClock(NOON_US, step_us=1_000)
    # making the tables looks at a clock too
    store, kept = open_store(place, clock=SystemClock(), registry=registry, objects=objects)
    return over(
        store, kept, workspace=workspace, principal=principal, embedder=embedder, clock=clock, settings=settings
    )


def over(
    store: Store, objects: Objects, *, clock: Clock, workspace: str = "default", principal: str = "maya",
    embedder: Embedder | None = None, settings: Settings | None = None,
) -> Memory:  # fmt: skip
    """Return a memory over a store that a test opened by itself."""
    found = Workspace.of(
        store, objects, name=workspace, principal=principal, embedder=embedder, clock=clock,
        settings=settings or Settings(),
    )  # fmt: skip
    return Memory(found)


def erase(memory: Memory, ids: str | Sequence[str]) -> ForgetResult:
    """Erase as anybody must: a dry run first, then its digest."""
    ids = ids if isinstance(ids, str) else list(ids)
    plan = memory.forget(ids, erase=True, dry_run=True)
    return memory.forget(ids, erase=True, digest=plan.digest)


def root(memory: Memory) -> str:
    """Return the present state root."""
    return memory.snapshot().root


def raw_bytes(folder: Path) -> bytes:
    """Return every byte that a store and its objects keep on disk."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
