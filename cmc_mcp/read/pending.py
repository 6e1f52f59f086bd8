"""Pending texts, which full text alone can find: counted anew only from where every text had a vector."""

from __future__ import annotations

from cmc_mcp.ids import NO_MODEL_NUMBER, NO_RECORD, START, ModelNumber
from cmc_mcp.read.point import Point
from cmc_mcp.store.ports import ReadView


class Embedded:
    """The last state of a workspace, in one erasure count, at which no text lacked a vector. Shared by threads."""

    __slots__ = ("_whole",)

    def __init__(self) -> None:
        self._whole = (NO_MODEL_NUMBER, START, NO_RECORD)  # under which model, at which transaction, up to which record

    def pending(self, view: ReadView, model: ModelNumber, point: Point) -> int:
        """Count the text atoms that hold at a point without a vector under a model."""
        known, seq, rid = self._whole
        after = rid if known == model and seq <= point.head.seq else NO_RECORD
        pending, lacking = view.unembedded(model, point.head.seq, point.valid_at, after, point.head.last_rid)
        if not lacking:
            self._whole = (model, point.head.seq, point.head.last_rid)
        return pending
