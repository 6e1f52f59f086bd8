"""The witness (VIF): who wrote a memory, with which model, from what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cmc_mcp.canon import Json, canonical, payload_hash
from cmc_mcp.ids import PayloadHash

NO_MODEL = "none"
"""The `model_id` of a memory that a person or a tool wrote."""


@dataclass(frozen=True)
class Witness:
    """The frozen part of provenance, which is part of an atom's identity.

    `derived_from` holds atom ids in text form. Confidence is a revisable fact of the assertion and stands there.

    >>> Witness("maya").key.hex()[:8]
    '4ffca786'
    """

    writer: str
    model_id: str = NO_MODEL
    weights_hash: str = ""
    prompt_template_id: str = ""
    tool_ids: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()

    @cached_property
    def body(self) -> bytes:
        """The canonical bytes; absent fields are left out."""
        fields: dict[str, Json] = {"writer": self.writer, "model_id": self.model_id}
        for name in ("weights_hash", "prompt_template_id"):
            if value := getattr(self, name):
                fields[name] = value
        if self.tool_ids:
            fields["tool_ids"] = list(self.tool_ids)
        if self.derived_from:
            fields["derived_from"] = list(self.derived_from)
        return canonical(fields)

    @cached_property
    def key(self) -> PayloadHash:
        """The hash of the body (32 bytes), which enters the atom's identity."""
        return payload_hash(self.body)


def band(confidence: float | None) -> Literal["A", "B", "C"] | None:
    """Return the confidence band: A from .90, B from .70, C below; None for an unknown confidence.

    >>> band(0.9), band(0.7), band(0.2), band(None)
    ('A', 'B', 'C', None)
    """
    if confidence is None:
        return None
    return "A" if confidence >= 0.90 else "B" if confidence >= 0.70 else "C"
