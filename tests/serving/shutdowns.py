"""Endings: every way in which a server is ended, in every state that it can be in, and what must be left.

An ending that takes longer than two seconds, leaves a process or the lock, loses what was acknowledged, keeps half of
what was not, or tells of a traceback, is a failure.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cmc_mcp.errors import NotFound
from tests.serving.wire import (
    CMC,
    CMC_MCP,
    ENDING_S,
    MODULE,
    PATIENCE_S,
    Server,
    event,
    http_request,
    lock_held,
    members,
    read_answer,
    tool,
    until,
    waits_for_a_lock,
)
from tests.soak import Job, Outcome, Soak
from tests.support.load import Stopwatch
from tests.support.locks import is_free
from tests.support.memories import live

BAR_S = 2.0
KNOWN = "The acknowledged one: the ferry leaves at noon"
LONG = "\n\n".join(
    f"Paragraph {n} of a long report about herons, weirs and tides, told at length." for n in range(9000)
)
STATES = ("starting", "idle", "loading", "embedding", "waiting", "recalling", "writing")
STDIO_ENDS = ("SIGTERM", "SIGINT", "twice", "stdin", "stdout", "client")
HTTP_ENDS = ("SIGTERM", "SIGINT", "twice")
COMMANDS = {"cmc-mcp": (CMC_MCP,), "cmc serve": (CMC, "serve"), "module": MODULE}
ENDED_AT_START = {
    "SIGTERM": {0, -signal.SIGTERM},
    "SIGINT": {0, 130, -signal.SIGINT},
    "twice": {0, 130, -signal.SIGINT},
}
"""The codes of a server that had not begun to serve; one that serves ends with 0."""


@dataclass(frozen=True)
class Case:
    """One ending of one server in one state."""

    command: str
    state: str
    end: str
    http: bool = False

    def __str__(self) -> str:
        return f"{self.command}{' --http' if self.http else ''}, {self.state}, {self.end}"


def cases() -> list[Case]:
    """All of them."""
    stdio = [Case(*c) for c in itertools.product(COMMANDS, STATES, STDIO_ENDS) if c[1:] != ("starting", "client")]
    http = [Case("cmc serve", *c, http=True) for c in itertools.product(STATES, HTTP_ENDS)]
    return stdio + http


@dataclass
class Ended:
    """How it ended."""

    seconds: float
    wrong: list[str]


def run_case(case: Case, folder: Path, rng: random.Random) -> Ended:
    """Start a server, bring it into the state, end it, and judge."""
    store = folder / "memory.db"
    with live(store) as memory:
        memory.remember(KNOWN, source="known")
    wrong: list[str] = []
    with ExitStack() as stack:
        talk = _Http(case, folder) if case.http else _Pipes(case, folder)
        stack.enter_context(talk)
        acknowledged = _bring(case, talk, store, rng, stack)
        watch = Stopwatch(talk.server.pid)
        _END[case.end](talk)
        gone = talk.server.ended(ENDING_S, watch)
        seconds = ENDING_S if gone is None else gone
        if gone is None or (seconds > BAR_S and not _hears_late(case)):
            wrong.append(f"took {seconds:.1f} s")
        if left := members(talk.server.pid):
            wrong.append(f"left processes {left}")
    # judged once the lock of the test itself is given back
    code, said = talk.server.process.returncode, talk.server.stderr()
    if code not in _codes(case):
        wrong.append(f"exit code {code}")
    if "Traceback" in said or "Error" in said:
        wrong.append(f"said {said[-2000:]!r}")
    wrong += judge(store, acknowledged)
    return Ended(seconds, wrong)


def _hears_late(case: Case) -> bool:
    """Return whether it learns of its end only when it has started: nobody watches pipes before."""
    return case.state == "starting" and case.end in ("stdin", "stdout", "client")


def _codes(case: Case) -> set[int]:
    return ENDED_AT_START[case.end] if case.state == "starting" and case.end in ENDED_AT_START else {0}


def judge(store: Path, acknowledged: bool) -> list[str]:
    """What is wrong with the store that an ended server left."""
    wrong = []
    if not is_free(f"{store}.lock", create=True):
        wrong.append("the lock is held")
    with live(store) as memory:
        if memory.read_source("known") != KNOWN.encode():
            wrong.append("what was acknowledged before is gone")
        for origin, text in (("second", "Second, acknowledged"), ("long", LONG)):
            try:
                whole = memory.read_source(origin) == text.encode()
            except NotFound:
                whole = origin == "long" or not acknowledged
            if not whole:
                wrong.append(f"{origin} is lost or half there")
        wrong += [f"verify: {fault.table} {fault.key}: {fault.reason}" for fault in memory.verify().faults]
        memory.remember("written at once by another")
    return wrong


# ---------------------------------------------------------------------- states
def _bring(case: Case, talk: _Talk, store: Path, rng: random.Random, stack: ExitStack) -> bool:
    """Bring a server into a state; says whether it acknowledged a second write."""
    if case.state == "starting":
        point = 0.15 + rng.random()  # before that it is Python that starts, with what it says of Ctrl-C itself
        until(lambda: _cpu_s(talk.server.pid) > point, "its start")
        return False
    talk.open()
    if case.state == "idle":
        return False
    if case.state == "loading":
        talk.call(2, "recall", {"query": "ferry"})
        time.sleep(rng.random() * 0.5)
        return False
    if case.state == "waiting":
        stack.enter_context(lock_held(store))
        talk.call(2, "remember", {"content": LONG[:500], "source": "waits"})
        until(lambda: waits_for_a_lock(talk.server.pid), "waiting for the lock")
        return False
    talk.call(2, "remember", {"content": "Second, acknowledged", "source": "second"})
    talk.wait(2)
    if case.state == "recalling":
        for number in range(3, 30):
            talk.call(number, "recall", {"query": f"when does ferry {number} leave?"})
        talk.wait(3)
    else:  # of a document of 9,000 paragraphs most of the time is embedding
        talk.call(3, "remember", {"content": LONG[: 40_000 if case.state == "writing" else None], "source": "long"})
        busy = _cpu_s(talk.server.pid)
        until(lambda: _cpu_s(talk.server.pid) > busy + 0.1, "work on a long document")
        time.sleep(rng.random() * 0.5)
    return True


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------- talks and ends
class _Talk:
    """A server with somebody who speaks to it."""

    server: Server

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)

    def open(self) -> None: ...
    def call(self, id: int, name: str, arguments: dict[str, object]) -> None: ...
    def wait(self, id: int) -> None: ...


class _Pipes(_Talk):
    """Over stdio."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.server = Server(COMMANDS[case.command], folder)

    def open(self) -> None:
        self.server.handshake()

    def call(self, id: int, name: str, arguments: dict[str, object]) -> None:
        self.server.send(tool(id, name, arguments))

    def wait(self, id: int) -> None:
        assert not self.server.answer(id)["result"].get("isError")


