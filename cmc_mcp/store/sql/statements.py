"""The statements that a unit of work writes its rows with, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cmc_mcp.store.tables import Table

CLOSED: Final = "closed"
_CLOSING: Final = "UPDATE pieces SET tx_to = ? WHERE ws = ? AND rid = ? AND valid_from = ? AND tx_to = ?"


def statements(tables: Iterable[Table], *, server: bool) -> dict[str, str]:
    """Return the statements by table, as a file reads them or as a `server` does, where every key begins with the workspace."""
    out: dict[str, str] = {}
    for table in sorted((table for table in tables if table.write_rank), key=lambda table: table.write_rank):
        if table.name == "pieces":
            out[CLOSED] = _CLOSING  # closed pieces free their place before new ones take it
        out[table.name] = _insert(table, server=server)
    return out


def _insert(table: Table, *, server: bool) -> str:
    marks = ", ".join("?" * len(table.columns))
    named = ("ws, " if server else "") + ", ".join(table.key)
    return f"INSERT INTO {table.name} VALUES({marks}) {table.conflict.format(key=named)}".rstrip()
