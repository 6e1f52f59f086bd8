"""Each part of the read path, and what surrounds it, against the least that the same work costs in the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt
import simsimd

from benchmarks.common import BareRows, Figures, GivenVectors, folder, p50, p95, texts, timed
from benchmarks.read_latency import build, questions
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.memory import Memory
from cmc_mcp.read.point import resolve
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.codes import quantise
from cmc_mcp.store.rows import Filter
from cmc_mcp.store.sqlite.connection import Location, connect

K, CANDIDATES, QUESTIONS = 10, 40, 60


class _Scan:
    """The floor of a search: one int8 scan in memory, the best 40, their vectors by SQL, the best ten."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(Location(path, read_only=True))
        rows = self.connection.execute("SELECT vid, vector FROM vectors ORDER BY vid").fetchall()
        self.vids = [int(row[0]) for row in rows]
        self.vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), -1)
        self.codes, _ = quantise(self.vectors)
        self.connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5(text, tokenize='porter unicode61')")
        self.connection.execute(
            "INSERT INTO temp.words(rowid, text) SELECT a.rid, CAST(p.body AS TEXT) FROM atoms a"
            " JOIN payloads p ON p.ws = a.ws AND p.pid = a.content WHERE p.body IS NOT NULL"
        )

    def nearest(self, query: npt.NDArray[np.float32]) -> list[int]:
        coded, _ = quantise(query.reshape(1, -1))
        scores = np.asarray(simsimd.cdist(coded, self.codes, metric="dot", out_dtype="float32")).reshape(-1)
        best = np.argpartition(-scores, CANDIDATES)[:CANDIDATES]
        marks = ",".join(str(self.vids[place]) for place in best)
        rows = self.connection.execute(f"SELECT vid, vector FROM vectors WHERE vid IN ({marks})").fetchall()
        exact = np.frombuffer(b"".join(row[1] for row in rows), np.float32).reshape(len(rows), -1) @ query
        return [rows[place][0] for place in np.argsort(-exact)[:K]]

    def holding_all(self, text: str) -> list[tuple[int]]:
        """The floor of the words: the memories that hold every word of the question, as FTS5 finds them."""
        words = " AND ".join(f'"{word}"' for word in text.split())
        return self.connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (words, CANDIDATES)
        ).fetchall()


def legs(size: int) -> Figures:
    """The vector leg, the whole hybrid recall and filters, in a store of `size` memories."""
    with folder() as place, build(place, size) as memory:
        path = place / f"{size}.db"
        scan, asked = _Scan(path), questions(QUESTIONS)
        memory.recall_by_vector(*asked[0])
        leg: list[float] = []
        bare: list[float] = []
        hybrid: list[float] = []
        both: list[float] = []
        with memory._workspace.reader() as view:
            model = view.models()[0][0]
            point = resolve(view, None, None, memory.now_us())
            for _, vector in asked:
                matrix = memory._workspace.index(view, Matrix, model)
                selection = Selection(view, point, Filter(), matrix)
                leg.append(timed(lambda: selection.dense(model, vector, K)))
                bare.append(timed(lambda: scan.nearest(vector)))
            hits = _filtered(view, model, point, memory._workspace.index(view, Matrix, model), asked)
        for text, vector in asked * 2:  # the second time the words are known, as in `reading`
            hybrid.append(timed(lambda: memory.recall_by_vector(text, vector)))
            both.append(timed(lambda: (scan.nearest(vector), scan.holding_all(text))))
        load = _load(path, memory)
        scan.connection.close()
    floor = p50(both[QUESTIONS:])
    return {
        "int8 scan + rescore p50 ms": p50(bare),
        "vector leg / int8 scan + rescore (≤ 1.3)": p50(leg) / p50(bare),
        "int8 scan + AND query p50 ms": floor,
        "hybrid recall, no embedding / (int8 scan + AND query) (≤ 1.5)": p50(hybrid[QUESTIONS:]) / floor,
        "hybrid recall p95 / (int8 scan + AND query) p95 (≤ 3)": p95(hybrid[QUESTIONS:]) / p95(both[QUESTIONS:]),
        "filtered search, recall@10 of the exact truth (≥ 1)": hits,
        **load,
    }


