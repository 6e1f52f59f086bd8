"""What says how the store is costs the same however much is stored."""

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from cmc_mcp.environment import Configuration
from cmc_mcp.memory import Memory
from cmc_mcp.server.session import LocalSession
from tests.support.embedders import HashVectors

STEPS = 50


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Count the steps of SQLite's virtual machine, in fifties, on every connection that opens."""
    counted = [0]

    def step() -> bool:
        counted[0] += 1
        return False

    def hook(connection: apsw.Connection) -> None:
        connection.set_progress_handler(step, STEPS)

    apsw.connection_hooks.append(hook)
    yield counted
    apsw.connection_hooks.remove(hook)


def cost(steps: list[int], call: Callable[[], object]) -> int:
    before = steps[0]
    call()
    return steps[0] - before


def fill(path: Path, upto: int, start: int = 0) -> None:
    with Memory.open(path, embedder=HashVectors()) as memory:
        for _ in memory.remember_many({"content": f"note {number}"} for number in range(start, upto)):
            pass


def test_a_probe_costs_the_same_among_many_memories(tmp_path: Path, steps: list[int]) -> None:
    path, costs = tmp_path / "memory.db", []
    for start, upto in ((0, 50), (50, 1_500)):
        fill(path, upto, start)
        session = LocalSession(Configuration(store=str(path)), embedder=HashVectors())
        session.probe()  # opening has its own cost
        costs.append(cost(steps, session.probe))
        session.close()
    assert costs[1] <= costs[0] + 2


def test_status_after_the_first_costs_the_same_among_many_memories(tmp_path: Path, steps: list[int]) -> None:
    path, costs = tmp_path / "memory.db", []
    for start, upto in ((0, 50), (50, 1_500)):
        fill(path, upto, start)
        with Memory.open(path, embedder=HashVectors()) as memory:
            assert memory.status()["memories"] == upto
            memory.remember(f"one more {upto}")
            costs.append(cost(steps, memory.status))
            memory.forget(memory.recall(f"one more {upto}").items[0].id)
    assert costs[1] <= costs[0] + 4
