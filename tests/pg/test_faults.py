"""What a server does to those who use it: it stops, it starts, it takes back, it makes wait. No acknowledged write is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from cmc_mcp.clock import SystemClock
from cmc_mcp.errors import Busy, OutcomeUnknown, StoreError
from cmc_mcp.memory import Memory
from cmc_mcp.store.postgres import writing
from cmc_mcp.store.postgres.connection import Address, Connection
from cmc_mcp.store.postgres.pool import OPEN_S, Breaker, Pool
from cmc_mcp.store.postgres.store import PostgresStore
from tests.pg.backend import Databases
from tests.pg.server import Server, running
from tests.support import reach
from tests.support.memories import erase, on
from tests.support.together import together

_WRITERS, _EACH, _KILLS = 3, 12, 2


@pytest.fixture(scope="module")
def durable() -> Iterator[Server]:
    """A server of one's own that keeps what it says: it is killed."""
    with running(durable=True) as server:
        yield server


@pytest.fixture
def memory(databases: Databases, tmp_path: Path) -> Iterator[Memory]:
    with on(databases.of(tmp_path / "pg")) as opened:
        yield opened


def _store(memory: Memory) -> PostgresStore:
    assert isinstance(reach.store(memory), PostgresStore)
    return reach.store(memory)


def _texts(memory: Memory) -> list[str]:
    with reach.reader(memory) as view:
        rows = list(view.all_atoms())
        return [(view.payload(row.content) or b"").decode() for row in rows]


# ---------------------------------------------------------------------- a server that is killed
def _write(memory: Memory, name: int, acknowledged: list[str]) -> None:
    """Write until every line is acknowledged; what fails is sent again under the same key."""
    for number in range(_EACH):
        text = f"writer {name} line {number}"
        while True:
            try:
                memory.remember(text, idempotency_key=text)
                break
            except StoreError:
                continue
        acknowledged.append(text)


@pytest.mark.slow
def test_a_server_killed_under_load_loses_and_doubles_nothing(durable: Server) -> None:
    with on(durable.url(), clock=SystemClock(), workspace="killed") as memory:
        ticks = itertools.count(0.0, 10.0)  # it is open for no longer than a look at the clock
        _store(memory).pool.breaker = Breaker(_store(memory).address, lambda: next(ticks))
        acknowledged: list[str] = []
        threads = [threading.Thread(target=_write, args=(memory, n, acknowledged)) for n in range(_WRITERS)]
        for thread in threads:
            thread.start()
        for kill in range(_KILLS):
            while len(acknowledged) < (kill + 1) * _WRITERS * _EACH // (_KILLS + 2):
                threads[0].join(0.01)
            durable.kill()
            durable.start()
        for thread in threads:
            thread.join()
        wanted = sorted(f"writer {n} line {i}" for n in range(_WRITERS) for i in range(_EACH))
        assert sorted(acknowledged) == sorted(_texts(memory)) == wanted
        assert memory.status()["transaction"] == len(wanted), "one transaction for each, and no second one"
        assert memory.verify().holds


# ---------------------------------------------------------------------- a COMMIT without an answer
def _failing_once(monkeypatch: pytest.MonkeyPatch, before: bool, error: psycopg.Error, *, cut: bool) -> list[str]:
    """Have the next COMMIT fail, before it is sent or after it was done; with `cut`, by losing the connection."""
    original, seen = Connection.send, []

    def send(self: Connection, written: Any, last: str = "") -> None:
        if last != "COMMIT" or seen:
            return original(self, written, last)
        seen.append(last)
        if not before:
            original(self, written, last)
        if cut:
            self.raw.close()
        raise error

    monkeypatch.setattr(Connection, "send", send)
    return seen


