"""What the write pipeline is handed: it finds nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass

from cmc_mcp.canon import Json, canonical
from cmc_mcp.clock import Clock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.model.calls import Cancel, check_cancelled
from cmc_mcp.model.results import SnapshotPair
from cmc_mcp.store.protocol import Objects, Store, WriteUnit
from cmc_mcp.store.rows import Head


@dataclass(frozen=True, slots=True)
class Engine:
    """One workspace of one store, as one principal writes to it."""

    store: Store
    ws: int
    principal: str
    clock: Clock
    embedder: Embedder | None
    objects: Objects
    settings: Settings

    def commit(self, unit: WriteUnit, verb: str, arguments: dict[str, Json], cancel: Cancel | None = None) -> Head:
        """Write the ledger entry of a unit; leaving the unit's block commits it.

        Raises:
            Cancelled: the caller gave up; nothing is changed.
        """
        check_cancelled(cancel)
        return unit.flush(
            verb=verb, principal=self.principal, arguments=canonical(arguments), clock_us=self.clock.now_us()
        )


def pair(before: Head, after: Head) -> SnapshotPair:
    """Give the snapshot ids around a change."""
    return SnapshotPair(before=snapshot_name(before.state_root), after=snapshot_name(after.state_root))
