"""`snapshot`: the id of the present state, and a name for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cmc_mcp.model.results import SnapshotResult
from cmc_mcp.tools.schema import Arguments
from cmc_mcp.tools.tool import Call, Hints, ToolSpec

DESCRIPTION = """Get the id of memory's present state, to come back to, compare or cite; a label gives it a name.
Use it before something risky and at milestones. Every write answers with a snapshot id too. Without a label nothing \
is written; the same state has the same id.
Example: {"label": "before the refactor"}"""


class SnapshotArguments(Arguments):
    """The arguments of `snapshot`."""

    label: Annotated[str | None, Field(description="Unique name")] = None
    note: str | None = None
    force: Annotated[bool, Field(description="Move the label")] = False


def handle(call: Call, asked: SnapshotArguments) -> SnapshotResult:
    """Take a snapshot."""
    return call.memory.snapshot(asked.label, note=asked.note, force=asked.force)


def write(result: SnapshotResult, asked: SnapshotArguments) -> list[str]:
    """Write the answer."""
    named = f" labelled {result.label!r}" if result.label else ""
    when = f", recorded {result.recorded_at}" if result.recorded_at else ""
    counts = ", ".join(f"{count:,} {name}" for name, count in result.counts.items())
    return [
        f"Snapshot {result.snapshot}{named}: transaction {result.transaction}{when}; {counts}",
        f"root {result.root}",
        "To come back: rollback with this id. To compare: history with from set to it.",
    ]


TOOL = ToolSpec(
    name="snapshot",
    title="Snapshot",
    description=DESCRIPTION,
    arguments=SnapshotArguments,
    result=SnapshotResult,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=handle,
    write=write,
    reads=lambda asked: asked.label is None,
)
