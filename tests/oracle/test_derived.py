"""What `flush` wrote and what `verify` wants are what the independent recomputation gives, over generated histories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import CmcError
from cmc_mcp.history.verify import Verifier
from cmc_mcp.memory import Memory
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Delta, Index
from cmc_mcp.store.sql.unit import UnitOfWork
from tests.memory.test_random_histories import _VERBS, _step
from tests.oracle.derived import Ledger, expected
from tests.support import reach
from tests.support.everything import fill, opened

Row = tuple[Any, ...]
STEPS = 30
SHARED = (
    "edges", "labels", "quarantine", "sources", "items", "tags", "claims", "confidences", "witnesses", "speakers",
    "nodes",
)  # fmt: skip
"""Tables whose rows come from one description for all who write or compare them."""


def history(path: Path, seed: int) -> Iterator[Memory]:
    """Yield a memory with something of everything, and then after random steps."""
    with opened(path) as memory:
        fill(memory, seed, notes=12)
        yield memory
        rnd = random.Random(seed)
        for _ in range(STEPS):
            try:
                _step(memory, rnd, rnd.choice(_VERBS))
            except CmcError:
                continue
        yield memory


def differences(memory: Memory) -> list[str]:
    """Return every table whose rows, or whose rows as `verify` wants them, are not those of the oracle."""
    with reach.reader(memory) as view:
        wanted = expected(view, reach.objects(memory), Ledger.read(view))
        verifier = Verifier(view, reach.objects(memory))
        assert verifier.committed()
        said = {index.table.name: rows for index, rows in verifier.wanted().items()}
        stored = {table: set(view.index_rows(view.registry.by_name[table])) for table in wanted}
    assert wanted.keys() == said.keys()
    return [f"{table} is stored otherwise" for table in wanted if wanted[table] != stored[table]] + [
        f"verify wants other {table}" for table in wanted if wanted[table] != set(said[table])
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_product_agrees_with_the_oracle_on_every_derived_table(tmp_path: Path, seed: int) -> None:
    for memory in history(tmp_path / "memory.db", seed):
        assert differences(memory) == []


def touch(memory: Memory) -> None:
    """Write something into every shared table."""
    claim: Any = {"subject": "app", "predicate": "runs on", "object": "Fly.io"}
    memory.as_principal("ben").remember("# Plan\n\nFly.\n", source="plan", tags={"a": "b"}, confidence=0.5, claim=claim)
    premise = memory.remember("It rains.").added[0]
    memory.remember("So it is wet.", derived_from=[premise])
    memory.remember("She left for Oslo.", session="s", speaker="Zoe")
    memory.snapshot("end")
    memory.set_policy("gate.min_confidence", 0.3)
    memory.remember("a wild guess", confidence=0.1)


def wrong(row: Row) -> Row:
    """Return a row whose last column has another value of the same type."""
    *rest, last = row
    return (*rest, f"{last}x" if isinstance(last, str) else bytes(16) if isinstance(last, bytes) else last + 1)


@pytest.mark.parametrize("table", SHARED)
def test_a_wrong_row_that_a_write_leaves_is_found(tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tell, apply, insert = UnitOfWork.tell, UnitOfWork._apply, UnitOfWork._insert

    def told(self: UnitOfWork, index: Index, row: Row) -> None:
        tell(self, index, wrong(row) if index.table.name == table else row)

    def applied(self: UnitOfWork, index: Index, delta: Delta) -> None:
        made = [wrong(row) for row in delta.made] if index.table.name == table else delta.made
        apply(self, index, Delta(delta.gone, made))

    def inserted(self: UnitOfWork, name: str, row: Row) -> None:
        insert(self, name, (row[0], *wrong(row[1:])) if name == table == "speakers" else row)

    monkeypatch.setattr(UnitOfWork, "tell", told)
    monkeypatch.setattr(UnitOfWork, "_apply", applied)
    monkeypatch.setattr(UnitOfWork, "_insert", inserted)
    with opened(tmp_path / "memory.db") as memory:
        touch(memory)
        assert f"{table} is stored otherwise" in differences(memory)


@pytest.mark.parametrize("table", SHARED)
def test_a_wrong_row_that_verify_wants_is_found(tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Audit.wanted

    def other(self: Audit, index: Index) -> set[Row]:
        rows = wanted(self, index)
        return {wrong(row) for row in rows} if index.table.name == table else rows

    monkeypatch.setattr(Audit, "wanted", other)
    with opened(tmp_path / "memory.db") as memory:
        touch(memory)
        assert f"verify wants other {table}" in differences(memory)
