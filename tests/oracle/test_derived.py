"""What `flush` wrote and what `verify` wants are what the independent recomputation gives, over generated histories."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import CmcError
from cmc_mcp.history.verify import Verifier
from cmc_mcp.memory import Memory
from cmc_mcp.store.sql.unit import UnitOfWork
from tests.memory.test_random_histories import _VERBS, _step
from tests.moving.made import fill, opened
from tests.oracle.derived import Ledger, expected

Row = tuple[Any, ...]
STEPS = 30
SHARED = (
    "edges", "labels", "quarantine", "sources", "items", "tags", "claims", "confidences", "witnesses", "speakers",
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
    with memory._workspace.reader() as view:
        wanted = expected(view, memory._workspace.objects, Ledger.read(view))
        verifier = Verifier(view, memory._workspace.objects)
        assert verifier.committed()
        said = verifier.wanted()
        stored = {table: view.all_index_rows(table) for table in wanted}
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


def spoilt(value: Any) -> Any:
    """Return another value of the same type."""
    return f"{value}x" if isinstance(value, str) else bytes(16) if isinstance(value, bytes) else value + 1


@pytest.mark.parametrize("table", SHARED)
def test_a_wrong_row_in_any_shared_table_is_found(tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    insert: Callable[..., None] = UnitOfWork._insert

    def wrong(self: UnitOfWork, name: str, row: Row) -> None:
        if name == table and not self._inserts.get(table):
            row = (*row[:-1], spoilt(row[-1]))
        insert(self, name, row)

    monkeypatch.setattr(UnitOfWork, "_insert", wrong)
    with opened(tmp_path / "memory.db") as memory:
        touch(memory)
        found = differences(memory)
    assert f"{table} is stored otherwise" in found
