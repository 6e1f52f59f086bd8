"""Every column of every table edited, rows deleted, duplicated and exchanged: `verify` names what was done."""

from __future__ import annotations

import random

import pytest

from tests.tamper.edits import ROW_KINDS
from tests.tamper.rich import build
from tests.tamper.tampering import CLASSES, NEIGHBOURS, Judge, every_edit, one


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("tamper")
    (folder / "base").mkdir()
    return Judge(build(folder / "base" / "memory.db"), folder)


def test_every_table_is_said_to_be_committed_derived_or_operational(judge: Judge) -> None:
    assert {table.name for table in judge.tables} == set(CLASSES)
    assert set(CLASSES.values()) == {"committed", "derived", "operational"}
    assert set(NEIGHBOURS) <= set(CLASSES)


@pytest.mark.slow
def test_whatever_is_edited_in_whatever_table_is_found_and_named(judge: Judge) -> None:
    rng = random.Random(20261125)
    wrong: list[str] = []
    untried: list[str] = []
    for table, what in every_edit(judge, rng):
        edit, said = one(judge, rng, table, what)
        wrong += [said] if said else []
        if edit is None and what not in ROW_KINDS:
            untried.append(f"{table.name}.{what}")
    assert wrong == [], "\n".join(wrong)
    assert untried == [], "a column that no edit could change was not tested"
