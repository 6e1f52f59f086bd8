"""A large store: built through the product, past SQLite's lock page at 1 GiB, then looked after by every command."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.memory import Memory
from tests.serving.wire import CMC, environment
from tests.soak import Job, Outcome, Soak

GIB = 1 << 30
DIMENSION = 384
BATCH = 1_000
WORDS = [hashlib.sha256(str(n).encode()).hexdigest()[: 3 + n % 7] for n in range(20_000)]


class Given:
    """Vectors that follow from the text alone."""

    identity = EmbeddingIdentity(
        model_id="given", weights_digest="1" * 64, precision="fp32", dimension=DIMENSION, maximum_tokens=0
    )

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            row[:] = np.random.Generator(np.random.SFC64(seed)).standard_normal(DIMENSION, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def close(self) -> None:
        pass


@dataclass
class Step:
    """One command on the store."""

    seconds: float
    peak_mb: int
    code: int
    said: str


@dataclass
class Large(Outcome):
    """What came of it; sizes in MB."""

    memories: int = 0
    file_mb: int = 0
    build_s: float = 0.0
    steps: dict[str, Any] = field(default_factory=dict)


def items(rng: random.Random, batch: int) -> Iterator[dict[str, Any]]:
    """A realistic mix: notes, turns of conversations, pages of documents, facts with claims, pictures."""
    for number in range(BATCH):
        kind = rng.random()
        if kind > 0.75:  # small pictures lie in the file itself, up to 64 KiB
            data = b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randrange(10_000, 60_000))
            yield {
                "content": data,
                "modality": "image",
                "media_type": "image/png",
                "title": f"picture {batch}/{number}",
            }
            continue
        text = " ".join(rng.choices(WORDS, k=rng.randrange(30, 400)))
        if kind < 0.4:
            yield {"content": text, "tags": {"topic": f"t{rng.randrange(50)}"}, "confidence": round(rng.random(), 2)}
        elif kind < 0.6:
            yield {"content": text, "session": f"talk/{batch}/{number % 10}", "speaker": rng.choice(("Ann", "Bob"))}
        elif kind < 0.71:
            claim = {"subject": f"s{rng.randrange(9999)}", "predicate": "is", "object": text[:60]}
            yield {"content": text, "claim": claim, "valid_from": f"20{rng.randrange(10, 26)}-01-01"}
        else:
            pages = (" ".join(rng.choices(WORDS, k=200)) for _ in range(6))
            yield {
                "content": "".join(f"# Page {n}\n\n{page}\n\n" for n, page in enumerate(pages)),
                "source": f"doc/{batch}/{number}.md",
                "media_type": "text/markdown",
            }


def build(path: Path, size: int, seed: int) -> tuple[int, float]:
    """Write until the file has its size; gives the number of memories and the seconds."""
    began, batch = time.monotonic(), 0
    with Memory.open(path, embedder=Given()) as memory:
        while not path.exists() or path.stat().st_size < size:
            memory.remember_many(list(items(random.Random(f"{seed}/{batch}"), batch)))  # type: ignore[arg-type]
            if batch == 0:
                memory.remember("The keeper of the weir is Ottilie Brandauer", source="needle")
                memory.remember(
                    b"\x89PNG\r\n\x1a\n" + bytes(100_000), modality="image", media_type="image/png", title="needle"
                )
                memory.snapshot("early")
            batch += 1
            if sys.stderr.isatty():
                print(f"\r{path.stat().st_size >> 20} MB", end="", file=sys.stderr, flush=True)
        found = memory.status()["memories"]
    assert isinstance(found, int)
    return found, round(time.monotonic() - began, 1)


_DEEP = """
import json, sys, time
from cmc_mcp.memory import Memory
from tests.operations.large import Given
with Memory.open(sys.argv[1], embedder=Given()) as memory:
    if sys.argv[2] == "deep":
        found = memory.verify(deep=True)
        print(json.dumps({"holds": found.holds, "checked": found.checked}))
        sys.exit(not found.holds)
    times = []
    for query in ["keeper of the weir Brandauer"] * 2 + [f"page {n}" for n in range(20)]:
        began = time.perf_counter()
        found = memory.recall(query)
        times.append((time.perf_counter() - began) * 1000)
    found = memory.recall("keeper of the weir Brandauer")
    print(json.dumps({"first_ms": round(times[0]), "p50_ms": round(sorted(times)[11], 1), "top": found.items[0].source}))
    sys.exit(found.items[0].source != "needle")
"""


def step(command: Sequence[str], folder: Path) -> Step:
    """Run a command; its time, its peak of memory and what it said."""
    root = Path(__file__).resolve().parents[2]
    out = folder / "said.txt"
    began = time.monotonic()
    with out.open("wb") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=root, env={**environment(folder), "PYTHONPATH": str(root)}
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Step(round(time.monotonic() - began, 1), used.ru_maxrss >> 10, child.returncode, out.read_text()[-1500:])


def run(job: Job) -> Large:
    """Build a store of `count` GiB (or of CMC_LARGE_MB), and look after it."""
    told = Large(job.seed)
    size = int(os.environ.get("CMC_LARGE_MB", 0)) << 20 or job.count * GIB + (64 << 20)
    path, copy = job.folder / "memory.db", job.folder / "copy.db"
    told.memories, told.build_s = build(path, size, job.seed)
    told.file_mb = path.stat().st_size >> 20
    quick = (CMC, "--no-model")
    child = (sys.executable, "-c", _DEEP)
    commands = {
        "doctor": (*quick, "doctor"),
        "verify": (*quick, "--json", "verify"),
        "verify --deep": (*child, str(path), "deep"),
        "backup": (*quick, "backup", str(copy)),
        "restore": (*quick, "restore", str(copy), "--to", str(job.folder / "restored.db")),
        "recall": (*child, str(path), "recall"),
        "recall restored": (*child, str(job.folder / "restored.db"), "recall"),
    }
    for name, command in commands.items():
        done = step(command, job.folder)
        told.steps[name] = asdict(done)
        print(f"{name}: {done.seconds} s, {done.peak_mb} MB, exit code {done.code}", file=sys.stderr, flush=True)
        if done.code:
            told.failures.append(f"{name}: exit code {done.code}: {done.said[-300:]}")
        elif name.startswith("verify") and json.loads(done.said[done.said.index("{") :])["holds"] is not True:
            told.failures.append(f"{name}: does not hold")
        job.keep(told)
    for name in ("copy.db", "restored.db"):
        for left in job.folder.glob(f"{name}*"):
            if left.is_file():
                left.unlink()
    told.done = job.count
    return told


SOAK = Soak("build a store past SQLite's lock page and run every command of its care on it", "GiB", 1, run)