class _Http(_Talk):
    """Over HTTP, a connection a call."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.server = Server((*COMMANDS[case.command], "--http", "127.0.0.1:0"), folder)
        self.connections: dict[int, socket.socket] = {}

    def open(self) -> None:
        self.place = self.server.address()

    def call(self, id: int, name: str, arguments: dict[str, object]) -> None:
        from tests.serving.wire import MODERN

        connection = self.connections[id] = socket.create_connection(self.place, timeout=PATIENCE_S)
        body = tool(id, name, arguments, MODERN)
        connection.sendall(
            http_request(body, **{"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name})
        )

    def wait(self, id: int) -> None:
        status, _, body = read_answer(self.connections[id])
        assert status == 200 and not event(body)["result"].get("isError"), body

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for connection in self.connections.values():
            connection.close()


def _signal(*numbers: int) -> Callable[[_Talk], None]:
    def send(talk: _Talk) -> None:
        for number in numbers:
            if talk.server.process.poll() is None:
                talk.server.process.send_signal(number)

    return send


def _close_stdin(talk: _Talk) -> None:
    assert talk.server.process.stdin is not None
    talk.server.process.stdin.close()


def _close_stdout(talk: _Talk) -> None:
    """Close what it writes to; it learns of it with its next answer."""
    assert talk.server.process.stdout is not None
    talk.server.process.stdout.close()
    with suppress(BrokenPipeError):
        talk.server.send({"jsonrpc": "2.0", "id": 99, "method": "ping"})


def _close_both(talk: _Talk) -> None:
    """What the kernel does for a client that was killed."""
    assert talk.server.process.stdin is not None and talk.server.process.stdout is not None
    talk.server.process.stdout.close()
    talk.server.process.stdin.close()


_END: dict[str, Callable[[_Talk], None]] = {
    "SIGTERM": _signal(signal.SIGTERM),
    "SIGINT": _signal(signal.SIGINT),
    "twice": _signal(signal.SIGINT, signal.SIGINT),
    "stdin": _close_stdin,
    "stdout": _close_stdout,
    "client": _close_both,
}


# ---------------------------------------------------------------------- the long run
@dataclass
class Endings(Outcome):
    """What came of it."""

    slowest_s: float = 0.0
    slowest: str = ""
    states: dict[str, int] = field(default_factory=dict)


def run(job: Job) -> Endings:
    """End `count` servers; every case comes before one comes again."""
    result = job.begun(Endings)
    order = cases()
    random.Random(job.seed).shuffle(order)
    for number in job.trials(result):
        case = order[number % len(order)]
        folder = Path(tempfile.mkdtemp(dir=job.folder))
        try:
            ended = run_case(case, folder, random.Random(f"{job.seed}/{number}"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if ended.seconds > result.slowest_s:
            result.slowest_s, result.slowest = round(ended.seconds, 3), str(case)
        result.states[case.state] = result.states.get(case.state, 0) + 1
        result.failures += [f"ending {number}: {case}: {line}" for line in ended.wrong]
    return result


SOAK = Soak("end servers in every way and in every state: within 2 s, nothing left, nothing lost", "endings", 144, run)
