"""`snapshot`: the id of the present state, and a name for it."""

from __future__ import annotations

from cmc_mcp.model.results import SnapshotResult
from cmc_mcp.model.shown import value
from cmc_mcp.tools.tool import Hints, ToolSpec, ask
from cmc_mcp.verbs.models import Snapshot

DESCRIPTION = """Get the id of memory's present state, to come back to, compare or cite; a label gives it a name.
Use it before something risky and at milestones. Every write answers with a snapshot id too. Without a label nothing \
is written; the same state has the same id.
Example: {"label": "before the refactor"}"""


def write(result: SnapshotResult, asked: Snapshot) -> list[str]:
    """Write the answer."""
    named = f" labelled {value(result.label)}" if result.label else ""
    when = f", recorded {result.recorded_at}" if result.recorded_at else ""
    counts = ", ".join(f"{count:,} {name}" for name, count in result.counts.items())
    return [
        f"Snapshot {result.snapshot}{named}: transaction {result.transaction}{when}; {counts}",
        f"root {result.root}",
        "To come back: rollback with this id. To compare: history with from set to it.",
    ]


TOOL = ToolSpec(
    title="Snapshot",
    description=DESCRIPTION,
    verb=Snapshot,
    result=SnapshotResult,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=ask,
    write=write,
    reads=lambda asked: asked.label is None,
)
