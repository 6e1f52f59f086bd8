"""Tables in parts: the same memory, each workspace in one part, and every statement within it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.clock import SystemClock
from cmc_mcp.errors import CmcError, Conflict, InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.opening import partition
from cmc_mcp.store.postgres import connection, hnsw, migrate
from cmc_mcp.store.postgres.connection import Address
from cmc_mcp.store.postgres.schema import MIGRATIONS
from cmc_mcp.store.postgres.store import PostgresStore
from tests.pg.backend import Databases
from tests.pg.nearby import Clustered, fill
from tests.pg.server import running
from tests.pg.test_equal_backends import assert_equal
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.memories import erase, on
from tests.support.stores import run_sql

PARTS = 3
WHOLE = {"workspaces", "migrations", "embedding_models"}


@pytest.fixture
def url(bare: str) -> str:
    """A database whose tables are in parts, and hold nothing."""
    partition(bare, PARTS, clock=SystemClock(), registry=REGISTRY)
    return bare


def _work(memory: Memory) -> None:
    memory.remember("# Deploy\n\nThe target is Fly.io.\n\n# Limits\n\nTen a day.", source="deploy.md")
    memory.remember("The limit is 10", claim={"subject": "app", "predicate": "limit", "object": "10"})
    memory.remember("hello there", session="s", speaker="Zoe", tags={"kind": "greeting"}, confidence=0.9)


# ---------------------------------------------------------------------- the same memory
@pytest.mark.slow
def test_one_workload_gives_equal_hashes_rows_and_answers_in_parts(tmp_path: Path, url: str) -> None:
    assert_equal((tmp_path / "memory.db", url), 0)


def test_every_table_of_a_workspace_is_in_parts_and_a_workspace_in_one_of_each(url: str) -> None:
    with on(url, embedder=HashVectors()) as memory:
        for name in ("default", "one", "two", "three"):
            _work(memory.as_principal("maya", name))
    parents = {str(name) for (name,) in run_sql(url, "SELECT relname FROM pg_class WHERE relkind = 'p'")}
    whole = {
        str(name)
        for (name,) in run_sql(
            url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition"
            " AND relnamespace = 'cmc'::regnamespace",
        )
    }  # fmt: skip
    assert whole == WHOLE and len(parents) > 15
    used = set()
    for table in parents:
        rows = run_sql(url, f"SELECT ws, array_agg(DISTINCT tableoid::regclass::text) FROM cmc.{table} GROUP BY ws")
        assert all(len(parts) == 1 for _, parts in rows), table  # type: ignore[arg-type]
        used |= {str(parts).rpartition("_p")[2] for _, parts in rows}
    assert len(used) > 1, "four workspaces in more than one part"


# ---------------------------------------------------------------------- each statement within it
def test_every_statement_that_names_a_workspace_looks_at_one_part(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[object]] = {}
    execute, executemany = connection.Connection.execute, connection.Connection.executemany

    def noted(self: connection.Connection, statement: str, bindings: object = None) -> object:
        asked.setdefault(statement, list(bindings or ()))  # type: ignore[call-overload]
        return execute(self, statement, bindings)

    def each(self: connection.Connection, statement: str, rows: object) -> None:
        given = list(rows)  # type: ignore[call-overload]
        if given:
            asked.setdefault(statement, list(given[0]))
        executemany(self, statement, given)

    send = connection.Connection.send

    def sent(self: connection.Connection, written: object, last: str = "") -> None:
        kept = [(statement, list(rows)) for statement, rows in written]  # type: ignore[attr-defined]
        for statement, rows in kept:
            if rows:
                asked.setdefault(statement, list(rows[0] or ()))
        send(self, kept, last)

    monkeypatch.setattr(connection.Connection, "execute", noted)
    monkeypatch.setattr(connection.Connection, "executemany", each)
    monkeypatch.setattr(connection.Connection, "send", sent)
    with on(url, embedder=HashVectors()) as memory:
        _work(memory)
        _use(memory)
    monkeypatch.undo()
    looked = {statement: _parts_of(url, statement, bindings) for statement, bindings in asked.items()}
    named = {statement: parts for statement, parts in looked.items() if parts is not None}
    wide = {statement: parts for statement, parts in named.items() if len(parts) > 1}
    assert wide == {}, "\n".join(wide)
    assert sum(bool(parts) for parts in named.values()) > 60
    # the control: a statement that forgets its workspace is seen
    assert len(_parts_of(url, "SELECT 1 FROM pieces p JOIN atoms a ON a.rid = p.rid WHERE p.ws = ?", [1]) or ()) > 1


def _use(memory: Memory) -> None:
    memory.recall("where do we deploy?", explain=True, tags={"kind": "greeting"})
    memory.recall("limit target", around=1, as_of=2)
    memory.recall("Fly.io", writer="maya", min_confidence=0.1)
    memory.history(limit=5)
    memory.read_source("deploy.md")
    memory.snapshot("end")
    erase(memory, [memory.recall("limit", limit=1).items[0].id])


def _parts_of(url: str, statement: str, bindings: list[object]) -> set[str] | None:
    """Return which parts of the tables a statement's plan looks at; None for one about no workspace in particular."""
    if not re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", statement) or not re.search(r"\bws\b", statement):
        return None
    if re.search(r"FROM (workspaces|migrations)\b|pg_catalog|pg_class|UPDATE workspaces", statement):
        return None
    made = connection.connect(Address.of(url))
    try:
        made.run("BEGIN; SET LOCAL enable_partition_pruning = on")
        rows = made.raw.execute(
            f"EXPLAIN (FORMAT TEXT) {connection.spoken(statement)}".encode(), bindings or None, prepare=False
        ).fetchall()
        plan = "\n".join(str(row[0]) for row in rows)
        made.run("ROLLBACK")
    finally:
        made.close()
    return set(re.findall(r"\bon \w+_p(\d+)\b", plan))


