"""A crowd: many connections at once to one server process, each with a real call."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.serving.http_rig import call, result
from tests.serving.wire import CMC, Server
from tests.soak import Job, Outcome, Soak
from tests.support.memories import live

WRITERS = 10  # one connection in so many remembers something
KNOWN = 50


@dataclass
class Crowd(Outcome):
    """What came of it."""

    slowest_s: float = 0.0
    seconds: float = 0.0


WITH_MODEL = (CMC, "serve", "--http", "127.0.0.1:0")
WITHOUT_MODEL = (
    sys.executable, "-c",
    "from cmc_mcp.environment import configuration\nfrom cmc_mcp.server import session, transports\n"
    "session.LocalSession.__init__.__kwdefaults__['embedder'] = None\ntransports.serve_http(configuration(), port=0)",
)  # fmt: skip
"""A thousand questions are a thousand runs of the model; here what is asked of is the server."""


def crowd(folder: Path, connections: int, seed: int, command: Sequence[str] = WITH_MODEL) -> Crowd:
    """Open them all, let every one call when all are there, and compare each answer with what it must be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted, hard)
        )
    told = Crowd(seed)
    store = folder / "memory.db"
    with live(store) as memory:
        memory.remember_many([{"content": f"Heron number{n:04} stands at weir {n}"} for n in range(KNOWN)])
    began = time.monotonic()
    with Server(command, folder) as server:
        times = asyncio.run(_all(server.address(), connections, told))
        if server.process.poll() is not None:
            told.failures.append(f"the server ended: {server.stderr()}")
    told.seconds, told.slowest_s = round(time.monotonic() - began, 2), round(max(times, default=0.0), 2)
    with live(store) as memory:
        wrong = [n for n in range(0, connections, WRITERS) if memory.read_source(f"crowd-{n}") != f"Crowd {n}".encode()]
        told.failures += [f"write {n} is not there" for n in wrong]
        if not memory.verify().holds:
            told.failures.append("the store does not verify")
    return told


async def _all(place: tuple[str, int], connections: int, told: Crowd) -> list[float]:
    there, go = asyncio.Semaphore(0), asyncio.Event()

    async def one(number: int) -> float:
        reader, writer = await asyncio.open_connection(*place)
        there.release()
        await go.wait()
        began = time.monotonic()
        try:
            if number % WRITERS == 0:
                writer.write(call("remember", {"content": f"Crowd {number}", "source": f"crowd-{number}"}, number))
            else:
                writer.write(call("recall", {"query": f"number{number % KNOWN:04}", "limit": 3}, number))
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                body = b""
                while size := int(await reader.readline(), 16):
                    body += await reader.readexactly(size)
                    await reader.readline()
            else:
                body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"{head!r:.60} {body!r:.200}")
            found = result(body)
            wanted = f"number{number % KNOWN:04}"
            if number % WRITERS == 0:
                assert found["added"], found
            else:
                assert any(wanted in item["text"] for item in found["items"]), found
            told.done += 1
        except (AssertionError, OSError, EOFError) as error:
            told.failures.append(f"connection {number}: {type(error).__name__} {error}"[:300])
        finally:
            writer.close()
        return time.monotonic() - began

    tasks = [asyncio.create_task(one(n)) for n in range(connections)]
    for _ in range(connections):
        await there.acquire()
    go.set()
    return list(await asyncio.gather(*tasks))


def run(job: Job) -> Crowd:
    """One crowd of `count` connections."""
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:
        told = crowd(Path(folder), job.count, job.seed)
    job.keep(told)
    return told


SOAK = Soak(
    "connect all at once over HTTP, each with a real call: every one answered, none starved", "connections", 1000, run
)
