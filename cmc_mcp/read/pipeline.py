"""The read pipeline: runs the stages at one read point. It never writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmc_mcp.config import Settings
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.model.results import Item, Mode, RecallResult
from cmc_mcp.read.arrange import Arranged, Placed
from cmc_mcp.read.candidates import Candidates
from cmc_mcp.read.dedupe import duplicates
from cmc_mcp.read.fit import Page, fit
from cmc_mcp.read.lexical import Words
from cmc_mcp.read.point import Cursor, Point
from cmc_mcp.read.query import Question, limits_of
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.lexicon import Lexicon
from cmc_mcp.store.loading import Manifests, item_of, places_of
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is put: where its answer goes on, and how much it says."""

    question: Question
    scope: Sequence[str]  # what its cursors are bound to
    offset: int = 0
    given: int = 0
    detailed: bool = False
    explain: bool = False


def recall(view: ReadView, sight: Sight, asked: Asked, point: Point) -> RecallResult:
    """Answer a question at a read point."""
    trace = Trace()
    question = asked.question
    limits = limits_of(view, question)
    page, more, hidden = Page(asked.offset, asked.given), False, 0
    if limits is None or not point.head.passages:
        trace.lap("filter", 0, passes="nothing")
    else:
        selection = Selection(view, point, limits, sight.matrix)
        trace.lap("filter", selection.size() if asked.explain else -1)
        hidden = selection.erased()
        sequence = _Sequence(view, sight, asked, point, selection, trace)
        page = fit(
            sequence.items(), asked.offset, asked.given, question.budget_tokens, question.limit, sight.count_tokens
        )
        trace.lap("fit", len(page.items), left_out=len(page.left_out), tokens=page.tokens)
        more = page.puts_off or sequence.has_more(page.offset)
    vectors = sight.vector is not None
    cursor = Cursor(point.head.seq, point.valid_at, point.reference_us, page.offset, page.given)
    return RecallResult(
        items=page.items,
        mode=Mode(
            retrieval="hybrid" if vectors else "full_text",
            model=sight.model_name if vectors else None,
            pending=_pending(view, sight, point),
            degraded=sight.degraded,
            tokenizer=sight.tokenizer,
        ),
        tokens=page.tokens,
        left_out=page.left_out,
        next_cursor=cursor.encode(asked.scope) if more else None,
        read_point=point.result(sight.model_name if vectors else None, sight.settings.digest),
        hidden_erased=hidden,
        trace=trace.stages() if asked.explain else [],
    )


def _pending(view: ReadView, sight: Sight, point: Point) -> int:
    """Count what full text alone can find at a read point."""
    if sight.model_name is None:
        return 0
    if sight.matrix is None or sight.matrix.seq < point.head.seq:
        return view.count_pending(sight.model, point.head.seq, point.valid_at)
    return sight.matrix.pending(point.head.seq, point.valid_at)


class _Sequence:
    """The memories that answer a question, as items, from where this page begins."""

    def __init__(
        self, view: ReadView, sight: Sight, asked: Asked, point: Point, selection: Selection, trace: Trace
    ) -> None:
        self._view, self._sight, self._asked, self._point = view, sight, asked, point
        self._selection, self._trace = selection, trace
        limit, settings = asked.question.limit, sight.settings
        lexicon = Lexicon(view.ws) if sight.matrix is None else sight.matrix.lexicon
        words = Words(selection, asked.question.query, settings, lexicon)
        trace.lap("terms", len(words.terms))
        depth = max(settings.dense_candidates, 3 * limit)
        candidates = Candidates(selection, words, sight.model, sight.vector, depth, settings, trace)
        self._arranged = Arranged(
            view, sight.objects, point, selection, candidates, settings, limit + 1, trace
        )  # one more: is there more?
        self._places = enumerate(self._arranged)
        self._ahead: list[tuple[int, Placed]] = []

    def items(self) -> Iterator[tuple[int, Item]]:
        """Give (place, item) from the page's first place on, without what was given before."""
        offset, given = self._asked.offset, self._asked.given
        while chunk := self._chunk(offset, given):
            self._ahead = list(chunk)
            made = self._made([placed for _, placed in chunk])
            self._trace.lap("items", len(made), merged=self._arranged.merged)
            for (place, _), item in zip(chunk, made, strict=True):
                self._ahead.pop(0)
                yield place, item

    def _chunk(self, offset: int, given: int) -> list[tuple[int, Placed]]:
        out: list[tuple[int, Placed]] = []
        for place, placed in self._places:
            if place >= offset and not given >> (place - offset) & 1:
                out.append((place, placed))
                if len(out) >= self._asked.question.limit:
                    break
        return out

    def has_more(self, offset: int) -> bool:
        """Say whether anything from `offset` on was not given."""
        return bool(self._ahead) or any(place >= offset for place, _ in self._places)

    def _made(self, chunk: list[Placed]) -> list[Item]:
        view, sight, asked, seq = self._view, self._sight, self._asked, self._point.head.seq
        places = places_of(view, sight.manifests, [placed.loaded for placed in chunk], seq)
        same: dict[int, list[str]] = {}
        if sight.settings.dedupe:
            same = duplicates(self._selection, {placed.hit.rid: placed.loaded.row.content for placed in chunk})
        out = []
        for hit, loaded, notes in ((placed.hit, placed.loaded, placed.notes) for placed in chunk):
            place, hash_ = places[hit.rid]
            out.append(
                item_of(
                    loaded,
                    score=hit.score,
                    recorded_us=view.head_at(loaded.row.seq).recorded_us if asked.detailed else None,
                    detailed=asked.detailed,
                    place=place,
                    dependency_hash=hash_ if asked.detailed else None,
                    conflicts=notes.conflicts,
                    superseded_by=[atom_name(view.record(rid).key) for rid in notes.superseded_by],
                    stale_premises=notes.stale,
                    duplicates=same.get(hit.rid, []),
                    why={"score": hit.score, "dense": hit.dense, "lexical": hit.lexical} if asked.explain else None,
                )
            )
        return out
