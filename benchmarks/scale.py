"""PostgreSQL and several servers on it: against SQLite, against bare psycopg with the same rows, and what grows with what.

Both stores sync what they acknowledge. The server is the one of the tests (`tests/pg/server.py`), on this machine, so a
round trip costs little here: they are counted, and each costs what the network between costs.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from benchmarks.common import Figures, GivenVectors, folder, p50, p95, texts, timed
from benchmarks.read_latency import questions
from cmc_mcp.memory import Memory
from cmc_mcp.store.postgres.connection import Address, Connection, connect
from cmc_mcp.store.postgres.dialect import translated as spoken
from tests.pg.backend import with_database
from tests.pg.server import Server as Database
from tests.pg.server import running as database
from tests.pg.servers import CLIENTS, WITHOUT_MODEL, fleet, token
from tests.serving.http_rig import call, result

TAGS = {"topic": "bench"}
ATOMS, WRITES, READS = 2_000, 200, 60
WORKSPACES, AT_ONCE = 1_000, 1_000
GROWTH_S_MAX = 300.0
TARGET_ATOMS, TARGET_WORKSPACES = 10_000_000, 1_000
_Statement = tuple[str, Any]


def scale(sizes: tuple[int, ...]) -> Figures:
    """Measure everything in one run, with the load of the machine beside it: the ratios are what counts."""
    before = os.getloadavg()[0]
    with database(durable=True) as server, folder() as place:
        return {
            "load average before": before,
            **one_call(server, place),
            **many_servers(server, place),
            **many_workspaces(server, place),
            **growth(server, (1_000, *sizes)),
            "load average after": os.getloadavg()[0],
        }


def _made(server: Database, name: str) -> str:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
    return with_database(server.url(), name)


def _settled(url: str) -> None:
    """Run what autovacuum does within a minute; the test server leaves it out, and without statistics plans are poor."""
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("VACUUM ANALYZE")


# ---------------------------------------------------------------------- one call
class _Trips:
    """Watches what the store says to the server: round trips, and statements that can be said again."""

    def __init__(self) -> None:
        self.count = 0
        self.read: list[_Statement] = []
        self.written: list[_Statement] = []

    def clear(self) -> None:
        """Begin anew."""
        self.count, self.read, self.written = 0, [], []


@contextmanager
def _watched() -> Iterator[_Trips]:
    told = _Trips()
    names = ("execute", "executemany", "send", "run", "rollback")
    kept: dict[str, Callable[..., Any]] = {name: getattr(Connection, name) for name in names}

    def execute(self: Connection, statement: str, bindings: Any = None) -> Any:
        told.count += 1
        told.read.append((statement, bindings))
        return kept["execute"](self, statement, bindings)

    def send(self: Connection, written: Any, last: str = "") -> None:
        told.count += 1
        written = list(written)
        told.written += [(statement, row) for statement, rows in written for row in rows]
        kept["send"](self, written, last)

    def run(self: Connection, words: str) -> None:
        told.count += 1
        kept["run"](self, words)

    def rollback(self: Connection) -> None:
        told.count += not self.sound
        kept["rollback"](self)

    for name, watched in (("execute", execute), ("send", send), ("run", run), ("rollback", rollback)):
        setattr(Connection, name, watched)
    try:
        yield told
    finally:
        for name, original in kept.items():
            setattr(Connection, name, original)


class _Bare:
    """psycopg alone: statements sent together, in one transaction."""

    def __init__(self, url: str) -> None:
        self.raw = connect(Address.of(url)).raw

    def say(self, statements: Sequence[_Statement]) -> None:
        with self.raw.pipeline(), self.raw.cursor() as cursor:
            cursor.execute("BEGIN")
            cursors = []
            for statement, bindings in statements:
                cursors.append(self.raw.cursor())
                cursors[-1].execute(spoken(statement).encode(), bindings or None, binary=True)
            cursor.execute("COMMIT")
            for one in cursors:
                if one.description:
                    one.fetchall()


def one_call(server: Database, place: Path) -> Figures:
    """Write and recall: SQLite, PostgreSQL, and psycopg with the same rows in one transaction, one after the other."""
    words, given = texts(ATOMS + WRITES, words=24), GivenVectors()
    url, copy = _made(server, "ours"), _made(server, "bare")
    asked = questions(READS)
    took: dict[str, list[float]] = {name: [] for name in ("file", "ours", "bare", "rfile", "rours", "rbare")}
    trips: dict[str, list[int]] = {"write": [], "recall": []}
    with ExitStack() as stack:
        on_file = stack.enter_context(Memory.open(place / "memory.db", embedder=given))
        ours = stack.enter_context(Memory.open(url, embedder=given))
        told = stack.enter_context(_watched())
        Memory.open(copy, embedder=None).close()
        bare = _Bare(copy)
        for memory in (on_file, ours):
            for start in range(0, ATOMS, 500):
                told.clear()
                memory.remember_many([{"content": text, "tags": TAGS} for text in words[start : start + 500]])
                bare.say(told.written)
        _settled(url)
        _settled(copy)
        for text in words[ATOMS:]:
            took["file"].append(timed(lambda: on_file.remember(text, tags=TAGS)))
            told.clear()
            took["ours"].append(timed(lambda: ours.remember(text, tags=TAGS)))
            trips["write"].append(told.count)
            took["bare"].append(timed(lambda: bare.say(told.written)))
        for text, vector in asked * 2:  # the second time what is searched is loaded
            took["rfile"].append(timed(lambda: on_file.recall_by_vector(text, vector)))
            told.clear()
            took["rours"].append(timed(lambda: ours.recall_by_vector(text, vector)))
            trips["recall"].append(told.count)
            took["rbare"].append(timed(lambda: bare.say(told.read)))
    took = {name: values[READS:] if name.startswith("r") else values for name, values in took.items()}
    figures: Figures = {}
    for verb, names in (("write", ("file", "ours", "bare")), ("recall", ("rfile", "rours", "rbare"))):
        said = dict(zip(("SQLite", "PostgreSQL", "bare psycopg, the same statements"), names, strict=True))
        for who, name in said.items():
            figures |= {f"{verb}, {who}, p50 ms": p50(took[name]), f"{verb}, {who}, p95 ms": p95(took[name])}
        file, own, bare_ms = (p50(took[name]) for name in names)
        figures[f"{verb}, PostgreSQL / SQLite"] = own / file
        figures[f"{verb}, PostgreSQL / bare psycopg"] = own / bare_ms
        figures[f"{verb}, round trips (median)"] = p50(trips[verb])
    return figures


# ---------------------------------------------------------------------- many servers
class _Wire(NamedTuple):
    """A connection kept open, as a client's is."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    bearer: str

    @classmethod
    async def to(cls, url: str, principal: str) -> _Wire:
        host, port = url.split("/")[2].split(":")
        return cls(*await asyncio.open_connection(host, int(port)), f"Bearer {token(principal)}")

    async def ask(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make one call, and return what it says.

        Raises:
            AssertionError: the answer is an error.
        """
        self.writer.write(call(tool, arguments, Authorization=self.bearer))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head:
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        assert head.startswith(b"HTTP/1.1 200"), f"{head!r:.80} {body!r:.300}"
        return result(body)


async def _clients(urls: Sequence[str], kind: str, calls: int, name: str) -> tuple[float, list[float], list[float]]:
    """Let the clients write and recall in turn; return requests a second, and the times of both in ms."""
    for number in range(CLIENTS):  # what the first call loads is not what is measured
        first = await _Wire.to(urls[number % len(urls)], f"{kind}{number}")
        await first.ask("remember", {"content": f"{name} client{number} begins"})
        first.writer.close()
    wires = [await _Wire.to(urls[n % len(urls)], f"{kind}{n}") for n in range(CLIENTS)]
    writes: list[float] = []
    reads: list[float] = []

    async def one(number: int, wire: _Wire) -> None:
        for count in range(calls):
            text = f"{name} client{number} says line{count} of its notes about weir{count * 7}"
            for times, tool, given in (
                (writes, "remember", {"content": text}),
                (reads, "recall", {"query": f"line{count} weir{count * 7}", "limit": 5}),
            ):
                began = time.perf_counter()
                await wire.ask(tool, given)
                times.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(one(number, wire) for number, wire in enumerate(wires)))
    took_s = time.perf_counter() - began
    for wire in wires:
        wire.writer.close()
    return len(writes + reads) / took_s, writes, reads


async def _burst(urls: Sequence[str], count: int) -> tuple[int, float]:
    """Open the connections, then let each make one call; return the failures and the slowest time in seconds."""
    wires = [await _Wire.to(urls[n % len(urls)], f"tenant{n % CLIENTS}") for n in range(count)]
    failed = 0
    began, slowest_s = time.perf_counter(), 0.0

    async def one(number: int, wire: _Wire) -> None:
        nonlocal failed, slowest_s
        try:
            if number % 10:
                await wire.ask("recall", {"query": f"line{number % 20}", "limit": 3})
            else:
                await wire.ask("remember", {"content": f"one of a crowd, number{number}"})
        except (AssertionError, OSError, EOFError) as error:
            print(f"    {error}")
            failed += 1
        slowest_s = max(slowest_s, time.perf_counter() - began)
        wire.writer.close()

    await asyncio.gather(*(one(number, wire) for number, wire in enumerate(wires)))
    return failed, slowest_s


def many_servers(server: Database, place: Path, calls: int = 25) -> Figures:
    """One, two and four servers for eight clients; a thousand requests at once over two. The servers embed nothing."""
    figures: Figures = {}
    url, words = _made(server, "many"), texts(200, words=24)
    with Memory.open(url, embedder=None, workspace="load") as memory:
        for name in ("load", *(f"tenant{n}" for n in range(CLIENTS))):
            memory.as_principal("maya", name).remember_many([{"content": text, "tags": TAGS} for text in words])
    _settled(url)
    for count in (1, 2, 4):
        with fleet(place, url, [WITHOUT_MODEL] * count) as urls:
            for kind, said in (("tenant", "workspace of its own"), ("writer", "one workspace")):
                rate, writes, reads = asyncio.run(_clients(urls, kind, calls, f"{count}{kind}"))
                front = f"{count} server{'s' * (count > 1)} × {CLIENTS} clients, {said}"
                figures |= {
                    f"{front}: requests/s": rate,
                    f"{front}: write p50 ms": p50(writes),
                    f"{front}: write p95 ms": p95(writes),
                    f"{front}: recall p50 ms": p50(reads),
                    f"{front}: recall p95 ms": p95(reads),
                }
            if count == 2:
                failed, slowest_s = asyncio.run(_burst(urls, AT_ONCE))
                figures[f"{AT_ONCE:,} requests at once over 2 servers, failed (≤ 0)"] = failed
                figures[f"{AT_ONCE:,} requests at once over 2 servers, slowest s"] = slowest_s
    for other in ("2 servers", "4 servers"):
        for said in ("workspace of its own", "one workspace"):
            ratio = (
                figures[f"{other} × {CLIENTS} clients, {said}: requests/s"]
                / figures[f"1 server × {CLIENTS} clients, {said}: requests/s"]
            )
            figures[f"{other} / 1 server, requests/s, {said}"] = ratio
    return figures


# ---------------------------------------------------------------------- many workspaces
def many_workspaces(server: Database, place: Path) -> Figures:
    """A thousand workspaces of ten memories, and a recall in one of them against the same in a store with only it."""
    given, words = GivenVectors(), texts(200, words=24)
    first = [{"content": text, "tags": TAGS} for text in words]
    asked, urls = questions(READS), [_made(server, name) for name in ("alone", "among")]
    alone_ms: list[float] = []
    among_ms: list[float] = []
    with (
        Memory.open(urls[0], embedder=given, workspace="first") as alone,
        Memory.open(urls[1], embedder=given, workspace="first") as among,
    ):
        for memory in (alone, among):
            memory.remember_many(first)
        places = [itertools.islice(range(WORKSPACES - 1), n, None, 4) for n in range(4)]

        def make(numbers: Iterator[int]) -> None:
            for number in numbers:
                among.as_principal("maya", f"w{number}").remember_many(first[number % 190 : number % 190 + 10])

        threads = [threading.Thread(target=make, args=(numbers,)) for numbers in places]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made_s = time.perf_counter() - began
        assert len(among.workspaces()) == WORKSPACES
        for url in urls:
            _settled(url)
        for text, vector in asked * 2:
            alone_ms.append(timed(lambda: alone.recall_by_vector(text, vector)))
            among_ms.append(timed(lambda: among.recall_by_vector(text, vector)))
    ours, theirs = p50(among_ms[READS:]), p50(alone_ms[READS:])
    return {
        f"{WORKSPACES:,} workspaces with 10 memories each, made in s": made_s,
        "recall in one of them p50 ms": ours,
        "recall in one of them / in a store with it alone (≤ 1.3)": ours / theirs,
    }


# ---------------------------------------------------------------------- growth
def _tables(url: str) -> dict[str, tuple[int, int]]:
    """Rows and bytes, indexes and what is kept aside included, of every table."""
    _settled(url)
    with psycopg.connect(url, autocommit=True) as raw:
        names = raw.execute(
            "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'cmc'::regnamespace ORDER BY 1"
        ).fetchall()
        return {
            name: (int(raw.execute(f"SELECT count(*) FROM cmc.{name}".encode()).fetchone()[0]), size)  # type: ignore[index]
            for name, size in names
        }


def growth(server: Database, sizes: Sequence[int]) -> Figures:
    """Rows and bytes an atom, by table, as a workspace grows; from the largest size, what is asked for is computed."""
    figures: Figures = {}
    given = GivenVectors(pool=65_536)
    url = _made(server, "growth")
    before = _tables_of_empty(url, given)
    written, took_s, per = 0, 0.0, 0.0
    with Memory.open(url, embedder=given) as memory:
        for size in sizes:
            if written and took_s / written * (size - written) > GROWTH_S_MAX:
                print(f"    {size:,} atoms would take {took_s / written * size:,.0f} s: left out")
                break
            began = time.perf_counter()
            for start in range(written, size, 1_000):
                batch = texts(min(1_000, size - start), seed=1 + start)
                memory.remember_many(
                    [{"content": text, "tags": {"shard": f"s{n % 5}"}} for n, text in enumerate(batch)]
                )
            took_s += time.perf_counter() - began
            written = size
            tables = _tables(url)
            per = sum(bytes_ - before[name][1] for name, (_, bytes_) in tables.items()) / size
            figures[f"{size:,} atoms: bytes an atom"] = per
            figures[f"{size:,} atoms: rows an atom"] = (
                sum(n - before[name][0] for name, (n, _) in tables.items()) / size
            )
    for name, (rows, bytes_) in sorted(tables.items(), key=lambda item: -item[1][1])[:12]:
        figures[f"of these at {written:,}, {name}: bytes an atom"] = (bytes_ - before[name][1]) / written
        figures[f"of these at {written:,}, {name}: rows an atom"] = (rows - before[name][0]) / written
    figures["bulk, PostgreSQL, atoms/s"] = written / took_s
    figures[f"computed: {TARGET_ATOMS:,} atoms in a workspace, GB"] = per * TARGET_ATOMS / 1e9
    figures[f"computed: {TARGET_WORKSPACES:,} such workspaces, TB"] = per * TARGET_ATOMS * TARGET_WORKSPACES / 1e12
    return figures


def _tables_of_empty(url: str, given: GivenVectors) -> dict[str, tuple[int, int]]:
    Memory.open(url, embedder=given).close()
    return _tables(url)
