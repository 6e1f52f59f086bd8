"""The log: the entries of the ledger, newest first."""

from __future__ import annotations

import base64
import json

from cmc_mcp.canon import canonical, payload_hash
from cmc_mcp.errors import InvalidInput
from cmc_mcp.ids import END, Seq
from cmc_mcp.kernel.identity import snapshot_name
from cmc_mcp.model.results import (
    HistoryResult,
    TransactionModel,
)
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import TransactionRow, arguments_of


def transactions(view: LedgerView, *, limit: int, cursor: str | None, workspace: str) -> HistoryResult:
    """Return ledger entries, newest first.

    Raises:
        InvalidInput: the cursor is malformed or from elsewhere.
    """
    before = END if cursor is None else _before(cursor, workspace)
    rows = list(view.transactions(before=before, limit=limit + 1))
    labels = _labels(view)
    more = len(rows) > limit
    return HistoryResult(
        transactions=[transaction_model(view, row, labels.get(row.seq, [])) for row in rows[:limit]],
        next_cursor=_cursor(rows[limit - 1].seq, workspace) if more else None,
    )


def _labels(view: LedgerView) -> dict[Seq, list[str]]:
    out: dict[Seq, list[str]] = {}
    for label, rid in view.labels():
        for interval in view.intervals(rid):
            out.setdefault(Seq(int(str(interval.facts.fields["seq"]))), []).append(label)
    return out


def transaction_model(view: LedgerView, row: TransactionRow, labels: list[str]) -> TransactionModel:
    """Return one entry of the ledger as it is shown."""
    body = arguments_of(row)
    reason = json.loads(body).get("reason") if body is not None else None
    principal = view.payload(row.principal)
    return TransactionModel(
        transaction=row.seq,
        recorded_at=format_time(row.recorded_us) or "",
        verb=row.verb,
        principal=ERASED if principal is None else principal.decode(),
        snapshot=snapshot_name(row.state_root),
        hash=row.hash.hex(),
        changes=row.changes,
        atoms=row.atoms,
        reason=reason,
        labels=labels,
    )


def _cursor(seq: Seq, workspace: str) -> str:
    seal = payload_hash(canonical(["history", workspace, seq])).hex()[:16]
    return base64.urlsafe_b64encode(canonical([seq, seal])).decode().rstrip("=")


def _before(cursor: str, workspace: str) -> Seq:
    try:
        seq, _ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(seq, int) and _cursor(Seq(seq), workspace) == cursor:
            return Seq(seq)
    except (ValueError, TypeError):
        pass
    raise InvalidInput.at("cursor", "is not a cursor of this history; call again without a cursor")
