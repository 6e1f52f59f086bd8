"""Memories: what the record of an atom is to history."""

from __future__ import annotations

from typing import Final

from cmc_mcp.ids import Pid, Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.model.shown import ERASED
from cmc_mcp.store.behaviours import Behaviour, Named
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import BINARY, MODALITIES, checked

_PREVIEW_CHARS: Final = 160


class _Memories(Behaviour):
    """A memory belongs to its origin, and is named by its id."""

    kind = ATOM

    def origin(self, view: LedgerView, rid: Rid) -> Pid | None:
        return view.origin_of(rid)

    def describe(self, view: LedgerView, rid: Rid) -> Named:
        return Named(atom_name(view.record(rid).key), _preview(view, rid))


def _preview(view: LedgerView, rid: Rid) -> str | None:
    row = view.atom(rid)
    if row is None:
        return None
    payload = view.payload_row(row.content)
    if MODALITIES[row.modality] in BINARY or payload.object:
        return f"[{MODALITIES[row.modality]}, {payload.size:,} bytes]"
    body = checked(payload)
    if body is None:
        return ERASED
    text = body.decode()
    return text if len(text) <= _PREVIEW_CHARS else text[: _PREVIEW_CHARS - 1] + "…"


MEMORIES: Final = _Memories()
