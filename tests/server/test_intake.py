"""Messages that hold too much: each is refused within half a second and 64 MB, whatever it asks for and however it lies."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cmc_mcp.server.outline as outlines
from cmc_mcp.errors import InvalidInput
from cmc_mcp.limits import MESSAGE_DEPTH_MAX, MESSAGE_ELEMENTS_MAX, PROBLEMS_MAX
from cmc_mcp.memory import Memory
from cmc_mcp.server.admission import Bounds
from cmc_mcp.server.intake import Intake, over
from cmc_mcp.server.outline import outline
from cmc_mcp.server.principals import Principal
from cmc_mcp.server.session import Caller
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.schema import published
from cmc_mcp.verbs import models
from tests.server.rig import local
from tests.serving.http_rig import Place, call, exchange, running
from tests.serving.wire import MODERN, MODULE, Server, _write, event, http_request, tool

CPU_S, MEMORY_BYTES = 0.5, 64 << 20
MUCH: dict[str, bytes] = {
    "a million lists": b"[" + b"[]," * 999_999 + b"[]]",
    "a million texts": b"[" + b'"",' * 999_999 + b'""]',
    "a million names": b"{" + b'"a":[],' * 999_999 + b'"b":1}',
    "ten thousand levels": b"[" * 10_000 + b"]" * 10_000,
    "ten thousand levels of objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "megabytes of text": b'"' + b"x" * (30 << 20) + b'"',
    "megabytes of escapes": b'"' + b"\\u0041" * (5 << 20) + b'"',
    "megabytes of digits": b"1" * (30 << 20),
}
ARGUMENTS = [(spec.name, name) for spec in TOOLS for name in published(spec.verb).model_fields]
ALICE = Principal("alice-" + "a" * 20, Caller("alice", "acme"))
CAROL = Principal("carol-" + "c" * 20, Caller("carol", "acme", read_only=True))
DAVE = Principal("dave-" + "d" * 20, Caller("dave", "acme", per_minute=1))


def message(name: str, argument: str, value: bytes) -> bytes:
    """A call with one argument as raw JSON; the id comes last, as some clients write it."""
    before = json.dumps({"method": "tools/call", "params": {"name": name, "arguments": {argument: 0}}})
    head, _, tail = before.rpartition("0")
    return head.encode() + value + tail[:-1].encode() + b',"jsonrpc":"2.0","id":7}'


def within_bounds(work: Any) -> Any:
    """Do something, and check what it costs."""
    tracemalloc.start()
    try:
        began = time.process_time()
        found = work()
        assert time.process_time() - began < 2 * CPU_S  # being watched costs as much again
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    return found


# ---------------------------------------------------------------------- the look
def _value(rng: random.Random, depth: int = 0) -> object:
    kind = rng.randrange(7)
    if kind == 0 and depth < 5:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 1 and depth < 5:
        return {rng.choice(["a", 'q"', "\\", "é"]): _value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice([1, "x", 'a"b', "\\", '\\\\"', ",[]{}:", "\n\t", None, True, 1.5, ""])


def _count(value: object) -> int:
    if isinstance(value, dict):
        return max(1, len(value)) + sum(map(_count, value.values()))
    return max(1, len(value)) + sum(map(_count, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize("piece", [7, 64, 1 << 18])
def test_an_outline_says_what_the_message_says(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(outlines, "_PIECE_BYTES", piece)
    rng = random.Random(piece)
    for _ in range(300):
        arguments = {rng.choice(["content", "tags", 'x"y', "a\\"]): _value(rng) for _ in range(3)}
        said = {"id": rng.choice([1, "s"]), "method": "tools/call", "params": {"name": "t", "arguments": arguments}}
        parts = list(said.items())
        rng.shuffle(parts)
        data = json.dumps(dict(parts), ensure_ascii=rng.random() < 0.5).encode()
        found = outline(data, 64)
        assert (found.id, found.tool, set(found.arguments)) == (said["id"], "t", set(arguments))
        for name, span in found.arguments.items():
            assert json.loads(data[span.start : span.end]) == arguments[name]
            assert span.elements == _count(arguments[name])


# ---------------------------------------------------------------------- every argument
@pytest.mark.parametrize("what", MUCH)
def test_every_argument_of_every_tool_costs_little_whatever_it_holds(what: str) -> None:
    specs = {spec.name: spec for spec in TOOLS}
    for name, argument in ARGUMENTS:
        data = message(name, argument, MUCH[what])
        found = within_bounds(lambda data=data: outline(data, MESSAGE_DEPTH_MAX))
        error = over(found)
        if error is None:  # then what is left for the protocol's library and for the check is small
            assert found.elements <= MESSAGE_ELEMENTS_MAX
            assert argument == "content"
            given = json.loads(data)["params"]["arguments"]
            specs[name].read({"id": "x", **given} if name == "revise" else given)
            continue
        assert found.id == 7
        assert argument in str(error) or "message" in str(error)


@pytest.mark.parametrize(
    "value",
    [[[]] * 30_000, {f"k{n}": [] for n in range(30_000)}, json.dumps([[]] * 1_000_000)],
    ids=["list", "map", "text"],
)
def test_what_is_admitted_has_bounded_errors(value: object) -> None:
    for spec in TOOLS:
        for argument in published(spec.verb).model_fields:
            with pytest.raises(InvalidInput) as caught:
                within_bounds(lambda spec=spec, argument=argument: spec.read({argument: value, "unheard of": 1}))
            assert len(caught.value.problems) <= PROBLEMS_MAX
            assert len(str(caught.value)) < 50_000


def test_of_a_million_unknown_arguments_twenty_are_named_and_the_rest_counted() -> None:
    given = {f"k{number}": 1 for number in range(1_000_000)}
    with pytest.raises(InvalidInput, match=r"and 999,98. more problems") as caught:
        within_bounds(lambda: TOOLS[0].read({"content": "x", **given}))
    assert len(caught.value.problems) == PROBLEMS_MAX


# ---------------------------------------------------------------------- the library
def _deep(levels: int) -> object:
    found: object = []
    for _ in range(levels):
        found = {"a": found} if isinstance(found, list) else [found]
    return found


LARGE: dict[str, object] = {
    "lists": [[]] * 1_000_000,
    "names": {f"k{number}": [] for number in range(1_000_000)},
    "deep": _deep(10_000),
    "deep map": {"a": _deep(10_000)},
    "text": "x" * (30 << 20),
    "digits": 10**100_000,
}
VERBS = (
    models.Remember, models.Recall, models.Revise, models.Mark, models.Forget, models.Snapshot, models.Rollback,
    models.History, models.Verify,
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.verb)
def test_the_library_refuses_large_arguments_briefly(tmp_path: Path, verb: Any) -> None:
    with Memory.open(tmp_path / "memory.db", embedder=None) as memory:
        (atom,) = memory.remember("The deploy target is Fly.io").added
        needed = {"content": "x", "query": "x", "id": atom, "ids": [atom], "outcome": "used"}
        for name in verb.abouts:
            for value in LARGE.values():
                given = {other: needed[other] for other, about in verb.abouts.items() if about.required}
                began = time.process_time()
                try:
                    getattr(memory, verb.verb)(**{**given, name: value})
                except InvalidInput as error:
                    assert len(str(error.as_dict())) < 60_000
                    assert len(error.problems) <= PROBLEMS_MAX
                except Exception as error:
                    assert type(error).__module__ == "cmc_mcp.errors", (name, error)
                assert time.process_time() - began < 2 * CPU_S, name
        assert memory.recall("deploy").items


# ---------------------------------------------------------------------- over the wire
@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("guarded"), Bounds(), [ALICE, CAROL, DAVE]) as (place, _):
        yield place


def asked(principal: Principal, name: str, argument: str, value: bytes, *, modern: bool = True) -> bytes:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name} if modern else {}
    return http_request(message(name, argument, value), Authorization=f"Bearer {principal.token}", **headers)


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("what", ["a million lists", "ten thousand levels", "megabytes of text"])
def test_over_http_the_answer_names_the_argument(guarded: Place, what: str, modern: bool) -> None:
    status, body = exchange(guarded, asked(ALICE, "mark", "ids", MUCH[what], modern=modern))
    said = event(body)
    assert status == 200 and said["id"] == 7 and said["result"]["isError"]
    assert "[limit_exceeded]" in said["result"]["content"][0]["text"] and "ids" in said["result"]["content"][0]["text"]


def test_who_may_not_call_hears_that_first(guarded: Place) -> None:
    _, body = exchange(guarded, asked(CAROL, "remember", "tool_ids", MUCH["a million lists"]))
    assert "[access_denied]" in event(body)["result"]["content"][0]["text"]
    wrong: dict[str, Any] = {"tool_ids": [[], []]}
    _, body = exchange(guarded, call("remember", wrong, Authorization=f"Bearer {CAROL.token}"))
    assert b"[access_denied]" in body
    exchange(guarded, call("recall", {"query": "x"}, Authorization=f"Bearer {DAVE.token}"))
    refused = call("remember", wrong, Authorization=f"Bearer {DAVE.token}")
    for data in (asked(DAVE, "remember", "tool_ids", MUCH["a million lists"]), refused):
        _, body = exchange(guarded, data)
        assert b"[rate_limited]" in body


@pytest.mark.parametrize("what", ["a million lists", "ten thousand levels", "megabytes of text"])
@pytest.mark.parametrize("method", ["resources/read", "prompts/get", "completion/complete", "tools/list", "made/up"])
def test_other_methods_are_measured_too(guarded: Place, method: str, what: str) -> None:
    data = b'{"jsonrpc":"2.0","id":"a","method":"%s","params":{"uri":%s}}' % (method.encode(), MUCH[what])
    status, body = exchange(guarded, http_request(data, Authorization=f"Bearer {ALICE.token}"))
    said = event(body)
    assert status == 400 and said["id"] == "a" and "limit_exceeded" in said["error"]["message"]


def test_over_stdio_the_answer_names_the_argument_and_the_next_call_is_answered(tmp_path: Path) -> None:
    with Server(MODULE, tmp_path) as server:
        server.handshake()
        for what in ("a million lists", "ten thousand levels", "megabytes of text"):
            assert server.process.stdin is not None
            _write(server.process.stdin.fileno(), message("mark", "ids", MUCH[what]) + b"\n")
            said = server.answer(7)
            assert said["result"]["isError"] and "limit_exceeded" in said["result"]["content"][0]["text"]
        server.send(tool(8, "recall", {"query": "x"}))
        assert not server.answer(8)["result"].get("isError")


@pytest.mark.parametrize("what", MUCH)
def test_a_message_that_is_refused_costs_its_own_bytes_and_half_a_second(tmp_path: Path, what: str) -> None:
    with local(tmp_path) as session:
        intake = Intake(session)
        session.memory(session.caller())
        for data in (message("remember", "tool_ids", MUCH[what]), MUCH[what]):
            assert within_bounds(lambda data=data: intake._measured(data)) is not None
