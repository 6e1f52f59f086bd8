"""The statements that a unit of work writes its rows with, in the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

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


class Keyed(NamedTuple):
    """How a row of an index is found by its key: the key's places in the row, and the statements that go by it.

    The bindings of `delete` are the workspace and the key; of `change` the row, the workspace and the key.
    """

    places: tuple[int, ...]
    delete: str
    change: str

    @classmethod
    def of(cls, table: Table) -> Keyed:
        """Return how the rows of a table are found."""
        where = f"WHERE ws = ?{''.join(f' AND {name} = ?' for name in table.key)}"
        return cls(
            tuple(table.shown.index(name) for name in table.key),
            f"DELETE FROM {table.name} {where}",
            f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in table.shown)} {where}",
        )


def _insert(table: Table, names: Collection[str], *, server: bool) -> str:
    alone = not server and bool(table.numbers("rid", "pid", "vid", "node").issuperset(table.key))
    named = ("" if alone else "ws, ") + ", ".join(table.key)  # of a file such a number is the key by itself
    into = table.name if tuple(names) == table.names else f"{table.name}({', '.join(names)})"
    return f"INSERT INTO {into} VALUES({', '.join('?' * len(names))}) {table.conflict.format(key=named)}".rstrip()