def _filtered(view, model, point, matrix, asked) -> float:  # type: ignore[no-untyped-def]
    """Search with filters that keep a fifth, against NumPy over the rows that pass."""
    passing = view.facts_with_tag("shard", "s3")
    rids = sorted({rid for rid, *_ in view.holders(passing, point.head.seq, point.valid_at)})
    vectors = view.vectors_of(model, rids, point.head.seq)
    order = sorted(vectors)
    rows = np.frombuffer(b"".join(vectors[rid] for rid in order), np.float32).reshape(len(order), -1)
    shares = []
    for _, vector in asked:
        truth = np.sort(rows.astype(np.float64) @ vector.astype(np.float64))[-K]
        found = Selection(view, point, Filter(facts=(tuple(passing),)), matrix).dense(model, vector, K)
        shares.append(sum(score >= truth - 2e-6 for _, score in found) / K)
    return float(np.mean(shares))


def _load(path: Path, memory: Memory) -> Figures:
    """Loading what is searched, against reading the blobs that hold the codes."""
    connection = connect(Location(path, read_only=True))
    blobs = [
        timed(lambda: connection.execute("SELECT vids, seqs, errors, codes FROM codes").fetchall()) for _ in range(3)
    ]
    connection.close()
    loads = []
    for _ in range(3):
        memory._workspace.kept.clear()
        with memory._workspace.reader() as view:
            head, matrix = view.head(), memory._workspace.index(view, Matrix, view.models()[0][0])
            assert matrix is not None
            loads.append(timed(lambda: matrix.catch_up(view, head.seq, head.last_rid)))
    return {"matrix load ms": p50(loads), "matrix load / read of the code blobs (≤ 2)": p50(loads) / p50(blobs)}


def upkeep(count: int = 10_000, rounds: int = 60) -> Figures:
    """Rollback of 100 changes against updating as many rows; a change of the tree and the log against a bare commit."""
    from cmc_mcp.merkle import log, state

    given, words = GivenVectors(), texts(count + 100 * 8, words=24)
    with folder() as place, Memory.open(place / "memory.db", embedder=given) as memory:
        memory.remember_many([{"content": text} for text in words[:count]])  # type: ignore[arg-type]
        bare = BareRows(place / "bare.db")
        vector = given.embed(["x"])[0].tobytes()
        for start in range(0, count, 1_000):
            bare.write([(text, vector) for text in words[start : start + 1_000]])
        back, rows = [], []
        for number in range(8):
            before = memory.snapshot().transaction
            part = words[count + 100 * number : count + 100 * number + 100]
            memory.remember_many([{"content": text} for text in part])  # type: ignore[arg-type]
            back.append(timed(lambda: memory.rollback(before)))
            rows.append(timed(lambda: _update(bare.connection, number)))
        nodes: dict[int, bytes | None] = dict(
            state.build((sha256(b"%d" % n).digest()[:16], bytes(32)) for n in range(count))[1]
        )
        one, commit = [], []
        frontier: dict[tuple[int, int], bytes] = {}
        for number in range(rounds):
            commit.append(timed(lambda: bare.write([(f"row {number}", vector)])))
            one.append(timed(lambda: _grow(state, log, nodes, frontier, number)))
        bare.close()
    return {
        "update of 100 rows in one bare transaction p50 ms": p50(rows),
        "rollback of 100 changes / updating the rows (≤ 3)": p50(back) / p50(rows),
        "bare one-row commit p50 ms": p50(commit),
        "one change of the state tree and the log, hashing alone, p50 ms": p50(one),
        "Merkle upkeep / bare one-row commit (≤ 1)": p50(one) / p50(commit),
    }


