"""The tables, their migrations, and everything that a server can be that a store cannot use: said, with the way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import apsw
import psycopg
import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.clock import SystemClock
from cmc_mcp.config import Settings
from cmc_mcp.environment import Configuration, shown
from cmc_mcp.errors import CmcError, FutureStore, IntegrityError, InvalidInput, NotFound, StoreError
from cmc_mcp.index.lexicon import Lexicon
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.postgres import connection, migrate, statistics
from cmc_mcp.store.postgres.connection import Address
from cmc_mcp.store.postgres.schema import MIGRATIONS
from cmc_mcp.store.sql.schema import MIGRATIONS as ON_SQLITE
from cmc_mcp.write.erase import finish_erasures
from tests.pg.backend import Databases, with_database
from tests.pg.server import running
from tests.support import reach
from tests.support.memories import erase, live, on
from tests.support.stores import run_sql
from tests.support.together import together

_SECRET = "hunter2hunter2"


def _columns(url: str) -> dict[str, list[str]]:
    rows = run_sql(
        url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'cmc' ORDER BY 1, ordinal_position",
    )
    out: dict[str, list[str]] = {}
    for table, column in rows:
        out.setdefault(str(table), []).append(str(column))
    return out


# ---------------------------------------------------------------------- the tables
def test_both_backends_have_the_same_tables_with_the_same_columns_in_the_same_order(url: str, tmp_path: Path) -> None:
    on(tmp_path / "memory.db").close()
    file = apsw.Connection(str(tmp_path / "memory.db"))
    names = [
        str(name)
        for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    ]
    on_file = {name: [str(row[1]) for row in file.execute(f"PRAGMA table_info({name})")] for name in names}
    file.close()
    on_server = _columns(url)
    assert {name: on_server[name] for name in on_file} == on_file
    assert on_server.keys() - on_file.keys() == {"objects"}
    assert [(m.number, m.title, bool(m.down)) for m in MIGRATIONS] == [
        (m.number, m.title, bool(m.down)) for m in ON_SQLITE
    ]


def test_the_workspace_leads_every_key(url: str) -> None:
    rows = run_sql(
        url,
        "SELECT c.relname, pg_get_indexdef(i.indexrelid, 1, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam"
        " WHERE n.nspname = 'cmc' AND m.amname = 'btree'",
    )
    assert len(rows) > 30
    assert {first for table, first in rows if table not in ("workspaces", "migrations")} == {"ws"}


def test_migrations_go_back_and_forth(url: str) -> None:
    before = _columns(url)
    migrate.down(Address.of(url), 1)
    assert "nodes" not in _columns(url) and "traits" not in _columns(url)["atoms"]
    with pytest.raises(StoreError, match="it can be taken back to"):
        migrate.down(Address.of(url), 1)
    migrate.run(Address.of(url), SystemClock(), REGISTRY)
    assert _columns(url) == before
    with on(url) as memory:
        memory.remember("# A\n\none\n\n# B\n\ntwo", source="guide.md")
    migrate.down(Address.of(url), 1)
    with on(url) as memory:
        assert memory.recall("two").items and memory.verify().holds


def test_many_servers_that_start_at_once_make_one_set_of_tables(bare: str) -> None:
    together(lambda: on(bare).close(), [()] * 4)
    assert run_sql(bare, "SELECT number FROM cmc.migrations ORDER BY 1") == [(m.number,) for m in MIGRATIONS]


def test_a_migration_that_fails_leaves_nothing_of_it(bare: str) -> None:
    broken = MIGRATIONS[0].__class__(len(MIGRATIONS) + 1, "broken", ("CREATE TABLE half(ws bigint)", "SELECT nonsense"))
    with pytest.raises(StoreError, match="the database refused"):
        migrate.run(Address.of(bare), SystemClock(), replace(REGISTRY, migrations=(*ON_SQLITE, broken)))
    assert not _columns(bare)


# ---------------------------------------------------------------------- what cannot be opened
@pytest.mark.parametrize(
    "place",
    [
        f"postgresql://maya:{_SECRET}@/db?nonsense=1",
        f"postgresql://maya:{_SECRET}@[::1/db",
        f"postgresql://maya:{_SECRET}@db.invalid:port/db",
        f"postgresql://maya:{_SECRET}@127.0.0.1:1/db?connect_timeout=1",
        f"postgresql://maya:{_SECRET}@/db?host=/nowhere",
    ],
)
def test_an_address_that_leads_nowhere_is_said_without_its_password(place: str) -> None:
    with pytest.raises((InvalidInput, StoreError)) as caught:
        live(place)
    said = [str(caught.value), repr(caught.value), str(caught.value.as_dict())]
    error: BaseException | None = caught.value
    while error is not None:
        said += [str(error), repr(error)]
        error = error.__cause__
    said += [repr(Configuration(place)), shown(place)]
    assert _SECRET not in " ".join(said)


def test_the_password_shows_in_no_repr_and_in_no_configuration(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = url.replace("postgres@", f"postgres:{_SECRET}@", 1)
    with on(place) as memory:
        assert _SECRET not in repr(reach.store(memory).address) + str(memory.inspect())
    assert run(["--store", place, "--no-model", "doctor", "--quick"]) in (0, 1)
    assert run(["--store", place, "config"]) == 0
    assert run(["--store", place, "--no-model", "recall", "x"]) == 0
    shown_ = capsys.readouterr()
    assert _SECRET not in shown_.out + shown_.err and "postgresql://postgres@" in shown_.out


def test_a_database_that_is_not_there_is_named(databases: Databases) -> None:
    with pytest.raises(StoreError, match=r"createdb"):
        on(with_database(databases.url, "no_such_database"))


def test_without_pgvector_it_says_what_to_install_and_makes_nothing(bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "EXTENSION", "no_such_extension")
    with pytest.raises(StoreError, match="has no pgvector: install"):
        on(bare)
    assert run_sql(bare, "SELECT 1 FROM pg_namespace WHERE nspname = 'cmc'") == []


def test_a_user_without_rights_is_told_what_the_owner_must_run(bare: str) -> None:
    run_sql(bare, "DROP ROLE IF EXISTS cmc_guest", "CREATE ROLE cmc_guest LOGIN")
    guest = bare.replace("postgres@", "cmc_guest@", 1)
    with pytest.raises(StoreError, match="CREATE EXTENSION vector"):
        on(guest)
    on(bare).close()
    with pytest.raises(StoreError, match="may not do this"):
        on(guest)
    run_sql(bare, "DROP ROLE cmc_guest")


def test_an_old_server_and_an_old_pgvector_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="needs 99 or later"):
        patch.setattr(connection, "SERVER_MIN", 99)
        on(url)
    monkeypatch.setattr(migrate, "VECTOR_MIN", (99, 0))
    with pytest.raises(StoreError, match="ALTER EXTENSION vector UPDATE"):
        on(url)


@pytest.mark.slow
def test_the_oldest_server_that_is_supported_works() -> None:
    with running(version=connection.SERVER_MIN) as server, on(server.url()) as memory:
        memory.remember("The deploy target is Fly.io", source="guide.md")
        assert memory.recall("deploy").items and memory.verify().holds
        assert memory.inspect()["server"].startswith(f"{connection.SERVER_MIN}.")


def test_a_schema_from_the_future_and_an_edited_one_are_refused(url: str) -> None:
    run_sql(url, "INSERT INTO cmc.migrations VALUES(99, 'later', 'x', 0)")
    with pytest.raises(FutureStore, match="upgrade cmc-mcp"):
        on(url)
    run_sql(
        url, "DELETE FROM cmc.migrations WHERE number = 99", "UPDATE cmc.migrations SET checksum = 'x' WHERE number = 2"
    )
    with pytest.raises(IntegrityError, match="migration 2"):
        on(url)


def test_reading_only_makes_nothing(bare: str, url: str) -> None:
    with pytest.raises(StoreError, match="open it once for writing"):
        live(bare, read_only=True)
    assert run_sql(bare, "SELECT 1 FROM pg_namespace WHERE nspname = 'cmc'") == []
    on(url, workspace="there").close()
    with pytest.raises(NotFound, match="opened read-only"):
        live(url, read_only=True, workspace="elsewhere")
    with live(url, read_only=True, workspace="there") as memory:
        with pytest.raises(StoreError, match="read-only"):
            memory.remember("note")


def test_a_key_is_for_files(url: str) -> None:
    with pytest.raises(InvalidInput, match="its server encrypt"):
        live(url, key=b"k" * 32)


def test_a_backup_is_the_databases_own(url: str, tmp_path: Path) -> None:
    with on(url) as memory, pytest.raises(StoreError, match="pg_dump"):
        memory.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


# ---------------------------------------------------------------------- what is stored
def test_objects_are_kept_in_the_database_or_where_one_says(url: str, tmp_path: Path) -> None:
    long = "words that are kept aside " * 10
    settings = Settings(inline_bytes=64)
    with on(url, settings=settings) as memory:
        receipt = memory.remember(long, modality="event", source="log:1")
        assert run_sql(url, "SELECT count(*) FROM cmc.objects") == [(1,)]
        assert memory.read_source("log:1") == long.encode() and memory.verify().holds
        run_sql(url, "UPDATE cmc.objects SET body = 'x'")
        assert not memory.verify().holds
        with pytest.raises(IntegrityError, match="does not match its hash"):
            memory.read_source("log:1")
        run_sql(url, f"UPDATE cmc.objects SET body = '{long}'")
        erase(memory, receipt.added)
        assert run_sql(url, "SELECT count(*) FROM cmc.objects") == [(0,)]
    with on(url, settings=settings, objects=tmp_path / "aside") as memory:
        memory.remember(long + "more", modality="event", source="log:2")
        assert run_sql(url, "SELECT count(*) FROM cmc.objects") == [(0,)]
        assert len([path for path in (tmp_path / "aside").rglob("*") if path.is_file()]) == 1


def test_text_of_any_length_and_any_letters_is_kept_found_and_verified(url: str) -> None:
    many = " ".join(f"word{n}x{n * 7919 % 100_003}" for n in range(70_000))
    odd = "it's a \\ back'slash\\' \"quoted\" & | ! :* ( ) 東京 naïve 😀 " + "x" * 3_000
    with on(url) as memory:
        memory.remember(many, modality="event", tags={"long": "é" * 1_000})
        memory.remember(odd, claim={"subject": "s" * 1_000, "predicate": "p" * 1_000, "object": "o"})
        for query in ("word0x0", f"word69999x{69_999 * 7919 % 100_003}"):
            assert memory.recall(query, limit=1).items, "found, and cut to the budget"
        assert all(memory.recall(word, budget_tokens=20_000).items for word in ("東京", "x" * 3_000))
        assert memory.recall("naïve", tags={"long": "é" * 1_000}).items == []
        with reach.reader(memory) as view:
            last = view.head().last_rid
            found = Lexicon(view.ws).postings(view, ("word0x0", "absent"), last)
            assert [len(found[term].rids) for term in ("word0x0", "absent")] == [1, 0]
        assert memory.verify().holds


def test_full_text_that_lost_or_kept_words_is_found(url: str) -> None:
    with on(url) as memory:
        memory.remember("the heron stands in the water")
        assert memory.verify().holds
        run_sql(url, "UPDATE cmc.passage_terms SET terms = '1,0,0 the'::bytea")
        assert {fault.table for fault in memory.verify().faults} == {"passage_terms"}
        run_sql(url, "DELETE FROM cmc.passage_terms")
        assert {fault.table for fault in memory.verify().faults} == {"passage_terms"}


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE cmc.payloads SET body = 'x' WHERE pid = (SELECT min(pid) FROM cmc.payloads)", "payloads"),
        ("UPDATE cmc.transactions SET recorded_us = recorded_us + 1", "transactions"),
        ("DELETE FROM cmc.log_nodes", "log_nodes"),
        ("UPDATE cmc.state_nodes SET body = body || 'x'", "state_nodes"),
        ("DELETE FROM cmc.pieces", "transactions"),
        ("DELETE FROM cmc.tags", "tags"),
    ],
)
def test_a_row_that_was_changed_behind_its_back_is_found(url: str, change: str, table: str) -> None:
    with on(url) as memory:
        memory.remember("note", tags={"a": "b"})
        run_sql(url, change)
        assert table in {fault.table for fault in memory.verify().faults}


def test_erased_rows_leave_the_tables_as_soon_as_no_reader_can_see_them(url: str) -> None:
    with on(url) as memory:
        receipt = memory.remember("a canary in the mine", tags={"t": "canary"})
        plan = memory.forget(receipt.added, erase=True, dry_run=True)
        with reach.reader(memory) as view:
            view.head()
            result = memory.forget(receipt.added, erase=True, digest=plan.digest)
            assert result.receipt is not None and result.receipt.pages_pending
        assert reach.store(memory).pages_pending()
        with on(url, workspace="other") as other:  # where nobody looks, the erase is finished with its call
            receipt = other.remember("a canary in the other mine")
            other.forget(receipt.added, erase=True, digest=other.forget(receipt.added, erase=True, dry_run=True).digest)
            assert run_sql(url, "SELECT pages_pending FROM cmc.workspaces WHERE name = 'other'") == [(0,)]
    with live(url) as memory:
        assert not reach.store(memory).pages_pending()
    assert run_sql(url, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'payloads'") is not None


def test_who_began_to_read_after_an_erase_does_not_keep_its_rows(url: str) -> None:
    with on(url) as memory, on(url) as other:
        receipt = memory.remember("a canary in the mine")
        plan = memory.forget(receipt.added, erase=True, dry_run=True)
        with reach.reader(other) as view:
            view.head()
            memory.forget(receipt.added, erase=True, digest=plan.digest)
            assert not finish_erasures(reach.store(memory), reach.objects(memory))
        with reach.reader(other) as view:
            view.head()
            assert finish_erasures(reach.store(memory), reach.objects(memory))
        assert not reach.store(memory).pages_pending()


def test_the_command_line_works_on_a_database(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    front = ["--store", url, "--no-model"]
    assert run([*front, "remember", "The deploy target is Fly.io"]) == 0
    assert run([*front, "recall", "deploy"]) == 0
    assert run([*front, "verify"]) == 0
    assert "Fly.io" in capsys.readouterr().out
    assert run([*front, "doctor"]) == 1  # the server of the tests does not sync
    assert "fsync" in capsys.readouterr().out
    assert run([*front, "backup", "copy.db"]) == 3
    assert "pg_dump" in capsys.readouterr().err


def test_a_nul_in_a_text_is_stored_or_refused_alike(url: str, tmp_path: Path) -> None:
    said = []
    for place in (url, tmp_path / "memory.db"):
        with on(place) as memory:
            for arguments in (
                {"tags": {"a": "b\0c"}},
                {"title": "a\0b"},
                {"source": "a\0b"},
                {"speaker": "a\0b", "session": "s"},
            ):
                try:
                    memory.remember("x\0y", **arguments)  # type: ignore[arg-type]
                    said.append("kept")
                except CmcError as error:
                    said.append(error.code)
            assert memory.verify().holds
    assert said[:4] == said[4:]


def test_doctor_says_that_a_server_without_fsync_loses_writes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "--no-model", "--store", url, "remember", "The deploy target is Fly.io"]) == 0
    capsys.readouterr()
    run(["--json", "--no-model", "--store", url, "doctor"])
    found = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["check"] == "durability"]
    assert [(f["state"], "fsync" in f["says"]) for f in found] == [("fault", True)]


def test_a_workspace_that_has_grown_is_shown_to_the_planner_at_once(url: str) -> None:
    """Autovacuum comes within a minute, and until then joins would be planned for empty tables."""

    def looked() -> list[tuple[object, ...]]:
        return run_sql(
            url, "SELECT relname, reltuples FROM pg_class WHERE oid IN ('cmc.atoms'::regclass, 'cmc.pieces'::regclass)"
        )

    with on(url) as memory:
        memory.remember("few")
        assert {rows for _, rows in looked()} == {-1}  # never looked at
        memory.remember_many([{"content": f"note {n}"} for n in range(200)])
        seen = dict(looked())
        assert all(rows >= 200 for rows in seen.values())  # type: ignore[operator]
        memory.remember("one more")
        assert dict(looked()) == seen


def test_a_write_is_kept_though_the_planner_could_not_be_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> list[tuple[str, str]]:
        raise psycopg.errors.QueryCanceled("too slow")

    with on(url) as memory:
        with monkeypatch.context() as patched:
            patched.setattr(statistics.structure, "tables", fails)
            memory.remember_many([{"content": f"note {n}"} for n in range(200)])
        assert not memory.verify().faults and memory.status()["transaction"] == 1
