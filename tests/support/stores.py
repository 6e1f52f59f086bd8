"""Stores without the facade, and what lies in their files and tables behind their backs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
import sqlite_vec

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.sqlite.connection import Location
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.support.memories import NOON_US, at


def memory(path: Path, *, key: bytes | None = None, read_only: bool = False, inline_bytes: int = 65_536) -> Memory:
    """Open the real facade, without a model, on a clock that advances by a microsecond a look."""
    settings = Settings(inline_bytes=inline_bytes)
    return at(path, start_us=NOON_US, step_us=1, principal=None, key=key, read_only=read_only, settings=settings)


def store(path: Path, *, vfs: str | None = None, read_only: bool = False) -> SqliteStore:
    """Open the store alone."""
    return SqliteStore.open(
        Location(path, vfs=vfs, read_only=read_only), clock=FixedClock(NOON_US, step_us=1), registry=REGISTRY
    )


def raw(path: Path) -> apsw.Connection:
    """Open the file behind the store's back."""
    return apsw.Connection(str(path))


def run_sql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements of PostgreSQL's own; return the rows of the last."""
    with psycopg.connect(url, autocommit=True) as raw:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            cursor = raw.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows


class LookAtDatabase:
    """Sees whether anything was committed to the tables of a store: how many rows there are, and which wrote them."""

    def __init__(self, store: Any) -> None:
        self._raw = psycopg.connect(store.address.conninfo, autocommit=True)
        tables = self._raw.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'cmc'::regnamespace AND relkind = 'r' AND relpersistence = 'p'"
        ).fetchall()
        self._asked = " UNION ALL ".join(
            f"SELECT count(*), sum(xmin::text::bigint) FROM cmc.{name}" for (name,) in sorted(tables)
        ).encode()

    def __call__(self) -> object:
        return self._raw.execute(self._asked).fetchall()

    def close(self) -> None:
        self._raw.close()


def mode(path: Path) -> int:
    """Return the permission bits of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def as_nobody(work: Callable[[], str]) -> str:
    """Run something in a child without root's rights, where permissions count; return what it says.

    The tests may run as root, to whom every folder is writable. Skips where that child could not read the installation.
    """
    closed = [f for f in Path(sqlite_vec.__file__).resolve().parents if not f.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        pytest.skip(f"the installation is below {closed[-1]}, which only root may enter")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            try:
                said = work()
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said
