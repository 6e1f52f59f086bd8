"""The read pipeline: runs the stages at one read point. It never writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

from cmc_mcp.config import Settings
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.model.results import Item, Mode, RecallResult, StageTrace
from cmc_mcp.read.dedupe import dedupe
from cmc_mcp.read.fit import fit
from cmc_mcp.read.point import Cursor, Point
from cmc_mcp.read.query import Question, limits_of
from cmc_mcp.read.rank import Hit, fuse
from cmc_mcp.read.reconcile import Notes, reconcile
from cmc_mcp.read.retrieve import Selection, Words, lexical
from cmc_mcp.store.loading import Loaded, Manifests, item_of, load, place_of
from cmc_mcp.store.matrix import Matrix
from cmc_mcp.store.protocol import Objects, ReadView

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Sight:
    """What the read pipeline is handed besides the question."""

    settings: Settings
    objects: Objects
    manifests: Manifests
    matrix: Matrix | None
    model: int  # 0: no vectors
    model_name: str | None
    vector: npt.NDArray[np.float32] | None  # of the question
    degraded: str | None
    count_tokens: Callable[[str], int]
    tokenizer: str


@dataclass(slots=True)
class _Trace:
    stages: list[StageTrace] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)

    def add(self, stage: str, candidates: int, **notes: JsonValue) -> None:
        now = time.perf_counter()
        self.stages.append(
            StageTrace(stage=stage, candidates=candidates, ms=round((now - self._last) * 1000, 3), notes=notes)
        )
        self._last = now


def recall(
    view: ReadView, sight: Sight, asked: Question, point: Point, *, workspace: str, offset: int, detailed: bool,
    explain: bool,
) -> RecallResult:  # fmt: skip
    """Answer a question at a read point."""
    trace = _Trace()
    hits, words = _retrieve(view, sight, asked, point, offset, trace)
    rows = view.atoms([hit.rid for hit in hits])
    others: dict[int, list[Hit]] = {}
    if sight.settings.dedupe:
        hits, others = dedupe(hits, rows)
        trace.add("dedupe", len(hits), merged=sum(len(same) for same in others.values()))
    page = hits[offset : offset + 2 * asked.limit]
    loaded = load(view, sight.objects, [hit.rid for hit in page], point.head.seq, point.valid_at)
    erased = sum(1 for item in loaded.values() if item.data is None)
    page = [hit for hit in page if hit.rid in loaded and loaded[hit.rid].data is not None]
    notes: dict[int, Notes] = {}
    if sight.settings.reconcile:
        notes = reconcile(view, point, [loaded[hit.rid] for hit in page])
        page = _winners_first(view, sight, point, page, loaded, notes)
        trace.add("reconcile", len(page), annotated=sum(1 for n in notes.values() if n.conflicts or n.stale))
    items = [_item(view, sight, point, hit, loaded[hit.rid], others, notes, detailed, explain) for hit in page]
    kept, tokens, left_out = fit(items, asked.budget_tokens, asked.limit, sight.count_tokens)
    trace.add("fit", len(kept), left_out=len(left_out), tokens=tokens)
    seen = offset + len(kept) + len(left_out)
    cursor = None
    if kept and seen < len(hits):
        cursor = Cursor(point.head.seq, point.valid_at, point.reference_us, seen).encode(asked.scope(workspace))
    return RecallResult(
        items=kept,
        mode=Mode(
            retrieval="hybrid" if sight.vector is not None else "full_text",
            model=sight.model_name if sight.vector is not None else None,
            pending=_pending(view, sight, point),
            degraded=sight.degraded,
            tokenizer=sight.tokenizer,
        ),
        tokens=tokens,
        left_out=left_out,
        next_cursor=cursor,
        read_point=point.result(sight.model_name if sight.vector is not None else None, sight.settings.digest),
        hidden_erased=erased,
        trace=trace.stages if explain else [],
    )


def _pending(view: ReadView, sight: Sight, point: Point) -> int:
    """Count what full text alone can find at a read point."""
    if sight.model_name is None:
        return 0
    if sight.matrix is None or not sight.matrix.seq:
        return view.count_pending(sight.model, point.head.seq, point.valid_at)
    return sight.matrix.pending(point.head.seq, point.valid_at)


def _retrieve(
    view: ReadView, sight: Sight, asked: Question, point: Point, offset: int, trace: _Trace
) -> tuple[list[Hit], Words]:
    limits = limits_of(view, asked)
    if limits is None or not point.head.passages:
        trace.add("filter", 0, passes="nothing")
        return [], Words([], {}, ())
    selection = Selection(view, point, limits, sight.matrix)
    trace.add("filter", -1)
    k = max(sight.settings.dense_candidates, offset + 3 * asked.limit)
    dense: list[tuple[int, float]] = []
    if sight.vector is not None and sight.model:
        dense = selection.dense(sight.model, sight.vector, k)
        trace.add("dense", len(dense))
    words = lexical(selection, asked.query, k, sight.settings)
    trace.add("lexical", len(words.hits), terms=dict(words.terms), frequent=list(words.frequent))
    rows = view.atoms(list({rid for rid, _ in (*dense, *words.hits)}))
    hits = fuse(dense, words.hits, rows, sight.settings)
    trace.add("rank", len(hits))
    return hits, words


def _winners_first(
    view: ReadView,
    sight: Sight,
    point: Point,
    page: list[Hit],
    loaded: dict[int, Loaded],
    notes: dict[int, Notes],
) -> list[Hit]:
    """Put what supersedes a memory right before it, drawing it in when it was not found by itself."""
    out: list[Hit] = []
    placed: set[int] = set()
    by_rid = {hit.rid: hit for hit in page}
    for hit in page:
        for winner in notes[hit.rid].superseded_by:
            if winner in placed:
                continue
            if winner not in loaded:
                found = load(view, sight.objects, [winner], point.head.seq, point.valid_at)
                if winner not in found or found[winner].data is None:
                    continue
                loaded.update(found)
                notes.update(reconcile(view, point, [found[winner]]))
            known = by_rid.get(winner)
            out.append(known or Hit(winner, loaded[winner].row.key, hit.score, 0.0, 0.0))
            placed.add(winner)
        if hit.rid not in placed:
            out.append(hit)
            placed.add(hit.rid)
    return out


def _item(
    view: ReadView,
    sight: Sight,
    point: Point,
    hit: Hit,
    loaded: Loaded,
    others: dict[int, list[Hit]],
    notes: dict[int, Notes],
    detailed: bool,
    explain: bool,
) -> Item:
    said = notes.get(hit.rid, Notes())
    place, hash_ = place_of(view, sight.manifests, loaded, point.head.seq)
    recorded = view.head_at(loaded.row.seq).recorded_us if detailed else None
    item = item_of(loaded, score=hit.score, recorded_us=recorded, detailed=detailed)
    update: dict[str, object] = {"place": place}
    if detailed and hash_:
        update["dependency_hash"] = hash_
    if said.conflicts:
        update["conflicts"] = said.conflicts
    if said.superseded_by:
        update["superseded_by"] = [atom_name(view.record(rid).key) for rid in said.superseded_by]
    if said.stale:
        update["stale_premises"] = said.stale
    if hit.rid in others:
        update["duplicates"] = [atom_name(same.key) for same in others[hit.rid]]
    if explain:
        update["why"] = {"score": hit.score, "dense": hit.dense, "lexical": hit.lexical}
    return item.model_copy(update=update)
