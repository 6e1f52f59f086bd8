"""One workload, two backends: the same ids, roots and hashes, the same rows, the same answers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.products import REGISTRY
from cmc_mcp.read.query import limits_of
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.postings import made_of
from tests.memory.test_random_histories import _VERBS, _step
from tests.pg.backend import Databases
from tests.read.made import asked, point_at
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.memories import NOON_US, on

_TEXT = "deploy target heroku fly limit 10 100 now no longer not budget $4,000 maya zoe release friday naïve 東京"
_SET = Path(__file__).parents[3] / "shared" / "eval" / "squadshifts"
_APART = ("vectors", "embedding_models")
_DERIVED = ["traits", *(t.name for t in REGISTRY.tables if t.role == "derived" and t.name not in _APART)]
_WORDS = tuple(_TEXT.split())


def _work(memory: Memory, seed: int) -> None:
    """Every verb, in an order that the seed decides; what is refused is refused on both."""
    rnd = random.Random(seed)
    memory.remember("The deploy target is Heroku", claim={"subject": "app", "predicate": "target", "object": "Heroku"})
    memory.remember(
        "The deploy target is Fly.io", claim={"subject": "app", "predicate": "target", "object": "Fly.io"},
        valid_from="2026-06-01", idempotency_key="moved",
    )  # fmt: skip
    memory.collection("notes").put([Entry(f"n{n}", f"entry {n}", {"n": n}) for n in range(5)])
    for number in range(20):
        try:
            _step(memory, rnd, rnd.choice(_VERBS))
        except CmcError as error:
            memory.remember(f"refused: {error.code}")
        text = " ".join(rnd.choice(_WORDS) for _ in range(rnd.randint(2, 12)))
        memory.remember(text, tags={"n": str(number % 3)}, confidence=rnd.choice([0.2, 0.95, None]))
    memory.remember_many(
        [{"content": f"batch {n} {rnd.choice(_WORDS)}", "session": "s", "speaker": "Zoe"} for n in range(40)]
    )
    memory.snapshot("end")


def _ledger(memory: Memory) -> dict[str, Any]:
    """Everything hashed, and everything that finding goes by."""
    with reach.reader(memory) as view:
        rows = list(view.transactions())
        return {
            "head": view.head(),
            "transactions": rows,
            "records": view.all_records(),
            "pieces": list(view.interval_events()),
            "atoms": list(view.all_atoms()),
            "payloads": list(view.all_payloads()),
            "lengths": view.packed_lengths(0),
            "derived": {table: set(view.index_rows(view.registry.by_name[table])) for table in _DERIVED},
        }


def _found(memory: Memory) -> dict[str, Any]:
    """Filtered sets, exact dense order by SQL and by the matrix, counts of words."""
    out: dict[str, Any] = {}
    query = np.asarray(HashVectors().embed(["deploy target"])[0])
    with reach.reader(memory) as view:
        model = view.models()[0][0]
        head = view.head().seq
        for seq in (head // 3, head):
            point = point_at(view, seq)
            for name, filters in (
                ("all", {}), ("tag", {"tags": (("n", "1"),)}), ("writer", {"writers": ("zoe",)}),
                ("sure", {"min_confidence": 0.9}), ("source", {"sources": ("x",)}),
            ):  # fmt: skip
                limits = limits_of(view, asked(**filters))
                if limits is None:
                    continue
                by_sql = Selection(view, point, limits, None)
                matrix = reach.index(memory, view, Matrix, model)
                fast = Selection(view, point, limits, matrix)
                out[f"{name} at {seq}"] = (
                    view.selected(seq, point.valid_at, limits), by_sql.dense(model, query, 10), fast.dense(model, query, 10),
                    by_sql.size(), by_sql.bounds(),
                )  # fmt: skip
        last = view.head().last_rid
        terms = sorted(made_of("", f"{_TEXT} same entry batch").terms)
        out["packed"] = view.term_entries(terms, 0, last)
        out["unpacked"] = view.unpacked_terms(0, last)
        out["words"] = list(view.first_words(0, last))
    return out


def _told(memory: Memory) -> list[str]:
    """Whole answers, less what each stage cost."""
    out = []
    for query in (
        "where do we deploy?",
        "zoe budget limit",
        "same",
        "entry 3",
        "Is the deploy target no longer Heroku?",
    ):
        for arguments in ({}, {"as_of": 20}, {"tags": {"n": "1"}}, {"around": 1}):
            answer = memory.recall(query, explain=True, **arguments)  # type: ignore[arg-type]
            timeless = [stage.model_copy(update={"ms": 0.0}) for stage in answer.trace]
            out.append(answer.model_copy(update={"trace": timeless}).model_dump_json())
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_one_workload_gives_equal_hashes_rows_and_answers(tmp_path: Path, databases: Databases, seed: int) -> None:
    assert_equal((tmp_path / "memory.db", databases.of(tmp_path / "pg")), seed)


def assert_equal(places: tuple[Path, str], seed: int) -> None:
    """Do one workload on both, and compare everything that is hashed, found and told."""
    settings = Settings(inline_bytes=64)
    stores = [
        on(place, embedder=HashVectors(), clock=FixedClock(NOON_US, step_us=1_000), settings=settings)
        for place in places
    ]
    for memory in stores:
        _work(memory, seed)
    one, other = (_ledger(memory) for memory in stores)
    for name in one:
        assert one[name] == other[name], name
    found, also = (_found(memory) for memory in stores)
    for name in found:
        assert found[name] == also[name], name
    plain = [memory.as_principal("maya") for memory in stores]
    for memory in plain:
        reach.alter(memory, settings=replace(settings, matrix_bytes_max=0))
    assert _told(stores[0]) == _told(stores[1])
    assert _told(plain[0]) == _told(plain[1])
    for memory in stores:
        assert memory.verify(deep=True).holds
        memory.close()


def test_a_difference_in_one_byte_would_be_seen(tmp_path: Path, databases: Databases) -> None:
    stores = [on(tmp_path / "memory.db"), on(databases.of(tmp_path / "pg"))]
    for number, memory in enumerate(stores):
        memory.remember("the same but for one letter" if number else "the same but for one lettes")
    one, other = (_ledger(memory) for memory in stores)
    assert one["head"] != other["head"] and one["payloads"] != other["payloads"]
    for memory in stores:
        memory.close()


def test_hashed_bodies_are_bytes_times_are_numbers_and_text_is_ordered_by_its_bytes(
    databases: Databases, tmp_path: Path
) -> None:
    with on(databases.of(tmp_path / "pg")) as memory, reach.store(memory).reader(0) as view:
        types = view.connection.execute(  # type: ignore[attr-defined]
            "SELECT table_name || '.' || column_name, data_type, collation_name FROM information_schema.columns"
            " WHERE table_schema = 'cmc'"
        ).fetchall()
    kinds = {name: (kind, collation) for name, kind, collation in types}
    assert kinds["payloads.body"][0] == kinds["transactions.hash"][0] == "bytea"
    assert kinds["transactions.recorded_us"][0] == kinds["pieces.valid_from"][0] == "bigint"
    assert all(collation == "C" for kind, collation in kinds.values() if kind == "text")
    assert not any(
        kind in ("json", "jsonb", "timestamp with time zone", "double precision") for kind, _ in kinds.values()
    )
    assert json.dumps(sorted(kinds))


@pytest.mark.slow
@pytest.mark.skipif(not _SET.exists(), reason="the sets of ../shared/eval are not here")
def test_words_find_as_much_of_a_real_set_on_both(tmp_path: Path, databases: Databases) -> None:
    docs = [json.loads(line) for line in (_SET / "docs.jsonl").read_text().splitlines()][:400]
    known = {doc["id"] for doc in docs}
    queries = [json.loads(line) for line in (_SET / "queries.jsonl").read_text().splitlines()]
    asked_ = [query for query in queries if set(query["relevant"]) <= known][::8]
    recalls = []
    for place in (tmp_path / "memory.db", databases.of(tmp_path / "pg")):
        with on(place) as memory:
            memory.remember_many([{"content": doc["text"], "tags": {"doc": doc["id"]}} for doc in docs])
            hits = 0.0
            for query in asked_:
                found = {
                    item.tags["doc"] for item in memory.recall(query["text"], limit=10, budget_tokens=20_000).items
                }
                hits += len(found & set(query["relevant"])) / len(query["relevant"])
            recalls.append(hits / len(asked_))
    assert len(asked_) > 50 and min(recalls) > 0.5
    assert abs(recalls[0] - recalls[1]) <= 0.01
