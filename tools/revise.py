"""`revise`: change what is believed about one memory; the old belief stays readable at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.tool import Hints, ToolSpec, change
from cmc_mcp.verbs.models import Revise

if TYPE_CHECKING:
    pass

DESCRIPTION = """Change one memory, keeping the old version readable in the past.
content alone corrects: it was wrong all along. content with valid_from: the world changed then, the old text holds \
until then. valid_to alone: it stopped being true. tags replace all tags. Not to withdraw what should never have been \
stored: that is forget.
Example: {"id": "atom_3f2a", "content": "We deploy to Fly.io", "valid_from": "2026-06-01", "reason": "migrated"}"""


def shape(receipt: Receipt, asked: Revise) -> Receipt:
    """Remove the timings, which agents do not need."""
    return receipt.model_copy(update={"timings_ms": {}})


def write(receipt: Receipt, asked: Revise) -> list[str]:
    """Write the answer."""
    first, *rest = receipt_lines(receipt)
    return [f"Revised: {first}", *rest, "The old version stays readable: history with this id, or recall with as_of."]


TOOL = ToolSpec(
    title="Revise",
    description=DESCRIPTION,
    verb=Revise,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=True),
    handle=change,
    write=write,
    shape=shape,
)
