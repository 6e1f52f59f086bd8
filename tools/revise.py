"""`revise`: change what is believed about one memory; the old belief stays readable at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.schema import Arguments, Claim, Tags
from cmc_mcp.tools.tool import Call, Hints, ToolSpec

if TYPE_CHECKING:
    from cmc_mcp.write.validate import ClaimArguments

DESCRIPTION = """Change one memory, keeping the old version readable in the past.
content alone corrects: it was wrong all along. content with valid_from: the world changed then, the old text holds \
until then. valid_to alone: it stopped being true. tags replace all tags. Not to withdraw what should never have been \
stored: that is forget.
Example: {"id": "atom_3f2a", "content": "We deploy to Fly.io", "valid_from": "2026-06-01", "reason": "migrated"}"""


class ReviseArguments(Arguments):
    """The arguments of `revise`."""

    id: Annotated[str, Field(description="From recall; a unique prefix will do")]
    content: str | None = None
    claim: Claim | None = None
    tags: Tags | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    confidence: float | None = None
    priority: float | None = None
    reason: str | None = None


def handle(call: Call, asked: ReviseArguments) -> Receipt:
    """Revise a memory."""
    claim: ClaimArguments | None = None
    if (given := asked.claim) is not None:
        claim = {"subject": given.subject, "predicate": given.predicate, "object": given.object, "many": given.many}
    return call.memory.revise(
        asked.id,
        content=asked.content,
        claim=claim,
        tags=None if asked.tags is None else {name: value for name, value in asked.tags.items() if value is not None},
        valid_from=asked.valid_from,
        valid_to=asked.valid_to,
        confidence=asked.confidence,
        priority=asked.priority,
        reason=asked.reason,
        cancel=call.cancelled,
    )


def shape(receipt: Receipt, asked: ReviseArguments) -> Receipt:
    """Leave out the timings, which no agent needs."""
    return receipt.model_copy(update={"timings_ms": {}})


def write(receipt: Receipt, asked: ReviseArguments) -> list[str]:
    """Write the answer."""
    first, *rest = receipt_lines(receipt)
    return [f"Revised: {first}", *rest, "The old version stays readable: history with this id, or recall with as_of."]


TOOL = ToolSpec(
    name="revise",
    title="Revise",
    description=DESCRIPTION,
    arguments=ReviseArguments,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=handle,
    write=write,
    shape=shape,
)
