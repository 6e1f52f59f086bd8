"""Every tool under random calls: no crash, no partial write, no leak; and the judge sees each kind of fault."""

from __future__ import annotations

import json
import random
import secrets
from pathlib import Path
from typing import Any

import anyio
import pytest

from cmc_mcp import Memory
from cmc_mcp.errors import NotFound
from cmc_mcp.tools import history, revise
from tests.fuzz import calls
from tests.fuzz.calls import CHAPTER, Fuzzed, chapter, opened, run, shortest, spread
from tests.fuzz.given import Giver, Pool
from tests.fuzz.subject import CODES, NetworkUsed, Subject, no_network
from tests.pg.plugin import examples
from tests.soak import Job

CALLS = examples(3_000, 1_000)


@pytest.mark.slow
def test_no_call_crashes_writes_in_part_or_says_what_it_should_not(tmp_path: Path) -> None:
    seed = 20_261_125
    result = run(Job(CALLS, seed, tmp_path))
    assert result.failures == [], f"python -m tests.soak fuzz --seed {seed} --count {CALLS}"
    assert result.done == CALLS
    assert result.answers > CALLS // 5, "enough calls must do something"
    assert set(result.codes) >= {"ok", "invalid_input", "limit_exceeded", "not_found", "conflict"}
    assert set(result.codes) <= CODES | {"ok"}
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_a_run_that_goes_on_asks_what_the_whole_run_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CHAPTER", 100)
    whole = run(Job(200, 5, tmp_path))
    half = run(Job(100, 5, tmp_path))
    rest = run(Job(200, 5, tmp_path, json.loads(json.dumps(vars(half)))))
    assert (rest.done, rest.codes, rest.tools) == (whole.done, whole.codes, whole.tools)


def test_a_new_argument_of_a_new_tool_is_drawn_for_at_once() -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string"}, "depth": {"type": "integer"}, "which": {"enum": ["a", "b"]}},
        "required": ["colour"],
    }
    giver = Giver(random.Random(1), Pool())
    drawn = [giver.arguments(schema) for _ in range(300)]
    assert all(any(name in one for one in drawn if isinstance(one, dict)) for name in schema["properties"])
    assert any("colour" not in one for one in drawn if isinstance(one, dict))
    assert {type(one["depth"]).__name__ for one in drawn if isinstance(one, dict) and "depth" in one} > {"int", "str"}


# ---------------------------------------------------------------------- what the judge must see
def faults(folder: Path, count: int = 400) -> list[str]:
    """Fuzz for a while; return what was found first."""

    async def write() -> list[str]:
        with opened(folder, "faulty", embedded=False) as subject:
            return (await chapter(subject, random.Random(3), count, Fuzzed(3)))[1]

    return anyio.run(write)


def broken(monkeypatch: pytest.MonkeyPatch, name: str, how: Any) -> None:
    """Put something in the place of a method of the memory, for tools as much as for anybody."""
    original = getattr(Memory, name)
    monkeypatch.setattr(Memory, name, lambda self, *args, **named: how(self, original, *args, **named))


def test_an_error_that_nobody_expects_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "history", lambda memory, original, *args, **named: {}["x"])
    assert any("internal is not documented" in line for line in faults(tmp_path))


def test_a_write_before_the_check_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        memory.remember("written too early " + secrets.token_hex(4))
        return original(memory, *args, **named)

    broken(monkeypatch, "revise", hasty)
    assert any("revise failed, and the store changed" in line for line in faults(tmp_path))


def test_an_object_file_that_an_error_leaves_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def littering(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        folder = Path(f"{tmp_path / 'faulty.db'}.objects")
        folder.mkdir(exist_ok=True)
        (folder / secrets.token_hex(4)).write_text("half")
        return original(memory, *args, **named)

    broken(monkeypatch, "mark", littering)
    assert any("mark failed, and the store changed" in line for line in faults(tmp_path))


def test_a_dry_run_that_writes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wet(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        if named.get("dry_run"):
            memory.remember("no rehearsal " + secrets.token_hex(4))
        return original(memory, *args, **named)

    broken(monkeypatch, "rollback", wet)
    assert any("rollback" in line and "and the store changed" in line for line in faults(tmp_path))


@pytest.mark.parametrize("said", ["no such table: atoms", "{store}", "1 validation error, see errors.pydantic.dev"])
def test_a_message_that_leaks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def leaking(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        raise NotFound(said.replace("{store}", f"looked in {tmp_path}/faulty.db"))

    broken(monkeypatch, "history", leaking)
    assert any("the error says" in line or "names a path" in line for line in faults(tmp_path))


def test_an_answer_that_breaks_its_schema_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import subject

    stricter = {**subject.VALIDATORS}
    for name, held in subject.VALIDATORS.items():
        stricter[name] = type(held)({**held.schema, "maxProperties": 1})
    monkeypatch.setattr(subject, "VALIDATORS", stricter)
    assert any("not by its schema" in line for line in faults(tmp_path))


def test_what_belongs_to_another_workspace_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        return original(memory.as_principal("fuzz", "other"), from_=0)

    broken(monkeypatch, "history", foreign)
    assert any("told of another workspace" in line for line in faults(tmp_path))


def test_a_slow_call_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.subject.SLOW_S", 0.0)
    assert any(" took " in line for line in faults(tmp_path, 3))


def test_memory_that_grows_is_found() -> None:
    flat, growing = [100.0 + n % 2 for n in range(100)], [100.0 + n / 4 for n in range(100)]
    assert abs(spread(flat)) < calls.RSS_SPREAD < spread(growing)


def test_memory_that_a_handler_keeps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytes] = []
    monkeypatch.setattr(calls, "_one", lambda job, result, number, count: kept.append(bytes(range(256)) * 400_000))
    result = run(Job(8 * CHAPTER, 1, tmp_path))
    assert any("memory is not flat" in line for line in result.failures)


def test_a_failure_is_shown_again_by_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sulking(memory: Memory, original: Any, *args: Any, **named: Any) -> Any:
        receipt = original(memory, *args, **named)
        if memory.status()["transaction"] >= 3:
            raise KeyError("three is too many")
        return receipt

    broken(monkeypatch, "remember", sulking)
    told = [("remember", {"content": f"note {n}"}) for n in range(9)]
    asked = [call for note in told[:4] for call in (("history", {}), ("recall", {"query": "note"}), note)]
    few = shortest(tmp_path, asked, embedded=False)
    assert few is not None and len(few) <= 3 and few[-1] == asked[-1]


def test_the_network_is_out_of_reach_while_fuzzing() -> None:
    import socket

    with no_network():
        with pytest.raises(NetworkUsed):
            socket.create_connection(("127.0.0.1", 9))
        with socket.socket() as made, pytest.raises(NetworkUsed):
            made.connect(("127.0.0.1", 9))
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))


def test_every_tool_of_the_server_is_fuzzed(tmp_path: Path) -> None:
    subject = Subject(tmp_path / "all.db")
    try:
        listed = anyio.run(subject.server.list_tools)
        assert {tool.name for tool in listed} == set(subject.tools)
    finally:
        subject.close()
    assert {history.TOOL.name, revise.TOOL.name} < set(subject.tools)
