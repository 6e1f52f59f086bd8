"""An assigned kind: undoing one writer leaves what the others set, whoever came first."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.kernel.kinds import Kind
from tests.kinds.made import held, opened, place_of, put, with_kinds

HEAD = Kind(200, "test_head", memory=True, assigned=True)
FIELD = Kind(201, "test_field", memory=True)


@pytest.mark.parametrize("kind", [HEAD, FIELD], ids=["assigned", "by register"])
def test_undoing_who_came_first(tmp_path: Path, request: pytest.FixtureRequest, kind: Kind) -> None:
    path = tmp_path / "memory.db"
    with opened(place_of(path, request), with_kinds(HEAD, FIELD), path) as memory:
        put(memory, "ben", kind, "guide", {"version": "one"})
        put(memory, "ana", kind, "guide", {"version": "two"})
        memory.rollback(writer="ben")
        assert held(memory, kind, "guide") == ({"version": "two"} if kind.assigned else None)
        memory.rollback(writer="ana")
        assert held(memory, kind, "guide") is None
        assert memory.rollback(to=2).receipt is not None
        assert held(memory, kind, "guide") == {"version": "two"}
        assert memory.verify().faults == []


def test_a_store_with_kinds_that_this_version_does_not_know_does_not_verify(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "memory.db"
    with opened(place_of(path, request), with_kinds(HEAD), path) as memory:
        put(memory, "ben", HEAD, "guide", {"version": "one"})
    with opened(place_of(path, request), with_kinds(), path) as memory:
        assert [fault.table for fault in memory.verify().faults][:1] == ["records"]
