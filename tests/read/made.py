"""What the read tests share: a deterministic embedder, and ways to read with and without the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmc_mcp.atoms.superseded import Superseded
from cmc_mcp.config import Settings
from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Rid
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.memory import Memory
from cmc_mcp.read.echoes import Known
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.pending import Embedded
from cmc_mcp.read.point import Point
from cmc_mcp.read.query import Question, limits_of
from cmc_mcp.read.reconcile import reconcile
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.ports import ReadView
from tests.support import reach
from tests.support.embedders import HashVectors

NO_MATRIX = Settings(matrix_bytes_max=0)


def opened(folder: Path, **more: Any) -> Memory:
    """Open the store of a test, with vectors and the clock of the machine."""
    return Memory.open(folder / "memory.db", **({"embedder": HashVectors()} | more))


def without_matrix(memory: Memory) -> Memory:
    """Return the same memory as it reads through SQL alone."""
    other = memory.as_principal(memory.principal)
    reach.alter(other, settings=NO_MATRIX)
    with reach.reader(other) as view:
        assert not view.head().passages or reach.index(other, view, Matrix, 1) is None
    return other


def asked(**filters: object) -> Question:
    """A question of which only the filters matter."""
    given = {"modalities": (), "sources": (), "writers": (), "tags": (), "min_confidence": None, **filters}
    return Question("x", 100, 10, **given)  # type: ignore[arg-type]


def point_at(view: ReadView, seq: int | None = None, valid_at: int | None = None) -> Point:
    """A read point: the head, or an earlier transaction; the time of it, or another."""
    head = view.head() if seq is None else view.head_at(seq)
    return Point(head, head.recorded_us if valid_at is None else valid_at, head.recorded_us)


def noted(view: ReadView, point: Point, loaded: Sequence[Loaded]) -> dict[Rid, Notes]:
    """Reconcile memories where nothing was asked."""
    return reconcile(view, point, loaded, Known.at(view, point, lambda _: {}, Settings(), Superseded()))


def both_ways(memory: Memory, view: ReadView, point: Point, question: Question) -> tuple[Selection, Selection] | None:
    """Select by the matrix and by SQL; None when nothing can pass."""
    limits = limits_of(view, question)
    if limits is None:
        return None
    model = view.models()[0][0] if view.models() else 0
    matrix = reach.index(memory, view, Matrix, model)
    assert matrix is not None
    return Selection(view, point, limits, matrix), Selection(view, point, limits, None)


def assert_equal_paths(
    memory: Memory, query: npt.NDArray[np.float32], k: int, *, seq: int | None = None, valid_at: int | None = None,
    **filters: object,
) -> list[tuple[int, float]]:  # fmt: skip
    """Compare the two vector paths, and both with every vector scored one by one; return the rows."""
    with reach.reader(memory) as view:
        point = point_at(view, seq, valid_at)
        ways = both_ways(memory, view, point, asked(**filters))
        if ways is None or not view.models():
            return []
        fast, slow = ways
        model = view.models()[0][0]
        rows, truth = fast.dense(model, query, k), slow.dense(model, query, k)
        assert rows == truth
        rids = view.selected(point.head.seq, point.valid_at, slow.limits)
        assert fast.passing(np.array(rids, np.int64)).all()
        assert fast.size() == len(rids)
        vectors = view.vectors_of(model, rids, point.head.seq)
        scores = {
            rid: round(float(np.frombuffer(v, np.float32).astype(np.float64) @ query.astype(np.float64)), 6)
            for rid, v in vectors.items()
        }
        assert len(rows) == min(k, len(scores))
        best = sorted(scores.values(), reverse=True)[:k]
        np.testing.assert_allclose([score for _, score in rows], best, atol=2e-6)
        some = rids[:: max(1, len(rids) // 20)]
        assert fast.cosines(model, query, some) == slow.cosines(model, query, some)
        near = view.nearest(model, query.tobytes(), k, point.head.seq, point.valid_at, slow.limits)
        np.testing.assert_allclose([score for _, score in near], best, atol=2e-5)
        sample = np.array(some, np.int64)
        for one, other in zip(fast.described(sample), slow.described(sample), strict=True):
            assert one.tolist() == other.tolist()
        assert fast.neighbours(sample).tolist() == slow.neighbours(sample).tolist()
        assert fast.bounds() == slow.bounds()
        model_pending = reach.index(memory, view, Matrix, model)
        assert model_pending is not None
        pending = model_pending.pending(point.head.seq, point.valid_at)
        assert pending == view.count_pending(model, point.head.seq, point.valid_at)
        embedded = reach.kept(memory).of(view.erasure_count(), Embedded)  # whatever it knows of other states by now
        assert [pending, pending] == [embedded.pending(view, model, point) for _ in range(2)]
        return rows
