"""The rules that never bend (`docs/design/rules.md`), each with a test that can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from cmc_mcp import Memory
from cmc_mcp.errors import Cancelled, CmcError, InvalidInput
from tests.support import reach
from tests.support.memories import at
from tests.support.together import together

START_US = 1_780_000_000_000_000


def opened(path: Path, **arguments: object) -> Memory:
    return at(path, start_us=START_US, step_us=1000, principal=None, **arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as raw:
        return raw.execute(statement).fetchall()


def counts(path: Path) -> dict[str, object]:
    tables = [
        str(name)
        for (name,) in rows(path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
    ]
    return {table: rows(path, f"SELECT count(*) FROM {table}") for table in tables}


def history(memory: Memory) -> str:
    """Write something with every verb; return a live memory."""
    first = memory.remember("The deploy target is Heroku", tags={"topic": "deploy"}).added[0]
    memory.snapshot("before")
    memory.remember("One line.\n\nAnother line.\n", source="notes.txt")
    memory.revise(first, tags={"topic": "hosting"})
    memory.forget(memory.remember("passing").added)
    memory.as_principal("eve").remember("poison", tags={"topic": "deploy"})
    memory.rollback(since=2, writer="eve")
    memory.rollback("before")
    return first


def test_rule_01_nothing_recorded_is_updated_but_the_end_of_a_piece_once(path: Path) -> None:
    seen: dict[tuple[object, ...], tuple[object, ...]] = {}
    ledger: list[tuple[object, ...]] = []
    still = 4_611_686_018_427_387_903
    with opened(path) as memory:
        steps: list[Callable[[], object]] = [
            lambda: memory.remember("a", tags={"t": "1"}), lambda: memory.remember("a", tags={"t": "2"}),
            lambda: memory.remember("a", valid_from="2026-01-01", tags={"t": "3"}), lambda: memory.rollback(1),
            lambda: memory.rollback(3), lambda: memory.rollback(since=1), lambda: memory.remember("b"),
        ]  # fmt: skip
        for step in steps:
            step()
            now = {
                row[:5]: row[5:]
                for row in rows(path, "SELECT ws, rid, valid_from, tx_from, valid_to, facts, tx_to FROM pieces")
            }
            for key, (facts, end) in seen.items():
                assert now[key][0] == facts
                assert now[key][1] == end or end == still, "a piece's end is closed once"
            seen = now
            entries = rows(path, "SELECT * FROM transactions ORDER BY seq")
            assert entries[: len(ledger)] == ledger
            ledger = entries


def test_rule_02_a_call_that_fails_leaves_no_row(path: Path) -> None:
    with opened(path) as memory:
        history(memory)
        before, snapshot = counts(path), memory.snapshot().snapshot
        with pytest.raises(Cancelled):
            memory.remember(
                "never\n\nkept\n", source="x.txt", idempotency_key="k", tags={"a": "1"}, cancel=lambda: True
            )
        with pytest.raises(Cancelled):
            memory.rollback(1, cancel=lambda: True)
        with pytest.raises(InvalidInput):
            memory.remember("x", valid_from="2026-02-01", valid_to="2026-01-01")
        assert counts(path) == before and memory.snapshot().snapshot == snapshot
        receipt = memory.remember("kept\n\ntoo\n", source="x.txt", idempotency_key="k", tags={"a": "1"})
        assert receipt.transactions == 1 and memory.verify().holds


def test_rule_03_writers_queue_and_readers_neither_wait_nor_write(path: Path) -> None:
    with opened(path) as one, opened(path) as other:

        def write(memory: Memory, name: str) -> None:
            for number in range(10):
                memory.remember(f"{name} {number}")

        together(write, [(one, "a"), (other, "b"), (one, "c")])
        assert one.snapshot().transaction == 30 and other.verify().holds
        with reach.exclusive(one):
            before = counts(path)
            assert other.recall("a", limit=3).items and other.history(limit=1).transactions
            assert counts(path) == before


def test_rule_04_the_same_calls_with_the_same_clock_give_the_same_ledger(tmp_path: Path) -> None:
    heads = []
    for name in ("one.db", "two.db"):
        with opened(tmp_path / name) as memory:
            history(memory)
            heads.append([(t.hash, t.snapshot) for t in memory.history(limit=100).transactions])
    assert heads[0] == heads[1] and len(heads[0]) == 9


def test_rule_05_the_same_state_has_the_same_root_however_it_was_reached(tmp_path: Path) -> None:
    roots = []
    for name, order in (("one.db", "ab"), ("two.db", "ba")):
        with opened(tmp_path / name) as memory:
            for word in order:
                memory.remember(f"note {word}", tags={"k": word})
            memory.remember("other", tags={"k": "x"})
            memory.rollback(2)
            memory.snapshot("a label is no memory")
            roots.append(memory.snapshot().root)
    assert roots[0] == roots[1]


def test_rule_06_a_rollback_is_an_append_that_was_previewed_and_can_be_undone(path: Path) -> None:
    with opened(path) as memory:
        memory.remember("one")
        two = memory.remember("two")
        plan = memory.rollback(1, dry_run=True)
        assert plan.receipt is None and memory.snapshot().transaction == 2
        assert [change.id for change in plan.diff.removed] == two.added
        done = memory.rollback(1, digest=plan.digest)
        assert done.diff == plan.diff and memory.snapshot().transaction == 3
        assert memory.snapshot().snapshot == two.snapshot.before
        memory.rollback(done.undo_with)
        assert memory.snapshot().snapshot == two.snapshot.after
        with pytest.raises(CmcError):
            memory.rollback(1, digest=plan.digest)


def test_rule_07_an_answer_says_how_it_was_found_and_a_gate_loses_nothing(path: Path) -> None:
    with opened(path) as memory:
        memory.set_policy("gate.min_confidence", 0.5)
        receipt = memory.remember("perhaps the moon is made of cheese", confidence=0.1)
        assert receipt.quarantined and not receipt.added
        (kept,) = memory.quarantine()
        assert kept.text == "perhaps the moon is made of cheese"
        assert memory.release(kept.id).added
        mode = memory.recall("moon").mode
        assert mode.retrieval == "full_text" and mode.degraded


def test_rule_08_filters_come_before_ranking(path: Path) -> None:
    with opened(path) as memory:
        memory.remember_many([{"content": f"deploy deploy deploy {n}"} for n in range(60)])
        memory.remember_many(
            [{"content": f"once we deploy, and say much else beside {n}", "tags": {"k": "v"}} for n in range(5)]
        )
        items = memory.recall("deploy", tags={"k": "v"}, limit=5).items
        assert len(items) == 5 and all(item.tags == {"k": "v"} for item in items)


def test_rule_09_conflicts_are_shown_on_both_sides(path: Path) -> None:
    claims = [{"subject": "app", "predicate": "runs on", "object": place} for place in ("Heroku", "Fly.io")]
    with opened(path) as memory:
        for claim in claims:
            memory.remember(f"The app runs on {claim['object']}", claim=claim)  # type: ignore[arg-type]
        items = memory.recall("what does the app run on?").items
        assert len(items) == 2 and all(item.conflicts for item in items)


def test_rule_10_stored_text_and_arguments_are_data(path: Path) -> None:
    evil = 'x" OR 1=1; DROP TABLE pieces; -- NEAR(a b) ../../etc'
    with opened(path) as memory:
        memory.remember(evil, tags={"t": evil}, source=evil)
        assert [item.text for item in memory.recall(evil, tags={"t": evil}).items] == [evil]
        assert memory.read_source(evil) == evil.encode()
        assert memory.recall("pieces").items[0].witness.writer == "local"  # type: ignore[union-attr]
        assert memory.verify().holds


def test_rule_11_what_did_not_fit_is_named(path: Path) -> None:
    with opened(path) as memory:
        memory.remember_many([{"content": f"apple number {n}: " + "many words " * 30} for n in range(6)])
        answer = memory.recall("apple", budget_tokens=200, limit=6)
        assert answer.tokens <= 200 and answer.left_out
        names = {item.id for item in answer.items} | set(answer.left_out)
        assert len(names) == 6


def test_rule_12_equal_read_points_give_equal_answers_whatever_comes_later(path: Path) -> None:
    def answer(memory: Memory) -> str:
        found = memory.recall("deploy target", as_of=9, valid_at="2026-06-05")
        body = found.model_dump()
        body.pop("trace")
        return json.dumps(body)

    with opened(path) as memory:
        history(memory)
        before = answer(memory)
        for number in range(30):
            memory.remember(f"deploy target noise {number}")
        with opened(path, workspace="other") as other:
            other.remember_many([{"content": f"deploy target {n}"} for n in range(50)])
        memory.rollback(3)
        assert answer(memory) == before


def test_rule_13_the_core_imports_no_protocol_no_framework_and_no_model() -> None:
    program = (
        "import sys, cmc_mcp; from cmc_mcp import Memory\n"
        "print([m for m in ('mcp', 'langchain_core', 'llama_index', 'langgraph', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
