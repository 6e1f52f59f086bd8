"""The statements that a unit of work writes its rows with, in the order in which they run."""

from __future__ import annotations

from typing import Final


def _values(table: str, count: int) -> str:
    return f"INSERT INTO {table} VALUES({', '.join('?' * count)})"


# in this order: closed pieces free their place before new ones take it
STATEMENTS: Final = {
    "payloads": _values("payloads", 7),
    "records": _values("records", 4),
    "closed": "UPDATE pieces SET tx_to = ? WHERE ws = ? AND rid = ? AND valid_from = ? AND tx_to = ?",
    "pieces": _values("pieces", 7),
    "atoms": _values("atoms", 11),
    "speakers": "INSERT INTO speakers VALUES(?, ?, ?) ON CONFLICT(ws, speaker) DO UPDATE SET rid = excluded.rid"
    " WHERE excluded.rid < speakers.rid",
    "headings": _values("headings", 3),
    "tags": _values("tags", 4),
    "claims": _values("claims", 4),
    "confidences": _values("confidences", 3),
    "witnesses": "INSERT INTO witnesses VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
    "sources": _values("sources", 3),
    "items": "INSERT INTO items VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    "edges": _values("edges", 5),
    "labels": _values("labels", 3),
    "quarantine": _values("quarantine", 3),
    "vectors": _values("vectors", 6),
    "state_nodes": "INSERT INTO state_nodes VALUES(?, ?, ?) ON CONFLICT(node) DO UPDATE SET body = excluded.body",
    "transactions": _values("transactions", 17),
    "log_nodes": _values("log_nodes", 3),
    "idempotency_keys": _values("idempotency_keys", 5),
}
