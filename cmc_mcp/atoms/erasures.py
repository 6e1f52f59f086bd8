"""Erasures: which payloads were destroyed, and are so still."""

from __future__ import annotations

from cmc_mcp.ids import PayloadHash
from cmc_mcp.kernel.kinds import ERASURE
from cmc_mcp.store.ports import LedgerView


def is_erased(view: LedgerView, hash_: PayloadHash) -> bool:
    """Return whether the bytes of a hash were erased from the workspace, and not told again since."""
    rid = view.rid(ERASURE.record(hash_))
    return rid is not None and bool(view.intervals(rid))
