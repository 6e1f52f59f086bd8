"""Purity: many calls of every kind over one pipe, every byte of stdout a message, every message awaited."""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving.wire import CMC_MCP, LEGACY, MODERN, Message, Server, request, tool
from tests.soak import Job, Outcome, Soak

FEW = 8  # in flight at once
LARGE = "\n\n".join(
    f"Heron {n} stands at weir {n}. " + "It waits for the tide, and does not move. " * 20 for n in range(40)
)
LOGGED = re.compile(r"^(timestamp=\S+ level=\w+ |\d{4}-\d\d-\d\d \S+ [A-Z]+ \S+: |INFO |WARNING )")
_MODEL = """
import os, sys, warnings, logging
import numpy as np
from cmc_mcp.environment import configuration
from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.server import session, transports
wire = os.dup(1)
class Noisy:
    identity = EmbeddingIdentity(model_id="noisy", weights_digest="0" * 64, precision="fp32", dimension=8, maximum_tokens=0)
    def embed(self, texts):
        {noise}
        return np.tile(np.eye(8, dtype=np.float32)[0], (len(texts), 1))
    def close(self): pass
logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
session.LocalSession.__init__.__kwdefaults__["embedder"] = {embedder}
transports.serve_stdio(configuration())
"""


def script(noise: str = "pass", embedder: str = "Noisy()") -> tuple[str, ...]:
    """A server whose embedder makes a noise, with logs at debug."""
    return (sys.executable, "-W", "always", "-c", _MODEL.format(noise=noise, embedder=embedder))


NOISE = (
    'print("stray"); sys.stdout.write("stray"); sys.stdout.flush(); os.write(1, b"stray\\n"); os.system("echo stray"); '
    'warnings.warn("stray")'
)
LEAK = 'os.write(wire, b"stray\\n")'


@dataclass
class Purity(Outcome):
    """What came of it."""

    bytes: int = 0
    longest: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    resident_mb: list[int] = field(default_factory=list)
    seconds: float = 0.0


class Mix:
    """Calls of every kind, drawn from a seed; ids that were answered are used later.

    When an answer comes depends on the machine's load, so ids have a generator of their own: the calls do not.
    """

    def __init__(self, seed: str, era: str) -> None:
        self.rng, self.ids, self.era = random.Random(seed), random.Random(f"{seed}/ids"), era
        self.known: list[str] = []

    def next(self, id: int) -> tuple[str, Message]:
        """A request, and what kind it is."""
        rng = self.rng
        one = self.ids.choice(self.known) if self.known else "atom_0000"
        kinds: dict[str, tuple[int, Any]] = {
            "remember": (20, ("remember", {"content": f"Note {id}: heron {rng.random()} at weir {rng.randrange(50)}"})),
            "same": (5, ("remember", {"content": "The same again", "idempotency_key": "same"})),
            "unicode": (5, ("remember", {"content": f"é \u2028 line \u0085 \x0b {id} \U0001f426"})),
            "large": (1, ("remember", {"content": LARGE, "source": f"large/{id % 3}"})),
            "recall": (30, ("recall", {"query": f"heron at weir {rng.randrange(50)}"})),
            "long answer": (2, ("recall", {"query": "heron tide", "budget_tokens": 30_000, "limit": 100})),
            "history": (8, ("history", {"id": one})),
            "log": (3, ("history", {"limit": 50})),
            "revise": (4, ("revise", {"id": one, "priority": round(rng.random(), 2)})),
            "mark": (3, ("mark", {"ids": [one], "outcome": "used"})),
            "forget": (2, ("forget", {"ids": [one], "dry_run": True})),
            "snapshot": (2, ("snapshot", {})),
            "rollback": (1, ("rollback", {"to": 0, "dry_run": True})),
            "wrong": (6, ("recall", {"query": ""})),
            "unknown tool": (2, ("no_such_tool", {})),
        }
        others: dict[str, tuple[int, Message]] = {
            "list": (2, request(id, "tools/list", era=self.era)),
            "prompts": (1, request(id, "prompts/list", era=self.era)),
            "status": (2, request(id, "resources/read", {"uri": "cmc://status"}, self.era)),
            "no method": (2, request(id, "no/such/method", era=self.era)),
        }
        names = [*kinds, *others]
        (kind,) = rng.choices(names, [{**kinds, **others}[name][0] for name in names])
        if kind in others:
            return kind, others[kind][1]
        name, arguments = kinds[kind][1]
        return kind, tool(id, name, arguments, self.era)

    def first(self, id: int) -> tuple[str, Message]:
        """Remember something large."""
        return "large", tool(id, "remember", {"content": LARGE, "source": "large/first"}, self.era)

    def learn(self, answer: Message) -> None:
        """Take ids out of an answer."""
        structure = answer.get("result", {}).get("structuredContent") or {}
        self.known = [*self.known, *structure.get("added", [])][-100:]


