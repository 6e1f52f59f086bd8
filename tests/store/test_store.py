from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cmc_mcp.errors import CmcError, Conflict, NotFound, StoreError
from tests.support.stores import as_nobody, contents, memory, store


# ---------------------------------------------------------------------- backup
def test_a_backup_opens_verifies_and_holds_what_was_there(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", inline_bytes=64) as opened:
        opened.remember("The deploy target is Fly.io", tags={"topic": "deploy"})
        opened.remember("a long event " * 20, modality="event", source="log:1")
        before = opened.snapshot()
        seen: list[tuple[int, int]] = []
        opened.backup(tmp_path / "copies" / "copy.db", progress=lambda done, total: seen.append((done, total)))
        opened.remember("after the backup")
    assert seen and seen[-1][0] == seen[-1][1] > 0
    with memory(tmp_path / "copies" / "copy.db", inline_bytes=64) as copy:
        assert before == copy.snapshot()
        assert copy.verify().holds
        assert copy.read_source("log:1") == b"a long event " * 20
        copy.remember("a backup is a store like any other")


def test_a_backup_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("note")
        with pytest.raises(Conflict, match="never overwrites"):
            opened.backup(target)
    assert target.read_text() == "precious"


def test_a_backup_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("note")
        with pytest.raises(StoreError, match="backup cannot be written"):
            opened.backup(tmp_path / "file" / "copy.db")
    assert not list(tmp_path.glob("**/*.part*"))


def test_a_backup_made_while_others_write_is_a_prefix(tmp_path: Path) -> None:
    stop, wrote = threading.Event(), []
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("first")

        def write() -> None:
            while not stop.is_set():
                wrote.append(opened.remember(f"note {len(wrote)}").transaction)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(5):
                opened.backup(tmp_path / f"copy-{number}.db")
        finally:
            stop.set()
            thread.join()
        roots = {row.transaction: row.snapshot for row in opened.history(limit=1000).transactions}
    for number in range(5):
        with memory(tmp_path / f"copy-{number}.db") as copy:
            assert copy.verify().holds
            rows = {row.transaction: row.snapshot for row in copy.history(limit=1000).transactions}
            assert rows.items() <= roots.items()
            assert list(range(len(rows), 0, -1)) == sorted(rows, reverse=True)


# ---------------------------------------------------------------------- read-only
def test_a_store_opened_read_only_answers_everything_and_refuses_every_write(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        receipt = opened.remember("The deploy target is Fly.io", source="doc:a", tags={"topic": "deploy"})
        opened.snapshot("first")
    Path(f"{path}.lock").unlink()
    before = contents(tmp_path)["memory.db"]
    with memory(path, read_only=True) as opened:
        assert opened.recall("deploy", tags={"topic": "deploy"}).items[0].text == "The deploy target is Fly.io"
        assert opened.recall("deploy", as_of="first").items[0].text == "The deploy target is Fly.io"
        assert opened.read_source("doc:a") == b"The deploy target is Fly.io"
        assert opened.verify().holds
        assert len(opened.history().transactions) == 2
        assert receipt.snapshot.after == opened.snapshot().snapshot
        assert opened.forget(receipt.added, dry_run=True).ids and opened.rollback(0, dry_run=True).dry_run
        opened.backup(tmp_path / "copy" / "copy.db")
        atom = receipt.added[0]
        for write in (
            lambda: opened.remember("more"),
            lambda: opened.revise(atom, tags={"a": "b"}),
            lambda: opened.forget(atom),
            lambda: opened.rollback(0),
            lambda: opened.snapshot("second"),
            lambda: opened.set_policy("gate.min_confidence", 0.5),
        ):
            with pytest.raises(StoreError, match="opened read-only; open it for writing"):
                write()
        assert not Path(f"{path}.lock").exists()
    assert before == path.read_bytes()
    assert not Path(f"{path}.objects").exists()


def test_reading_only_makes_no_workspace(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as opened:
        opened.remember("note")
    with memory(path, read_only=True) as opened:
        with pytest.raises(NotFound, match=r"workspace other does not exist.*read-only"):
            opened.as_principal("me", "other")
        assert opened.workspaces() == ["default"]


def test_a_read_only_store_sees_what_others_write_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with memory(path) as writing:
        writing.remember("first")
        with memory(path, read_only=True) as reading:
            assert reading.snapshot().transaction == 1
            writing.remember("second")
            assert reading.snapshot().transaction == 2


def test_a_store_in_a_folder_nobody_may_write_to_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "memory.db"
    with memory(path) as opened:
        opened.remember("The deploy target is Fly.io")
    Path(f"{path}.lock").unlink()
    _share(tmp_path)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:

        def read() -> str:
            with memory(path, read_only=True) as opened:
                assert opened.verify().holds
                return opened.recall("deploy").items[0].text

        assert as_nobody(read) == "The deploy target is Fly.io"

        def write() -> str:
            with memory(path) as opened:
                return f"wrote {opened.remember('more').transaction}"

        said = as_nobody(write)
        assert said.startswith("StoreError: ") and "writable" in said
        assert {"memory.db"} == set(contents(path.parent))
    finally:
        path.parent.chmod(0o700)


def test_a_folder_that_may_not_be_written_to_takes_no_new_store(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    _share(tmp_path)
    folder.chmod(0o555)
    try:
        said = as_nobody(lambda: str(memory(folder / "memory.db")))
        assert said.startswith("StoreError: ") and "writable" in said
        assert contents(folder) == {}
    finally:
        folder.chmod(0o700)


def _share(folder: Path) -> None:
    """Let everybody into a folder of the tests, which pytest keeps to its user."""
    while folder.name.startswith(("test_", "pytest-", "popen-")):
        folder.chmod(0o755)
        folder = folder.parent


# ---------------------------------------------------------------------- closing, forking
def test_a_closed_store_says_so(tmp_path: Path) -> None:
    opened = memory(tmp_path / "memory.db")
    opened.remember("note")
    opened.close()
    opened.close()
    for call in (lambda: opened.recall("note"), lambda: opened.remember("more"), lambda: opened.snapshot("x")):
        with pytest.raises(StoreError, match="closed; open it again"):
            call()


def test_closing_under_running_calls_is_an_answer_or_a_clean_error(tmp_path: Path) -> None:
    for number in range(5):
        opened = memory(tmp_path / f"{number}.db")
        opened.remember("a note to be found")
        started, odd = threading.Barrier(5), []

        def work(kind: int, opened=opened, started=started, odd=odd) -> None:
            started.wait(10)
            try:
                for n in range(200):
                    opened.remember(f"note {n}") if kind % 2 else opened.recall("note")
            except StoreError:
                pass
            except BaseException as error:
                odd.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        started.wait(10)
        time.sleep(0.01 * number)
        opened.close()
        for thread in threads:
            thread.join()
        assert odd == []
        with memory(tmp_path / f"{number}.db") as again:
            assert again.verify().holds


def test_a_read_that_runs_while_the_store_closes_is_finished(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("note")
    held = store(tmp_path / "memory.db")
    with held.reader(1) as view:
        held.close()
        assert view.head().seq == 1
    with pytest.raises(StoreError, match="closed"), held.reader(1):
        pass


def test_parent_and_child_go_on_after_a_fork(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("from before")
        opened.recall("before")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                opened.remember("from the child")
                status = 0 if opened.snapshot().transaction == 2 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        opened.remember("from the parent")
        assert opened.snapshot().transaction == 3
        assert opened.verify().holds


def test_a_store_in_use_during_a_fork_is_refused_in_the_child(tmp_path: Path) -> None:
    held = store(tmp_path / "memory.db")
    with held.reader(0):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with held.reader(0):
                    pass
            except CmcError as error:
                status = 0 if "forked" in error.message else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with held.reader(0):
        pass
    held.close()


# ---------------------------------------------------------------------- statements that nobody read to the end
EVERY = "SELECT seq, hash FROM transactions"


class Cut(Exception):
    """The work stopped in the middle."""


def test_a_statement_cut_off_in_a_write_holds_no_later_write_up(tmp_path: Path) -> None:
    with closing(store(tmp_path / "memory.db")) as opened, memory(tmp_path / "memory.db") as other:
        for number in range(3):
            other.remember(f"note {number}")
        with pytest.raises(Cut), opened.writer(1) as unit:
            half = iter(unit._c.execute(EVERY))
            next(half)
            raise Cut
        other.remember("written meanwhile")
        with opened.exclusive() as connection:
            connection.execute("CREATE TEMP TABLE written(a)")
            connection.execute("VACUUM")


@pytest.mark.parametrize("fails", [False, True])
def test_a_statement_cut_off_in_a_read_shows_no_old_state_to_the_next(tmp_path: Path, fails: bool) -> None:
    with closing(store(tmp_path / "memory.db")) as opened, memory(tmp_path / "memory.db") as other:
        for number in range(3):
            other.remember(f"note {number}")
        with suppress(Cut), opened.reader(1) as view:
            half = iter(view._c.execute(EVERY))
            next(half)
            if fails:
                raise Cut
        other.remember("written meanwhile")
        with opened.reader(1) as view:
            assert view.head().seq == 4
