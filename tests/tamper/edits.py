"""Edits of any table, drawn from the schema itself: a table or column that is added later is edited without a line here."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import apsw

Value = None | int | float | str | bytes
WORKSPACE_SHIFT = 40
NOWHERE = 99  # the number of no workspace
COLUMN_KINDS = ("flip", "more", "less", "sign", "zero", "null", "swap", "elsewhere", "nowhere", "type", "cut", "grown")
ROW_KINDS = ("delete", "duplicate", "exchange")


class Column(NamedTuple):
    """A column as `PRAGMA table_xinfo` gives it."""

    name: str
    type: str
    not_null: bool
    key: int


class Table(NamedTuple):
    """A table: what identifies a row, and what can be edited."""

    name: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """What was done to which row, as it was; `other` is the row it was exchanged with, or what was written beside it."""

    table: str
    column: str
    kind: str
    row: dict[str, Value]
    other: dict[str, Value]
    before: Value = None
    after: Value = None

    @property
    def ws(self) -> int:
        """The workspace of the row; 0 where it says none."""
        found = self.row.get("ws")
        return found if isinstance(found, int) else 0

    def __str__(self) -> str:
        row = {name: f"{value!r:.40}" for name, value in self.row.items()}
        return f"{self.table}.{self.column} {self.kind} at {row}: {self.before!r:.60} became {self.after!r:.60}"


def tables(raw: apsw.Connection) -> list[Table]:
    """Return every table that holds rows, the shadow tables of full text included, and SQLite's own schema excepted."""
    out = []
    for _, name, kind, _, without_rowid, _ in raw.execute("SELECT * FROM pragma_table_list").fetchall():
        if kind in ("view", "virtual") or str(name).startswith("sqlite_"):
            continue
        found = raw.execute(f"PRAGMA table_xinfo({name})").fetchall()
        columns = tuple(Column(str(c[1]), str(c[2]), bool(c[3]), int(c[5])) for c in found)  # type: ignore[arg-type]
        keys = tuple(c.name for c in sorted(columns, key=lambda c: c.key) if c.key) or ("rowid",)
        out.append(Table(str(name), columns, keys if without_rowid or len(keys) == 1 else ("rowid",)))
    return sorted(out)


