from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import FutureStore, IntegrityError, NotFound, StoreError, WrongKey
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, connect
from tests.support.embedders import HashVectors
from tests.support.stores import NOON_US, contents, memory, raw, store

CLOCK = FixedClock(NOON_US)
LAST = MIGRATIONS[-1].number
NEXT = LAST + 1
SECOND = Migration(
    NEXT, "shoes", ("CREATE TABLE shoes(ws INTEGER) STRICT", "INSERT INTO shoes VALUES(1)"), ("DROP TABLE shoes",)
)
BROKEN = Migration(NEXT, "shoes", ("CREATE TABLE shoes(ws INTEGER) STRICT", "INSERT INTO no_such_table VALUES(1)"))
ONE_WAY = Migration(NEXT, "shoes", ("CREATE TABLE shoes(ws INTEGER) STRICT",))


def made(tmp_path: Path) -> Path:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        opened.remember("The deploy target is Fly.io")
    return path


def tables(path: Path) -> set[str]:
    connected = raw(path)
    try:
        return {name for (name,) in connected.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    finally:
        connected.close()


def version(path: Path) -> int:
    connected = raw(path)
    try:
        return int(connected.pragma("user_version"))
    finally:
        connected.close()


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert list(range(1, len(MIGRATIONS) + 1)) == [m.number for m in MIGRATIONS]


def test_a_migration_is_recorded_with_its_checksum(tmp_path: Path) -> None:
    path = made(tmp_path)
    rows = raw(path).execute("SELECT number, title, checksum, applied_us FROM migrations").fetchall()
    assert [(m.number, m.title, m.checksum) for m in MIGRATIONS] == [row[:3] for row in rows]
    assert all(row[3] >= NOON_US for row in rows)


def test_a_store_is_brought_to_the_next_version_with_a_backup_before(tmp_path: Path) -> None:
    path = made(tmp_path)
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, SECOND)))
    backup = migrate.backup_path(Location(path), LAST)
    assert (version(path), version(backup)) == (NEXT, LAST)
    assert "shoes" in tables(path) and "shoes" not in tables(backup)
    with memory(backup, read_only=True) as opened:
        assert opened.recall("deploy").items[0].text == "The deploy target is Fly.io"


def test_running_the_migrations_again_changes_nothing(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = contents(tmp_path)
    migrate.run(Location(path), CLOCK, REGISTRY)
    assert before == contents(tmp_path)


def test_a_migration_that_fails_in_the_middle_leaves_the_old_version(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(StoreError, match="no_such_table"):
        migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, BROKEN)))
    assert version(path) == LAST and "shoes" not in tables(path)
    with memory(path) as opened:
        assert opened.verify().holds


def test_a_failed_migration_can_be_run_again_once_it_is_mended(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(StoreError):
        migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, BROKEN)))
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, SECOND)))
    assert version(path) == NEXT


def test_an_applied_migration_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    edited = (Migration(1, MIGRATIONS[0].title, (*MIGRATIONS[0].up, "SELECT 1")), *MIGRATIONS[1:])
    with pytest.raises(IntegrityError, match="migration 1"):
        migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=edited))
    with pytest.raises(IntegrityError, match="migration 1"):
        migrate.is_current(Location(path), edited)


def test_a_migration_that_is_not_recorded_as_applied_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    raw(path).execute("DELETE FROM migrations")
    with pytest.raises(IntegrityError, match="migration 1"):
        store(path)


def test_a_store_from_the_future_is_refused_without_a_byte_written(tmp_path: Path) -> None:
    path = made(tmp_path)
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, SECOND)))
    before = contents(tmp_path)
    for read_only in (False, True):
        with pytest.raises(FutureStore, match=rf"format {NEXT}.*upgrade") as caught:
            memory(path, read_only=read_only)
        assert caught.value.fields["format"] == NEXT
    with pytest.raises(FutureStore):
        migrate.run(Location(path), CLOCK, REGISTRY)
    assert before == contents(tmp_path)


def test_a_store_from_the_future_in_another_journal_mode_is_not_converted(tmp_path: Path) -> None:
    path = made(tmp_path)
    connected = raw(path)
    connected.pragma("journal_mode", "delete")
    connected.pragma("user_version", 99)
    connected.close()
    before = contents(tmp_path)
    with pytest.raises(FutureStore):
        memory(path)
    assert before == contents(tmp_path)


