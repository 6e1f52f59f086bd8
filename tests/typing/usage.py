"""The public API as a typed program uses it. It is checked and never run.

`test_typing.py` has mypy and pyright read it, both strict. A line that must be an error says which, and is itself an error as
soon as it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

from pydantic import JsonValue

from cmc_mcp import (
    Clock,
    CmcError,
    Collection,
    Diff,
    Entry,
    FixedClock,
    ForgetResult,
    Found,
    HistoryResult,
    Item,
    Memory,
    RecallResult,
    Receipt,
    RollbackResult,
    Settings,
    SnapshotResult,
    SystemClock,
    VerifyResult,
    Witness,
    __version__,
)
from cmc_mcp.errors import Ambiguous, InvalidInput, NotFound, Problem
from cmc_mcp.ids import Pid, Rid, Seq
from cmc_mcp.merkle import log, proof
from cmc_mcp.store.ports import LedgerView

version: str = __version__


def opening(path: Path) -> None:
    with Memory.open(path, workspace="acme", principal="maya", embedder=None, settings=Settings(dvns=True)) as memory:
        assert_type(memory, Memory)
        assert_type(memory.as_principal("eve"), Memory)
        assert_type(memory.workspaces(), list[str])
        assert_type(memory.status(), dict[str, str | int | None])
    Memory.open("postgresql://cmc@db.internal/memory", objects="s3://memory/objects")
    Memory.open(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Memory.open(path, workspce="acme")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def clocks() -> None:
    fixed: Clock = FixedClock(0, step_us=1)
    system: Clock = SystemClock()
    assert_type(fixed.now_us() + system.now_us(), int)


def writing(memory: Memory) -> None:
    receipt = memory.remember("We deploy to Fly.io", tags={"topic": "deploy"}, valid_from="2026-06-01", confidence=0.9)
    assert_type(receipt, Receipt)
    assert_type(receipt.added, list[str])
    assert_type(memory.remember(b"\x89PNG", modality="image", media_type="image/png"), Receipt)
    assert_type(memory.remember_many([{"content": "one"}, {"content": "two", "speaker": "Maya"}]), Receipt)
    assert_type(memory.revise(receipt.added[0], tags={"topic": "hosting"}), Receipt)
    assert_type(memory.mark(receipt.added, "right"), Receipt)
    assert_type(memory.forget(receipt.added, dry_run=True), ForgetResult)
    memory.remember("x", taggs={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    memory.remember("x", confidence="sure")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    memory.remember_many([{"contents": "one"}])  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportArgumentType]
    memory.mark(receipt.added, "maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def reading(memory: Memory) -> None:
    answer = memory.recall(
        "where do we deploy?", as_of="before", valid_at="2026-06-05", tags={"topic": "deploy"}, limit=3
    )
    assert_type(answer, RecallResult)
    assert_type(answer.items, list[Item])
    assert_type(answer.items[0].tags, dict[str, str])
    assert_type(answer.items[0].valid_from, str | None)
    assert_type(answer.next_cursor, str | None)
    assert_type(memory.read_source("notes.txt"), bytes)
    assert_type(memory.history(), HistoryResult)
    assert_type(memory.history(from_=1, to="before").diff, Diff | None)
    if (witness := answer.items[0].witness) is not None:
        assert_type(witness.writer, str)
    _ = answer.items[0].sore  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def going_back(memory: Memory) -> None:
    before = memory.snapshot("before", note="why")
    assert_type(before, SnapshotResult)
    assert_type(memory.rollback(before, dry_run=True), RollbackResult)
    assert_type(memory.rollback(since=before.transaction, writer="eve").receipt, Receipt | None)
    assert_type(memory.verify(deep=True), VerifyResult)
    assert_type(memory.verify().holds, bool)


def collecting(memory: Memory) -> None:
    entries = memory.collection("notes")
    assert_type(entries, Collection)
    assert_type(entries.put([Entry("1", "text", metadata={"floor": 2})]), list[Receipt])
    assert_type(entries.get(["1"]), list[Found])
    assert_type(entries.get(["1"])[0].metadata, dict[str, JsonValue])
    Entry("1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def failing(memory: Memory) -> None:
    try:
        memory.recall("")
    except InvalidInput as error:
        assert_type(error.problems, tuple[Problem, ...])
    except (NotFound, Ambiguous) as error:
        assert_type(error.code, str)
    except CmcError as error:
        said: Mapping[str, object] = error.as_dict()
        print(said)


def proving(leaf: bytes, path: list[bytes], root: bytes) -> None:
    assert_type(log.leaf_hash(leaf), bytes)
    proof.verify_inclusion(log.leaf_hash(leaf), 0, 1, path, root)
    proof.verify_inclusion("leaf", 0, 1, path, root)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def witnessed(witness: Witness) -> None:
    assert_type(witness.tool_ids, tuple[str, ...])
    witness.writer = "eve"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def numbered(view: LedgerView, seq: Seq, rid: Rid, pid: Pid) -> None:
    assert_type(view.payload(pid), bytes | None)
    assert_type(view.changed(seq, view.head().seq), list[Rid])
    view.payload(rid)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    view.intervals(pid)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    view.intervals(rid, rid)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    view.pid(view.record(rid).key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    view.payload(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
