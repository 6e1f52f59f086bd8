"""Peers side by side: the same texts and vectors, one write at a time, then recalls, all peers taking turns in one run.

Each peer lives in a virtual environment of its own under a cache folder (CMC_BENCH_CACHE, by default in the system's
temporary folder), made on first use by the commands that are printed. What they do for a write is not the same: CMC
syncs each acknowledged write to the disk and keeps a ledger, and its recall is the whole hybrid pipeline; the row
"as LangGraph's store" is its vector search alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Figures, GivenVectors, folder, p50, p95, texts

WRITES, RECALLS, TURN = 1_000, 200, 50
_HERE = Path(__file__).parent
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
INSTALLED: dict[str, tuple[tuple[str, ...], ...]] = {
    "LangGraph SqliteStore": (("langgraph-checkpoint-sqlite", "langgraph", "numpy", "pysqlite3-binary"),),
    "chromadb": (("chromadb",),),
    "mem0ai, infer=False": (("mem0ai",),),
    "mcp-memory-service": (
        ("--no-deps", "mcp-memory-service"),  # its own requirements bring in torch
        (
            "numpy", "sqlite-vec", "pysqlite3-binary", "pydantic", "pydantic-settings", "aiohttp", "aiosqlite", "httpx",
            "python-dotenv", "tzlocal",
        ),
    ),
    "memvara": (("memvara", "pysqlite3-binary"),),
}  # fmt: skip
"""What each peer's environment is given, one call of pip a tuple."""


def _python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment, making the environment if it is missing."""
    if peer not in INSTALLED:
        return Path(sys.executable)
    cache = Path(os.environ.get("CMC_BENCH_CACHE", Path(tempfile.gettempdir()) / "cmc-bench-peers"))
    place = cache / peer.partition(",")[0].replace(" ", "-")
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        for command in (
            [sys.executable, "-m", "venv", str(place)],
            *([str(python), *_PIP, *w] for w in INSTALLED[peer]),
        ):
            print("$", *command, flush=True)
            subprocess.run(command, check=True)
        (place / "installed").touch()
    return python


class _Peer:
    """A peer's process."""

    def __init__(self, name: str, place: Path, corpus: Path) -> None:
        place.mkdir()
        command = [str(_python_of(name)), str(_HERE / "peer_worker.py"), name, str(place), str(corpus)]
        print("$", *command, flush=True)
        own = {"PYTHONPATH": str(_HERE.parent)} if name not in INSTALLED else {}
        self.log = (place / "stderr.txt").open("wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **own}
        )
        self.told = self._answer()
        self.times: dict[str, list[float]] = {"write": [], "recall": []}
        self.found: list[list[str]] = []

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(Path(self.log.name).read_text(encoding="utf-8", errors="replace")[-1500:])
        answer: dict[str, Any] = json.loads(line)
        return answer

    def turn(self, op: str, first: int, last: int) -> None:
        """Let the peer write or recall some texts of the corpus."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"op": op, "from": first, "to": last}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.times[op] += [seconds * 1000 for seconds in answer["times"]]
        self.found += answer["found"] if op == "recall" else []

    def close(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)
        self.log.close()


def peers() -> Figures:
    """Measure every peer that can be installed; one that cannot is named, with its reason."""
    from benchmarks.peer_worker import PEERS, K

    words = texts(WRITES + RECALLS, words=16)
    vectors = GivenVectors().embed([""] * (WRITES + RECALLS))
    vectors[WRITES:] = vectors[WRITES:] + vectors[:RECALLS]  # a question has something near it
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(vectors[WRITES:] @ vectors[:WRITES].T), axis=1)[:, :K]
    out: Figures = {}
    with folder() as place, ExitStack() as closing:
        np.savez(place / "corpus.npz", texts=np.array(words), vectors=vectors)
        running: dict[str, _Peer] = {}
        for number, name in enumerate(PEERS):
            try:
                running[name] = _Peer(name, place / str(number), place / "corpus.npz")
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"  {name} left out: {error}", flush=True)
                continue
            closing.callback(running[name].close)
        for op, start, end in (("write", 0, WRITES), ("recall", WRITES, WRITES + RECALLS)):
            for first in range(start, end, TURN):
                for peer in running.values():
                    peer.turn(op, first, min(first + TURN, end))
        for name, peer in running.items():
            label = f"{name} {peer.told['version']}"
            for op, times in peer.times.items():
                out[f"{label}: {op} p50 ms"] = p50(times)
                out[f"{label}: {op} p95 ms"] = p95(times)
            truth = [{words[place] for place in row} for row in nearest.tolist()]
            hits = [len(known & set(found)) / K for known, found in zip(truth, peer.found, strict=True)]
            out[f"{label}: of the {K} nearest by vector"] = float(np.mean(hits))
            out[f"{label}: import and open s"] = float(peer.told["open_s"])
    return out
