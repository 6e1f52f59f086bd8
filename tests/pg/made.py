"""What the tests of this folder share: a store on each backend, opened beside the seam."""

from __future__ import annotations

from pathlib import Path

from cmc_mcp.clock import Clock, FixedClock, SystemClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory
from cmc_mcp.store.opening import open_store

START_US = 1_780_000_000_000_000


def on(
    place: str | Path, *, embedder: Embedder | None = None, clock: Clock | None = None, settings: Settings | None = None,
    workspace: str = "default", principal: str = "maya", objects: str | Path | None = None,
) -> Memory:  # fmt: skip
    """Open a file or a database, whichever the place names."""
    clock = clock or FixedClock(START_US, step_us=1_000)
    store, kept = open_store(place, clock=SystemClock(), objects=objects)  # making the tables looks at a clock too
    return Memory(
        store, kept, workspace=workspace, principal=principal, embedder=embedder, clock=clock,
        settings=settings or Settings(),
    )  # fmt: skip
