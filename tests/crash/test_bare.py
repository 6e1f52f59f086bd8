"""The second pair of eyes sees what is half there."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import StoreError
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location
from tests.crash import bare
from tests.crash.subject import Told, judge, opened
from tests.crash.workload import PHASES, Workload


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memory.db"
    with opened(path) as subject:
        work = Workload(random.Random(3), "b")
        for phase in PHASES:
            if phase not in ("rollback", "undo", "erase"):
                work.next(subject, phase).run(subject)
    return path


def seen(path: Path, tmp_path: Path, *statements: str) -> list[str]:
    """What the eyes see in a copy that was tampered with."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    connection = apsw.Connection(str(copy))
    for statement in statements:
        connection.execute(statement)
        assert connection.changes() > 0 or statement.startswith(("PRAGMA", "DROP")), statement
    connection.close()
    return bare.faults(copy, Path(f"{path}.objects"))


def test_a_sound_store_has_no_fault_in_any_format(sound: Path, tmp_path: Path) -> None:
    assert seen(sound, tmp_path) == []
    for version in (3, 2, 1):
        migrate.down(Location(tmp_path / "copy.db"), version)
        assert bare.faults(tmp_path / "copy.db", Path(f"{sound}.objects")) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM transactions WHERE seq = 3", "transaction 3 is missing"),
        ("DELETE FROM transactions WHERE seq = (SELECT max(seq) FROM transactions)", "not in the ledger"),
        ("UPDATE transactions SET verb = 'revise' WHERE seq = 2", "transaction 2 does not hash"),
        ("UPDATE transactions SET atoms = atoms + 1 WHERE seq = 2", "transaction 2 counts"),
        ("UPDATE pieces SET valid_to = 5 WHERE tx_from = 2", "transaction 2 does not hash"),
        ("DELETE FROM pieces WHERE tx_from = 2", "transaction 2 does not hash"),
        ("DELETE FROM log_nodes WHERE place = 0", "nodes in the log"),
        ("DELETE FROM vectors WHERE vid = (SELECT min(vid) FROM vectors)", "without a vector"),
        ("DELETE FROM passage_terms WHERE rid = (SELECT min(rid) FROM passage_terms)", "passages for"),
        ("DELETE FROM atoms WHERE rid = (SELECT min(rid) FROM atoms)", "orphans in"),
        ("DELETE FROM payloads WHERE pid = (SELECT content FROM atoms LIMIT 1)", "orphans in atoms"),
        ("UPDATE payloads SET body = x'00' WHERE pid = (SELECT content FROM atoms LIMIT 1)", "not what its hash says"),
        ("DELETE FROM migrations WHERE number = 4", "format 6 with migrations"),
        ("PRAGMA user_version = 2", "format 2 with migrations"),
        ("DROP INDEX atoms_discriminator", "1 index"),
        ("DROP TABLE speakers", "29 tables"),
    ],
)
def test_what_is_half_there_is_seen(sound: Path, tmp_path: Path, statement: str, said: str) -> None:
    found = seen(sound, tmp_path, statement)
    assert any(said in line for line in found), found


def test_an_object_that_is_gone_is_seen(sound: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(sound.read_bytes())
    assert any("not what its hash says" in line for line in bare.faults(copy, tmp_path / "nothing"))


def test_a_judge_notices_a_lost_write_one_too_many_and_a_second_record_of_a_key(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with opened(path) as subject:
        subject.memory.remember("one")
        subject.memory.remember("two", idempotency_key="two")
        ledger = subject.ledger()
    assert judge(path, Told({**ledger, 3: "ab"})).faults == ["transaction 3 was acknowledged and is lost"]
    other = judge(path, Told({**ledger, 1: "ab"})).faults
    assert other == ["transaction 1 was acknowledged and is another"]
    assert any("were acknowledged, 0 in flight" in line for line in judge(path, Told({1: ledger[1]}, most=0)).faults)
    asked = {"content": "one", "idempotency_key": "new"}
    assert any("exactly one record" in line for line in judge(path, Told(ledger, asked=asked)).faults)


def test_a_migration_that_is_not_one_transaction_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement by itself: whoever ends between two leaves a format between two."""

    def piecemeal(connection: apsw.Connection, _: object, version: int, apply: Callable[..., None]) -> None:
        apply(connection, version)

    monkeypatch.setattr(migrate, "_in_one_transaction", piecemeal)
    path = tmp_path / "memory.db"
    migrate.run(Location(path), FixedClock(1), replace(REGISTRY, migrations=MIGRATIONS[:1]))
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute("INSERT INTO workspaces(name) VALUES('filled one by one')")
    with pytest.raises(StoreError):
        fills = {**REGISTRY.fills, "traits of passages": _fails}
        migrate.run(Location(path), FixedClock(1), replace(REGISTRY, fills=fills))
    assert any("format 1 with migrations [1, 2]" in line for line in bare.faults(path, Path(f"{path}.objects")))


def _fails(_: object) -> None:
    raise StoreError("the process ended here")
