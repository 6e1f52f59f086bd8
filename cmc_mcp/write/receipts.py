"""Receipts: what a write answers, whatever it wrote."""

from __future__ import annotations

from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.model.results import SnapshotPair
from cmc_mcp.store.rows import Head


def pair(before: Head, after: Head) -> SnapshotPair:
    """Return the snapshot ids around a change."""
    return SnapshotPair(before=snapshot_name(before.state_root), after=snapshot_name(after.state_root))
