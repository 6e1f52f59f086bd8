"""An erase through the product leaves no word of what went in any row of the database.

What PostgreSQL keeps in freed pages until it writes over them, and in its journal, no row can say: `SECURITY.md` names both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.erase import scan
from tests.support.memories import erase, on
from tests.support.stores import run_sql

BESIDE = 1_100
"""Passages after it: enough for it to be packed."""


def in_rows(url: str, word: str) -> dict[str, list[str]]:
    """The tables with a row that holds a form of a word, and the forms; what the planner knows of values is one of them."""
    tables = [f"cmc.{name}" for (name,) in run_sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'cmc'")]
    found: dict[str, list[str]] = {}
    for table in (*tables, "pg_stats"):
        held = b"\n".join(flat(run_sql(url, f"SELECT * FROM {table}")))
        if forms := scan.in_bytes(held, word):
            found[table.removeprefix("cmc.")] = forms
    return found


def flat(rows: list[tuple[object, ...]]) -> Iterator[bytes]:
    """Every value of rows, as bytes."""
    for value in (value for row in rows for value in row):
        yield bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def in_files(url: str, word: str) -> list[str]:
    """The files of the database with a form of a word; the journal is none of them."""
    run_sql(url, "CHECKPOINT")
    ((folder, number),) = run_sql(
        url, "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    )
    return scan.in_folder(Path(str(folder)) / "base" / str(number), word)


@pytest.mark.parametrize("beside", [0, BESIDE], ids=["a passage in no block", "a passage in a block"])
def test_no_row_of_any_table_holds_a_word_of_what_was_erased(url: str, beside: int) -> None:
    word = scan.canary(random.Random(beside))
    with on(url) as memory:
        memory.remember("what stays", title="Stays", tags={"t": "stays"})
        ids = memory.remember(f"the code is {word}", title=f"Title {word}", tags={"t": word, f"k{word}": "v"}).added
        memory.remember_many([{"content": f"note {number}"} for number in range(1 + beside)])
        assert memory.recall(word).items
        run_sql(url, "ANALYZE")  # autovacuum's, sooner or later
        full_text = {"postings", "vocabulary"} if beside else {"passage_terms"}
        assert {"payloads", "tags", "headings", "pg_stats", *full_text} <= in_rows(url, word).keys()
        assert in_files(url, word)
        receipt = erase(memory, ids).receipt
        assert receipt is not None and not receipt.pages_pending
        assert in_rows(url, word) == {}
        assert memory.recall(word).items == []
        assert memory.verify(deep=True).faults == []
    run_sql(url, "VACUUM FULL")  # freed pages go
    assert in_files(url, word) == []