def _resident_mb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) >> 10 if found else 0


def talk(command: Sequence[str], folder: Path, count: int, seed: int, era: str) -> Purity:
    """Make so many calls over one pipe, a few in flight at once, and take every line of stdout to pieces.

    The first is alone in flight: it remembers what makes later answers long, however the others overtake each other.
    """
    told, mix, waiting = Purity(seed), Mix(f"{seed}/{era}", era), {}
    began = time.monotonic()
    with Server(command, folder) as server:
        if era == LEGACY:
            server.handshake()
        sent = 0
        while told.done < count and len(told.failures) < 100:
            while sent < count and len(waiting) < (FEW if told.done else 1):
                sent += 1
                waiting[sent], message = mix.next(sent) if sent > 1 else mix.first(sent)
                server.send(message)
            line = server.line()
            if not line:
                told.failures.append(f"the server went away: {server.stderr()[-500:]}")
                break
            told.bytes += len(line) + 1
            told.longest = max(told.longest, len(line))
            try:
                message = json.loads(line)
                assert message["jsonrpc"] == "2.0"
                kind = waiting.pop(message["id"]) if "id" in message else "notification"
                assert ("result" in message) != ("error" in message) or kind == "notification"
                assert ("error" in message) == (kind == "no method"), message
            except (ValueError, KeyError, TypeError, AssertionError) as error:
                told.failures.append(f"{line[:200]!r}: {type(error).__name__} {error}"[:400])
                continue
            if kind == "notification":
                continue
            mix.learn(message)
            told.kinds[kind] = told.kinds.get(kind, 0) + 1
            told.done += 1
            if told.done in (count // 2, count):
                told.resident_mb.append(_resident_mb(server.pid))
        assert server.process.stdin is not None
        server.process.stdin.close()
        if rest := server.line():
            told.failures.append(f"after the last answer: {rest[:200]!r}")
        if server.ended(8) is None or server.process.returncode != 0:
            told.failures.append(f"did not end in good order: {server.process.returncode}")
        said = server.stderr()
    told.failures += [f"stderr: {line[:200]}" for line in said.splitlines() if line and not LOGGED.match(line)][:5]
    if len(told.resident_mb) == 2 and told.resident_mb[1] > told.resident_mb[0] * 1.1 + 48:
        told.failures.append(f"memory grew from {told.resident_mb[0]} to {told.resident_mb[1]} MB over the second half")
    told.seconds = round(time.monotonic() - began, 1)
    return told


def run(job: Job) -> Purity:
    """Half of the calls in each era, each over one pipe to the shipped server."""
    total = Purity(job.seed)
    for era in (LEGACY, MODERN):
        with tempfile.TemporaryDirectory(dir=job.folder) as folder:
            told = talk((CMC_MCP,), Path(folder), job.count // 2, job.seed, era)
        total.done, total.bytes = total.done + told.done, total.bytes + told.bytes
        total.longest, total.seconds = max(total.longest, told.longest), round(total.seconds + told.seconds, 1)
        total.resident_mb += told.resident_mb
        total.failures += [f"{era}: {line}" for line in told.failures]
        for kind, number in told.kinds.items():
            total.kinds[kind] = total.kinds.get(kind, 0) + number
        job.keep(total)
    return total


SOAK = Soak(
    "call every tool over one stdio pipe: every byte of stdout is a message, memory is flat", "calls", 10_000, run
)
