"""What a poisoner wrote is undone by name, in time, and nothing honest goes with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cmc_mcp.history import rollback
from cmc_mcp.kernel.undo import Replayed, replayed
from tests.poisoning.drill import UNDO_S_MAX, Report
from tests.poisoning.soak import drill


def _is_sound(report: Report) -> bool:
    return not report.lost and not report.wrong


@pytest.mark.slow
def test_a_hundred_poisoned_among_two_thousand_are_undone_and_nothing_honest_is_lost(tmp_path: Path) -> None:
    report = drill(tmp_path, 1, memories=2_000, poisoned=100)
    assert _is_sound(report), report
    assert report.poisoned == 100 and report.memories >= 1_900 and report.touched > 30, report
    assert report.undo_s <= UNDO_S_MAX, report


def _forgets_stay(patch: pytest.MonkeyPatch) -> None:
    """What the poisoner forgot does not come back."""
    without = rollback._without

    def leaving(view: object, rid: int, matcher: object, *rest: object) -> tuple[object, bool]:
        now = view.intervals(rid)  # type: ignore[attr-defined]
        return without(view, rid, matcher, *rest) if now else (now, False)  # type: ignore[arg-type]

    patch.setattr(rollback, "_without", leaving)


def _later_honest_changes_go_too(patch: pytest.MonkeyPatch) -> None:
    def first(changes: object, *, assigned: bool) -> Replayed:
        return replayed(list(changes)[:1], assigned=assigned)  # type: ignore[call-overload]

    patch.setattr(rollback, "replayed", first)


def _what_rests_on_poison_is_not_named(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollback, "_resting_on", lambda view, plan: [])


def _any_writer_is_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollback._Matcher, "_by_writer", lambda self, seq: True)


@pytest.mark.parametrize(
    "weaken", [_forgets_stay, _later_honest_changes_go_too, _what_rests_on_poison_is_not_named, _any_writer_is_undone]
)
def test_an_undo_that_does_too_little_or_too_much_is_noticed(
    weaken: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _is_sound(drill(tmp_path, 2, memories=400, poisoned=60))
    weaken(monkeypatch)
    assert not _is_sound(drill(tmp_path, 2, memories=400, poisoned=60))
