"""A memory that moves: nothing lost, nothing changed, gone on with when cut short, and damage noticed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import apsw
import psycopg
import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.errors import Conflict, FutureStore, IntegrityError, InvalidInput, NotFound, WrongKey
from cmc_mcp.history import transfer as history_moving
from cmc_mcp.history.transfer import Phase, StoreAddress
from cmc_mcp.model.calls import Progress
from cmc_mcp.products import REGISTRY
from cmc_mcp.store import row_copy
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.tables import in_order_of_moving
from tests.objects.kept import kept_in
from tests.pg.backend import with_database
from tests.pg.server import running
from tests.support import reach
from tests.support.everything import DOCUMENT, IMAGE, answers, dense, fill, opened, tables
from tests.support.memories import live

TABLES = in_order_of_moving(REGISTRY.tables)
migrate = partial(history_moving.transfer, registry=REGISTRY)

NAMES = ("default", "second")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two workspaces of everything; read only."""
    path = tmp_path_factory.mktemp("original") / "memory.db"
    for seed, name in enumerate(NAMES):
        with opened(path, name) as memory:
            fill(memory, seed)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running() as made:
        yield made.url()


@pytest.fixture
def database(server: str, tmp_path: Path) -> Iterator[str]:
    name = "move_" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    with closing(psycopg.connect(server, autocommit=True)) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        yield with_database(server, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _contents(path: Path) -> dict[str, str]:
    """Every file of a store by its hash; what only a reader needs is left out."""
    files = (found for found in path.parent.rglob("*") if found.is_file() and not found.name.endswith("-shm"))
    return {str(found): hashlib.sha256(found.read_bytes()).hexdigest() for found in files if found.stat().st_size}


def _equal(one: Path | str, other: Path | str, *, lexical: bool = True) -> None:
    for name in NAMES:
        with opened(one, name, read_only=True) as first, opened(other, name, read_only=True) as second:
            mine, theirs = tables(first), tables(second)
            assert mine.keys() == theirs.keys()
            for table, rows in mine.items():
                assert rows == theirs[table], table
            assert dense(first) == dense(second)
            found, there = answers(first), answers(second)
            for question in found:
                if lexical or " " not in question:  # between backends lexical order may differ
                    assert found[question] == there[question], question
            assert second.verify(deep=True).faults == []


def test_a_history_of_everything_goes_to_postgresql_and_back_and_is_the_same(
    original: Path, database: str, tmp_path: Path
) -> None:
    with opened(database, "another") as memory:
        memory.remember("so that every number is another than in the source")
    before = _contents(original)
    moved = migrate(StoreAddress(str(original)), StoreAddress(database))
    assert before == _contents(original)
    _equal(original, database, lexical=False)
    with opened(database, "another", read_only=True) as memory:
        assert memory.verify().holds
    back = migrate(StoreAddress(database), StoreAddress(str(tmp_path / "back.db")), workspaces=list(NAMES))
    assert moved == back
    _equal(original, tmp_path / "back.db")
    with opened(tmp_path / "back.db", "second") as memory, opened(_copied(original, tmp_path), "second") as first:
        assert memory.remember("goes on").snapshot == first.remember("goes on").snapshot
        assert memory.read_source("plan.md").decode() == DOCUMENT.replace("$4,000", "$5,000")
        assert memory.read_source("chart") == IMAGE
        assert memory.verify().holds


def _copied(path: Path, folder: Path) -> Path:
    (folder / "copied").mkdir()
    for part in (path, Path(f"{path}-wal"), Path(f"{path}.objects")):
        if part.is_dir():
            shutil.copytree(part, folder / "copied" / part.name)
        elif part.exists():
            shutil.copy(part, folder / "copied" / part.name)
    return folder / "copied" / path.name


def _killed_at(page: int, source: Path, target: str) -> int:
    """Migrate in a child that is killed when it reads a page; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            pages, real = 0, row_copy._page

            def counted(*arguments: object) -> list[tuple[object, ...]]:
                nonlocal pages
                pages += 1
                if pages == page:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments)  # type: ignore[arg-type]

            row_copy._page = counted  # type: ignore[assignment]
            migrate(StoreAddress(str(source)), StoreAddress(target))
            os._exit(0)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("kind", ["file", "database"])
def test_killed_anywhere_it_is_gone_on_with_and_nobody_can_open_the_half(
    original: Path, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    target = str(tmp_path / "copy.db") if kind == "file" else request.getfixturevalue("database")
    rnd = random.Random(7)
    for page in sorted(rnd.sample(range(2, 24), 3)):
        assert _killed_at(page, original, target) == signal.SIGKILL
        with live(target, workspace="elsewhere") as memory:
            assert [name for name in memory.workspaces() if not name.startswith("~")] == ["elsewhere"]
    migrate(StoreAddress(str(original)), StoreAddress(target))
    _equal(original, target, lexical=kind == "file")


class _Stop:
    """Progress that is interrupted, as Ctrl-C would, after some reports of a step."""

    def __init__(self, step: str, reports: int) -> None:
        self._step, self._left = step, reports

    @contextmanager
    def __call__(self, label: str) -> Iterator[Progress]:
        def report(done: int, total: int) -> None:
            assert 0 <= done <= total
            if label.startswith(self._step):
                self._left -= 1
                if not self._left:
                    raise KeyboardInterrupt

        yield report


def _interrupted(source: Path, target: Path, reports: int = 12, step: str = "copy") -> None:
    phase: Phase = _Stop(step, reports)
    with pytest.raises(KeyboardInterrupt):
        migrate(StoreAddress(str(source)), StoreAddress(str(target)), phase=phase)


@pytest.mark.parametrize(
    "damage", ["UPDATE payloads SET body = x'00' WHERE domain = 0", "DELETE FROM records WHERE rid % 7 = 0"]
)
def test_a_copy_that_was_damaged_on_the_way_is_noticed_and_gets_no_name(
    original: Path, tmp_path: Path, damage: str
) -> None:
    target = tmp_path / "copy.db"
    _interrupted(original, target)
    with closing(apsw.Connection(str(target))) as connection:
        connection.execute(damage)
    with pytest.raises(IntegrityError, match="does not verify"):
        migrate(StoreAddress(str(original)), StoreAddress(str(target)))
    with pytest.raises(NotFound):
        live(target, read_only=True)


def test_a_source_that_went_on_meanwhile_is_not_mixed_with_the_half_that_is_there(
    original: Path, tmp_path: Path
) -> None:
    source, target = _copied(original, tmp_path), tmp_path / "copy.db"
    _interrupted(source, target)
    with opened(source) as memory:
        memory.remember("one more")
    with pytest.raises(Conflict, match="incomplete copy of another state of default"):
        migrate(StoreAddress(str(source)), StoreAddress(str(target)))


def test_a_second_call_finds_it_done_and_a_target_with_something_else_is_refused(
    original: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    first = migrate(StoreAddress(str(original)), StoreAddress(str(target)))
    before = _contents(target)
    assert first == migrate(StoreAddress(str(original)), StoreAddress(str(target)))
    assert {name: hash_ for name, hash_ in _contents(target).items() if not name.endswith("-wal")}.items() >= {
        name: hash_ for name, hash_ in before.items() if ".objects" in name
    }.items()
    with opened(target) as memory:
        memory.remember("something else")
    with pytest.raises(Conflict, match="only into an empty one; nothing was written"):
        migrate(StoreAddress(str(original)), StoreAddress(str(target)))


def _future(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA user_version = 999")
        connection.execute("INSERT INTO migrations VALUES(999, 'to come', 'x', 0)")


def test_what_is_refused_before_anything_is_written(original: Path, tmp_path: Path) -> None:
    here, target = StoreAddress(str(original)), tmp_path / "copy.db"
    link = tmp_path / "link.db"
    link.symlink_to(original)
    damaged = _copied(original, tmp_path)
    with closing(apsw.Connection(str(damaged))) as connection:
        connection.execute("UPDATE transactions SET verb = 'rollback' WHERE seq = 3")
    future = tmp_path / "future.db"
    live(future).close()
    _future(future)
    for source, to, names, kind, said in (
        (here, StoreAddress(str(original)), None, InvalidInput, "same store"),
        (here, StoreAddress(str(link)), None, InvalidInput, "same store"),
        (here, StoreAddress(str(future)), None, FutureStore, "nothing was written"),
        (
            StoreAddress(str(damaged)),
            StoreAddress(str(target)),
            None,
            IntegrityError,
            "source does not verify, so nothing was written",
        ),
        (StoreAddress(str(tmp_path / "no.db")), StoreAddress(str(target)), None, NotFound, "no store"),
        (
            here,
            StoreAddress(str(target)),
            ["default", "third"],
            NotFound,
            "has no workspace third; it has default, second",
        ),
        (StoreAddress(str(original), key=b"k" * 32), StoreAddress(str(target)), None, WrongKey, "key"),
        (here, StoreAddress("gs://x"), None, InvalidInput, "unknown kind of store"),
        (here, StoreAddress(str(target), "s3://x:y@bucket"), None, InvalidInput, "credentials"),
    ):
        before = _contents(original)
        with pytest.raises(kind, match=said):
            migrate(source, to, workspaces=names)
        assert not target.exists() and before == _contents(original)


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_an_encrypted_store_moves_under_another_key_with_its_objects(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    kept = kept_in(place, tmp_path / "far", monkeypatch)
    one, two = b"1" * 32, b"2" * 32
    migrate(StoreAddress(str(original)), StoreAddress(str(tmp_path / "one.db"), key=one), workspaces=["second"])
    (moved,) = migrate(
        StoreAddress(str(tmp_path / "one.db"), key=one), StoreAddress(str(tmp_path / "two.db"), kept.place, two)
    )
    assert moved.workspace == "second"
    envelopes = kept.raw()
    assert envelopes and all(envelope.startswith(b"cmcobj\0\2") for envelope in envelopes.values())
    with opened(tmp_path / "two.db", "second", key=two, objects=kept.place, read_only=True) as memory:
        assert memory.read_source("chart") == IMAGE
        assert memory.verify().holds


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "copy.db"
    real, pages = row_copy._page, iter(range(1_000))

    def page(*arguments: object) -> list[tuple[object, ...]]:
        if next(pages) == 9:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(row_copy, "_page", page)
    command = ["migrate", "--from", str(original), "--to", str(target), "--workspace", "default"]
    assert run(command) == 130
    said = capsys.readouterr().err
    assert "copy default, rows: " in said and "the same command goes on from there" in said
    with pytest.raises(NotFound):
        live(target, read_only=True)
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "every root equal" in shown
    with opened(target, read_only=True) as memory:
        assert memory.verify().holds and memory.workspaces() == ["default"]
    assert run([*command, "--json", "--workspace", "third"]) == 3
    assert "has no workspace third" in capsys.readouterr().err


def test_every_table_of_the_store_is_copied_or_made_by_the_target(original: Path) -> None:
    made = {
        words.split("(")[0].split()[-1]
        for migration in MIGRATIONS
        for words in migration.up
        if words.startswith("CREATE TABLE")
    }
    assert made - {"workspaces", "embedding_models"} == {table.name for table in TABLES}
    numbers = {column.name for table in TABLES for column in table.columns if column.number}
    with closing(apsw.Connection(str(original))) as connection:
        for table in TABLES:
            for name, kind in connection.execute("SELECT name, type FROM pragma_table_info(?)", (table.name,)):
                if (
                    kind != "INTEGER"
                    or name in numbers
                    or name.endswith("_us")
                    or name in ("speaker", "topic", "nid", "tx_to")
                ):
                    continue
                high = connection.execute(f"SELECT max({name}) FROM {table.name}").fetchall()[0][0]
                assert high is None or high < 1 << 40 or name in ("valid_to", "traits"), (table.name, name)


def test_memory_stays_flat_while_rows_are_copied(tmp_path: Path) -> None:
    source, target, size, count = tmp_path / "memory.db", tmp_path / "copy.db", 60_000, 800
    with live(source) as memory:
        memory.remember_many(
            [
                {"content": n.to_bytes(4, "big") * (size // 4), "modality": "image", "media_type": "image/png"}
                for n in range(count)
            ]
        )
    with (
        live(source, read_only=True) as one,
        live(target, workspace="x") as two,
    ):
        mover = row_copy.Mover(
            reach.store(one),
            reach.objects(one),
            reach.ws(one),
            reach.store(two),
            reach.objects(two),
        )  # type: ignore[arg-type]
        tracemalloc.start()
        try:
            mover.copy("default")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < size * count * 0.7
