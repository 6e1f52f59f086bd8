"""Repeat: a call with a used idempotency key gets the original receipt and is not executed again."""

from __future__ import annotations

import json

from cmc_mcp.errors import Conflict
from cmc_mcp.ids import Seq
from cmc_mcp.kernel.transaction import ROLLBACK
from cmc_mcp.model.results import Receipt
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import TransactionRow, arguments_of
from cmc_mcp.write.receipts import pair
from cmc_mcp.write.validate import Request


def repeated(view: LedgerView, request: Request) -> Receipt | None:
    """Return the original receipt of a request whose idempotency key was used before, or None for a new key.

    Raises:
        Conflict: the key was used for another request.
    """
    key = request.idempotency_key
    found = None if key is None else view.idempotency(key)
    if found is None:
        return None
    digest, seq, body = found
    if digest != request.digest():
        raise Conflict(
            f"the idempotency key {key!r} was used for another request, in transaction {seq}; use a new key",
            transaction=seq,
        )
    raw = Receipt.model_validate_json(body[:-1] + b',"snapshot":{"before":"","after":""}}')
    before, after = view.head_at(Seq(seq - 1)), view.head_at(seq)
    return raw.model_copy(update={"snapshot": pair(before, after), "undone_by": undone_by(view, seq)})


def undone_by(view: LedgerView, seq: Seq) -> Seq | None:
    """Return the rollback that undid a transaction, or None if no rollback did or a later one restored it."""
    was: list[tuple[Seq, Seq | None]] = [(seq, None)]
    for row in view.rollbacks(seq):
        arguments = json.loads(arguments_of(row) or b"{}")
        now = was[-1][1]
        if row.verb != ROLLBACK:
            if now is None and _undid(view, row, arguments, seq):
                now = row.seq
        elif arguments["to"] < seq:
            now = row.seq if now is None else now
        else:
            now = next(state for at, state in reversed(was) if at <= arguments["to"])
        was.append((row.seq, now))
    return was[-1][1]


def _undid(view: LedgerView, undo: TransactionRow, arguments: dict[str, object], seq: Seq) -> bool:
    """Return whether a selective rollback matched a transaction: its writer, and a record that both changed."""
    since, writer = arguments.get("since", 0), arguments.get("writer")
    row = view.transaction(seq)
    if row is None or (isinstance(since, int) and seq <= since):
        return False
    if isinstance(writer, str) and view.payload(row.principal) != writer.encode():
        return False
    return bool(set(view.changed(Seq(undo.seq - 1), undo.seq)) & set(view.changed(Seq(seq - 1), seq)))
