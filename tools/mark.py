"""`mark`: report what became of memories, so that what proves useful ranks, and confidence can be checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.schema import Arguments
from cmc_mcp.tools.tool import Call, Hints, ToolSpec

DESCRIPTION = """Report what became of recalled memories, all ids in one call.
used: your answer relied on them, so they fade later. right or wrong: they turned out so; this measures how far each \
writer's confidence can be trusted. Not to correct: a wrong one is still believed until you revise or forget it.
Example: {"ids": ["atom_3f2a"], "outcome": "used"}"""


class MarkArguments(Arguments):
    """The arguments of `mark`."""

    ids: Annotated[list[str], Field(description="At most 1,000")]
    outcome: Literal["used", "right", "wrong"]
    reason: str | None = None


def handle(call: Call, asked: MarkArguments) -> Receipt:
    """Mark memories."""
    return call.memory.mark(asked.ids, asked.outcome, reason=asked.reason, cancel=call.cancelled)


def write(receipt: Receipt, asked: MarkArguments) -> list[str]:
    """Write the answer."""
    first, *rest = receipt_lines(receipt)
    lines = [f"Marked as {asked.outcome}: {len(receipt.revised):,} memories; {first}", *rest]
    if asked.outcome == "wrong":
        lines.append("They are still believed: revise them with what is right, or forget them.")
    return lines


TOOL = ToolSpec(
    name="mark",
    title="Mark",
    description=DESCRIPTION,
    arguments=MarkArguments,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=handle,
    write=write,
    depth=0,
)
