"""What the tests of this folder share: a store on each backend, opened beside the seam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from cmc_mcp.clock import Clock, FixedClock, SystemClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.opening import open_store
from tests.support.memories import over

START_US = 1_780_000_000_000_000


def on(
    place: str | Path, *, embedder: Embedder | None = None, clock: Clock | None = None, settings: Settings | None = None,
    workspace: str = "default", principal: str = "maya", objects: str | Path | None = None,
) -> Memory:  # fmt: skip
    """Open a file or a database, whichever the place names."""
    clock = clock or FixedClock(START_US, step_us=1_000)
    store, kept = open_store(
        place, clock=SystemClock(), registry=REGISTRY, objects=objects
    )  # making the tables looks at a clock too
    return over(
        store, kept, workspace=workspace, principal=principal, embedder=embedder, clock=clock, settings=settings
    )


def run_sql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements of PostgreSQL's own; return the rows of the last."""
    with psycopg.connect(url, autocommit=True) as raw:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            cursor = raw.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows


class LookAtDatabase:
    """Sees whether anything was committed to the tables of a store: how many rows there are, and which wrote them."""

    def __init__(self, store: Any) -> None:
        self._raw = psycopg.connect(store.address.conninfo, autocommit=True)
        tables = self._raw.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'cmc'::regnamespace AND relkind = 'r' AND relpersistence = 'p'"
        ).fetchall()
        self._asked = " UNION ALL ".join(
            f"SELECT count(*), sum(xmin::text::bigint) FROM cmc.{name}" for (name,) in sorted(tables)
        ).encode()

    def __call__(self) -> object:
        return self._raw.execute(self._asked).fetchall()

    def close(self) -> None:
        self._raw.close()
