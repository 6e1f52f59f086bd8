"""Rebuild: from any damage of derived tables the same answers, from damage of committed ones a refusal."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from cmc_mcp.errors import IntegrityError
from cmc_mcp.memory import Memory
from cmc_mcp.store.sql.postings import TABLES as FULL_TEXT
from cmc_mcp.store.sqlite import checksums
from tests.support import reach
from tests.tamper.bitrot import answers
from tests.tamper.rich import WORKSPACES, build, opened
from tests.tamper.tampering import Judge, one

DERIVED = (
    "state_nodes", "log_nodes", "sources", "items", "tags", "confidences", "claims", "edges", "witnesses", "labels",
    "quarantine", "nodes", "codes", "speakers",
)  # fmt: skip
KEPT = {"headings"}
"""What erases and repeated tellings left of headings, only they tell; full text beside them does, so verify finds edits."""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("rebuild")
    (folder / "base").mkdir()
    return Judge(build(folder / "base" / "memory.db", bulk=False), folder)


def told(path: Path) -> list[object]:
    """What each workspace answers, its roots and its checkpointed log."""
    out: list[object] = []
    for workspace in WORKSPACES[:2]:
        with opened(path, workspace) as memory:
            out += [answers(memory), memory.snapshot(), memory.verify().log_root]
            out += [memory.recall("deploy", as_of=seq).model_dump_json() for seq in (5, 15, 25)]
    return out


def test_rebuilding_what_is_whole_changes_no_answer_and_no_row(judge: Judge) -> None:
    path = judge.copy()
    before = told(path)
    with opened(path) as memory:
        rows = {table: memory_rows(memory, table) for table in (*DERIVED, "headings", "traits")}
        assert memory.rebuild().holds
        assert rows == {table: memory_rows(memory, table) for table in rows}
    assert told(path) == before


def memory_rows(memory: Memory, table: str) -> set[tuple[object, ...]]:
    with reach.reader(memory) as view:
        return set(view.index_rows(view.registry.by_name[table]))


def test_from_empty_derived_tables_the_same_answers_come_back(judge: Judge) -> None:
    path = judge.copy()
    before = told(path)
    with closing(apsw.Connection(str(path))) as raw:
        for table in DERIVED:
            raw.execute(f"DELETE FROM {table}")
        raw.execute("UPDATE atoms SET traits = 7, speaker = 9")
        for table in FULL_TEXT:
            raw.execute(f"DELETE FROM {table}")
    for workspace in WORKSPACES:
        with opened(path, workspace) as memory:
            faults = memory.verify().faults
            assert faults and any("cmc rebuild" in fault.reason for fault in faults)
            memory.rebuild()
    for workspace in WORKSPACES:
        with opened(path, workspace) as memory:
            assert memory.verify(deep=True).faults == []
    assert told(path) == before


@pytest.mark.slow
def test_a_random_edit_of_a_derived_table_is_mended(judge: Judge) -> None:
    rng = random.Random(7)
    whole = [table for table in judge.tables if table.name in DERIVED and table.name != "codes"]
    before = told(judge.copy())
    for table in whole:
        edit, wrong = one(judge, rng, table, rng.choice((*table.columns, "delete", "duplicate", "exchange")))
        if edit is None:
            continue
        assert wrong is None
        for workspace in WORKSPACES:
            with opened(judge.path, workspace) as memory:
                memory.rebuild()
        with opened(judge.path) as memory:
            assert memory.verify().faults == [], str(edit)
    assert told(judge.path) == before


def test_of_committed_tables_that_do_not_verify_nothing_is_built(judge: Judge) -> None:
    path = judge.copy()
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute("UPDATE payloads SET body = CAST('forged' AS BLOB) WHERE pid = (SELECT max(content) FROM atoms)")
        raw.execute("DELETE FROM tags")
    ws = WORKSPACES[-1]
    with opened(path, ws) as memory, pytest.raises(IntegrityError, match=r"payloads .* restore the last backup"):
        memory.rebuild()
    with opened(path) as memory:
        assert memory_rows(memory, "tags") == set(), "nothing was written"


def test_rebuilding_gives_a_file_checksums_of_its_pages_when_nobody_else_has_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.db"
    with monkeypatch.context() as patched:
        patched.setattr(checksums, "available", lambda: False)
        with opened(path) as memory:
            memory.remember("told before there were checksums")
    with opened(path) as memory:
        assert memory.inspect()["page_checksums"] == "off"
        with opened(path) as other:
            with reach.reader(other) as view:
                view.head()
                memory.rebuild()
            assert memory.inspect()["page_checksums"] == "off", "somebody was reading"
        memory.rebuild()
        assert memory.inspect()["page_checksums"] == "on"
        assert memory.inspect()["journal_mode"] == "wal"
        assert memory.recall("told before").items and memory.verify().holds