# ---------------------------------------------------------------------- looking after them
def test_verify_rebuild_and_the_scrubbing_of_what_was_erased_work_in_parts(url: str) -> None:
    with on(url, embedder=HashVectors()) as memory:
        _work(memory)
        assert memory.verify(deep=True).holds and memory.inspect()["partitions"] == str(PARTS)
        before = [item.id for item in memory.recall("deploy target limit").items]
        run_sql(url, "DELETE FROM cmc.tags", "DELETE FROM cmc.passage_terms")
        assert not memory.verify().holds
        assert memory.rebuild().holds
        assert [item.id for item in memory.recall("deploy target limit").items] == before
        gone = memory.recall("limit", limit=1).items[0].id
        erase(memory, [gone])
        assert memory.verify().holds and not reach.store(memory).pages_pending()
    vacuumed = run_sql(
        url, "SELECT sum(pg_stat_get_vacuum_count(c.oid)) FROM pg_class c WHERE relname LIKE 'payloads\\_p%' AND relkind = 'r'"
    )  # fmt: skip
    assert vacuumed[0][0], "the parts themselves were vacuumed"


ALTERED = {
    "DROP TABLE cmc.labels_p1": ("table labels", "has 2 partitions, but pieces has 3"),
    "ALTER TABLE cmc.tags DETACH PARTITION cmc.tags_p0": ("table tags", "has 2 partitions, but pieces has 3"),
    "DROP INDEX cmc.pieces_from": ("index pieces_from", "is missing"),
    "CREATE INDEX more ON cmc.pieces_p1(facts)": ("index more", "is not what the migrations made"),
    "ALTER TABLE cmc.atoms ALTER seq DROP NOT NULL": ("table atoms", "is not what the migrations made"),
}


