"""`cmc rebuild`: mends what verify finds, and says so."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from tests.cli.conftest import Cmc


def edited(store: Path, statement: str) -> None:
    with closing(apsw.Connection(str(store))) as raw:
        raw.execute(statement)


def test_what_verify_finds_wrong_with_derived_tables_is_mended(cmc: Cmc, store: Path) -> None:
    cmc("remember", "The deploy target is Fly.io", "--tag", "topic=deploy")
    edited(store, "DELETE FROM tags")
    found = cmc("--json", "verify")
    assert found.code == 1 and "cmc rebuild" in found.json["faults"][0]["reason"]
    assert "everything holds" in cmc("rebuild").out
    assert cmc("--json", "verify").json["holds"]


def test_a_ledger_that_does_not_verify_is_refused(cmc: Cmc, store: Path) -> None:
    cmc("remember", "The deploy target is Fly.io")
    edited(store, "UPDATE transactions SET hash = zeroblob(32)")
    answer = cmc("rebuild")
    assert answer.code not in (0, 1) and "restore the last backup" in answer.err
