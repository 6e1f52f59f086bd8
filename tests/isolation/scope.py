"""Whether a statement stays inside one workspace: read from its text, and from what was bound to it.

Each table that belongs to workspaces, wherever a statement names it, has to be held to one: by `ws`, or by a key that
carries the workspace in its high bits, or by a join with what is held. And what is bound has to be of that workspace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import apsw

from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.tables import WORKSPACE_SHIFT

_TOKEN: Final = re.compile(r"\s+|'(?:[^']|'')*'|\?\d*|[A-Za-z_][A-Za-z_0-9]*|\d+(?:\.\d+)?|<<|>>|<=|>=|<>|!=|\|\||.")
_END: Final = {"GROUP", "ORDER", "LIMIT", "HAVING", "WINDOW"}
_JOINING: Final = {"JOIN", "CROSS", "LEFT", "INNER", "NATURAL", "OUTER", ",", "ON"}

_NUMBERS: Final = {
    "rid", "pid", "vid", "content", "origin", "discriminator", "witness", "media_type", "facts", "source", "target",
    "atom", "request", "principal", "last_rid", "last_pid", "last_vid",
}  # fmt: skip
"""Columns that hold surrogate keys, in whatever table; 0 is none."""

Tree = list[Any]


def _columns() -> dict[str, list[str]]:
    connection = apsw.Connection(":memory:")
    for migration in MIGRATIONS:
        for statement in migration.up:
            connection.execute(statement)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {name: [str(row[1]) for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    return {name: columns for name, columns in found.items() if "ws" in columns}


COLUMNS: Final = _columns()
"""The tables that belong to workspaces, with their columns."""


def shift_of(table: str, column: str) -> int:
    """Return by how much a key carries its workspace; 0 for a column that is no key."""
    if (table, column) == ("idempotency_keys", "request"):  # a hash; elsewhere it is a payload
        return 0
    if table == "state_nodes":
        return WORKSPACE_SHIFT - 2 if column == "node" else 0
    return WORKSPACE_SHIFT if column in _NUMBERS else 0


# ---------------------------------------------------------------------- reading
@lru_cache(maxsize=1024)
def _tree(sql: str) -> Tree:
    """Return the words of a statement, parentheses as lists, parameters as integers, keywords in capitals as written."""
    stack: list[Tree] = [[]]
    counted = 0
    for token in _TOKEN.findall(sql):
        if token.isspace():
            continue
        if token == "(":
            stack.append([])
        elif token == ")":
            inner = stack.pop()
            stack[-1].append(inner)
        elif token[0] == "?":
            counted = int(token[1:]) if token[1:] else counted + 1
            stack[-1].append(counted)
        else:
            stack[-1].append(token)
    assert len(stack) == 1, sql
    return stack[0]


def _split(words: Tree, at: set[str]) -> list[Tree]:
    parts: list[Tree] = [[]]
    for word in words:
        if isinstance(word, str) and word in at:
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def _index(words: Tree, wanted: set[str], start: int = 0) -> int:
    return next((i for i in range(start, len(words)) if isinstance(words[i], str) and words[i] in wanted), len(words))


@dataclass(frozen=True)
class Column:
    """A column as written: an alias, or none."""

    alias: str | None
    name: str


def _column(words: Tree) -> Column | None:
    if words[:1] == ["+"]:
        words = words[1:]
    if len(words) == 3 and words[1] == "." and isinstance(words[0], str):
        return Column(words[0], words[2])
    if len(words) == 1 and isinstance(words[0], str) and re.match(r"[A-Za-z_]\w*\Z", words[0]):
        return Column(None, words[0])
    return None


def _conjuncts(words: Tree) -> Iterator[Tree]:
    """Yield what must hold: the parts between ANDs, those of BETWEEN kept together."""
    part: Tree = []
    between = False
    for word in words:
        if word == "AND" and not between:
            yield part
            part = []
            continue
        if word == "AND":
            between = False
        if word == "BETWEEN":
            between = True
        part.append(word)
    if part:
        yield part


@lru_cache(maxsize=1024)
def _arithmetic(text: str) -> int:
    """Work out whole numbers with + - * << >>, which bind in Python as they do in SQLite."""
    return int(eval(text, {"__builtins__": {}}))


# ---------------------------------------------------------------------- judging
class Judge:
    """Judges one execution of a statement for a workspace."""

    def __init__(self, sql: str, bindings: Sequence[Any], ws: int) -> None:
        self.bindings, self.ws = bindings, ws
        self.problems: list[str] = []
        self.tables: set[str] = set()
        self._statement(_tree(sql), {})

    def _statement(self, words: Tree, outer: Mapping[str, str]) -> None:
        if not words or not isinstance(words[0], str):
            return
        if words[0] == "SELECT":
            for arm in _split(words, {"UNION", "ALL"}):
                self._select(arm, outer)
        elif words[0] == "INSERT":
            self._insert(words)
        elif words[0] == "UPDATE":
            start = _index(words, {"SET"})
            where = _index(words, {"WHERE"})
            self._held({words[start - 1]: words[start - 1]}, words[where + 1 :], {})
            self._inside(words, {})
        elif words[0] == "DELETE":
            self._held({words[2]: words[2]}, words[_index(words, {"WHERE"}) + 1 :], {})
            self._inside(words, {})

    def _inside(self, words: Tree, outer: Mapping[str, str]) -> None:
        """Judge what is in parentheses."""
        for word in words:
            if isinstance(word, list):
                if word[:1] == ["SELECT"]:
                    self._statement(word, outer)
                else:
                    self._inside(word, outer)

    def _select(self, words: Tree, outer: Mapping[str, str]) -> None:
        start = _index(words, {"FROM"})
        where = _index(words, {"WHERE"}, start)
        end = _index(words, _END, where if where < len(words) else start)
        names: dict[str, str] = {}
        holding: Tree = []
        source = words[start + 1 : min(where, end)]
        for part in _split(source, {"JOIN", ","}):
            table, _, on = part[: _index(part, {"ON"})], None, part[_index(part, {"ON"}) + 1 :]
            table = [word for word in table if word not in ("CROSS", "LEFT", "INNER", "OUTER", "AS")]
            on = [word for word in on if word not in ("CROSS", "LEFT", "INNER", "OUTER")]
            if table and isinstance(table[0], str) and table[0] in COLUMNS:
                alias = table[1] if len(table) > 1 and table[1] not in ("INDEXED", "USING") else table[0]
                names[alias] = table[0]
            if using := table[_index(table, {"USING"}) + 1 :]:  # the same columns as the first table's
                first = next(iter(names))
                for column in (word for word in using[0] if word != ","):
                    on += [*(["AND"] if on else []), alias, ".", column, "=", first, ".", column]
            holding += (["AND"] if holding else []) + on if on else []
        if where < end:
            holding += (["AND"] if holding else []) + words[where + 1 : end]
        held = self._held(names, holding, outer)
        self._inside(words, {**outer, **held})

    def _insert(self, words: Tree) -> None:
        into = _index(words, {"INTO"})
        table, rest = words[into + 1], words[into + 2 :]
        columns = COLUMNS.get(table)
        if columns is None:
            return
        self.tables.add(table)
        if isinstance(rest[0], list):
            columns, rest = [word for word in rest[0] if word != ","], rest[1:]
        if rest[0] == "SELECT":
            first = _split(rest[1 : _index(rest, {"FROM"})], {","})[0]
            if columns[0] != "ws" or first != ["ws"]:
                self.problems.append(f"{table} is given rows whose workspace is not read with them")
            self._select(rest, {})
            return
        values = _split(rest[1], {","})
        named = dict(zip(columns, values, strict=True))
        if "ws" not in named and not any(shift_of(table, name) for name in named):
            self.problems.append(f"{table} is given a row without a workspace")
        for name, value in named.items():
            if name == "ws" or shift_of(table, name):
                self._bound(table, name, value)

    def _held(self, names: Mapping[str, str], words: Tree, outer: Mapping[str, str]) -> dict[str, str]:
        """Check that each table is held to the workspace; return those that are."""
        self.tables |= {table for table in names.values() if table in COLUMNS}
        wanted = {alias: table for alias, table in names.items() if table in COLUMNS}
        known = {**outer, **wanted}
        held: dict[str, str] = {}
        equal: list[tuple[Column, Column]] = []
        ranges: dict[str, dict[str, int]] = {}
        for part in _conjuncts(words):
            if "OR" in part:
                continue
            sides = self._sides(part, wanted)
            if sides is None:
                continue
            left, operator, right = sides
            alias, table = left.alias or "", known[left.alias or ""]
            other = self._named(_column(right), known) if operator == "=" else None
            if other is not None:
                equal.append((left, other))
                if other.alias in wanted:
                    equal.append((other, left))
            elif left.name == "ws" or shift_of(table, left.name):
                if operator in ("=", "IN"):
                    if self._bound(table, left.name, right):
                        held[alias] = table
                elif (end := self._end(table, left.name, operator, right)) is not None:
                    ranges.setdefault(alias, {})[operator[0]] = end
        for alias, ends in ranges.items():
            if len(ends) == 2 and self._within(wanted[alias], ends[">"], ends["<"]):
                held[alias] = wanted[alias]
        while True:
            more = {
                left.alias: wanted[left.alias]
                for left, right in equal
                if left.alias in wanted
                and left.alias not in held
                and (right.alias in held or right.alias in outer)
                and self._same(known, left, right)
            }
            if not more:
                break
            held.update({str(alias): table for alias, table in more.items()})
        for alias, table in wanted.items():
            if alias not in held:
                self.problems.append(f"{table} is not held to the workspace")
        return held

    def _same(self, known: Mapping[str, str], left: Column, right: Column) -> bool:
        if left.name == "ws" or right.name == "ws":
            return left.name == right.name
        return bool(shift_of(known[str(left.alias)], left.name) and shift_of(known[str(right.alias)], right.name))

    def _sides(self, part: Tree, known: Mapping[str, str]) -> tuple[Column, str, Tree] | None:
        at = _index(part, {"=", "<", ">", "<=", ">=", "IN", "BETWEEN"})
        if at == len(part) or "NOT" in part[:at]:
            return None
        left = self._named(_column(part[:at]), known)
        return None if left is None else (left, part[at], part[at + 1 :])

    def _named(self, column: Column | None, known: Mapping[str, str]) -> Column | None:
        """Find the table a column is of."""
        if column is None:
            return None
        if column.alias is not None:
            return column if column.alias in known else None
        of = [alias for alias, table in known.items() if column.name in COLUMNS[table]]
        return Column(of[-1], column.name) if of else None

    # ------------------------------------------------------------------ what is bound
    def _values(self, words: Tree) -> list[Any] | None:
        """Return what a parameter, a list of them as JSON, or an expression of them is."""
        if len(words) == 1 and isinstance(words[0], int):
            return [self.bindings[words[0] - 1]]
        if len(words) == 1 and isinstance(words[0], list) and words[0][:1] == ["SELECT"]:
            inner = words[0]
            if inner[1:4] == ["value", "FROM", "json_each"] and isinstance(inner[4][0], int):
                found = self.bindings[inner[4][0] - 1]
                return list(json.loads(found)) if isinstance(found, str) else None
            return None
        text = self._text(words)
        return None if text is None else [_arithmetic(text)]

    def _text(self, words: Tree) -> str | None:
        parts = []
        for word in words:
            if isinstance(word, list):
                inner = self._text(word)
                if inner is None:
                    return None
                parts.append(f"({inner})")
            elif isinstance(word, int):
                parts.append(str(int(self.bindings[word - 1])))
            elif re.fullmatch(r"\d+|<<|>>|[+*-]", word):
                parts.append(word)
            else:
                return None
        return " ".join(parts)

    def _bound(self, table: str, name: str, words: Tree) -> bool:
        """Check what a column is held to or given; say whether that holds it to anything."""
        values = self._values(words)
        if values is None:
            return False
        shift = 0 if name == "ws" else shift_of(table, name)
        for value in values:
            if value is None or (value == 0 and shift):
                continue
            if not isinstance(value, int) or value >> shift != self.ws:
                self.problems.append(f"{table}.{name} is {value!r}, which is not of workspace {self.ws}")
        return True

    def _end(self, table: str, name: str, operator: str, words: Tree) -> int | None:
        """Return one end of a range of keys: the first number in it, or the first past it; None for what is no key."""
        shift, values = shift_of(table, name), self._values(words)
        if not shift or operator == "BETWEEN" or values is None or not isinstance(values[0], int):
            return None
        return values[0] + (operator in (">", "<="))

    def _within(self, table: str, first: int, past: int) -> bool:
        """Return whether a range of keys lies in the workspace. No key is below the first of the first workspace."""
        shift = WORKSPACE_SHIFT - 2 if table == "state_nodes" else WORKSPACE_SHIFT
        if past <= max(first, 1 << shift):
            return True
        return self.ws << shift <= first and past <= (self.ws + 1) << shift
