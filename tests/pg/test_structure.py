"""What belongs to no workspace, and what follows from the ledger: found when it is another, and written anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import IntegrityError, InvalidInput
from cmc_mcp.memory import Memory
from tests.pg.backend import Databases
from tests.support.embedders import HashVectors
from tests.support.memories import on
from tests.support.stores import run_sql

ALTERED = {
    "DROP INDEX cmc.pieces_from": ("pg_catalog", "index pieces_from", "is missing"),
    "CREATE TABLE cmc.more(a bigint)": ("pg_catalog", "table more", "is not what the migrations made"),
    "CREATE VIEW cmc.seen AS SELECT 1": ("pg_catalog", "v seen", "is not what the migrations made"),
    "ALTER TABLE cmc.atoms ALTER seq DROP NOT NULL": ("pg_catalog", "table atoms", "is not what the migrations made"),
    "ALTER TABLE cmc.labels ALTER label TYPE text COLLATE \"POSIX\"": (
        "pg_catalog", "table labels", "is not what the migrations made",
    ),
    "ALTER TABLE cmc.items SET UNLOGGED": ("pg_catalog", "table items", "is not what the migrations made"),
    "CREATE FUNCTION cmc.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER t BEFORE INSERT ON cmc.pieces FOR EACH ROW EXECUTE FUNCTION cmc.f()": (
        "pg_catalog", "trigger t", "is not what the migrations made",
    ),
    "UPDATE cmc.migrations SET title = 'x' WHERE number = 1": ("migrations", "1", "its title is not the one that was released"),
    "INSERT INTO cmc.log_nodes VALUES(99, 0, '')": ("log_nodes", "99/0", "it belongs to no workspace"),
    "INSERT INTO cmc.vectors SELECT 7, ws, 1, 1, 1, '[1]' FROM cmc.workspaces": (
        "vectors", "7", "its number is not one of workspace 1",
    ),
    "UPDATE cmc.workspaces SET pages_pending = 2": ("workspaces", "1", "pages_pending is neither 0 nor 1"),
}  # fmt: skip

DERIVED = (
    "DELETE FROM cmc.state_nodes", "DELETE FROM cmc.log_nodes WHERE place > 2", "DELETE FROM cmc.tags",
    "UPDATE cmc.claims SET subject = 'other'", "UPDATE cmc.atoms SET traits = traits + 1",
    "DELETE FROM cmc.nodes", "UPDATE cmc.headings SET heading = 'other'", "DELETE FROM cmc.passage_terms",
    "UPDATE cmc.passage_terms SET length = length + 1",
    "INSERT INTO cmc.passage_terms SELECT rid + 99, ws, length, terms FROM cmc.passage_terms LIMIT 1",
    "INSERT INTO cmc.postings VALUES(1, 0, 0, 'x', 'yyyyy')", "INSERT INTO cmc.vocabulary VALUES(1, 5, 'x')",
    "INSERT INTO cmc.passage_lengths VALUES(1, 0, 'x')",
)  # fmt: skip


@pytest.fixture
def url(databases: Databases, tmp_path: Path) -> str:
    """A database with something of everything that is derived."""
    url = databases.of(tmp_path / "pg")
    with on(url, embedder=HashVectors()) as memory:
        memory.remember("# Deploy\n\nThe target is Fly.io.\n\n# Limits\n\nTen a day.", source="deploy.md")
        memory.remember("The limit is 10", claim={"subject": "app", "predicate": "limit", "object": "10"})
        memory.remember("hello there", session="s", speaker="Zoe", tags={"kind": "greeting"})
        memory.remember("x " * 60_000)
    return url


@pytest.mark.parametrize("statement", ALTERED)
def test_what_is_another_than_the_migrations_made_is_a_fault(url: str, statement: str) -> None:
    with on(url) as memory:
        assert memory.verify().holds
        run_sql(url, statement)
        faults = memory.verify().faults
        assert ALTERED[statement] in [(fault.table, fault.key, fault.reason) for fault in faults]


@pytest.mark.parametrize("statement", DERIVED)
def test_what_is_derived_is_written_anew(url: str, statement: str) -> None:
    with on(url, embedder=HashVectors()) as memory:
        before = memory.recall("deploy target limit").model_dump(exclude={"timings"})
        run_sql(url, statement)
        assert not memory.verify().holds
        assert memory.rebuild().holds
        assert memory.recall("deploy target limit").model_dump(exclude={"timings"}) == before
        assert memory.remember("one more").transaction == 5


def test_nothing_is_built_of_a_ledger_that_does_not_hold(url: str) -> None:
    run_sql(
        url,
        "UPDATE cmc.records SET key = decode(repeat('00', 32), 'hex') WHERE rid = (SELECT min(rid) FROM cmc.records)",
    )
    run_sql(url, "DELETE FROM cmc.tags")
    with on(url) as memory, pytest.raises(IntegrityError, match="nothing was changed"):
        memory.rebuild()


def test_a_database_has_no_key_to_change(url: str) -> None:
    with pytest.raises(InvalidInput, match="is a database"):
        Memory.rekey(url, key=None, new_key=bytes(32))
