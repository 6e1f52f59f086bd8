"""Memories: what the record of an atom is to history."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cmc_mcp.atoms.identity import parts_of, prove
from cmc_mcp.ids import PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ATOM, ERASURE, Record
from cmc_mcp.kernel.transaction import OPEN
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

    def listed(self, record: Record) -> str | None:
        return atom_name(record.key)

    def gone(self, view: LedgerView, since: Seq) -> Collection[Rid]:
        """Return the memories whose content or facts an erasure names."""
        out: set[Rid] = set()
        for rid, _ in view.records(ERASURE.code):
            for row in view.interval_rows(rid):
                if row.tx_from <= since or row.tx_to != OPEN:
                    continue
                pid = view.pid(PayloadHash(bytes.fromhex(str(view.facts(row.facts).fields["hash"]))))
                if pid is not None:
                    out.update(atom.rid for atom in view.atoms_with_content(pid))
                    out.update(user for user in view.facts_used(pid) if view.record(user).kind == ATOM.code)
        return out


def _preview(view: LedgerView, rid: Rid) -> str | None:
    row = view.atom(rid)
    if row is None:
        return None
    payloads = view.payload_rows(parts_of(row))
    prove(row, payloads)
    payload = payloads[row.content]
    if MODALITIES[row.modality] in BINARY or payload.object:
        return f"[{MODALITIES[row.modality]}, {payload.size:,} bytes]"
    body = checked(payload)
    if body is None:
        return ERASED
    text = body.decode()
    return text if len(text) <= _PREVIEW_CHARS else text[: _PREVIEW_CHARS - 1] + "…"


MEMORIES: Final = _Memories()
