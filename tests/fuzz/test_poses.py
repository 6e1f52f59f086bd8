"""Stored text is data: 500 texts that pose as something else, in every field, through every face."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from rich.console import Console

from cmc_mcp import Memory
from cmc_mcp.cli import answers
from cmc_mcp.cli.app import run
from cmc_mcp.cli.show import Out
from cmc_mcp.model.shown import body as body_of
from cmc_mcp.model.shown import clean, value
from cmc_mcp.prompts import load_prompts
from cmc_mcp.read.frame import Names
from cmc_mcp.server import logs
from tests.fuzz.poses import FAKE, poses
from tests.server.rig import data, local, talk, text
from tests.support.frame import Read, memories, read

POSES = poses(500)
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SHORT = Names()


def test_five_hundred_poses_are_five_hundred_different_texts() -> None:
    assert len(POSES) == len(set(POSES)) == 500
    assert sum(bool(RAW.search(pose)) for pose in POSES) > 100


# ---------------------------------------------------------------------- through real MCP
FIELDS: tuple[dict[str, Callable[[str], Any]], ...] = (
    {"title": lambda p: p, "tags": lambda p: {"topic": p}, "model_id": lambda p: p},
    {"claim": lambda p: {"subject": p, "predicate": "says", "object": p}},
    {"session": lambda p: p, "speaker": lambda p: p, "prompt_template_id": lambda p: p},
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    """A store with all the poses, and which memory holds which."""
    with local(tmp_path_factory.mktemp("poses")) as session:
        memory: Memory = session.memory(session.caller())
        told: dict[str, str] = {}
        for number, pose in enumerate(POSES):
            arguments: dict[str, Any] = {"content": f"pose {pose}", "modality": "tool:result", "session": "poses"}
            arguments |= {name: give(pose) for name, give in FIELDS[number % 3].items()}
            (told[pose],) = memory.remember(**arguments).added
            if number % 25 == 0:
                memory.snapshot(pose, note=pose)
                memory.revise(told[pose], priority=0.7, reason=pose)
                memory.remember(f"origin {number}", source=pose)
        yield session, told


def test_through_mcp_each_pose_comes_back_in_its_own_field_byte_for_byte(kept: tuple[Any, dict[str, str]]) -> None:
    session, told = kept
    poses_of = {name: pose for pose, name in told.items()}
    seen: set[str] = set()

    async def body(client: Client) -> None:
        for detail in ("concise", "detailed"):
            arguments = {"query": "pose", "limit": 200, "budget_tokens": 100_000, "detail": detail}
            while True:
                result = await client.call_tool("recall", arguments)
                seen.update(checked(result, poses_of))
                cursor = data(result).get("next_cursor")
                if cursor is None:
                    break
                arguments["cursor"] = cursor

    talk(session, body)
    assert seen >= set(poses_of)


def checked(result: Any, poses_of: dict[str, str]) -> set[str]:
    """Check one answer of recall, as structure and as text; return the ids in it."""
    structure = data(result)
    found, rest = read(text(result))
    by_name = {one.name: one for one in found}
    assert sorted(by_name) == sorted(SHORT(item["id"]) for item in structure["items"]) and len(by_name) == len(found)
    for item in structure["items"]:
        one = by_name[SHORT(item["id"])]
        same = by_name[one.parts["same"][0][0]] if "same" in one.parts else one
        assert same.words == clean(item["text"])
        same_marks(item, one)
        if pose := poses_of.get(item["id"]):
            assert item["text"] == f"pose {pose}"
            assert {item.get("title", pose), item.get("speaker", pose)} == {pose}
            assert item["session"] in (pose, "poses") and item["source"] == f"session:{item['session']}"
            assert set(item.get("tags", {}).values()) <= {pose}
            assert set(item.get("claim", {}).values()) <= {pose, "says"}
            if "detailed" in text(result) and item.get("witness"):
                assert item["witness"].get("model_id") in (None, pose)
    cursors = [line for line in rest if line.startswith("more: ")]
    assert [line.rpartition("cursor=")[2] for line in cursors] == [c for c in [structure.get("next_cursor")] if c]
    assert sum(line.startswith("read at ") for line in rest) == 1
    assert not any(line.startswith("hidden: ") for line in rest)
    return {item["id"] for item in structure["items"]}


def same_marks(item: dict[str, Any], one: Read) -> None:
    """Check that the head has the marks that the structure has, and no other."""
    witness = item.get("witness", {})
    assert one.speaker == item.get("speaker", "")
    assert one.parts.get("title", []) == ([(item["title"],)] if "title" in item else [])
    assert one.parts.get("tag", []) == list(item.get("tags", {}).items())
    assert one.writer == witness["writer"]
    assert one.group[:2] == (("session", item["session"]) if "session" in item else ("source", item["source"]))
    expected = {
        "superseded": bool(item.get("superseded_by")), "stale": bool(item.get("stale_premises")),
        "conflict": sum(note["kind"] in ("claim", "contradicts") for note in item.get("conflicts", [])),
        "confidence": bool(witness.get("band")), "excerpt": bool(item.get("original_tokens")),
        "valid": bool(item.get("valid_from") or item.get("valid_to")), "duplicates": bool(item.get("duplicates")),
    }  # fmt: skip
    assert {kind: len(one.parts.get(kind, [])) for kind in expected} == expected, one.parts


def test_history_shows_each_pose_in_its_own_place(kept: tuple[Any, dict[str, str]]) -> None:
    session, told = kept

    async def body(client: Client) -> None:
        for pose, name in list(told.items())[::10]:
            result = await client.call_tool("history", {"id": name})
            (one,), rest = memories(text(result).split("\n"))
            assert data(result)["memory"]["text"] == f"pose {pose}"
            assert one.name == name.removeprefix("atom_") and one.words == clean(f"pose {pose}")
            assert sum(line.startswith("believed since") for line in rest) == len(data(result)["versions"])
        arguments: dict[str, Any] = {"limit": 1_000}
        ledger = await client.call_tool("history", arguments)
        entries = data(ledger)["transactions"]
        lines = text(ledger).split("\n")
        assert [line.split(" ")[0] for line in lines] == [str(entry["transaction"]) for entry in entries]
        assert {entry["reason"] for entry in entries if "reason" in entry} >= set(POSES[::25])
        for diff in ({"from": "0"}, {"from": "1", "to": "40"}):
            result = await client.call_tool("history", diff)
            changes = data(result)["diff"]
            _, *records = text(result).split("\n")
            wanted = [r["id"] for kind in ("added", "removed", "changed") for r in changes.get(kind, [])]
            assert [line.split(" ")[1].rstrip(":") for line in records if not line.startswith("Cut ")] == wanted

    talk(session, body)


def test_resources_and_prompts_hold_a_pose_where_it_belongs(kept: tuple[Any, dict[str, str]]) -> None:
    session, told = kept

    async def body(client: Client) -> None:
        for pose, name in list(told.items())[::50]:
            (content,) = (await client.read_resource(f"cmc://atoms/{name}")).contents
            assert json.loads(getattr(content, "text", ""))["memory"]["text"] == f"pose {pose}"

    talk(session, body)
    prompt = next(one for one in load_prompts() if one.name == "recall_context")
    for pose in POSES[::5]:
        if not pose.strip():
            continue
        plain, posed = (anyio.run(prompt.render, {"task": task}, None) for task in ("@@@", pose))
        (before,), (after,) = plain, posed
        assert after.role == "user"
        assert getattr(after.content, "text", "") == getattr(before.content, "text", "").replace(" @@@", body_of(pose))
    prompt = next(one for one in load_prompts() if one.name == "review_changes")
    for pose in POSES[::5]:
        if not pose.strip():
            continue
        plain, posed = (anyio.run(prompt.render, {"since": since}, None) for since in ("aaa", pose))
        (before,), (after,) = plain, posed
        assert getattr(after.content, "text", "") == getattr(before.content, "text", "").replace("aaa", value(pose))


# ---------------------------------------------------------------------- on the command line
@pytest.fixture
def cmc(
    kept: tuple[Any, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    session, _ = kept
    monkeypatch.setenv("CMC_STORE", session._configuration.store)
    monkeypatch.setenv("CMC_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("CMC_SIGNING_KEY_FILE", str(tmp_path / "signing.key"))

    def call(*arguments: str) -> str:
        code = run(["--no-model", *arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        for stream in (captured.out, captured.err):
            found = RAW.search(stream)
            assert found is None, f"{arguments}: {found and found[0]!r} reaches the terminal"
        return captured.out

    return call


def test_no_command_sends_a_control_sequence_to_the_terminal(
    cmc: Callable[..., str], kept: tuple[Any, dict[str, str]]
) -> None:
    _, told = kept
    cmc("recall", "pose", "--limit", "200", "--budget", "100000")
    for name in list(told.values())[::100]:
        cmc("show", name)
    for command in (
        ["log", "--limit", "1000"],
        ["history"],
        ["diff", "0"],
        ["sources"],
        ["quarantine", "list"],
        ["doctor"],
    ):
        cmc(*command)
    assert len(cmc("sources").splitlines()) == len(json.loads(cmc("--json", "sources")))
    found = json.loads(cmc("--json", "recall", "pose", "--limit", "200", "--budget", "100000"))
    poses_of = {name: pose for pose, name in told.items()}
    same = [item["text"] == f"pose {poses_of[item['id']]}" for item in found["items"] if item["id"] in poses_of]
    assert len(same) > 100 and all(same)


def test_nor_does_a_colourful_terminal(kept: tuple[Any, dict[str, str]]) -> None:
    session, _ = kept
    memory = session.memory(session.caller())
    stream = io.StringIO()
    out = Out(Console(file=stream, force_terminal=True, color_system=None, width=120, markup=False, emoji=False))
    answers.recalled(out, memory.recall("pose", limit=100, budget_tokens=100_000))
    answers.history(out, memory.history(limit=200))
    answers.diff(out, memory.history(from_=0).diff)
    assert len(stream.getvalue()) > 10_000
    assert RAW.search(stream.getvalue()) is None


def test_a_pose_can_neither_forge_a_line_of_the_log_nor_move_its_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("tests.poses")
    handler = logging.StreamHandler()
    handler.setFormatter(logs._Line("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    for pose in POSES:
        logger.error("about %s", pose)
        try:
            raise ValueError(pose)
        except ValueError:
            logs.log().exception("unexpected error", resource=f"cmc://atoms/{pose}")
    logger.removeHandler(handler)
    written = capfd.readouterr().err
    assert RAW.search(written) is None
    lines = written.splitlines()
    assert len(lines) == 2 * len(POSES)
    assert all(line.startswith(("ERROR about ", "timestamp=")) for line in lines)


def test_what_an_error_quotes_stays_on_its_line(kept: tuple[Any, dict[str, str]]) -> None:
    session, _ = kept

    async def body(client: Client) -> None:
        for pose in POSES[::10]:
            for tool, arguments in (
                ("remember", {"content": "x", "modality": pose}), ("history", {"id": pose}), ("snapshot", {"label": pose}),
                ("remember", {"content": "x", pose: "y"}), ("recall", {"query": "x", "as_of": pose}),
                ("remember", {"content": "x", "tags": {pose: "y"}, "valid_from": pose}),
            ):  # fmt: skip
                result = await client.call_tool(tool, arguments)
                if not result.is_error:
                    continue
                said = text(result)
                assert RAW.search(said) is None, said
                head, *lines = said.split("\n")
                assert head.startswith(f"{tool} failed [")
                assert all(line.startswith(("- ", "What to do: ")) for line in lines), said
                assert sum(line.startswith("What to do: ") for line in lines) == 1
                assert f"\n[{FAKE}" not in said

    talk(session, body)
