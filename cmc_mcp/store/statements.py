"""The statements that a unit of work writes its rows with, in the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from cmc_mcp.store.tables import TABLES, Table

CLOSED: Final = "closed"
_CLOSING: Final = "UPDATE pieces SET tx_to = ? WHERE ws = ? AND rid = ? AND valid_from = ? AND tx_to = ?"


def statements(tables: Iterable[Table], *, server: bool) -> dict[str, str]:
    """Return the statements by table, as a file reads them or as a `server` does, where every key begins with the workspace.

    Rows of the store's own tables have all columns in order; those of a product's the workspace, then what `Table.shown` says.
    """
    out: dict[str, str] = {}
    ordered = sorted((table for table in tables if table.write_rank), key=lambda table: table.write_rank)
    for table in ordered:
        if table.name == "pieces":
            out[CLOSED] = _CLOSING  # closed pieces free their place before new ones take it
        out[table.name] = _insert(table, table.names if table in TABLES else ("ws", *table.shown), server=server)
    return out


def deletion(table: Table) -> str:
    """Return the statement that deletes a row of an index; its bindings are the workspace and the row's key."""
    return f"DELETE FROM {table.name} WHERE ws = ?{_keyed(table)}"


def changing(table: Table) -> str:
    """Return the statement that changes a row of an index; its bindings are the row, the workspace and the row's key."""
    return f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in table.shown)} WHERE ws = ?{_keyed(table)}"


def _keyed(table: Table) -> str:
    return "".join(f" AND {name} = ?" for name in table.key)


def _insert(table: Table, names: Collection[str], *, server: bool) -> str:
    alone = not server and bool(table.numbers("rid", "pid", "vid", "node").issuperset(table.key))
    named = ("" if alone else "ws, ") + ", ".join(table.key)  # of a file such a number is the key by itself
    into = table.name if tuple(names) == table.names else f"{table.name}({', '.join(names)})"
    return f"INSERT INTO {into} VALUES({', '.join('?' * len(names))}) {table.conflict.format(key=named)}".rstrip()