class Tamperer:
    """Makes edits of one file, by a raw connection that knows nothing of the store."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.path, self.rng = path, rng

    def column(self, table: Table, column: Column, kinds: tuple[str, ...] = COLUMN_KINDS) -> Edit | None:
        """Edit a column of a random row in the first of some ways that changes it and that the schema lets pass."""
        with closing(self._connected()) as raw:
            for row in self._rows(raw, table):
                for kind in self.rng.sample(kinds, len(kinds)):
                    edit = self._edited(raw, table, column, row, kind)
                    if edit is not None:
                        return edit
        return None

    def row(self, table: Table, kind: str) -> Edit | None:
        """Delete a random row, write it again under another key, or exchange what two keys hold."""
        with closing(self._connected()) as raw:
            for row in self._rows(raw, table):
                edit = getattr(self, f"_{kind}")(raw, table, row)
                if edit is not None:
                    assert isinstance(edit, Edit)
                    return edit
        return None

    # ------------------------------------------------------------------ one edit
    def _connected(self) -> apsw.Connection:
        raw = apsw.Connection(str(self.path))
        raw.execute("PRAGMA journal_mode=DELETE").fetchall()
        return raw

    def _rows(self, raw: apsw.Connection, table: Table) -> Iterator[dict[str, Value]]:
        """Yield some rows, of each workspace in turn, the smaller ones more often first."""
        names = ", ".join(dict.fromkeys((*table.keys, *(column.name for column in table.columns))))
        has_ws = any(column.name == "ws" for column in table.columns)
        spaces = [row[0] for row in raw.execute(f"SELECT DISTINCT ws FROM {table.name}")] if has_ws else [None]
        counted: list[tuple[float, Value, int]] = []
        for ws in spaces:
            count = raw.execute(f"SELECT count(*) FROM {table.name} {'WHERE ws = ?' if has_ws else ''}", (ws,) * has_ws)
            size = count.fetchall()[0][0]
            assert isinstance(size, int)
            counted.append((self.rng.random() * size, ws, size))
        for _, ws, count in sorted(counted, key=lambda found: found[0]):
            where, bindings = ("WHERE ws = ?", (ws,)) if has_ws else ("", ())
            for offset in self.rng.sample(range(count), min(count, 8)):
                cursor = raw.execute(f"SELECT {names} FROM {table.name} {where} LIMIT 1 OFFSET {offset}", bindings)
                yield dict(zip((name for name, *_ in cursor.get_description()), cursor.fetchall()[0], strict=True))

    def _one(
        self, raw: apsw.Connection, names: str, table: str, where: str, bindings: tuple[Value, ...]
    ) -> tuple[Value, ...] | None:
        """Return one of the rows that a condition finds, drawn by the seed."""
        count = raw.execute(f"SELECT count(*) FROM {table} WHERE {where}", bindings).fetchall()[0][0]
        assert isinstance(count, int)
        if not count:
            return None
        offset = self.rng.randrange(count)
        return raw.execute(f"SELECT {names} FROM {table} WHERE {where} LIMIT 1 OFFSET {offset}", bindings).fetchall()[0]

    def _edited(
        self, raw: apsw.Connection, table: Table, column: Column, row: dict[str, Value], kind: str
    ) -> Edit | None:
        before = row[column.name]
        if kind == "swap":
            other = self._one(raw, column.name, table.name, f"{column.name} IS NOT ?", (before,))
            if other is None:
                return None
            after: Value = other[0]
        else:
            after = changed(before, kind, self.rng)
        if after == before and type(after) is type(before):
            return None
        where = " AND ".join(f"{key} IS ?" for key in table.keys)
        return self._try(
            raw,
            f"UPDATE {table.name} SET {column.name} = ? WHERE {where}",
            (after, *(row[key] for key in table.keys)),
            Edit(table.name, column.name, kind, row, {}, before, after),
        )

    def _try(self, raw: apsw.Connection, statement: str, bindings: tuple[Value, ...], edit: Edit) -> Edit | None:
        """Run a statement; None when the schema does not let it pass."""
        try:
            raw.execute(statement, bindings).fetchall()
        except (apsw.ConstraintError, apsw.MismatchError):
            return None
        return edit if raw.changes() else None

    def _delete(self, raw: apsw.Connection, table: Table, row: dict[str, Value]) -> Edit | None:
        where = " AND ".join(f"{key} IS ?" for key in table.keys)
        bindings = tuple(row[key] for key in table.keys)
        edit = Edit(table.name, "*", "delete", row, {})
        return self._try(raw, f"DELETE FROM {table.name} WHERE {where}", bindings, edit)

    def _duplicate(self, raw: apsw.Connection, table: Table, row: dict[str, Value]) -> Edit | None:
        """Write a row again under another key; where more than its key must be unique, that is changed too."""
        uniques = [key for key in table.keys if key != "rowid"]
        for _, name, unique, *_ in raw.execute(f"PRAGMA index_list({table.name})").fetchall():
            if unique:
                uniques += [str(part[2]) for part in raw.execute(f"PRAGMA index_info({name})").fetchall()]
        names = [column.name for column in table.columns]
        for kind in ("more", "grown", "flip"):
            other = dict(row)
            for name in dict.fromkeys(uniques):
                if name != "ws":
                    other[name] = changed(row[name], kind, self.rng)
            edit = self._try(
                raw,
                f"INSERT INTO {table.name}({', '.join(names)}) VALUES({', '.join('?' * len(names))})",
                tuple(other[name] for name in names),
                Edit(table.name, "*", "duplicate", row, other),
            )
            if edit is not None:
                return edit
        return None

    def _exchange(self, raw: apsw.Connection, table: Table, row: dict[str, Value]) -> Edit | None:
        """Exchange everything but the key of two rows."""
        rest = [c.name for c in table.columns if c.name not in table.keys and c.name != "ws"]
        where = " AND ".join(f"{key} IS ?" for key in table.keys)
        if not rest:
            return None
        names = ", ".join((*table.keys, *rest))
        differs = " OR ".join(f"{name} IS NOT ?" for name in rest)
        bindings = (*(row[name] for name in rest), *(row[key] for key in table.keys))
        found = self._one(raw, names, table.name, f"({differs}) AND NOT ({where})", bindings)
        if found is None:
            return None
        other = dict(zip((*table.keys, *rest), found, strict=True))
        every = ", ".join(c.name for c in table.columns)
        insert = f"INSERT INTO {table.name}({every}) VALUES({', '.join('?' * len(table.columns))})"
        full = raw.execute(
            f"SELECT {every} FROM {table.name} WHERE {where}", tuple(other[k] for k in table.keys)
        ).fetchall()[0]
        theirs = dict(zip((c.name for c in table.columns), full, strict=True))
        raw.execute("BEGIN")
        try:
            for gone in (row, other):
                raw.execute(f"DELETE FROM {table.name} WHERE {where}", tuple(gone[key] for key in table.keys))
            kept = [c.name for c in table.columns if c.name in table.keys or c.name == "ws"]
            for mine, new in ((row, theirs), (theirs, row)):
                raw.execute(insert, tuple((mine if c.name in kept else new)[c.name] for c in table.columns))
            raw.execute("COMMIT")
        except (apsw.ConstraintError, apsw.MismatchError):
            raw.execute("ROLLBACK")
            return None
        return Edit(table.name, "*", "exchange", row, theirs)


def changed(value: Value, kind: str, rng: random.Random) -> Value:
    """Return a value edited in some way; the value itself where that way is none for it."""
    if kind == "null":
        return None
    if kind == "type":
        return value.decode("latin-1") if isinstance(value, bytes) else str(value).encode()
    if isinstance(value, int):
        return _number(value, kind, rng)
    if isinstance(value, str):
        return _text(value, kind, rng)
    if isinstance(value, bytes):
        return _bytes(value, kind, rng)
    return value


def _number(value: int, kind: str, rng: random.Random) -> int:
    return {
        "flip": value ^ 1 << rng.randrange(62),
        "more": value + 1,
        "less": value - 1,
        "sign": -value,
        "zero": 0,
        "elsewhere": value ^ 3 if abs(value) < 8 else value ^ 1 << WORKSPACE_SHIFT,
        "nowhere": NOWHERE if abs(value) < 8 else value & (1 << WORKSPACE_SHIFT) - 1 | NOWHERE << WORKSPACE_SHIFT,
        "grown": value + 1_000_003,
    }.get(kind, value)


def _text(value: str, kind: str, rng: random.Random) -> str:
    place = rng.randrange(len(value)) if value else 0
    return {
        "flip": value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :] if value else "x",
        "more": value + "x",
        "less": value[:-1],
        "sign": value.swapcase(),
        "zero": "",
        "cut": value[: place or 1],
        "grown": value + " ",
    }.get(kind, value)


def _bytes(value: bytes, kind: str, rng: random.Random) -> bytes:
    place = rng.randrange(len(value)) if value else 0
    return {
        "flip": value[:place] + bytes([value[place] ^ 1 << rng.randrange(8)]) + value[place + 1 :] if value else b"x",
        "more": value + b"\0",
        "less": value[:-1],
        "zero": bytes(len(value)),
        "cut": value[: place or 1],
        "grown": value + b"xyz",
    }.get(kind, value)
