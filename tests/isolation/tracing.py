"""Every statement that the store executes, judged as it runs: which workspace its handle is for, and what it touches."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import apsw
import pytest

from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql.ledger import FactsCache, LedgerRows
from cmc_mcp.store.sqlite import store
from tests.isolation.scope import Judge

FOLDER: Final = Path(store.__file__).parent
_PREFIX: Final = f"{FOLDER}{os.sep}"
_MIGRATE: Final = f"{_PREFIX}migrate.py"
ALLOWED: Final = {
    "SELECT ws FROM workspaces WHERE name = ?": "a name becomes a number here",
    "SELECT ws, name FROM workspaces ORDER BY name": "the list of workspaces, for whoever has the file",
    "INSERT INTO workspaces(name) VALUES(?) ON CONFLICT DO NOTHING": "a workspace is made here",
    "SELECT 1 FROM workspaces WHERE pages_pending = 1 LIMIT 1": "whether the file's log holds pages of an erasure",
    "UPDATE workspaces SET pages_pending = 0 WHERE pages_pending = 1": "the file's log was truncated, for everybody",
}
"""Statements about the whole file, each with why it may be so."""

_KEPT = 5


@dataclass
class Trace:
    """What was executed: a few bindings of each statement, by workspace, and which lines of the store did it."""

    seen: dict[str, dict[int, list[tuple[Any, ...]]]] = field(default_factory=dict)
    places: set[tuple[str, int]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    executed: int = 0
    _handles: dict[int, int] = field(default_factory=dict)
    _judged: bool = True

    def note(self, cursor: apsw.Cursor | apsw.Connection, sql: str, bindings: Any) -> bool:
        """Judge one execution; SQLite goes on whatever is found."""
        self.executed += 1
        place, whole = _place(sys._getframe(1))
        if place is not None:
            self.places.add(place)
        if whole:
            return True
        connection = cursor if isinstance(cursor, apsw.Connection) else cursor.connection
        ws, bound = self._handles.get(id(connection), 0), tuple(bindings or ())
        kept = self.seen.setdefault(sql, {}).setdefault(ws, [])
        if len(kept) < _KEPT:
            kept.append(bound)
        self.problems += [f"{problem}: {sql}" for problem in faults(sql, bound, ws) if len(self.problems) < 100]
        return True

    def handle(self, connection: apsw.Connection, ws: int) -> None:
        """Note for which workspace a connection works now."""
        self._handles[id(connection)] = ws


def faults(sql: str, bindings: Sequence[Any], ws: int) -> list[str]:
    """Return what leads a statement out of a workspace."""
    return [] if " ".join(sql.split()) in ALLOWED else Judge(sql, bindings, ws).problems


def _place(frame: FrameType | None) -> tuple[tuple[str, int] | None, bool]:
    """Return the file and line of the store that executes, None for others, and whether it works on the whole file.

    A migration does, and the check of what belongs to no workspace; both are under tests of their own.
    """
    place, whole = None, False
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PREFIX):
            place = place or (name.removeprefix(_PREFIX), frame.f_lineno)
            whole = whole or name == _MIGRATE or frame.f_code.co_name == "file_faults"
        elif place is not None:
            break
        frame = frame.f_back
    return place, whole


@contextmanager
def tracing(patch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """Watch every connection that is opened from now on."""
    trace = Trace()
    init = LedgerRows.__init__

    def noted(self: LedgerRows, connection: apsw.Connection, ws: int, cache: FactsCache, registry: Registry) -> None:
        trace.handle(connection, ws)
        init(self, connection, ws, cache, registry)

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = trace.note

    patch.setattr(LedgerRows, "__init__", noted)
    apsw.connection_hooks.append(watch)
    try:
        yield trace
    finally:
        apsw.connection_hooks.remove(watch)


def executing() -> list[tuple[str, str, int, int]]:
    """Give every call in the store that executes a statement: file, function, first and last line."""
    found: list[tuple[str, str, int, int]] = []
    for path in sorted(FOLDER.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Attribute(attr="execute" | "executemany")):
                        found.append((path.name, function.name, node.lineno, node.end_lineno or node.lineno))
    return found
