"""`remember`: keep one thing."""

from __future__ import annotations

import base64
import binascii

from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.limits import CONTENT_BYTES_MAX
from cmc_mcp.model.modality import BINARY
from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.tool import Call, Hints, ToolSpec, change
from cmc_mcp.verbs.models import Remember

DESCRIPTION = """Store one thing to know in later sessions: a fact, decision, preference, message, document or file.
Use it when something is decided, corrected or learned that cannot be re-read from the project. Not for secrets or \
passing thoughts; to change what is stored, use revise. Already known content is reaffirmed, never doubled.
Times are RFC 3339 with offset, or dates. valid_from/valid_to: when it is true in the world, not when it was said.
Example: {"content": "We deploy to Fly.io since June", "claim": {"subject": "shop", "predicate": "deploys to", \
"object": "Fly.io"}, "valid_from": "2026-06-01", "tags": {"topic": "deploy"}}"""


def handle(call: Call, asked: Remember) -> Receipt:
    """Remember one thing. What is binary comes as base64."""
    return change(call, asked.replaced(content=_decoded(asked)) if asked.modality in BINARY else asked)


def _decoded(asked: Remember) -> bytes:
    text = str(asked.content)
    if asked.media_type is None and asked.modality != "data":
        raise InvalidInput.at("media_type", f"is required for {asked.modality}; pass something like {asked.modality}/…")
    size = len(text) // 4 * 3
    if size > CONTENT_BYTES_MAX + 2:
        raise LimitExceeded.over("content", "CONTENT_BYTES_MAX", size, CONTENT_BYTES_MAX)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput.at(
            "content", f"is not base64, as {asked.modality} takes it; encode the file's bytes"
        ) from error


def shape(receipt: Receipt, asked: Remember) -> Receipt:
    """Remove the timings, which agents do not need."""
    return receipt.model_copy(update={"timings_ms": {}})


def write(receipt: Receipt, asked: Remember) -> list[str]:
    """Write the answer."""
    done = "Remembered" if receipt.added or receipt.restored else "Already known" if receipt.reaffirmed else "Kept back"
    first, *rest = receipt_lines(receipt)
    return [f"{done}: {first}", *rest]


TOOL = ToolSpec(
    title="Remember",
    description=DESCRIPTION,
    verb=Remember,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=False),
    handle=handle,
    write=write,
    always=("added",),
    shape=shape,
)
