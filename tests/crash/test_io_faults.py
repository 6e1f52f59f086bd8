from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from cmc_mcp.errors import OutcomeUnknown, StoreError
from cmc_mcp.store.sqlite import store as sqlite_store
from cmc_mcp.write import forget
from tests.crash.faults import CASES, KINDS, Bench, Case, run
from tests.crash.faulty import Faulty, faulty
from tests.crash.lossy import without_checksums
from tests.crash.subject import opened
from tests.soak import Job


@pytest.mark.slow
def test_whatever_fails_in_whichever_call_the_caller_is_told_the_truth_and_nothing_breaks(tmp_path: Path) -> None:
    told = run(Job(len(CASES), 20_261_125, tmp_path))
    assert told.failures == [], told
    assert len(CASES) == told.case and told.done >= 0.75 * len(CASES)
    assert {"not kept", "unknown"} <= told.answers.keys() <= {"not kept", "unknown", "kept", "answered", "unmet"}, told


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    class Stops(Job):
        def keep(self, outcome: Any) -> None:
            super().keep(outcome)
            if outcome.case == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Stops(1, 5, tmp_path))
    state = json.loads((tmp_path / "progress.json").read_text())
    assert (state["case"], state["done"]) == (3, 3)
    told = run(Job(1, 5, tmp_path, {**state, "case": len(CASES) - 1}))
    assert (told.case, told.done, told.failures) == (len(CASES), 4, [])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failures(bench: Bench, case: Case) -> Iterator[str]:
    """What every operation of a case comes to, the last first: that is where a commit is."""
    for point in range(bench.points(case), 0, -1):
        yield from bench.fail(case, point)[1]


def test_the_harness_notices_a_commit_that_is_not_looked_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed sync is called a failure, though the frames have reached the log."""

    def blunt(store: sqlite_store.SqliteStore, unit: object, failure: apsw.Error) -> None:
        store._drop_writer()
        raise StoreError("the disk reported an error; nothing was changed") from failure

    monkeypatch.setattr(sqlite_store.SqliteStore, "_find_out", blunt)
    assert any("it said" in line for line in failures(bench, Case("remember", "error", "for ever", False)))


def test_the_harness_notices_an_error_after_the_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        forget, "_finished", lambda engine, _, erasure_count, **__: engine.store.scrub(engine.ws, erasure_count)
    )
    assert any("it said" in line for line in failures(bench, Case("erase", "short", "once", False)))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Faulty]:
    with without_checksums(), opened(tmp_path / "memory.db") as subject:
        subject.memory.remember("The deploy target is Fly.io", tags={"topic": "deploy"})
    with faulty(tmp_path) as made:
        yield made


def test_a_disk_that_fails_for_good_leaves_the_outcome_unknown_until_the_key_is_looked_up(
    tmp_path: Path, disk: Faulty
) -> None:
    unknown = 0
    with opened(tmp_path / "memory.db") as subject:
        for fail_at in range(1, 30):
            text, key = f"the doubtful one {fail_at}", f"doubt-{fail_at}"
            disk.arm(fail_at, for_ever=True)
            try:
                subject.memory.remember(text, idempotency_key=key)
            except OutcomeUnknown as error:
                unknown += 1
                assert "same idempotency key" in error.message
            except StoreError:
                pass
            disk.arm(None)
            again = subject.memory.remember(text, idempotency_key=key)
            assert again.added == subject.memory.remember(text, idempotency_key=key).added
            assert subject.memory.snapshot().counts["atoms"] == 1 + fail_at
        assert subject.memory.verify().holds
    assert unknown


def test_a_full_disk_says_so_and_what_helps(tmp_path: Path, disk: Faulty) -> None:
    with opened(tmp_path / "memory.db") as subject:
        subject.memory.remember("one to warm up")
        root = subject.memory.snapshot().root
        disk.arm(1, "full", for_ever=True)
        with pytest.raises(StoreError, match=r"disk is full.*nothing was changed.*[Ff]ree some space") as caught:
            subject.memory.remember("one too many")
        assert not isinstance(caught.value, OutcomeUnknown)
        assert root == subject.memory.snapshot().root
        assert subject.memory.recall("deploy").items
        disk.arm(None)
        subject.memory.remember("there is space again")
        assert subject.memory.verify().holds


def test_an_import_that_fails_half_way_says_what_is_kept(tmp_path: Path, disk: Faulty) -> None:
    with opened(tmp_path / "memory.db") as subject:
        before = subject.head()[0]

        def items() -> Iterator[dict[str, str]]:
            for number in range(1001):
                yield {"content": f"item {number}"}

        def after_the_first(done: int, total: int) -> None:
            disk.arm(1, "full", for_ever=True)

        with pytest.raises(StoreError, match=r"first 1000 items are kept, then the disk is full; nothing more was"):
            subject.memory.remember_many(items(), progress=after_the_first)  # type: ignore[arg-type]
        disk.arm(None)
        assert subject.head()[0] == before + 1


def test_every_kind_of_call_and_every_way_to_fail_is_a_case() -> None:
    assert {case.kind for case in CASES} == set(KINDS)
    assert len(CASES) == len(KINDS) * (3 + 1) * 3
