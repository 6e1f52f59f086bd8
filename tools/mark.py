"""`mark`: report what became of memories, so that what proves useful ranks, and confidence can be checked."""

from __future__ import annotations

from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.tool import Hints, ToolSpec, change
from cmc_mcp.verbs.models import Mark

DESCRIPTION = """Report what became of recalled memories, all ids in one call.
used: your answer relied on them, so they fade later. right or wrong: they turned out so; this measures how far each \
writer's confidence can be trusted. Not to correct: a wrong one is still believed until you revise or forget it.
Example: {"ids": ["atom_3f2a"], "outcome": "used"}"""


def write(receipt: Receipt, asked: Mark) -> list[str]:
    """Write the answer."""
    first, *rest = receipt_lines(receipt)
    lines = [f"Marked as {asked.outcome}: {len(receipt.revised):,} memories; {first}", *rest]
    if asked.outcome == "wrong":
        lines.append("They are still believed: revise them with what is right, or forget them.")
    return lines


TOOL = ToolSpec(
    title="Mark",
    description=DESCRIPTION,
    verb=Mark,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=change,
    write=write,
    depth=0,
)
