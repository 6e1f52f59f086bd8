"""The case that breaks rivals: a correction that reaches back before the day it was learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp import Memory
from cmc_mcp.clock import FixedClock
from cmc_mcp.model.time import parse_time

HEROKU, FLY = "The deploy target is Heroku", "The deploy target is Fly.io"


def told(path: Path, clock: FixedClock, *, by_revision: bool) -> Memory:
    """On 9 June learn Heroku; on 16 June learn that it is Fly.io since 1 June."""
    memory = Memory.open(path, embedder=None, clock=clock)
    claim = {"subject": "app", "predicate": "deploys to", "object": "Heroku"}
    clock.set_us(parse_time("2026-06-09T10:00:00Z"))
    first = memory.remember(HEROKU, claim=claim)  # type: ignore[arg-type]
    clock.set_us(parse_time("2026-06-16T10:00:00Z"))
    new = {**claim, "object": "Fly.io"}
    if by_revision:
        memory.revise(first.added[0], content=FLY, valid_from="2026-06-01", claim=new)  # type: ignore[arg-type]
    else:
        memory.remember(FLY, claim=new, valid_from="2026-06-01")  # type: ignore[arg-type]
    return memory


@pytest.mark.parametrize("by_revision", [True, False], ids=["revised", "remembered beside it"])
@pytest.mark.parametrize(
    ("as_of", "valid_at", "first"),
    [
        ("2026-06-09T12:00:00Z", None, HEROKU), ("2026-06-12", None, HEROKU), ("2026-06-12", "2026-06-05", HEROKU),
        (None, "2026-06-05", FLY), (None, "2026-05-31", HEROKU), (None, None, FLY), ("2026-06-16T12:00:00Z", None, FLY),
        ("2026-06-16T12:00:00Z", "2026-05-31", HEROKU),
    ],
)  # fmt: skip
def test_what_was_believed_when_about_which_day(
    tmp_path: Path, by_revision: bool, as_of: str | None, valid_at: str | None, first: str
) -> None:
    clock = FixedClock(0)
    with told(tmp_path / "memory.db", clock, by_revision=by_revision) as memory:
        clock.set_us(parse_time("2026-07-01"))
        items = memory.recall("what is the deploy target?", as_of=as_of, valid_at=valid_at).items
        assert items[0].text == first
        if by_revision:
            assert [item.text for item in items if item.text in (HEROKU, FLY)] == [first]


def test_rolling_back_to_12_june_believes_heroku_again_and_can_be_undone(tmp_path: Path) -> None:
    clock = FixedClock(0)
    with told(tmp_path / "memory.db", clock, by_revision=True) as memory:
        clock.set_us(parse_time("2026-07-01"))
        done = memory.rollback("2026-06-12")
        assert memory.recall("deploy target", valid_at="2026-06-05").items[0].text == HEROKU
        assert done.receipt is not None and done.undo_with == done.receipt.snapshot.before
        memory.rollback(done.undo_with)
        assert memory.recall("deploy target", valid_at="2026-06-05").items[0].text == FLY
        assert memory.verify().holds
