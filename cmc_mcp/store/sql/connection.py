"""What the shared rows ask of a driver: a connection inside its transaction, spoken to in one dialect.

The statements are written as SQLite reads them. What another database reads otherwise is listed by its dialect
(`postgres/dialect.py`), and is kept to a few phrases: `?` and `?1`, `(SELECT value FROM json_each(?))` for a list, `instr`,
and hints to SQLite's planner (`+column`, `INDEXED BY`, `CROSS JOIN`). Every table is keyed by its workspace first, so every
condition and every join names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

Row = tuple[Any, ...]


class Rows(Protocol):
    """What a statement found."""

    def __iter__(self) -> Iterator[Row]: ...
    def fetchone(self) -> Row | None: ...
    def fetchall(self) -> list[Row]: ...


class Connection(Protocol):
    """A connection inside its transaction."""

    def execute(self, statement: str, bindings: Any = ..., /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Any], /) -> object:
        """Run one statement for each of some rows."""
        ...
