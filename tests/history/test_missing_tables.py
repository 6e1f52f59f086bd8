"""A store that something else changed is refused in plain words, and `verify` names what is missing."""

from __future__ import annotations

import re

import pytest

from cmc_mcp.errors import CmcError, StoreError
from cmc_mcp.memory import Memory
from tests.support import reach

RAW = re.compile(r"no such|does not exist|relation|SQL|\bSELECT\b|apsw|psycopg", re.IGNORECASE)
TABLES = (
    "atoms", "claims", "confidences", "edges", "headings", "labels", "log_nodes", "passage_terms", "payloads", "pieces",
    "records", "sources", "speakers", "state_nodes", "tags", "transactions", "vectors", "witnesses",
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_a_dropped_table_is_said_in_plain_words_and_named_by_verify(memory: Memory, table: str) -> None:
    claim = {"subject": "app", "predicate": "runs on", "object": "Fly.io"}
    told = memory.remember("The deploy target is Fly.io", tags={"topic": "deploy"}, claim=claim)  # type: ignore[arg-type]
    with reach.exclusive(memory) as connection:
        connection.execute(f"DROP TABLE {table}")
    refused: list[CmcError] = []
    for call in (
        lambda: memory.recall("deploy", tags={"topic": "deploy"}, writer="maya"),
        lambda: memory.remember("The next one", tags={"topic": "deploy"}, source="a.md", confidence=0.5),
        lambda: memory.history(told.added[0]),
        lambda: memory.snapshot("now"),
        memory.rebuild,
    ):
        try:
            call()
        except CmcError as error:
            refused.append(error)
    assert refused
    for error in refused:
        assert isinstance(error, StoreError) and not RAW.search(error.message), error.message
        assert "`cmc verify`" in error.message and "backup" in error.message
        assert str(error.fields["detail"])
    found = memory.verify()
    assert not found.holds
    assert f"table {table}" in [fault.key for fault in found.faults] and "is missing" in [
        f.reason for f in found.faults
    ]
