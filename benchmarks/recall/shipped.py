"""The product on one scope: a store that is built once and kept, and the questions asked through `Memory.recall`."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TypedDict

import cmc_mcp
from benchmarks.recall.sets import Aligner, Ask, Scope, flat, remembered
from benchmarks.recall.variants import IN_BUDGET, Changes, changed
from benchmarks.recall.vectors import KeptVectors
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RecallResult

DEPTH = 100  # ranks asked for, as `retrieval_eval.DEPTH`
TEN = 10
BUDGET = 2_000
LARGEST_BUDGET = 100_000
Row = dict[str, float | str]
_WRITING = ("canon.py", "limits.py", "kernel", "model", "store", "write")


class Answers(TypedDict):
    """What a variant gave on a scope: a row of metrics for each question, and the time of each stage."""

    rows: list[Row]
    recall_ms: list[float]
    stages_ms: dict[str, float]


def stamp() -> str:
    """Hash the code that writes, so that a store of another version is not taken for one of this."""
    root = Path(cmc_mcp.__file__).parent
    sources = [root / name for name in _WRITING]
    files = sorted(file for place in sources for file in ([place] if place.is_file() else place.rglob("*.py")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def place_of(keep: Path, scope: Scope) -> Path:
    """Return the folder of a scope's store."""
    return keep / "stores" / scope.set / hashlib.sha256(scope.name.encode()).hexdigest()[:12]


def build(keep: Path, scope: Scope, written: str) -> None:
    """Remember a scope, unless that was done by the same code before. It appears whole or not at all."""
    place = place_of(keep, scope)
    mark = place / "stamp"
    if mark.exists() and mark.read_text() == written:
        return
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    embedder = KeptVectors(keep / "vectors.db")
    with Memory.open(part / "memory.db", embedder=embedder) as memory:
        documents = _remember(memory, scope)
    (part / "documents.json").write_text(json.dumps(documents))
    (part / "stamp").write_text(written)
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)


def _remember(memory: Memory, scope: Scope) -> dict[str, list[str]]:
    """Remember the documents; return those of every atom that is of any."""
    documents: dict[str, list[str]] = {}
    for part in scope.parts or (scope,):
        things = list(remembered(part.docs))
        receipt = memory.remember_many([thing.item for thing in things])
        align = Aligner([doc for thing in things for doc in thing.docs])
        for name in receipt.added:
            kept = memory.history(name).memory
            assert kept is not None
            if of := align(kept.text):
                documents[name] = of
    lost = {doc["id"] for doc in scope.docs} - {doc for of in documents.values() for doc in of} - _repeated(scope)
    if lost:
        some = ", ".join(sorted(lost)[:5])
        raise RuntimeError(f"{scope.set}/{scope.name}: no atom was found for {len(lost)} documents, such as {some}")
    return documents


def _repeated(scope: Scope) -> set[str]:
    """Return the documents whose very text came before: content is stored once."""
    seen: set[str] = set()
    out = set()
    for doc in scope.docs:
        text = flat(doc["text"])
        if text in seen or not text:
            out.add(doc["id"])
        seen.add(text)
    return out


class Shipped:
    """A scope's store, opened with settings."""

    def __init__(self, keep: Path, scope: Scope, settings: Settings, embedder: Embedder) -> None:
        place = place_of(keep, scope)
        self.documents: dict[str, list[str]] = json.loads((place / "documents.json").read_text())
        self.memory = Memory.open(place / "memory.db", embedder=embedder, settings=settings)

    def search(self, text: str, limit: int, budget: int = LARGEST_BUDGET) -> RecallResult:
        """Ask as a user does; only limit and budget are given."""
        return self.memory.recall(text, limit=limit, budget_tokens=budget, detail="concise", explain=True)

    def ranking(self, result: RecallResult) -> list[str]:
        """Name the documents in order, each once; what is of none (a heading) holds its place by its own id."""
        return list(dict.fromkeys(doc for item in result.items for doc in self.documents.get(item.id, [item.id])))


def ask(keep: Path, scope: Scope, changes: Changes, metrics: ModuleType, limit: int, budget: bool) -> Answers:
    """Ask every question of a scope with some settings changed.

    `limit` memories are asked for to judge their order (0: not at all); with `budget` also an answer of 2,000 tokens.
    """
    embedder = KeptVectors(keep / "vectors.db")
    shipped = Shipped(keep, scope, changed(Settings(), changes), embedder)
    sizes = defaultdict(lambda: 8, {doc["id"]: metrics.token_count(doc["text"]) for doc in scope.docs})
    rows: list[Row] = []
    times: list[float] = []
    stages: defaultdict[str, list[float]] = defaultdict(list)
    embedder.embed([question["text"] for question in scope.asks])
    with shipped.memory:
        for question in scope.asks:
            row: Row = {"id": question["id"], "scope": question["scope"], "category": question["category"]}
            if limit:
                start = time.perf_counter()
                result = shipped.search(question["text"], limit)
                times.append((time.perf_counter() - start) * 1000)
                for stage in result.trace:
                    stages[stage.stage].append(stage.ms)
                row.update(scored(metrics, shipped.ranking(result), question, sizes))
            if budget:
                row[IN_BUDGET] = _inside(shipped, question)
            rows.append(row)
    laps = {name: statistics.median(values) for name, values in stages.items()}
    return {"rows": rows, "recall_ms": times, "stages_ms": laps}


def _inside(shipped: Shipped, question: Ask) -> float:
    """Return the share of the evidence that a 2,000-token answer holds."""
    found = set(shipped.ranking(shipped.search(question["text"], DEPTH, BUDGET)))
    relevant = set(question["relevant"])
    return len(found & relevant) / len(relevant)


def scored(metrics: ModuleType, ranking: list[str], question: Ask, sizes: Mapping[str, int]) -> Row:
    """Measure a ranking."""
    return {
        "id": question["id"],
        "scope": question["scope"],
        "category": question["category"],
        **metrics.score_query(ranking[:DEPTH], question, sizes),
    }
