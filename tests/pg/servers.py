"""Real servers, several on one database: how they are started, spoken to by official clients, and judged by the ledger.

As a soak: writers go round all servers while the database is killed and started again. What was acknowledged must be in
the ledger once, whichever server acknowledged it and however often it was sent.
"""

from __future__ import annotations

import itertools
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from cmc_mcp.memory import Memory
from tests.pg.server import Server as Database
from tests.pg.server import running as database
from tests.serving.wire import CMC, Server
from tests.soak import Job, Outcome, Soak
from tests.support import reach
from tests.support.memories import on

HOUR_US = 3_600_000_000
CLIENTS = 8
KILL_EVERY = 60  # acknowledged writes between two ends of the database
PATIENCE_S = 120.0
TOKENS = (
    {"principal": "alice", "workspace": "acme"},
    {"principal": "bob", "workspace": "globex"},
    {"principal": "carol", "workspace": "acme", "read_only": True},
    *({"principal": f"hasty{n}", "workspace": "acme", "per_minute": 5} for n in range(4)),
    *({"principal": f"writer{n}", "workspace": "load"} for n in range(CLIENTS)),
    *({"principal": f"tenant{n}", "workspace": f"tenant{n}"} for n in range(CLIENTS)),
)


def token(principal: str) -> str:
    """The token of a principal of the tests."""
    return f"{principal}-{'t' * 24}"


WITHOUT_MODEL = (
    "from cmc_mcp.server.principals import TokenSession\nTokenSession.__init__.__kwdefaults__['embedder'] = None"
)
"""What has a server find by words alone: what is asked of then is the server."""


def with_clock(ahead_us: int) -> str:
    """What has a server's process think that it is later than it is."""
    return (
        "import time; from cmc_mcp.clock import SystemClock\n"
        f"SystemClock.now_us = lambda self: time.time_ns() // 1000 + {ahead_us}"
    )


@contextmanager
def fleet(
    folder: Path, url: str, patches: Sequence[str] = ("", ""), objects: str | None = None, **environment: str
) -> Iterator[list[str]]:
    """Run `cmc serve --http` once for each patch, code that its process runs first; gives their addresses."""
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"token": token(str(one["principal"])), **one} for one in TOKENS]}))
    words = ["serve", "--http", "127.0.0.1:0", "--token-file", str(tokens)]
    more = {"CMC_STORE": url, **({"CMC_OBJECTS": objects} if objects else {}), **environment}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(_command(patch, words), folder, **more)) for patch in patches
        ]  # all start at once
        yield ["http://{}:{}/mcp".format(*server.address()) for server in servers]
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.process.wait(10)
            assert "Traceback" not in server.stderr(), server.stderr()


def _command(patch: str, words: Sequence[str]) -> tuple[str, ...]:
    if not patch:
        return (CMC, *words)
    return (
        sys.executable,
        "-c",
        f"{patch}\nfrom cmc_mcp.cli import main\nimport sys\nsys.argv[1:] = {[*words]!r}\nmain()",
    )


# ---------------------------------------------------------------------- clients
class _InTurn(httpx2.AsyncBaseTransport):
    """Sends each request to the next server, as a load balancer without sessions does."""

    def __init__(self, urls: Sequence[str], first: int) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=False)  # nothing here is encrypted
        self._next = itertools.cycle([httpx2.URL(url) for url in (*urls[first:], *urls[:first])])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        there = next(self._next)
        request.url = request.url.copy_with(host=there.host, port=there.port)
        request.headers["Host"] = f"{there.host}:{there.port}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def client(urls: Sequence[str], principal: str, mode: str = "auto", first: int = 0) -> AsyncIterator[Client]:
    """The official client, whose requests go to the servers in turn."""
    async with (
        httpx2.AsyncClient(
            transport=_InTurn(urls, first), headers={"Authorization": f"Bearer {token(principal)}"}, timeout=PATIENCE_S
        ) as web,
        Client(streamable_http_client(urls[0], http_client=web), mode=mode) as made,
    ):
        yield made


def call(url: str, principal: str, tool: str, arguments: Mapping[str, Any] | None = None) -> CallToolResult:
    """One call to one server."""

    async def main() -> CallToolResult:
        async with client([url], principal) as one:
            return await one.call_tool(tool, dict(arguments or {}))

    return anyio.run(main)


# ---------------------------------------------------------------------- a load that outlives the database
@dataclass
class Load:
    """What clients were told."""

    receipts: dict[str, int] = field(default_factory=dict)  # text → its transaction
    refused: int = 0
    unseen: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


async def load(urls: Sequence[str], database: Database, name: str, each: int, kill_at: Sequence[int]) -> Load:
    """Have every client write and read, through the servers in turn, while the database is killed at these counts."""
    told = Load()
    due = list(kill_at)

    async def kill() -> None:
        while due:
            while len(told.receipts) < due[0]:
                await anyio.sleep(0.005)
            due.pop(0)
            await anyio.to_thread.run_sync(database.kill)
            await anyio.to_thread.run_sync(database.start)

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(client(urls, f"writer{n}", first=n % len(urls))) for n in range(CLIENTS)
        ]
        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            for number, one in enumerate(clients):
                group.start_soon(_write, one, f"{name} writer{number}", each, told)
    return told


