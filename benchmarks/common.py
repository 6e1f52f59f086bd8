"""What the benchmarks share: texts, vectors, floors, percentiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import numpy as np
import numpy.typing as npt

from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.store.sqlite.connection import Location, connect

Figures = dict[str, float]
"""Figures by name. A bar stands in the name, as "(≤ 1.2)" or "(≥ 0.9)": `report.py` reads it there."""

DIMENSION = 384
WORDS = 20_000


class GivenVectors:
    """An embedder that hands out vectors made before, so that what is measured is the store."""

    def __init__(self, seed: int = 0, pool: int = 16_384) -> None:
        rng = np.random.default_rng(seed)
        base = rng.standard_normal((pool, DIMENSION)).astype(np.float32)
        mixed = base + base[rng.permutation(pool)] + base[rng.permutation(pool)]
        self._pool: npt.NDArray[np.float32] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        self._next = 0

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("given", "", "float32", DIMENSION, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the next vectors of the pool; costs next to nothing for one."""
        first, self._next = self._next, (self._next + len(texts)) % len(self._pool)
        if first + len(texts) <= len(self._pool):
            return self._pool[first : first + len(texts)]
        return self._pool[(first + np.arange(len(texts))) % len(self._pool)]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def texts(count: int, *, words: int = 40, seed: int = 1) -> list[str]:
    """Make texts whose words follow Zipf's law."""
    rng = np.random.default_rng(seed)
    weights = 1 / (np.arange(WORDS) + 8)
    bounds = np.cumsum(weights / weights.sum())
    names = [f"w{i}" for i in range(WORDS)]
    out: list[str] = []
    for start in range(0, count, 20_000):
        size = min(20_000, count - start)
        picks = np.minimum(np.searchsorted(bounds, rng.random((size, words))), WORDS - 1)
        out += [" ".join([names[i] for i in row]) for row in picks]
    return out


def timed(work: Callable[[], object]) -> float:
    """Run once; return the milliseconds it took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def p50(values: Sequence[float]) -> float:
    return float(np.percentile(values, 50))


def p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder on the disk that the figures are about."""
    with TemporaryDirectory(prefix="cmc-bench-") as name:
        yield Path(name)


class BareRows:
    """The floor of a write: the atom, piece, tag, full-text and vector rows by bare apsw, same settings."""

    _SCHEMA = (
        "CREATE TABLE atoms(rid INTEGER PRIMARY KEY, ws INT, id BLOB, origin INT, witness INT, content TEXT) STRICT",
        "CREATE UNIQUE INDEX atoms_id ON atoms(ws, id)",
        "CREATE TABLE pieces(ws INT, rid INT, valid_from INT, tx_from INT, valid_to INT, tx_to INT, facts INT,"
        " PRIMARY KEY(ws, rid, valid_from, tx_from)) STRICT, WITHOUT ROWID",
        "CREATE TABLE tags(ws INT, name TEXT, value TEXT, rid INT, PRIMARY KEY(ws, name, value, rid)) STRICT, WITHOUT ROWID",
        "CREATE VIRTUAL TABLE passages USING fts5(text, content='atoms', content_rowid='rid', tokenize='porter unicode61')",
        "CREATE TABLE vectors(rid INTEGER PRIMARY KEY, ws INT, vector BLOB) STRICT",
    )

    def __init__(self, path: Path, *, made: bool = False) -> None:
        self.connection: apsw.Connection = connect(Location(path), create=True)
        for statement in () if made else self._SCHEMA:
            self.connection.execute(statement.replace("INT,", "INTEGER,"))
        self._next = 0

    def write(self, batch: Sequence[tuple[str, bytes]], first: int | None = None) -> None:
        """Write one transaction of (text, vector), numbered on, or from `first`."""
        execute = self.connection.executemany
        first = self._next + 1 if first is None else first
        self._next += len(batch)
        numbered = list(enumerate(batch, first))
        self.connection.execute("BEGIN IMMEDIATE")
        execute(
            "INSERT INTO atoms VALUES(?, 1, ?, 1, 1, ?)", [(n, n.to_bytes(16, "little"), t) for n, (t, _) in numbered]
        )
        execute("INSERT INTO pieces VALUES(1, ?, 0, ?, 9, 9, 1)", [(n, n) for n, _ in numbered])
        execute("INSERT INTO tags VALUES(1, 'topic', 'bench', ?)", [(n,) for n, _ in numbered])
        execute("INSERT INTO passages(rowid, text) VALUES(?, ?)", [(n, t) for n, (t, _) in numbered])
        execute("INSERT INTO vectors VALUES(?, 1, ?)", [(n, v) for n, (_, v) in numbered])
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()
