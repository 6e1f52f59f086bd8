"""One workspace never shows in the answers of another, whatever either does; and that this would be noticed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cmc_mcp.tools import TOOLS
from tests.isolation.play import FITTING, TARGETS, Play, Reader, published
from tests.isolation.seeded import LEAKS
from tests.isolation.soak import run
from tests.isolation.worlds import quick
from tests.pg.plugin import examples
from tests.soak import Job

SEED = 20260601
EXAMPLES = examples(30, 8)
FIRST_SHOWN = {
    "idempotency keys": 4, "transactions by time": 5, "what is in quarantine": 3, "the rollbacks before": 2, "objects": 10,
}  # fmt: skip
"""Where the hunt for a leak begins: in the first example that shows it, to save time; it goes on from there."""


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.slow
def test_the_answers_of_a_workspace_are_the_same_to_the_byte_whatever_another_does(tmp_path: Path) -> None:
    told = run(Job(EXAMPLES, SEED, tmp_path), steps=30)
    assert (told.failures, told.done) == ([], EXAMPLES), told
    assert told.calls > 33 * EXAMPLES and told.attacks > 8 * EXAMPLES, told


def test_every_string_that_a_published_tool_takes_is_a_target() -> None:
    assert set(published()) == {spec.name for spec in TOOLS}
    assert {tool for tool, _ in TARGETS} >= set(published())
    assert {("recall", ("cursor",)), ("forget", ("ids", "*")), ("remember", ("claim", "subject"))} <= set(TARGETS)
    assert all(spec.input_schema == published()[spec.name] for spec in TOOLS)
    assert {kind for _, _, kind in FITTING} >= {"atom", "prefix", "snapshot", "label", "transaction", "digest", "key"}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_told_from_the_answers(name: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    LEAKS[name](monkeypatch)
    first = FIRST_SHOWN.get(name, 0)
    for number in range(first, first + 40):
        with tempfile.TemporaryDirectory(dir=quick()) as folder:
            try:
                Play(Path(folder), reader, f"leak/{number}", number * 50).run(40)
            except Exception:  # what is damaged shows as a difference or as a failure
                return
    pytest.fail(f"{name}: nobody noticed")
