"""Reads: recall with the embedding against (embed + a raw sqlite-vec query), and without it, at growing sizes."""

from __future__ import annotations

from pathlib import Path

import apsw
import numpy as np
import sqlite_vec

from benchmarks.common import DIMENSION, Figures, GivenVectors, folder, p50, timed
from benchmarks.read_latency import build, latency, questions
from cmc_mcp.embed import MiniLM

BARS = {10_000: 0.7, 100_000: 0.25, 1_000_000: 0.12}


def _raw(path: Path, count: int) -> apsw.Connection:
    """Fill a vec0 table, the plain way to search with sqlite-vec, with as many vectors."""
    connection = apsw.Connection(str(path))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.pragma("cache_size", -64 * 1024)
    connection.pragma("mmap_size", 1 << 31)
    connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(id INTEGER PRIMARY KEY, e float[{DIMENSION}])")
    given = GivenVectors()
    for start in range(0, count, 10_000):
        part = given.embed([""] * min(10_000, count - start))
        with connection:
            connection.executemany("INSERT INTO v VALUES(?, ?)", [(start + i, x.tobytes()) for i, x in enumerate(part)])
    return connection


def at_size(place: Path, count: int) -> Figures:
    """Measure one size; the floor and the product take turns."""
    memory = build(place, count)
    raw = _raw(place / f"raw-{count}.db", count)
    model = MiniLM()
    model.embed(["warm"])
    asked = questions(60)
    floor, ours, alone = [], [], []
    find = "SELECT id FROM v WHERE e MATCH ? AND k = 10"
    for text, vector in asked:
        query = np.ascontiguousarray(vector).tobytes()
        alone.append(timed(lambda: model.embed([text])))
        floor.append(alone[-1] + timed(lambda: raw.execute(find, (query,)).fetchall()))
        ours.append(timed(lambda: (model.embed([text]), memory.recall_by_vector(text, vector))))
    raw.close()
    figures = latency(memory, count)
    memory.close()
    bar = BARS.get(count, 1.0)
    return {
        "embed alone p50 ms": p50(alone),
        "embed + raw sqlite-vec query p50 ms": p50(floor),
        "recall with the embedding, words asked for the first time, p50 ms": p50(ours),
        f"recall / (embed + raw sqlite-vec) (≤ {bar})": p50(ours) / p50(floor),
        **figures,
    }


def reading(sizes: tuple[int, ...] = (10_000, 100_000)) -> Figures:
    """Measure every size."""
    out: Figures = {}
    with folder() as place:
        for size in sizes:
            out.update({f"{size:,}: {name}": value for name, value in at_size(place, size).items()})
    return out
