"""Golden files: a store of each format, written by the code of its day, opened by the code of today."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.errors import FutureStore, StoreError
from cmc_mcp.merkle.checkpoint import public_key
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, connect
from scripts.make_golden import GOLDEN, KEY, RELEASES, SEED, answers, opened, picture

NEWEST = MIGRATIONS[-1].number
OLD = sorted(name for name, (_, format_, _) in RELEASES.items() if format_ < NEWEST)


class Golden:
    """One of them, unpacked."""

    def __init__(self, name: str, folder: Path) -> None:
        self.told: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
        with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        self.path = folder / "memory.db"
        self.key = KEY if self.told["encrypted"] else None
        self.location = Location(self.path, self.key)

    @contextmanager
    def memory(self, **more: Any) -> Iterator[Any]:
        with opened(self.path, self.key, **more) as found:
            yield found

    def expected(self) -> dict[str, Any]:
        return {name: value for name, value in self.told.items() if name not in ("format", "encrypted")}

    def version(self) -> int:
        connection = connect(self.location)
        try:
            return int(connection.pragma("user_version"))
        finally:
            connection.close()


@pytest.fixture
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Golden:
    return Golden(request.param, tmp_path)


def files(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_format_that_was_released_has_a_golden_store() -> None:
    assert {format_ for _, format_, _ in RELEASES.values()} == set(range(1, NEWEST + 1))
    assert {path.name for path in GOLDEN.iterdir()} == {f"{n}{end}" for n in RELEASES for end in (".json", ".tar.xz")}
    assert any(encrypted for _, format_, encrypted in RELEASES.values() if format_ == NEWEST)


@pytest.mark.parametrize("golden", RELEASES, indirect=True)
def test_an_old_store_answers_as_it_did_then(golden: Golden) -> None:
    with golden.memory() as memory:
        now, then = answers(memory), golden.expected()
        shown, expected = now.pop("recalled"), then.pop("recalled")
        assert now == then
        for query, ids in expected.items():  # later versions leave more out of an answer; nothing may be lost
            assert shown[query] and set(shown[query]) <= set(ids), query
            assert all(memory.history(id=id).memory is not None for id in ids)
        assert memory.read_source("harbour.png") == picture()
        checkpoint = golden.told["checkpoint"]
        assert memory.verify(checkpoint=checkpoint, public_key=public_key(SEED).hex()).holds
        memory.remember("and it can be gone on with")
        assert memory.verify(checkpoint=checkpoint, public_key=public_key(SEED).hex()).holds
    assert golden.version() == NEWEST
    if golden.told["format"] < NEWEST:
        kept = migrate.backup_path(golden.location, golden.told["format"])
        assert kept.exists() and not migrate.is_current(Location(kept, golden.key))


@pytest.mark.parametrize("golden", OLD, indirect=True)
def test_who_opens_an_old_store_is_told_how_far_its_migration_is(golden: Golden) -> None:
    told: list[tuple[int, int]] = []
    with golden.memory(progress=lambda done, total: told.append((done, total))) as memory:
        assert memory.verify().holds
    assert told == sorted(told) and told[0][0] > 0 and told[-1][0] == told[-1][1]
    told.clear()
    with golden.memory(progress=lambda done, total: told.append((done, total))):
        assert told == []  # nothing is left to migrate


@pytest.mark.parametrize("golden", ["format-1"], indirect=True)
def test_an_answer_that_differs_is_seen(golden: Golden) -> None:
    with golden.memory() as memory:
        memory.remember("something that nobody expected", source="guide.md")
        assert answers(memory) != golden.expected()


@pytest.mark.parametrize("golden", OLD, indirect=True)
def test_an_old_store_that_is_only_to_be_read_says_what_to_do_and_is_left_alone(golden: Golden) -> None:
    before = files(golden.path.parent)
    with pytest.raises(StoreError, match="open it once for writing to bring it up to date"):
        with golden.memory(read_only=True):
            pass
    assert files(golden.path.parent) == before


@pytest.mark.parametrize("golden", ["format-6", "format-6-encrypted"], indirect=True)
def test_a_store_from_the_future_is_refused_without_a_byte_written(golden: Golden) -> None:
    connection = connect(golden.location)
    connection.pragma("user_version", NEWEST + 1)
    connection.close()
    before = files(golden.path.parent)
    for read_only in (False, True):
        with pytest.raises(FutureStore, match="upgrade cmc-mcp"):
            with golden.memory(read_only=read_only):
                pass
    assert files(golden.path.parent) == before


@pytest.mark.parametrize("golden", RELEASES, indirect=True)
def test_claims_of_an_old_store_meet_those_that_are_spelled_otherwise(golden: Golden) -> None:
    with golden.memory() as memory:
        claim = {"subject": "PRODUCTION", "predicate": "Deploys to", "object": "Render"}
        assert [note.kind for note in memory.remember("It is Render", claim=claim).conflicts] == ["claim"]


@pytest.mark.parametrize("to", range(1, NEWEST))
@pytest.mark.parametrize("golden", ["format-6"], indirect=True)
def test_down_and_up_again_is_equal(golden: Golden, to: int) -> None:
    migrate.down(golden.location, to)
    assert golden.version() == to
    with golden.memory() as memory:
        assert answers(memory) == golden.expected()
    assert golden.version() == NEWEST
