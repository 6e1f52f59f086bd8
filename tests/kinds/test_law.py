"""The law of indexes: applying what a write gives to the rows there were leaves the rows that the whole history gives."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import CmcError
from cmc_mcp.history.verify import Verifier
from cmc_mcp.memory import Memory
from cmc_mcp.store.indexes import Delta, Index, Row
from cmc_mcp.store.sql.unit import UnitOfWork
from tests.memory.test_random_histories import _VERBS, _step
from tests.support import reach
from tests.support.everything import fill, opened

STEPS = 25
APART = {"state_nodes", "log_nodes", "traits", "speakers", "headings", "codes"}
"""What the unit of work writes itself: of these only the whole is an index's."""


class Steps:
    """Rows as deltas make them, of everything that is told, fed or followed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, set[Row]] = {}
        self._pending: list[tuple[Index, Delta]] = []
        tell, apply, flush, erase = UnitOfWork.tell, UnitOfWork._apply, UnitOfWork.flush, UnitOfWork.erase

        def told(unit: UnitOfWork, index: Index, row: Row) -> None:
            self._pending.append((index, Delta(made=[row])))
            tell(unit, index, row)

        def applied(unit: UnitOfWork, index: Index, delta: Delta) -> None:
            delta = Delta(list(delta.gone), list(delta.made))
            if index.table.name not in APART:
                self._pending.append((index, delta))
            apply(unit, index, delta)

        def flushed(unit: UnitOfWork, **given: Any) -> Any:
            head = flush(unit, **given)
            for index, delta in self._pending:
                rows = self.rows.setdefault(index.table.name, set())
                assert set(delta.gone) <= rows, f"{index.table.name} gives up rows that it has not"
                rows -= set(delta.gone)
                rows |= set(delta.made)
            self._pending = []
            return head

        def erased(unit: UnitOfWork, pids: Iterable[int], *rest: Any) -> None:
            """What goes with a payload is said by the table, not by a delta."""
            for table, column in unit.registry.erased_by_payload:
                place = unit.registry.by_name[table].shown.index(column)
                rows = self.rows.get(table, set())
                self.rows[table] = {row for row in rows if row[place] not in pids}
            erase(unit, pids, *rest)  # type: ignore[arg-type]

        patch.setattr(UnitOfWork, "tell", told)
        patch.setattr(UnitOfWork, "_apply", applied)
        patch.setattr(UnitOfWork, "flush", flushed)
        patch.setattr(UnitOfWork, "erase", erased)

    def held(self, memory: Memory) -> None:
        """Compare with what every index gives for the whole history."""
        self._pending = []  # of a write that was refused
        with reach.reader(memory) as view:
            verifier = Verifier(view, reach.objects(memory))
            assert verifier.committed()
            for index in view.registry.indexes:
                name = index.table.name
                if name not in APART:
                    assert self.rows.get(name, set()) == verifier.audit.wanted(index), name


@pytest.mark.parametrize("seed", range(3))
def test_steps_applied_one_by_one_leave_the_rows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    steps, rnd = Steps(monkeypatch), random.Random(seed)
    with opened(tmp_path / "memory.db") as memory:
        fill(memory, seed, notes=6)
        steps.held(memory)
        for _ in range(STEPS):
            with suppress(CmcError):
                _step(memory, rnd, rnd.choice(_VERBS))
            steps.held(memory)
