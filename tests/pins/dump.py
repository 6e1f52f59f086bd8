"""Whole tables as lines, read by the driver alone, past everything of the product."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import numpy as np

SCHEMA: Final = "cmc"
UNSTABLE: Final = {("migrations", "applied_us")}  # the making of the tables looks at the machine's clock
WHOLE: Final = frozenset({"transactions"})  # whose hashes are shown whole
_WORKSPACES_MAX: Final = 8
_SHOWN_CHARS: Final = 200
_HEX_CHARS: Final = 16

Rows = Callable[[str], list[tuple[object, ...]]]


def of_file(path: Path) -> dict[str, list[str]]:
    """Return every table of a SQLite store as lines, the first being its columns."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as raw:

        def rows(statement: str) -> list[tuple[object, ...]]:
            return list(raw.execute(statement))

        names = rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name")
        out = {
            str(name): lines(str(name), [str(row[1]) for row in rows(f"PRAGMA table_info({name})")], rows)
            for (name,) in names
        }
        out["file"] = [f"{name} = {raw.pragma(name)}" for name in ("application_id", "user_version", "page_size")]
    return out


def of_database(url: str) -> dict[str, list[str]]:
    """Return every table of a store on PostgreSQL as lines, the first being its columns."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as raw:

        def rows(statement: str) -> list[tuple[object, ...]]:
            return raw.execute(statement.encode()).fetchall()

        names = rows(
            f"SELECT relname::text FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition ORDER BY relname"
        )
        out = {}
        for (name,) in names:
            columns = rows(
                f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{SCHEMA}.{name}'::regclass AND attnum > 0"
                " AND NOT attisdropped ORDER BY attnum"
            )
            out[str(name)] = lines(str(name), [str(column) for (column,) in columns], rows, f"{SCHEMA}.")
    return out


def lines(table: str, columns: Sequence[str], rows: Rows, schema: str = "") -> list[str]:
    """Return one table as lines: its columns, then its rows in their order."""
    kept = [column for column in columns if (table, column) not in UNSTABLE]
    found = [tuple(map(_plain, kept, row)) for row in rows(f"SELECT {', '.join(kept)} FROM {schema}{table}")]
    ordered = sorted(found, key=lambda row: [(value is not None, value) for value in row])
    return [" | ".join(kept), *(" | ".join(_written(value, table in WHOLE) for value in row) for row in ordered)]


def objects(folder: Path) -> list[str]:
    """Return every file of a folder of objects as a line."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{path.relative_to(folder)} | {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]


def number(value: int) -> str:
    """Write a surrogate number as workspace:ordinal, any other as it is."""
    workspace = value >> 40
    return f"{workspace}:{value & (1 << 40) - 1}" if 0 < workspace <= _WORKSPACES_MAX else str(value)


def short(text: str) -> str:
    """Write a text as JSON; of a long one, its length and its digest."""
    if len(text) <= _SHOWN_CHARS:
        return json.dumps(text, ensure_ascii=False)
    return f"{len(text)} chars {hashlib.sha256(text.encode()).hexdigest()[:_HEX_CHARS]}"


def _plain(column: str, value: object) -> object:
    """Return a value as SQLite has it: a vector of pgvector is the bytes of its components."""
    if column == "vector" and isinstance(value, str):
        return np.array(json.loads(value), np.float32).tobytes()
    return bytes(value) if isinstance(value, memoryview) else value


def _written(value: object, whole: bool) -> str:
    if value is None:
        return "~"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, str):
        return short(value)
    assert isinstance(value, bytes), type(value)
    if _is_text(value):
        return short(value.decode())
    return f"x{value.hex() if whole or len(value) <= _HEX_CHARS // 2 else hashed(value)}"


def hashed(value: bytes) -> str:
    """Write bytes by their beginning, if they are a hash or an id; else by their length and digest."""
    if len(value) in (16, 32):
        return value.hex()[:_HEX_CHARS]
    return f"[{len(value)}]{hashlib.sha256(value).hexdigest()[:_HEX_CHARS]}"


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False
