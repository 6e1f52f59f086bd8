"""Several servers on one database: any request to any server, whatever their clocks say and whatever becomes of the database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import psycopg
import pytest
from mcp import MCPError
from mcp_types import CallToolResult

from cmc_mcp.cli.app import run
from cmc_mcp.clock import SystemClock
from cmc_mcp.environment import Configuration
from cmc_mcp.errors import RateLimited, StoreError
from cmc_mcp.server.principals import Principal, StaticTokens, TokenSession
from cmc_mcp.server.session import Caller
from cmc_mcp.store.postgres import rates
from cmc_mcp.store.postgres.store import PostgresStore
from tests.objects.server import CREDENTIALS, endpoint
from tests.objects.server import Server as Objects
from tests.pg.backend import Databases
from tests.pg.server import Server as Database
from tests.pg.server import running as database
from tests.pg.servers import CLIENTS, HOUR_US, call, client, faults_of, fleet, judge, ledger_of, load, token, with_clock
from tests.server.rig import MODES
from tests.support.memories import on

pytestmark = pytest.mark.slow
_LONG = "The minutes of the harbour board, at length. " * 2_000  # past what is kept in a row


@dataclass
class Place:
    """Two servers, one an hour ahead and one an hour behind, their database and their bucket."""

    urls: list[str]
    database: Database
    bucket: str

    @property
    def ahead(self) -> str:
        return self.urls[0]

    @property
    def behind(self) -> str:
        return self.urls[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("servers")
    bucket = Objects().bucket(folder)
    away = {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with database(durable=True) as server:
        objects = f"s3://{bucket}/memory?endpoint={endpoint()}"
        patches = (with_clock(HOUR_US), with_clock(-HOUR_US))
        on(server.url(), workspace="load").close()
        with fleet(folder, server.url(), patches, objects, **CREDENTIALS, **away) as urls:
            yield Place(urls, server, bucket)


def _data(answer: CallToolResult) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    assert isinstance(answer.structured_content, dict)
    return answer.structured_content


def _said(answer: CallToolResult) -> str:
    assert answer.is_error, answer.structured_content
    return str(answer.content[0].text)  # type: ignore[union-attr]


def _texts(url: str, query: str, principal: str = "alice") -> list[str]:
    return [item["text"] for item in _data(call(url, principal, "recall", {"query": query}))["items"]]


@pytest.mark.parametrize("mode", MODES)
def test_every_request_of_a_client_may_go_to_another_server(place: Place, mode: str) -> None:
    async def main() -> list[str]:
        found: list[str] = []
        async with client(place.urls, "alice", mode) as one:
            for number in range(4):
                _data(await one.call_tool("remember", {"content": f"Lock {number} is open, says {mode}"}))
                items = _data(await one.call_tool("recall", {"query": f"lock {number} open {mode}", "limit": 9}))[
                    "items"
                ]
                found += [item["text"] for item in items if f"Lock {number}" in item["text"] and mode in item["text"]]
        return found

    assert anyio.run(main) == [f"Lock {number} is open, says {mode}" for number in range(4)]


def test_what_one_server_wrote_the_other_recalls_revises_and_takes_back(place: Place) -> None:
    ahead, behind = place.urls
    first = _data(call(ahead, "alice", "remember", {"content": "The ferry leaves at noon"}))["added"][0]
    assert "The ferry leaves at noon" in _texts(behind, "when does the ferry leave")
    state = _data(call(ahead, "alice", "snapshot", {"label": "before the change"}))
    changed = _data(call(behind, "alice", "revise", {"id": first, "content": "The ferry leaves at one"}))
    assert changed["transaction"] > state["transaction"]
    assert _texts(ahead, "when does the ferry leave")[0] == "The ferry leaves at one"
    _data(call(behind, "alice", "rollback", {"to": "before the change"}))
    for url in place.urls:
        assert _texts(url, "when does the ferry leave")[0] == "The ferry leaves at noon"
        assert _data(call(url, "alice", "verify"))["holds"]


def test_what_is_erased_on_one_server_is_in_no_warm_cache_of_the_other(place: Place) -> None:
    ahead, behind = place.urls
    short = _data(call(behind, "alice", "remember", {"content": "The heron nests at weir nine", "source": "heron"}))
    long = _data(call(behind, "alice", "remember", {"content": _LONG, "source": "minutes", "modality": "event"}))
    assert len(Objects().raw(place.bucket)) == 1

    async def readable() -> list[str]:
        """What the other server still gives, in every way in which it may be asked for."""
        found: list[str] = []
        async with client([behind], "alice") as one:
            for query in ("heron weir nine", "minutes of the harbour board"):
                items = _data(await one.call_tool("recall", {"query": query, "budget_tokens": 50_000}))["items"]
                found += [item["text"] for item in items if "heron" in item["text"] or "harbour" in item["text"]]
            history = _data(await one.call_tool("history", {"id": short["added"][0]}))
            found += ["history"] if "heron" in json.dumps(history) else []
            for origin in ("heron", "minutes"):
                try:
                    found += [str(c) for c in (await one.read_resource(f"cmc://sources/{origin}")).contents]
                except MCPError:
                    continue
        return found

    assert len(anyio.run(readable)) >= 4, "there before, and the caches warm"
    ids = [*short["added"], *long["added"]]
    plan = _data(call(ahead, "alice", "forget", {"ids": ids, "erase": True, "dry_run": True}))
    _data(call(ahead, "alice", "forget", {"ids": ids, "erase": True, "digest": plan["digest"]}))
    assert anyio.run(readable) == []
    assert Objects().raw(place.bucket) == {}


def test_tokens_and_workspaces_are_the_same_on_every_server(place: Place) -> None:
    id = _data(call(place.ahead, "alice", "remember", {"content": "Acme sells kettles"}))["added"][0]
    for url in place.urls:
        assert "Acme sells kettles" in _texts(url, "kettles", "carol")
        assert _texts(url, "kettles", "bob") == []
        assert "[not_found]" in _said(call(url, "bob", "history", {"id": id}))
        assert "[access_denied]" in _said(call(url, "carol", "remember", {"content": "x"}))
        answer = httpx.post(url, json={}, headers={"Authorization": f"Bearer {token('mallory')}"})
        assert answer.status_code == 401


# ---------------------------------------------------------------------- limits
def _minute(url: str) -> int:
    with psycopg.connect(url) as raw:
        row = raw.execute("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint / 60").fetchone()
        assert row is not None
        return int(row[0])


def test_a_limit_of_calls_a_minute_holds_in_sum_over_the_servers(place: Place) -> None:
    async def calls(principal: str) -> list[str]:
        async with client([place.ahead], principal) as one, client([place.behind], principal) as two:
            return [
                "" if not (answer := await each.call_tool("recall", {"query": "x"})).is_error else _said(answer)
                for _ in range(5)
                for each in (one, two)
            ]

    for number in range(4):  # again, where a minute ended in between
        before = _minute(place.database.url())
        said = anyio.run(calls, f"hasty{number}")
        if _minute(place.database.url()) == before:
            break
    assert said[:5] == [""] * 5
    assert all("[rate_limited]" in words and "hasty" in words and "try again in" in words for words in said[5:])
    assert _texts(place.ahead, "kettles", "carol") is not None, "another's calls are not counted with them"


def _admitted(databases: Databases, folder: Path, times: int) -> int:
    """How many calls two servers let through for one principal with a limit of 5, within one minute."""
    url = databases.of(folder)
    caller = Caller("alice", "default", per_minute=5)
    tokens = StaticTokens([Principal("a" * 20, caller)])
    while True:
        sessions = [TokenSession(Configuration(url), tokens, embedder=None) for _ in range(2)]
        before, passed = _minute(url), 0
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute(f"DROP TABLE IF EXISTS cmc.{rates.TABLE}".encode())
        for session in sessions * times:
            try:
                session.memory(caller)
                passed += 1
            except RateLimited:
                continue
        for session in sessions:
            session.close()
        if _minute(url) == before:
            return passed


def test_a_limit_that_each_server_counted_for_itself_would_let_through_twice_as_much(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _admitted(databases, tmp_path / "pg", 12) == 5
    with on(databases.of(tmp_path / "pg")) as memory:
        assert memory.verify().holds, "the counts are no part of what is verified"

    def alone(self: PostgresStore, ws: int, principal: str) -> tuple[int, int]:
        return self._call_counter.count(ws, principal, self._clock.now_us())

    monkeypatch.setattr(PostgresStore, "count_call", alone)  # the weakened one
    assert _admitted(databases, tmp_path / "pg", 12) >= 10


def test_counting_goes_on_when_the_counts_are_gone_or_the_connections_are(databases: Databases, tmp_path: Path) -> None:
    url = databases.of(tmp_path / "pg")
    with on(url) as memory:
        assert memory.count_call()[0] == 1
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute(f"TRUNCATE cmc.{rates.TABLE}".encode())
            raw.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        calls, left_s = memory.count_call()
        assert calls == 1 and 1 <= left_s <= 60


def test_on_a_standby_all_that_only_reads_works_and_every_write_says_where_to_go(place: Place) -> None:
    with on(place.database.url(), workspace="read", clock=SystemClock()) as primary:
        primary.remember("The ferry leaves at noon", source="ferry")
        primary.count_call()
        follower = place.database.standby()
        try:
            follower.start()
            seen = primary.remember("The heron nests at weir nine").transaction
            with on(follower.url(), workspace="read", clock=SystemClock()) as memory:
                while memory.status()["transaction"] != seen:  # it follows a little behind
                    threading.Event().wait(0.01)
                assert [item.text for item in memory.recall("heron").items] == ["The heron nests at weir nine"]
                assert memory.read_source("ferry") == b"The ferry leaves at noon"
                assert memory.verify().holds and memory.recall("ferry", as_of=1).items
                assert memory.count_call()[0] == 1, "for itself: it can write nothing"
                for write in (lambda: memory.remember("x"), lambda: memory.snapshot("x"), lambda: memory.rollback(1)):
                    with pytest.raises(StoreError, match=r"takes no writes .* connect to the primary"):
                        write()
            with pytest.raises(StoreError, match="takes no writes"):
                on(follower.url(), workspace="elsewhere")
        finally:
            follower.stop()


# ---------------------------------------------------------------------- clocks
def test_servers_whose_clocks_are_two_hours_apart_keep_one_time_that_only_rises(place: Place) -> None:
    for number in range(4):
        url = place.urls[number % 2]
        _data(call(url, "bob", "remember", {"content": f"Tide {number} was measured"}))
        assert f"Tide {number} was measured" in _texts(place.urls[1 - number % 2], f"tide {number} measured", "bob")
    with on(place.database.url(), workspace="globex", clock=SystemClock()) as memory:
        told, times = ledger_of(memory)
        assert len(told) == 4
        assert times == sorted(set(times))
        assert memory.verify().holds


@pytest.mark.parametrize("ahead_us", [HOUR_US, -HOUR_US])
def test_doctor_names_a_clock_that_is_off(
    place: Place, ahead_us: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", place.database.url(), "--workspace", "load", "--no-model", "doctor", "--quick"]
    assert run(words) == 0
    assert "this machine's clock is" not in capsys.readouterr().out
    true_time = SystemClock.now_us
    monkeypatch.setattr(SystemClock, "now_us", lambda self: true_time(self) + ahead_us)
    run(words)
    said = " ".join(capsys.readouterr().out.split())
    assert f"this machine's clock is {'+' if ahead_us > 0 else '-'}3,6" in said.replace("3,599", "3,6")
    assert "NTP" in said


# ---------------------------------------------------------------------- the database is killed
def test_a_database_killed_under_the_load_of_two_servers_loses_and_doubles_nothing(place: Place) -> None:
    each, kills = 6, [16]
    told = anyio.run(load, place.urls, place.database, "failover", each, kills)
    assert len(told.receipts) == each * CLIENTS
    assert told.unseen == []
    assert faults_of(place.database.url(), "load", told.receipts) == []


def test_the_judge_finds_what_is_lost_doubled_or_told_wrongly() -> None:
    receipts = {"a": 1, "b": 2, "c": 3}
    assert judge(receipts, [(1, "a"), (2, "b"), (3, "c"), (4, "sent, and never acknowledged")]) == []
    assert judge(receipts, [(1, "a"), (3, "c")]) == ["lost: b"]
    assert judge(receipts, [(1, "a"), (2, "b"), (3, "c"), (4, "b")])[0] == "2 times: b"
    assert judge(receipts, [(1, "a"), (2, "c"), (3, "b")])[0].startswith("acknowledged as transaction 2, and is 3")
    assert judge(receipts, [(1, "a"), (2, "b"), (2, "c")])[-1] == "transaction 2 has 2 memories"
