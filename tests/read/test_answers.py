"""Equal read points give equal answers, byte for byte, whatever happens to the store in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cmc_mcp.embed import MiniLM
from cmc_mcp.errors import InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RecallResult
from tests.read.made import opened, without_matrix
from tests.support.embedders import HashVectors

VERBS = ("deploy", "test", "paint", "review", "ship")
THINGS = ("the app", "the boat", "the garden", "the report", "the kiosk")
CASES = 25  # of which each asks four questions


def _bytes(answer: RecallResult) -> str:
    return answer.model_dump_json(exclude={"trace"})


def _write(memory: Memory, rng: random.Random) -> None:
    def text() -> str:
        return f"{rng.choice(VERBS)} {rng.choice(THINGS)} {rng.randint(1, 30)}~{rng.choice(['=', '1', '2'])}"

    known = [item.id for item in memory.recall(rng.choice(VERBS), limit=5).items]
    choice = rng.random()
    if choice < 0.5 or not known:
        memory.remember_many(
            [
                {
                    "content": text(),
                    "tags": {"t": rng.choice("ab")},
                    "confidence": rng.choice([None, 0.5, 0.95]),
                    **({"session": "talk", "speaker": rng.choice(["Ann", "Ben"])} if rng.random() < 0.3 else {}),
                    **(
                        {"claim": {"subject": "it", "predicate": "is", "object": rng.choice("xyz")}}
                        if rng.random() < 0.3
                        else {}
                    ),
                }
                for _ in range(rng.randint(1, 6))
            ]  # type: ignore[list-item]
        )
    elif choice < 0.6:
        memory.remember(f"# {text()}\n\n{text()}\n\n{text()}", source=f"doc{rng.randint(1, 3)}")
    elif choice < 0.7:
        memory.forget(rng.choice(known))
    elif choice < 0.8:
        memory.revise(rng.choice(known), content=text())
    elif choice < 0.9:
        memory.revise(
            rng.choice(known), tags={"t": rng.choice("ab")}, valid_from=rng.choice(["2026-01-01", "2027-01-01"])
        )
    else:
        memory.rollback(rng.randint(1, memory.recall("x").read_point.transaction), dry_run=rng.random() < 0.3)


def _questions(memory: Memory, rng: random.Random) -> list[dict[str, object]]:
    head = memory.recall("x").read_point
    return [
        {
            "query": f"{rng.choice(VERBS)} {rng.choice(THINGS)}",
            "as_of": rng.randint(max(1, head.transaction - 3), head.transaction),
            "valid_at": rng.choice([head.valid_at, "2025-01-01T00:00:00Z", "2026-05-05T00:00:00Z"]),
            "limit": rng.choice([1, 5, 20]),
            "budget_tokens": rng.choice([60, 300, 2000]),
            "tags": rng.choice([None, {"t": "a"}]),
            "min_confidence": rng.choice([None, 0.5]),
            "detail": rng.choice(["concise", "detailed"]),
        }
        for _ in range(4)
    ]


@pytest.mark.parametrize("seed", range(CASES))
def test_an_answer_at_a_read_point_never_changes(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    memory = opened(tmp_path)
    other = memory.as_principal("else", "other")
    for _ in range(rng.randint(2, 6)):
        _write(memory, rng)
    asked = _questions(memory, rng)
    answers = [_bytes(memory.recall(**question)) for question in asked]  # type: ignore[arg-type]

    def check(reader: Memory) -> None:
        assert [_bytes(reader.recall(**question)) for question in asked] == answers  # type: ignore[arg-type]

    check(memory)
    for _ in range(4):
        _write(memory, rng)
        _write(other, rng)
        check(memory)
    memory.rollback(1)
    check(memory)
    slow = without_matrix(memory)
    check(slow)
    memory.close()
    with opened(tmp_path) as memory:
        check(memory)


def test_now_is_a_read_point_that_can_be_asked_for_again(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"deploy the app {i}"} for i in range(20)])
        first = memory.recall("deploy app")
        memory.remember("deploy the app once more")
        again = memory.recall("deploy app", as_of=first.read_point.transaction, valid_at=first.read_point.valid_at)
        assert [(item.id, item.score) for item in again.items] == [(item.id, item.score) for item in first.items]


def test_the_bundled_model_answers_alike_with_and_without_the_matrix(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory.db") as memory:
        memory.remember_many([{"content": f"{verb} {thing}"} for verb in VERBS for thing in THINGS])
        seq = memory.recall("x").read_point.transaction
        fast = _bytes(memory.recall("putting the program into production", as_of=seq))
        slow = without_matrix(memory)
        assert _bytes(slow.recall("putting the program into production", as_of=seq)) == fast


def test_pages_give_every_memory_once_and_stay_put_under_writes(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"deploy number {i} {'x ' * (i % 7) * 9}~{i % 3}"} for i in range(230)])
        memory.remember("deploy number 7 ~1", session="talk")
        whole: list[str] = []
        cursor, pages = None, 0
        while True:
            page = memory.recall("deploy number", limit=7, budget_tokens=400, cursor=cursor)
            assert page.tokens <= 400 and len(page.items) <= 7
            whole += [item.id for item in page.items]
            cursor, pages = page.next_cursor, pages + 1
            if cursor is None:
                break
            memory.remember(f"deploy number {pages} afterwards")
            memory.forget(page.items[0].id)
        assert len(whole) == len(set(whole)) == 231  # the same words in a session are another memory
        first = memory.recall("deploy number", limit=7, budget_tokens=400, as_of=2, valid_at=page.read_point.valid_at)
        assert [item.id for item in first.items] == whole[: len(first.items)]


def test_pages_by_full_text_alone_give_every_match_once(tmp_path: Path) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        memory.remember_many([{"content": f"deploy {i}" if i % 2 else f"other {i}"} for i in range(400)])
        whole, cursor = [], None
        while True:
            page = memory.recall("deploy", limit=30, cursor=cursor)
            whole += [item.text for item in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert sorted(whole) == sorted(f"deploy {i}" for i in range(1, 400, 2))


def test_a_cursor_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"deploy {i}"} for i in range(40)])
        other = memory.as_principal("local", "other")
        other.remember_many([{"content": f"deploy {i}"} for i in range(40)])
        cursor = memory.recall("deploy").next_cursor
        assert cursor is not None
        assert memory.recall("deploy", cursor=cursor).items
        for reader, question in (
            (other, {"query": "deploy"}),
            (memory, {"query": "deploys"}),
            (memory, {"query": "deploy", "limit": 11}),
            (memory, {"query": "deploy", "tags": {"a": "b"}}),
        ):
            with pytest.raises(InvalidInput, match="cursor"):
                reader.recall(cursor=cursor, **question)  # type: ignore[arg-type]
        for broken in ("", "x", cursor[:-2], cursor[::-1], "W10", "WzFd", "eyJhIjoxfQ", "a" * 5000, "é"):
            with pytest.raises(InvalidInput, match="cursor"):
                memory.recall("deploy", cursor=broken)
        with pytest.raises(InvalidInput, match="as_of"):
            memory.recall("deploy", cursor=cursor, as_of=1)


def test_a_source_or_a_note_is_named_by_either(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember("deploy from a document", source="doc")
        note = memory.remember("deploy from a note").added[0]
        memory.remember("deploy from elsewhere")
        origin = "note:" + memory.history(id=note).memory.model_dump()["id"]  # type: ignore[union-attr]
        assert [item.text for item in memory.recall("deploy", source="doc").items] == ["deploy from a document"]
        assert memory.recall("deploy", source=origin).items == []
        from cmc_mcp.kernel.identity import note_origin

        named = note_origin(b"deploy from a note")
        assert [item.text for item in memory.recall("deploy", source=named).items] == ["deploy from a note"]
        both = {item.text for item in memory.recall("deploy", source=[named, "doc"]).items}
        assert both == {"deploy from a document", "deploy from a note"}


def test_a_model_that_cannot_be_loaded_is_named_and_full_text_answers(tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    with Memory.open(tmp_path / "memory.db", embedder=MiniLM(data_dir=empty)) as memory:
        receipt = memory.remember("the deploy target is a kiosk")
        assert receipt.pending == 1
        for _ in range(2):
            answer = memory.recall("deploy target")
            assert [item.text for item in answer.items] == ["the deploy target is a kiosk"]
            assert answer.mode.retrieval == "full_text" and answer.mode.model is None
            assert answer.mode.degraded is not None and answer.mode.pending == 1
    with Memory.open(tmp_path / "memory.db") as memory:
        assert memory.recall("where do we ship it?").mode.pending == 1
        assert memory.embed_pending() == 1
        answer = memory.recall("where is the program put?")
        assert answer.items and answer.mode.retrieval == "hybrid" and answer.mode.degraded is None


def test_the_trace_names_every_stage_with_counts_and_times(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": f"deploy {i}"} for i in range(30)])
        memory.remember("deploy 3", session="talk")
        answer = memory.recall("deploy 3", explain=True)
        stages = {stage.stage: stage for stage in answer.trace}
        assert list(stages) == ["filter", "terms", "dense", "lexical", "rank", "load", "reconcile", "items", "fit"]
        assert stages["filter"].candidates == 31 and stages["fit"].candidates == 10
        assert stages["lexical"].notes["terms"] == {"deploi": 31, "3": 2}
        assert all(stage.ms >= 0 for stage in answer.trace)
        why = answer.items[0].why
        assert why is not None and why["lexical"] == 1.0
        assert {"score", "dense", "lexical", "phrase", "qs", "ids", "dd", "rs", "decay"} <= set(why)
        assert memory.recall("deploy 3").trace == []
        assert memory.recall("deploy", tags={"no": "such"}, explain=True).trace[0].notes == {"passes": "nothing"}


def test_the_embedder_is_asked_for_the_question_alone(tmp_path: Path) -> None:
    class Counting(HashVectors):
        asked = 0

        def embed(self, texts):  # type: ignore[no-untyped-def]
            self.asked += len(texts)
            return super().embed(texts)

    embedder = Counting()
    with opened(tmp_path, embedder=embedder) as memory:
        memory.remember_many([{"content": f"deploy {i}"} for i in range(30)])
        before = embedder.asked
        memory.recall("deploy")
        assert embedder.asked == before + 1
