from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp.errors import OutcomeUnknown, StoreError
from tests.crash.lossy import FaultyVFS
from tests.crash.subject import Subject, opened

FAULTS = [(full, for_ever) for full in (False, True) for for_ever in (False, True)]
WORDS = "enough words to fill a page or two of the log " * 4


@pytest.fixture
def vfs() -> Iterator[FaultyVFS]:
    made = FaultyVFS("faulty")
    yield made
    made.unregister()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    folder.mkdir()
    with opened(folder / "memory.db") as subject:
        subject.memory.remember("The deploy target is Fly.io", tags={"topic": "deploy"}, idempotency_key="first")
        subject.memory.snapshot("start")
        for number in range(4):
            subject.memory.remember(f"note {number}", idempotency_key=f"note-{number}")
    return folder


def workload(subject: Subject, told: dict[str, str], before: int) -> None:
    """Write under keys, noting what each call answered: kept, not kept, or unknown."""
    for number in range(2):
        name = f"key-{number}"
        try:
            subject.memory.remember(f"fault {number} {WORDS}", idempotency_key=name)
            told[name] = "kept"
        except OutcomeUnknown:
            told[name] = "unknown"
        except StoreError as error:
            assert "nothing was changed" in error.message or "cannot be" in error.message, error.message
            told[name] = "not kept"


def attempt(
    vfs: FaultyVFS, folder: Path, fail_at: int | None, *, full: bool, for_ever: bool
) -> tuple[int, dict[str, str]]:
    """Run the workload with one fault; gives how many operations there were, and what the calls answered."""
    told: dict[str, str] = {}
    vfs.arm(fail_at, full=full, for_ever=for_ever)
    try:
        with opened(folder / "memory.db", vfs="faulty") as subject:
            workload(subject, told, 0)
    except StoreError:
        pass  # while opening
    return vfs.count, told


def judge(folder: Path, told: dict[str, str]) -> None:
    """What was acknowledged is there, what was refused is not, and a retry makes exactly one of each."""
    with opened(folder / "memory.db") as subject:
        assert subject.memory.verify().holds
        with subject.store.reader(subject.ws) as view:
            kept = {name for name in told if view.idempotency(name) is not None}
            assert len(view.facts_with_tag("topic", "deploy")) == 1
        assert {name for name, answer in told.items() if answer == "kept"} <= kept
        assert not kept & {name for name, answer in told.items() if answer == "not kept"}
        for number in range(2):
            text = f"fault {number} {WORDS}"
            first = subject.memory.remember(text, idempotency_key=f"key-{number}")
            assert first.added == subject.memory.remember(text, idempotency_key=f"key-{number}").added
        atoms = 1 + 4 + 2
        assert atoms == subject.memory.snapshot().counts["atoms"]
        assert subject.memory.verify().holds


@pytest.mark.parametrize(("full", "for_ever"), FAULTS)
def test_no_operation_of_the_disk_that_fails_loses_or_breaks_or_lies(
    tmp_path: Path, vfs: FaultyVFS, template: Path, full: bool, for_ever: bool
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(template, folder)
    count, told = attempt(vfs, folder, None, full=full, for_ever=for_ever)
    assert {"kept"} == set(told.values()) and count > 20
    answers: set[str] = set()
    for fail_at in range(1, count + 1):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        _, told = attempt(vfs, folder, fail_at, full=full, for_ever=for_ever)
        vfs.arm(None, full=False, for_ever=False)
        judge(folder, told)
        answers |= set(told.values())
    assert "kept" in answers and answers & {"not kept", "unknown"}


def test_a_commit_whose_sync_failed_is_looked_up_before_an_answer(
    tmp_path: Path, vfs: FaultyVFS, template: Path
) -> None:
    """Whether it was kept or not: the answer says which, and the store goes on."""
    with opened(template / "memory.db", vfs="faulty") as subject:
        subject.memory.remember("one to warm up")
        vfs.arm(None, full=False, for_ever=False)
        subject.memory.remember("one to count")
        for fail_at in range(1, vfs.count + 1):
            before, _ = subject.head()
            vfs.arm(fail_at, full=False, for_ever=False)
            try:
                receipt = subject.memory.remember(f"failing at {fail_at}")
                assert receipt.transaction == before + 1 == subject.head()[0]
            except OutcomeUnknown:
                pytest.fail("one failure leaves nothing unknown")
            except StoreError:
                assert before == subject.head()[0]
            vfs.arm(None, full=False, for_ever=False)
            assert subject.memory.verify().holds


def test_a_disk_that_fails_for_good_leaves_the_outcome_unknown_until_the_key_is_looked_up(
    tmp_path: Path, vfs: FaultyVFS, template: Path
) -> None:
    unknown = 0
    for fail_at in range(1, 40):
        folder = tmp_path / f"run-{fail_at}"
        shutil.copytree(template, folder)
        with opened(folder / "memory.db", vfs="faulty") as subject:
            subject.memory.remember("one to warm up")
            vfs.arm(fail_at, full=False, for_ever=True)
            try:
                subject.memory.remember("the doubtful one", idempotency_key="doubt")
            except OutcomeUnknown as error:
                unknown += 1
                assert "same idempotency key" in error.message
            except StoreError:
                pass
            vfs.arm(None, full=False, for_ever=False)
            again = subject.memory.remember("the doubtful one", idempotency_key="doubt")
            assert again.added == subject.memory.remember("the doubtful one", idempotency_key="doubt").added
            assert subject.memory.snapshot().counts["atoms"] == 1 + 4 + 1 + 1
            assert subject.memory.verify().holds
    assert unknown


def test_a_full_disk_says_so_and_what_helps(vfs: FaultyVFS, template: Path) -> None:
    with opened(template / "memory.db", vfs="faulty") as subject:
        subject.memory.remember("one to warm up")
        root = subject.memory.snapshot().root
        vfs.arm(1, full=True, for_ever=True)
        with pytest.raises(StoreError, match=r"disk is full.*nothing was changed.*[Ff]ree some space") as caught:
            subject.memory.remember("one too many")
        assert not isinstance(caught.value, OutcomeUnknown)
        assert root == subject.memory.snapshot().root
        assert subject.memory.recall("deploy").items
        vfs.arm(None, full=False, for_ever=False)
        subject.memory.remember("there is space again")
        assert subject.memory.verify().holds
