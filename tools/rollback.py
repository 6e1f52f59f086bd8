"""`rollback`: go back to a state, or undo only what matches; both can be undone."""

from __future__ import annotations

from cmc_mcp.model.results import RollbackResult
from cmc_mcp.tools.respond import diff_lines, listed, receipt_lines
from cmc_mcp.tools.tool import Hints, ToolSpec, change
from cmc_mcp.verbs.models import Rollback

DESCRIPTION = """Take memory back, as one new transaction that can itself be rolled back.
Whole: to names a snapshot id, label, transaction number or time. Selective: instead of to, give since and/or writer, \
source, tags; only matching changes are undone, the rest stays.
Make a dry_run first, show what would change, then call again with its digest. One wrong memory: use forget or revise.
Example: {"to": "before the refactor", "dry_run": true}"""


def write(result: RollbackResult, asked: Rollback) -> list[str]:
    """Write the answer."""
    if result.receipt is None:
        lines = [
            f"Plan, nothing done; digest {result.digest}",
            "To do it, call rollback again with the same arguments, without dry_run, with this digest.",
        ]
    else:
        first, *rest = receipt_lines(result.receipt)
        lines = [f"Rolled back: {first}", *rest, f"To undo this: rollback to {result.undo_with}"]
    lines += diff_lines(result.diff)
    lines += listed("orphaned, later changes to what is gone", result.orphaned)
    lines += listed("not undone, rollbacks in transaction", map(str, result.not_undone))
    lines += listed("STALE, stays but rests on something undone", result.stale)
    lines += listed("erased since, cannot come back", result.erased)
    return lines


TOOL = ToolSpec(
    title="Roll back",
    description=DESCRIPTION,
    verb=Rollback,
    result=RollbackResult,
    hints=Hints(read_only=False, destructive=True, idempotent=True),
    handle=change,
    write=write,
    long=True,
    reads=lambda asked: asked.dry_run,
)
