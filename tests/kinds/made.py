"""A memory with kinds of its own, and writes of them: what a product would do, without a product."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cmc_mcp.canon import Json, canonical
from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import Kind
from cmc_mcp.memory import Memory
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.ports import WriteUnit
from cmc_mcp.store.registry import Registry
from tests.pg.plugin import VARIABLE
from tests.support import reach
from tests.support.memories import NOON_US, on

CLOCK = FixedClock(NOON_US, step_us=1_000)


def with_kinds(*kinds: Kind) -> Registry:
    """Return the product's registry with some kinds more."""
    return replace(REGISTRY, kinds={**REGISTRY.kinds, **{kind.code: kind for kind in kinds}})


def place_of(path: Path, request: pytest.FixtureRequest) -> str:
    """Return where the store of a path is: itself, or on the server of this run a database."""
    return str(request.getfixturevalue("databases").of(path)) if VARIABLE in os.environ else str(path)


def opened(place: str, registry: Registry, path: Path) -> Memory:
    """Open a store whose products are those of a registry."""
    settings = Settings(inline_bytes=64)
    return on(place, clock=CLOCK, registry=registry, objects=f"{path}.objects", principal="ana", settings=settings)


def put(memory: Memory, writer: str, kind: Kind, name: str, fields: dict[str, Json] | None) -> None:
    """Set the facts of a record on all valid time, in one transaction; None retracts it."""
    with reach.writer(memory) as unit:
        put_in(unit, kind, name, fields)
        unit.flush(verb="put", principal=writer, arguments=canonical({}), clock_us=CLOCK.now_us())


def put_in(unit: WriteUnit, kind: Kind, name: str, fields: dict[str, Json] | None) -> int:
    """Set the facts of a record in a unit of work; return its number."""
    rid, _ = unit.intern(kind.record(name.encode()))
    always = (SINCE_ALWAYS, UNTIL_FURTHER_NOTICE)
    unit.set_intervals(rid, () if fields is None else (Interval(*always, facts_of(fields)),))
    return rid


def held(memory: Memory, kind: Kind, name: str) -> dict[str, Json] | None:
    """Return the facts of a record now."""
    with reach.reader(memory) as view:
        rid = view.rid(kind.record(name.encode()))
        intervals = () if rid is None else view.intervals(rid)
        return dict(intervals[0].facts.fields) if intervals else None