def _update(connection: apsw.Connection, number: int) -> None:
    """Close 100 rows in the bare tables, their tags with them."""
    low = 100 * number + 1
    connection.execute("BEGIN IMMEDIATE")
    rows = connection.execute("SELECT rid FROM atoms WHERE rid BETWEEN ? AND ?", (low, low + 99)).fetchall()
    for row in rows:
        connection.execute("UPDATE pieces SET tx_to = 5 WHERE ws = 1 AND rid = ?", row)
        connection.execute("DELETE FROM tags WHERE ws = 1 AND name = 'topic' AND value = 'bench' AND rid = ?", row)
    connection.execute("COMMIT")


def _grow(state, log, nodes, frontier, number: int) -> None:  # type: ignore[no-untyped-def]
    _, dirty = state.update(nodes.get, {sha256(b"new %d" % number).digest()[:16]: bytes(32)})
    nodes.update(dirty)
    for level, index, node in log.append(
        number, log.leaf_hash(number.to_bytes(32, "big")), lambda a, b: frontier[a, b]
    ):
        frontier[level, index] = node


_CALL = """
import sys, time
begun = time.perf_counter()
import mcp.server
print(time.perf_counter() - begun)
"""
_EMBED = """
import time
from cmc_mcp.embed import MiniLM
begun = time.perf_counter()
MiniLM().embed(["the first text"])
print(time.perf_counter() - begun)
"""


def starting(rounds: int = 5) -> Figures:
    """The first tool call of a new server against the import of the MCP library; the first text of a new process."""
    from benchmarks.serving import RawClient

    def child(code: str) -> float:
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return float(done.stdout) * 1000

    imports, calls, embeds = [], [], []
    with folder() as place:
        for number in range(rounds):
            imports.append(child(_CALL))
            command = [sys.executable, "-m", "cmc_mcp", "--store", str(place / f"{number}.db"), "serve"]
            begun = time.perf_counter()
            client = RawClient(command)
            client.initialize()
            client.request("tools/call", {"name": "history", "arguments": {}})
            calls.append((time.perf_counter() - begun) * 1000)
            client.close()
            embeds.append(child(_EMBED))
    return {
        "import of the MCP server library, median ms": statistics.median(imports),
        "start to the first tool call, median ms": statistics.median(calls),
        "start to the first tool call / import of the library (≤ 1.3)": statistics.median(calls)
        / statistics.median(imports),
        "first embedding of a process, median ms (≤ 400)": statistics.median(embeds),
    }


# ---------------------------------------------------------------------- writers
def _ours(path: Path, number: int, each: int) -> None:
    with Memory.open(path, embedder=None) as memory:
        for n in range(each):
            memory.remember(f"writer {number} says {n}", tags={"topic": "bench"})


def _bare(path: Path, number: int, each: int) -> None:
    rows = BareRows(path, made=True)
    for n in range(each):
        rows.write([(f"writer {number} says {n}", bytes(1536))], first=number * each + n + 1)
    rows.close()


def writers(processes: int = 8, each: int = 150) -> Figures:
    """Eight processes on one file against as many with bare `BEGIN IMMEDIATE` and the same rows."""
    context, took = get_context("spawn"), {}
    with folder() as place:
        BareRows(place / "bare.db").close()
        Memory.open(place / "ours.db", embedder=None).close()
        for name, work in (("bare", _bare), ("ours", _ours)):
            running = [context.Process(target=work, args=(place / f"{name}.db", n, each)) for n in range(processes)]
            start = time.perf_counter()
            for process in running:
                process.start()
            for process in running:
                process.join()
            took[name] = time.perf_counter() - start
            assert not any(process.exitcode for process in running), f"a writer of {name} failed"
    return {
        "8 writers, bare BEGIN IMMEDIATE, writes/s": processes * each / took["bare"],
        "8 writers, remember, writes/s": processes * each / took["ours"],
        "8 writers, remember / bare (≥ 0.5)": took["bare"] / took["ours"],
    }