@pytest.mark.parametrize("before", [True, False])
def test_a_commit_whose_answer_was_lost_is_done_exactly_once(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    memory.remember("first")
    seen = _failing_once(monkeypatch, before, psycopg.OperationalError("the connection was closed"), cut=True)
    receipt = memory.remember("second", tags={"t": "1"})
    assert seen and receipt.transaction == 2
    assert _texts(memory) == ["first", "second"]
    assert memory.remember("third").transaction == 3
    assert memory.verify().holds


def test_taking_every_lost_answer_for_a_yes_would_lose_writes(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.Writing, "_was_kept", lambda *_, **__: True)  # the seeded bug
    _failing_once(monkeypatch, True, psycopg.OperationalError("the connection was closed"), cut=True)
    memory.remember("acknowledged, and gone")
    assert _texts(memory) == []


def test_when_nobody_can_say_whether_it_was_kept_that_is_what_is_said(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = _failing_once(monkeypatch, False, psycopg.OperationalError("the connection was closed"), cut=True)
    monkeypatch.setattr(writing, "PAUSES_S", (0.0,))
    take = _store(memory).pool.take

    def gone() -> Connection:
        if sent:
            raise StoreError("the server cannot be reached")
        return take()

    monkeypatch.setattr(_store(memory).pool, "take", gone)
    with pytest.raises(OutcomeUnknown, match="idempotency key") as caught:
        memory.remember("kept or not", idempotency_key="k")
    assert caught.value.fields["transaction"] == 1
    monkeypatch.undo()
    assert memory.remember("kept or not", idempotency_key="k").transaction == 1


@pytest.mark.parametrize("kind", [pg.SerializationFailure, pg.DeadlockDetected])
def test_what_the_server_takes_back_is_done_again(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, kind: type[psycopg.Error]
) -> None:
    seen = _failing_once(monkeypatch, True, kind("taken back"), cut=False)
    assert memory.remember("once").transaction == 1
    assert seen and _texts(memory) == ["once"]


def test_trying_again_has_a_bound(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def send(self: Connection, written: Any, last: str = "") -> None:
        tries.append(last)
        raise pg.DeadlockDetected("again and again")

    monkeypatch.setattr(writing, "PAUSES_S", (0.0,))
    monkeypatch.setattr(Connection, "send", send)
    with pytest.raises(Busy, match="nothing was changed"):
        memory.remember("never")
    monkeypatch.undo()
    assert 1 < len(tries) <= 2 * writing.TRIES_MAX and _texts(memory) == []


def _terminate(memory: Memory, databases: Databases, where: str = "") -> None:
    with psycopg.connect(databases.url, autocommit=True) as admin:
        dbname = _store(memory).address.conninfo.split("dbname=")[1].split()[0]
        admin.execute(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid(){where}",
            (dbname,),
        )


def test_a_write_outlives_its_connection_unless_another_came_between(
    memory: Memory, databases: Databases, tmp_path: Path
) -> None:
    with reach.writer(memory) as unit:
        assert unit.head().seq == 0
        _terminate(memory, databases)
        reach.commit(memory, unit, "test", {})
    assert memory.status()["transaction"] == 1
    other = on(databases.of(tmp_path / "pg"))
    with pytest.raises(Busy, match="another server wrote"), reach.writer(memory) as unit:
        assert unit.head().seq == 1
        _terminate(memory, databases)
        other.remember("between")
        reach.commit(memory, unit, "test", {})
    other.close()
    assert memory.status()["transaction"] == 2 and memory.verify().holds


def test_a_read_goes_on_after_idle_connections_were_cut_and_one_that_is_cut_says_so(
    memory: Memory, databases: Databases
) -> None:
    memory.remember("note")
    _terminate(memory, databases)
    assert memory.recall("note").items
    with pytest.raises(StoreError, match="was lost"), reach.reader(memory) as view:
        view.head()
        _terminate(memory, databases)
        view.labels()
    assert memory.recall("note").items


# ---------------------------------------------------------------------- waiting
def _with(databases: Databases, path: Path, option: str) -> str:
    return f"{databases.of(path)}&options=-c%20{option}"


def _holding(url: str, statement: str, work: Callable[[], None]) -> None:
    with psycopg.connect(url) as other:
        other.execute(statement.encode())
        work()
        other.rollback()


def test_a_statement_that_takes_too_long_is_ended_and_changes_nothing(databases: Databases, tmp_path: Path) -> None:
    with on(_with(databases, tmp_path / "pg", "statement_timeout%3D200")) as memory:
        memory.remember("note")

        def read() -> None:
            with pytest.raises(StoreError, match="nothing was changed"):
                memory.recall("note")
            with pytest.raises(StoreError, match="nothing was changed"):
                memory.remember("other")

        _holding(databases.of(tmp_path / "pg"), "LOCK TABLE cmc.transactions IN ACCESS EXCLUSIVE MODE", read)
        assert memory.recall("note").items and memory.status()["transaction"] == 1


def test_a_workspace_that_another_server_writes_to_is_busy_and_another_workspace_is_not(
    databases: Databases, tmp_path: Path
) -> None:
    with on(_with(databases, tmp_path / "pg", "lock_timeout%3D100")) as memory:
        free = memory.as_principal("maya", "elsewhere")

        def write() -> None:
            with pytest.raises(Busy, match="another server writes"):
                memory.remember("note")
            free.remember("note")

        held = f"SELECT pg_advisory_xact_lock({writing.LOCK_CLASS}, {reach.ws(memory)})"
        _holding(databases.of(tmp_path / "pg"), held, write)
        assert memory.remember("note").transaction == 1


def test_a_pool_that_is_used_up_says_so(databases: Databases, tmp_path: Path) -> None:
    pool = Pool(Address.of(databases.of(tmp_path / "pg")), size=2)
    pool._wait_s = 0.05
    held = [pool.take(), pool.take()]
    with pytest.raises(Busy, match="all 2 connections"):
        pool.take()
    pool.give(held.pop())
    pool.give(pool.take())
    pool.give(held.pop())
    pool.close()
    with pytest.raises(StoreError, match="closed"):
        pool.take()


def test_a_breaker_fails_fast_and_lets_one_try_in_a_while() -> None:
    now = [0.0]
    pool = Pool(Address.of("postgresql://maya:hunter2@/x?host=/nowhere&connect_timeout=1"))
    pool.breaker = Breaker(pool.address, lambda: now[0])
    said = []
    for _ in range(5):
        with pytest.raises(StoreError) as caught:
            pool.take()
        said.append(caught.value.message)
    assert all("cannot be reached" in message for message in said[:3])
    assert all("not asked again for 5.0 s" in message for message in said[3:])
    now[0] += OPEN_S + 0.1
    with pytest.raises(StoreError, match="cannot be reached"):
        pool.take()
    with pytest.raises(StoreError, match="not asked again"):
        pool.take()
    pool.breaker.passed()
    with pytest.raises(StoreError, match="cannot be reached"):
        pool.take()
    assert not any("hunter2" in message for message in said)


# ---------------------------------------------------------------------- many servers
def test_servers_take_turns_and_their_caches_catch_up(databases: Databases, tmp_path: Path) -> None:
    from tests.support.embedders import HashVectors

    clock = SystemClock()
    servers = [on(databases.of(tmp_path / "pg"), embedder=HashVectors(), clock=clock) for _ in range(3)]

    def work(name: int, server: Memory) -> None:
        for number in range(8):
            server.remember(f"server {name} says {number}")
            server.recall(f"server {(name + 1) % 3} says {number}")

    together(work, enumerate(servers))
    gone = servers[0].recall("server 1 says 3", limit=1).items[0]
    erase(servers[1], [gone.id])
    answers = []
    for server in (*servers, fresh := on(databases.of(tmp_path / "pg"), embedder=HashVectors(), clock=clock)):
        answer = server.recall("server 2 says 3", as_of=25)
        answers.append(answer.model_copy(update={"trace": []}).model_dump_json())
        assert gone.id not in [item.id for item in server.recall("server 1 says 3").items]
    assert len(set(answers)) == 1
    assert fresh.status()["transaction"] == 25 and fresh.verify().holds
    for server in (*servers, fresh):
        server.close()