async def _write(one: Client, name: str, each: int, told: Load) -> None:
    for number in range(each):
        text = f"{name} notes line{number} about weir{secrets.token_hex(4)}"
        began = time.monotonic()
        receipt = await _told(one, "remember", {"content": text, "idempotency_key": text}, told)
        told.waits_s.append(time.monotonic() - began)
        told.receipts[text] = int(receipt["transaction"])
        if number % 4 == 0:  # through the next server
            found = await _told(one, "recall", {"query": text.split()[-1], "limit": 5}, told)
            if text not in [item["text"] for item in found["items"]]:
                told.unseen.append(text)


async def _told(one: Client, tool: str, arguments: dict[str, Any], told: Load) -> dict[str, Any]:
    """Call until it is answered: what is refused is sent again, to the next server."""
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = await one.call_tool(tool, arguments)
        if not answer.is_error:
            assert answer.structured_content is not None
            return dict(answer.structured_content)
        told.refused += 1
        said = answer.content[0].text  # type: ignore[union-attr]
        if not any(f"[{code}]" in said for code in ("store", "busy", "outcome_unknown")) or time.monotonic() > until:
            raise AssertionError(f"{tool}: {said}")
        await anyio.sleep(0.05)  # as a client does


def judge(receipts: Mapping[str, int], ledger: Sequence[tuple[int, str]]) -> list[str]:
    """Compare what was acknowledged with the memories of the ledger, each with its transaction."""
    times = Counter(text for _, text in ledger)
    there = dict(zip((text for _, text in ledger), (seq for seq, _ in ledger), strict=True))
    wrong = [f"lost: {text}" for text in receipts if text not in there]
    wrong += [f"{count} times: {text}" for text, count in times.items() if count > 1]
    wrong += [
        f"acknowledged as transaction {seq}, and is {there[text]}: {text}"
        for text, seq in receipts.items()
        if there.get(text, seq) != seq
    ]
    seqs = [seq for seq, _ in ledger]
    wrong += [f"transaction {seq} has {count} memories" for seq, count in Counter(seqs).items() if count > 1]
    return wrong


def ledger_of(memory: Memory) -> tuple[list[tuple[int, str]], list[int]]:
    """Every memory ever told with the transaction that told it; the times of the transactions, in order."""
    with reach.reader(memory) as view:
        told = [(row.seq, (view.payload(row.content) or b"").decode()) for row in view.all_atoms()]
        rows = sorted(view.transactions(), key=lambda row: row.seq)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return told, [row.recorded_us for row in rows]


def faults_of(url: str, workspace: str, receipts: Mapping[str, int]) -> list[str]:
    """Everything that is wrong with a workspace that many wrote to."""
    with on(url, workspace=workspace) as memory:
        told, times = ledger_of(memory)
        wrong = judge(receipts, told)
        if len(times) != len(told):
            wrong.append(f"{len(times)} transactions for {len(told)} memories")
        if times != sorted(times) or len(set(times)) != len(times):
            wrong.append("the time of the ledger goes back, or stands")
        return wrong + [f"verify: {fault.table} {fault.key}: {fault.reason}" for fault in memory.verify().faults]


# ---------------------------------------------------------------------- the long run
@dataclass
class Servers(Outcome):
    """What came of it; `done` counts acknowledged writes."""

    kills: int = 0
    refused: int = 0
    worst_s: float = 0.0
    seconds: float = 0.0


def run(job: Job) -> Servers:
    """Write `count` times through three servers with clocks an hour apart, a kill of the database in every 60 or so."""
    told = job.begun(Servers)
    patches = ("", with_clock(HOUR_US), with_clock(-HOUR_US))
    while told.done < job.count and len(told.failures) < 100:
        began = time.monotonic()
        rng = random.Random(f"{job.seed}/{told.done}")
        each = max(2, min(150, -(-(job.count - told.done) // CLIENTS)))
        kills = sorted(rng.sample(range(each * CLIENTS), max(1, each * CLIENTS // KILL_EVERY)))
        with tempfile.TemporaryDirectory(dir=job.folder) as name, database(durable=True) as server:
            on(server.url(), workspace="load").close()
            with fleet(Path(name), server.url(), patches) as urls:
                found = anyio.run(load, urls, server, f"round{told.done}", each, kills)
            wrong = faults_of(server.url(), "load", found.receipts) + [f"unseen: {text}" for text in found.unseen]
        told.failures += [f"round at {told.done}: {line}" for line in wrong]
        told.done += len(found.receipts)
        told.kills += len(kills)
        told.refused += found.refused
        told.worst_s = round(max(told.worst_s, *found.waits_s), 2)
        told.seconds = round(told.seconds + time.monotonic() - began, 1)
        job.keep(told)
    return told


SOAK = Soak(
    "several servers on one database, which is killed under load: no acknowledged write lost, none doubled",
    "writes",
    10_000,
    run,
)
