"""What the tests of embedding outside transactions share: an embedder that looks around while it embeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt
import psycopg

from cmc_mcp.config import Settings
from cmc_mcp.memory import Memory
from cmc_mcp.store.postgres.store import PostgresStore
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.locks import is_free
from tests.support.memories import live

INLINE_BYTES = 200
_SESSIONS = (
    "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid() AND state <> 'idle'"
)


class Watcher(HashVectors):
    """An embedder that does something whenever it is asked for vectors, and counts how often that is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.calls += 1
        self.meanwhile()
        return super().embed(texts)

    def once(self, action: Callable[[], object]) -> None:
        """Do something during the next embedding alone."""

        def meanwhile() -> None:
            self.meanwhile = lambda: None
            action()

        self.meanwhile = meanwhile


def opened(folder: Path, embedder: HashVectors | None, **more: object) -> Memory:
    """Open the store of a test, which keeps what is long as objects."""
    settings = Settings(inline_bytes=INLINE_BYTES)
    return Memory.open(folder / "memory.db", embedder=embedder, settings=settings, **more)  # type: ignore[arg-type]


def open_now(memory: Memory) -> list[str]:
    """Return what the store of a memory holds open: transactions, locks, connections."""
    store = reach.store(memory)
    if isinstance(store, PostgresStore):
        with psycopg.connect(store.address.conninfo, autocommit=True) as raw:
            held = [f"a session is {state}: {query}" for state, query in raw.execute(_SESSIONS).fetchall()]
            locks = raw.execute(  # of this database: other tests run on the same server
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone()
        free = store.pool._places._value == store.pool._size
        return held + ([] if locks == (0,) else ["an advisory lock"]) + ([] if free else ["a connection of the pool"])
    assert isinstance(store, SqliteStore)
    return [*_readers(store), *_writers(store)]


def _readers(store: SqliteStore) -> list[str]:
    """A reader keeps what is written after it began from being moved out of the log."""
    with live(store.location.path, workspace="elsewhere") as other:
        other.set_policy("gate.min_confidence", None)
    connection = apsw.Connection(str(store.location.path))
    try:
        ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()
    busy_readers = store._readers._busy
    return (["a reader holds the log"] if busy else []) + (["a reader is in use"] if busy_readers else [])


def _writers(store: SqliteStore) -> list[str]:
    return [] if is_free(f"{store.location.path}.lock", create=True) else ["the write lock"]
