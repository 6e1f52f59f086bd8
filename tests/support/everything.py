"""A history with everything in it, and what two stores must have in common after one was copied into the other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.model.results import RecallResult
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.tables import in_order_of_moving
from tests.memory.test_random_histories import _VERBS, _step
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.memories import START_US, at, erase

SETTINGS = Settings(inline_bytes=256)
CODE = "def one():\n    return 1\n\n\nclass Two:\n    def three(self):\n        return 3\n"
DOCUMENT = "# Plan\n\nThe deploy target is Fly.io.\n\n## Naïve 東京\n\nThe budget is $4,000 a month.\n"
IMAGE = bytes(range(256)) * 4
QUESTIONS = ("deploy target", "budget", "where is zoe?", "three", "note 7", "zebras", "")


@contextmanager
def opened(place: str | Path, workspace: str = "default", **given: Any) -> Iterator[Memory]:
    """Open a memory as this folder's tests do."""
    with at(place, workspace=workspace, embedder=HashVectors(), settings=SETTINGS, **given) as memory:
        yield memory


def fill(memory: Memory, seed: int, notes: int = 40) -> None:
    """Every kind of record: documents, code, turns, objects, claims, labels, erasures, rollbacks, quarantine, keys."""
    rnd = random.Random(seed)
    memory.remember(DOCUMENT, source="plan.md")
    memory.remember(CODE, modality="code", media_type="text/x-python", source="one.py")
    memory.remember("Where is Zoe?", session="s", speaker="Maya")
    memory.remember("She left for Oslo.", session="s", speaker="Zoe")
    memory.remember("an event about zebras " + "word " * 100, modality="event", source="log:1")
    memory.remember(IMAGE, modality="image", media_type="image/png", title="a chart", source="chart")
    memory.remember(
        "held by a key", idempotency_key=f"once-{seed}", claim={"subject": "a", "predicate": "b", "object": "c"}
    )
    memory.collection("notes").put([Entry(f"n{n}", f"entry {n}", {"n": n}) for n in range(5)])
    before = memory.snapshot("before")
    memory.remember_many([{"content": f"note {n} of {rnd.random()}", "tags": {"n": str(n % 3)}} for n in range(notes)])
    memory.set_policy("gate.min_confidence", 0.3)
    memory.remember("a wild guess", confidence=0.1)
    for _ in range(8):
        try:
            _step(memory, rnd, rnd.choice(_VERBS))
        except CmcError as error:
            memory.remember(f"refused: {error.code}")
    memory.rollback(before.snapshot)
    gone = memory.remember("secret and large " * 40, modality="event", source="gone").added
    gone += memory.remember("a secret", tags={"who": "nobody"}).added
    erase(memory, gone)
    memory.remember(DOCUMENT.replace("$4,000", "$5,000"), source="plan.md")
    memory.embed_pending()
    memory.snapshot("end")


def tables(memory: Memory) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a workspace, with its numbers as they would be in workspace 0."""
    out: dict[str, list[tuple[Any, ...]]] = {}
    names = [table.name for table in in_order_of_moving(REGISTRY.tables)]
    with reach.reader(memory) as view:
        models = {row[0]: row[1] for row in view.models()}
        for name in names:
            columns = sorted(row[0] for row in _columns(view, name))
            columns = [column for column in columns if column not in ("ws", "nid")]
            rows = view.connection.execute(f"SELECT {', '.join(columns)} FROM {name} WHERE ws = ?", (reach.ws(memory),))
            plain = [
                tuple(
                    _plain(reach.ws(memory), column, value, models) for column, value in zip(columns, row, strict=True)
                )
                for row in rows
            ]
            out[name] = sorted(plain, key=repr)
    return out


def _columns(view: Any, table: str) -> list[tuple[str]]:
    asked = {
        "SqliteView": "SELECT name FROM pragma_table_info(?)",
        "PostgresView": "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0"
        " AND NOT attisdropped",
    }[type(view).__name__]
    return list(view.connection.execute(asked, (table,)))


def _plain(ws: int, column: str, value: Any, models: dict[int, str]) -> Any:
    if column == "model":
        return models[value]
    if column == "vids":
        return tuple((np.frombuffer(value, np.int64) - (ws << 40)).tolist())
    if isinstance(value, int) and column == "node":  # of the state; those of documents are bytes
        return value - (ws << 38)
    if isinstance(value, int) and value >> 40 == ws and not column.endswith("_us"):
        return value - (ws << 40)
    return value


def answers(memory: Memory) -> dict[str, Any]:
    """What a memory answers: recalls byte for byte, sources, history."""
    out: dict[str, Any] = {}
    for question in QUESTIONS:
        for as_of in (None, "before"):
            if question:
                out[f"{question} {as_of}"] = _bytes(
                    memory.recall(question, as_of=as_of, budget_tokens=4_000, explain=True)
                )
    for source in memory.sources():
        try:
            out[source] = memory.read_source(source)
        except CmcError as error:
            out[source] = error.code
    out["log"] = memory.history(limit=100).model_dump_json()
    out["quarantine"] = [entry.model_dump_json() for entry in memory.quarantine()]
    return out


def _bytes(result: RecallResult) -> str:
    timeless = [stage.model_copy(update={"ms": 0.0}) for stage in result.trace]
    return result.model_copy(update={"trace": timeless}).model_dump_json()


def dense(memory: Memory) -> list[int]:
    """The exact order of every vector against one query."""
    from cmc_mcp.store.rows import Filter

    with reach.reader(memory) as view:
        vector = HashVectors().embed(["deploy target"])[0].tobytes()
        (model, *_), *_ = view.models()
        found = view.nearest(model, vector, 1_000, view.head().seq, START_US, Filter())
    return [rid - (reach.ws(memory) << 40) for rid, _ in found]
