"""`remember`: keep one thing."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field

from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.limits import CONTENT_BYTES_MAX
from cmc_mcp.model.results import Receipt
from cmc_mcp.tools.respond import receipt_lines
from cmc_mcp.tools.schema import Arguments, Claim, Tags
from cmc_mcp.tools.tool import Call, Hints, ToolSpec

DESCRIPTION = """Store one thing to know in later sessions: a fact, decision, preference, message, document or file.
Use it when something is decided, corrected or learned that cannot be re-read from the project. Not for secrets or \
passing thoughts; to change what is stored, use revise. Already known content is reaffirmed, never doubled.
Times are RFC 3339 with offset, or dates. valid_from/valid_to: when it is true in the world, not when it was said.
Example: {"content": "We deploy to Fly.io since June", "claim": {"subject": "shop", "predicate": "deploys to", \
"object": "Fly.io"}, "valid_from": "2026-06-01", "tags": {"topic": "deploy"}}"""


class RememberArguments(Arguments):
    """The arguments of `remember`."""

    content: Annotated[str, Field(description="Text; base64 for image and audio; JSON for an event")]
    modality: Literal["text", "code", "event", "tool:call", "tool:result", "image", "audio"] = "text"
    media_type: Annotated[str | None, Field(description="Such as image/png; needed for image and audio")] = None
    source: Annotated[str | None, Field(description="URI or name of the whole; again: its new version")] = None
    session: Annotated[str | None, Field(description="Conversation this is the next turn of: team/2026-05-08")] = None
    speaker: str | None = None
    title: str | None = None
    occurred_at: Annotated[str | None, Field(description="When it was said or happened")] = None
    tags: Annotated[Tags | None, Field(description="Names to values to filter by")] = None
    claim: Annotated[Claim | None, Field(description="The fact in three parts: lets contradictions be seen")] = None
    valid_from: str | None = None
    valid_to: str | None = None
    confidence: Annotated[float | None, Field(description="0 to 1, honestly")] = None
    model_id: Annotated[str | None, Field(description="The model that wrote this")] = None
    prompt_template_id: str | None = None
    tool_ids: list[str] | None = None
    derived_from: Annotated[list[str] | None, Field(description="Ids of the memories this follows from")] = None
    priority: Annotated[float | None, Field(description="0 to 1; default 0.5")] = None
    idempotency_key: Annotated[str | None, Field(description="Makes a retry safe")] = None


def handle(call: Call, asked: RememberArguments) -> Receipt:
    """Remember one thing."""
    named = {name: getattr(asked, name) for name in sorted(asked.model_fields_set - {"content", "claim"})}
    given = {name: value for name, value in named.items() if value is not None}
    if asked.claim is not None:
        given["claim"] = asked.claim.model_dump()
    return call.memory.remember(_content(asked), cancel=call.cancelled, **given)


def _content(asked: RememberArguments) -> str | bytes:
    if asked.modality not in ("image", "audio"):
        return asked.content
    if asked.media_type is None:
        raise InvalidInput.at("media_type", f"is required for {asked.modality}; pass something like {asked.modality}/…")
    size = len(asked.content) // 4 * 3
    if size > CONTENT_BYTES_MAX + 2:
        raise LimitExceeded.over("content", "CONTENT_BYTES_MAX", size, CONTENT_BYTES_MAX)
    try:
        return base64.b64decode("".join(asked.content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput.at(
            "content", f"is not base64, as {asked.modality} takes it; encode the file's bytes"
        ) from error


def shape(receipt: Receipt, asked: RememberArguments) -> Receipt:
    """Leave out the timings, which no agent needs."""
    return receipt.model_copy(update={"timings_ms": {}})


def write(receipt: Receipt, asked: RememberArguments) -> list[str]:
    """Write the answer."""
    done = "Remembered" if receipt.added or receipt.restored else "Already known" if receipt.reaffirmed else "Kept back"
    first, *rest = receipt_lines(receipt)
    return [f"{done}: {first}", *rest]


TOOL = ToolSpec(
    name="remember",
    title="Remember",
    description=DESCRIPTION,
    arguments=RememberArguments,
    result=Receipt,
    hints=Hints(read_only=False, destructive=False, idempotent=False),
    handle=handle,
    write=write,
    always=("added",),
    shape=shape,
)
