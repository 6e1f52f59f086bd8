"""`forget`: end belief in memories; or, separately and loudly, erase them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cmc_mcp.model.results import ForgetResult
from cmc_mcp.tools.respond import listed, receipt_lines
from cmc_mcp.tools.schema import Arguments, Reference, Tags
from cmc_mcp.tools.tool import Call, Hints, ToolSpec

DESCRIPTION = """Stop believing memories that should not be there. They leave recall, stay readable in the past, and a \
rollback brings them back.
Give ids, or a selection (source, tags, writer, since: all that is given must match). For a selection make a dry_run \
first and show it. Not for what was true once: use revise with valid_to.
erase destroys the content for good, for personal data or secrets: it needs the digest of a dry_run with erase.
Example: {"ids": ["atom_3f2a"], "reason": "was a joke"}"""


class ForgetArguments(Arguments):
    """The arguments of `forget`."""

    ids: list[str] = Field(default=[], description="Unique prefixes will do")
    source: str | None = None
    tags: Tags | None = None
    writer: str | None = None
    since: Annotated[Reference | None, Field(description="Changed after this snapshot, label, transaction, time")] = (
        None
    )
    reason: str | None = None
    dry_run: bool = False
    erase: bool = False
    digest: Annotated[str | None, Field(description="From the dry run")] = None


def handle(call: Call, asked: ForgetArguments) -> ForgetResult:
    """Forget."""
    return call.memory.forget(
        asked.ids,
        source=asked.source,
        tags=None if asked.tags is None else {name: value or "" for name, value in asked.tags.items()},
        writer=asked.writer,
        since=asked.since,
        reason=asked.reason,
        dry_run=asked.dry_run,
        erase=asked.erase,
        digest=asked.digest,
        cancel=call.cancelled,
    )


def shape(result: ForgetResult, asked: ForgetArguments) -> ForgetResult:
    """List the ids once: a receipt repeats them."""
    if result.receipt is None:
        return result
    return result.model_copy(update={"receipt": result.receipt.model_copy(update={"retracted": []})})


def write(result: ForgetResult, asked: ForgetArguments) -> list[str]:
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
    name="forget",
    title="Forget",
    description=DESCRIPTION,
    arguments=ForgetArguments,
    result=ForgetResult,
    hints=Hints(read_only=False, destructive=True, idempotent=True),
    handle=handle,
    write=write,
    always=("ids",),
    long=True,
    shape=shape,
    reads=lambda asked: asked.dry_run,
)