@pytest.mark.parametrize("statement", ALTERED)
def test_what_is_another_than_was_made_is_a_fault(url: str, statement: str) -> None:
    with on(url) as memory:
        memory.remember("note")
        assert memory.verify().holds
        run_sql(url, statement)
        assert ALTERED[statement] in [(fault.key, fault.reason) for fault in memory.verify().faults]


def test_an_index_of_nearest_vectors_lies_on_the_part_of_its_workspace(url: str) -> None:
    with on(url, embedder=Clustered(16)) as memory:
        fill(memory, 300)
        assert isinstance(reach.store(memory), PostgresStore)
        hnsw.make(reach.store(memory).address, reach.ws(memory), least=1)
        with reach.reader(memory) as view:
            query = Clustered(16).embed(["text 7"])[0].tobytes()
            rows = view.nearest(1, query, 10, view.head().seq, view.head().recorded_us, hnsw.Filter())
            assert view.approximate and len(rows) == 10
        assert memory.verify().holds and memory.rebuild().holds
        assert hnsw.drop(reach.store(memory).address, reach.ws(memory)) != []


def test_migrations_go_back_and_forth_in_parts(url: str) -> None:
    with on(url, embedder=HashVectors()) as memory:
        _work(memory)
        before = memory.status()["snapshot"]
    migrate.down(Address.of(url), 1)
    assert run_sql(url, "SELECT to_regclass('cmc.nodes'), to_regclass('cmc.node_vectors_nid_seq')") == [(None, None)]
    migrate.run(Address.of(url), SystemClock(), REGISTRY)
    with on(url, embedder=HashVectors()) as memory:
        assert memory.status()["snapshot"] == before and memory.verify().holds
        memory.remember("# More\n\nto say", source="more.md")
        assert memory.verify().holds
    later = MIGRATIONS[0].__class__(
        len(MIGRATIONS) + 1, "later", ("CREATE TABLE more(ws bigint NOT NULL, n bigint, PRIMARY KEY(ws, n))",)
    )
    migrate.run(Address.of(url), SystemClock(), replace(REGISTRY, migrations=(*REGISTRY.migrations, later)))
    assert run_sql(url, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'cmc.more'::regclass") == [(PARTS,)]


# ---------------------------------------------------------------------- asking for it
def test_it_is_asked_for_before_the_first_table_or_never(
    bare: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--store", bare, "partition", "1"]) == 2
    assert run(["--store", bare, "partition", "257"]) == 2
    assert run(["--store", str(tmp_path / "memory.db"), "partition", "4"]) == 2
    assert run_sql(bare, "SELECT 1 FROM pg_namespace WHERE nspname = 'cmc'") == []
    assert run(["--store", bare, "partition", "4"]) == 0
    assert "each in 4 parts" in capsys.readouterr().out
    assert run(["--store", bare, "partition", "4"]) == 3
    assert "divided before the first memory or never" in capsys.readouterr().err
    with pytest.raises(Conflict, match="cmc migrate"):
        partition(bare, 4, clock=SystemClock(), registry=REGISTRY)
    with pytest.raises(InvalidInput, match="not a PostgreSQL store"):
        partition("memory.db", 4, clock=SystemClock(), registry=REGISTRY)


def test_without_being_asked_nothing_is_in_parts(databases: Databases, tmp_path: Path) -> None:
    url = databases.of(tmp_path / "pg")
    assert run_sql(url, "SELECT count(*) FROM pg_class WHERE relkind = 'p'") == [(0,)]
    with pytest.raises(CmcError, match="has tables already"):
        partition(url, 4, clock=SystemClock(), registry=REGISTRY)


@pytest.mark.slow
def test_the_oldest_server_that_is_supported_has_parts_too() -> None:
    with running(version=connection.SERVER_MIN) as server:
        partition(server.url(), PARTS, clock=SystemClock(), registry=REGISTRY)
        with on(server.url(), embedder=HashVectors()) as memory:
            _work(memory)
            assert memory.verify().holds and memory.rebuild().holds
