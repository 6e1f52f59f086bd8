"""Rebuild: write every derived table anew from the committed ones, in one transaction."""

from __future__ import annotations

from cmc_mcp.errors import IntegrityError
from cmc_mcp.history.verify import Verifier
from cmc_mcp.ids import Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.ports import Objects, Store


def rebuild(store: Store, ws: Ws, objects: Objects, progress: Progress | None = None) -> None:
    """Write what every index gives, and full text; vectors are kept, since only their model could make them.

    Raises:
        IntegrityError: the committed tables do not verify, so that nothing true can be made of them.
    """
    with store.rebuilding(ws, objects) as tables:
        verifier = Verifier(tables, objects)
        if not verifier.committed(progress):
            fault = verifier.faults[0]
            raise IntegrityError(
                f"the committed tables themselves do not verify ({fault.table} {fault.key}: {fault.reason}), so nothing was "
                "built of them and nothing was changed; restore the last backup",
                table=fault.table,
                key=fault.key,
            )
        for index, rows in verifier.wanted().items():
            tables.replace(index.table, rows)
        tables.refill()
