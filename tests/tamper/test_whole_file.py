"""Attacks on the whole file, with a checkpoint kept elsewhere: cut, older, forked, another's, rewritten from the start."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmc_mcp.errors import CmcError
from cmc_mcp.model.results import CheckpointResult, VerifyResult
from tests.tamper.rich import GUIDE, KEY, START_US, opened, settle

SIZE = 12


@dataclass
class Past:
    """A store after each of its transactions, and the checkpoint of the last."""

    path: Path
    copies: list[Path]
    point: CheckpointResult


def write(path: Path, first: int, last: int, *, forged: str = "") -> None:
    """Write transactions `first` to `last`, each the same whenever it is written, but for what is forged."""
    for number in range(first, last + 1):
        with opened(path, start_us=START_US + number * 1_000_000) as memory:
            if number % 4 == 0:
                memory.remember(GUIDE.replace("Fly", f"Fly {number}{forged}"), source="guide.md")
            else:
                memory.remember(f"note {number}{forged}", tags={"n": str(number)})
    settle(path)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("whole")
    path, copies = folder / "memory.db", []
    for number in range(1, SIZE + 1):
        write(path, number, number)
        copies.append(folder / f"{number}.db")
        shutil.copy(path, copies[-1])
    with opened(path) as memory:
        return Past(path, copies, memory.checkpoint(KEY))


def verified(path: Path, past: Past) -> VerifyResult:
    with opened(path) as memory:
        return memory.verify(checkpoint=past.point.checkpoint, public_key=past.point.public_key)


def test_what_was_pinned_holds_and_so_does_what_grew_out_of_it(past: Past, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    shutil.copy(past.path, path)
    assert verified(path, past).faults == []
    write(path, SIZE + 1, SIZE + 2)
    assert verified(path, past).faults == []


def test_an_older_copy_is_found_whichever_it_is_and_the_sizes_are_named(past: Past, tmp_path: Path) -> None:
    for size, copy in enumerate(past.copies[:-1], start=1):
        shutil.copy(copy, tmp_path / "memory.db")
        (fault,) = verified(tmp_path / "memory.db", past).faults
        assert (fault.table, fault.key) == ("transactions", str(size))
        assert f"ends at {size}, the checkpoint has {SIZE}" in fault.reason


@pytest.mark.slow
def test_a_fork_is_found_wherever_it_began_and_however_long_it_grew(past: Past, tmp_path: Path) -> None:
    for size in (1, 2, 5, 8, SIZE - 1):
        path = tmp_path / f"{size}.db"
        shutil.copy(past.copies[size - 1], path)
        for length in (SIZE, SIZE + 3):
            write(path, size + 1 if length == SIZE else SIZE + 1, length, forged=" otherwise")
            with opened(path) as memory:
                assert memory.verify().holds, "in itself it is a store like any other"
            (fault,) = verified(path, past).faults
            assert fault.table == "transactions" and fault.key == str(SIZE)
            assert f"the first {SIZE} of {length} transactions are not those" in fault.reason


def test_a_ledger_that_was_rewritten_from_the_start_is_found_by_the_checkpoint_alone(
    past: Past, tmp_path: Path
) -> None:
    path = tmp_path / "memory.db"
    write(path, 1, 2)
    write(path, 3, 3, forged="!")
    write(path, 4, SIZE)  # every hash after it recomputed, as an attacker would
    with opened(path) as memory:
        assert memory.verify().holds
    assert [fault.table for fault in verified(path, past).faults] == ["transactions"]


def test_another_store_in_its_place_and_none_at_all_are_found(past: Past, tmp_path: Path) -> None:
    with opened(tmp_path / "other.db") as memory:
        memory.remember("somebody else's")
    assert f"the checkpoint has {SIZE}" in verified(tmp_path / "other.db", past).faults[0].reason
    (tmp_path / "empty.db").touch()
    assert f"ends at 0, the checkpoint has {SIZE}" in verified(tmp_path / "empty.db", past).faults[0].reason


def test_a_dropped_log_is_an_older_copy(past: Past, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    shutil.copy(past.copies[SIZE - 2], path)
    with opened(path, start_us=START_US + SIZE * 1_000_000) as memory:
        memory.remember(GUIDE.replace("Fly", f"Fly {SIZE}"), source="guide.md")
        answer = memory.verify(checkpoint=past.point.checkpoint, public_key=past.point.public_key)
        assert answer.holds, "the same transaction, still in the log"
        shutil.copy(path, tmp_path / "alone.db")
    (fault,) = verified(tmp_path / "alone.db", past).faults
    assert f"ends at {SIZE - 1}, the checkpoint has {SIZE}" in fault.reason


@pytest.mark.slow
def test_a_truncated_file_is_refused_or_found_at_every_length(past: Past, tmp_path: Path) -> None:
    whole = past.path.read_bytes()
    rng = random.Random(20261125)
    pages = len(whole) // 4096
    lengths = {*(4096 * rng.randrange(1, pages) for _ in range(12)), *(rng.randrange(len(whole)) for _ in range(12))}
    for length in sorted({1, 99, 512, 4095, 4096, len(whole) - 4096, len(whole) - 1, *lengths}):
        for old in tmp_path.glob("cut.db*"):
            old.unlink()
        path = tmp_path / "cut.db"
        path.write_bytes(whole[:length])
        try:
            assert verified(path, past).faults != [], length
        except CmcError as error:
            assert error.code in ("integrity", "wrong_key", "store"), (length, error)
