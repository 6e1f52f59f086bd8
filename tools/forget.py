"""`forget`: end belief in memories; or, separately and loudly, erase them."""

from __future__ import annotations

from cmc_mcp.model.results import ForgetResult
from cmc_mcp.tools.respond import listed, receipt_lines
from cmc_mcp.tools.tool import Hints, ToolSpec, change
from cmc_mcp.verbs.models import Forget

DESCRIPTION = """Stop believing memories that should not be there. They leave recall, stay readable in the past, and a \
rollback brings them back.
Give ids, or a selection (source, tags, writer, since: all that is given must match). For a selection make a dry_run \
first and show it. Not for what was true once: use revise with valid_to.
erase destroys the content for good, for personal data or secrets: it needs the digest of a dry_run with erase.
Example: {"ids": ["atom_3f2a"], "reason": "was a joke"}"""


def shape(result: ForgetResult, asked: Forget) -> ForgetResult:
    """List the ids once: a receipt repeats them."""
    if result.receipt is None:
        return result
    return result.model_copy(update={"receipt": result.receipt.model_copy(update={"retracted": []})})


def write(result: ForgetResult, asked: Forget) -> list[str]:
    """Write the answer."""
    verb = "erase for good" if result.erase else "forget"
    lines: list[str] = []
    if result.receipt is None:
        lines.append(f"Plan, nothing done: {verb} {len(result.ids):,} memories; digest {result.digest}")
        lines.append("To do it, call forget again with the same arguments, without dry_run, with this digest.")
    else:
        first, *rest = receipt_lines(result.receipt)
        lines += [f"{'Erased' if result.erase else 'Forgotten'}: {len(result.ids):,} memories; {first}", *rest]
        if not result.erase:
            lines.append(f"To undo: rollback to {result.receipt.snapshot.before}")
    lines += listed("ids", result.ids)
    lines += listed("SHARED content, lost too in", result.shared)
    return lines


TOOL = ToolSpec(
    title="Forget",
    description=DESCRIPTION,
    verb=Forget,
    result=ForgetResult,
    hints=Hints(read_only=False, destructive=True, idempotent=True),
    handle=change,
    write=write,
    always=("ids",),
    long=True,
    shape=shape,
    reads=lambda asked: asked.dry_run,
)