def test_a_future_store_that_somebody_writes_is_refused_and_its_log_left_alone(tmp_path: Path) -> None:
    path = made(tmp_path)
    connected = connect(Location(path))
    connected.pragma("user_version", 99)
    wal = Path(f"{path}-wal")
    before = path.read_bytes(), wal.read_bytes()
    assert before[1]
    with pytest.raises(FutureStore):
        memory(path)
    assert before == (path.read_bytes(), wal.read_bytes())
    connected.close()


def test_a_database_of_somebody_else_is_refused_without_a_byte_written(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connected = raw(path)
    connected.execute("CREATE TABLE theirs(a)")
    connected.close()
    before = contents(tmp_path)
    with pytest.raises(WrongKey, match="not a CMC store"):
        memory(path)
    assert before == contents(tmp_path)


def test_a_reversible_migration_goes_back(tmp_path: Path) -> None:
    path = made(tmp_path)
    both = (*MIGRATIONS, SECOND)
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=both))
    migrate.down(Location(path), LAST, both)
    assert version(path) == LAST and "shoes" not in tables(path)
    assert version(migrate.backup_path(Location(path), NEXT)) == NEXT
    with memory(path) as opened:
        assert opened.verify().holds
        assert opened.recall("deploy").items[0].text == "The deploy target is Fly.io"


def test_a_migration_that_would_lose_something_does_not_go_back_but_names_the_backup(tmp_path: Path) -> None:
    path = made(tmp_path)
    both = (*MIGRATIONS, ONE_WAY)
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=both))
    with pytest.raises(StoreError, match=rf"memory\.db\.v{LAST}\.backup"):
        migrate.down(Location(path), LAST, both)
    assert version(path) == NEXT


@pytest.mark.parametrize("to", [0, LAST, LAST + 1])
def test_going_back_to_where_one_is_or_beyond_is_refused(tmp_path: Path, to: int) -> None:
    with pytest.raises(StoreError, match=f"format {LAST}"):
        migrate.down(Location(made(tmp_path)), to)


def test_an_encrypted_store_keeps_its_key_in_the_backup_before_a_migration(tmp_path: Path) -> None:
    path, key = tmp_path / "memory.db", b"k" * 32
    with memory(path, key=key) as opened:
        opened.remember("canary-of-the-migration")
    migrate.run(Location(path, key), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, SECOND)))
    backup = migrate.backup_path(Location(path), LAST)
    assert b"canary-of-the-migration" not in backup.read_bytes()
    assert migrate.is_current(Location(backup, key))


def test_two_that_create_the_same_store_make_one(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    migrate.run(Location(path), CLOCK, REGISTRY)
    migrate.run(Location(path), CLOCK, REGISTRY)
    assert raw(path).execute("SELECT count(*) FROM migrations").fetchall() == [(LAST,)]


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        memory(tmp_path / "memory.db", read_only=True)
    assert contents(tmp_path) == {}


def test_the_nodes_of_documents_that_were_there_before_are_written_by_the_migration(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        for text in ("# A\n\none\n\n# B\n\ntwo\n\nthree\n", "# A\n\none\n\n# B\n\ntwo\n\nfour\n"):
            opened.remember(text, source="guide.md")
        opened.remember("# Gone\n\nfive\n", source="gone.md")
        opened.forget(source="gone.md")
    query = "SELECT * FROM nodes ORDER BY source, path, tx_from"
    before = raw(path).execute(query).fetchall()
    migrate.down(Location(path), 1)
    assert version(path) == 1 and not {"nodes", "node_vectors"} & tables(path)
    with memory(path) as opened:
        assert opened.verify().holds
    assert len(before) > 3 and raw(path).execute(query).fetchall() == before


def test_vectors_of_sections_that_went_with_a_way_back_are_no_alarm(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        opened.remember("# A\n\none\n\n# B\n\ntwo\n", source="guide.md")
        opened.with_embedder(HashVectors(8)).embed_pending()
    assert raw(path).execute("SELECT count(*) FROM node_vectors").fetchall() != [(0,)]
    migrate.down(Location(path), 1)
    with memory(path) as opened:
        assert opened.verify().holds
    assert raw(path).execute("SELECT count(*) FROM node_vectors").fetchall() == [(0,)]
