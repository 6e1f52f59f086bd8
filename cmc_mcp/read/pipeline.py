"""The read pipeline: runs the stages at one read point. It never writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import JsonValue

from cmc_mcp.documents.loading import Loaded, load, places_of
from cmc_mcp.history.references import longer
from cmc_mcp.ids import NO_MODEL_NUMBER, Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.limits import RECALL_TOKENS_MIN
from cmc_mcp.model.facts import PRIORITY_DEFAULT, number_of
from cmc_mcp.model.results import RIVALS_NAMED, Item, Mode, RecallResult, Relevance
from cmc_mcp.read.arrange import Arranged, Placed
from cmc_mcp.read.asking import Meaning
from cmc_mcp.read.candidates import Candidates
from cmc_mcp.read.clues import Clues
from cmc_mcp.read.compress import Level, Passages, level_of
from cmc_mcp.read.echoes import Known
from cmc_mcp.read.fit import Page, Room, both_ends, fit
from cmc_mcp.read.frame import Names, ids_in
from cmc_mcp.read.gate import abstention, gated, kappa_of
from cmc_mcp.read.hierarchy import above, neighbours
from cmc_mcp.read.items import item_of
from cmc_mcp.read.lexical import LexicalSearch, question_words, words_of
from cmc_mcp.read.navigate import Candidate, navigated
from cmc_mcp.read.notes import Notes, brief
from cmc_mcp.read.point import Cursor
from cmc_mcp.read.quality import parts
from cmc_mcp.read.query import Question, limits_of
from cmc_mcp.read.rank import PARTS
from cmc_mcp.read.reading import Reading
from cmc_mcp.read.reconcile import reconcile
from cmc_mcp.read.relevance import Asked, carried, relevance_of, told
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.read.trace import Trace
from cmc_mcp.store.codes import exact
from cmc_mcp.store.rows import Filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RecallCall:
    """A question as it is put: where its answer goes on, and how much it says."""

    question: Question
    scope: Sequence[str]  # what its cursors are bound to
    offset: int = 0
    given: int = 0
    relevance: int | None = None  # of the answer that is continued, in thousandths
    detailed: bool = False
    explain: bool = False
    narrow: Callable[[Filter], Filter | None] | None = None  # a filter that the question cannot say


def recall(reading: Reading, asked: RecallCall, clues: Clues, meaning: Meaning) -> RecallResult:
    """Answer a question at a read point."""
    trace = Trace(asked.explain)
    view, point, settings, question = reading.view, reading.point, reading.settings, asked.question
    counter = reading.workspace.kept.counter()
    kappa, withheld = kappa_of(question, settings.kappa), bool(question.further.get("withhold"))
    limits = limits_of(view, question, kappa if withheld else None)
    if limits is not None and asked.narrow is not None:
        limits = asked.narrow(limits)
    page, more, hidden, digits = Page(asked.offset, asked.given), False, 0, dict[str, int]()
    degraded = meaning.degraded
    relevance = told(asked.relevance or 0, settings.relevance)
    if limits is None or not point.head.passages:
        trace.lap("filter", 0, passes="nothing")
    else:
        selection = Selection(view, point, limits, reading.matrix)
        trace.lap("filter", selection.size() if asked.explain else -1)
        hidden = selection.erased()
        sequence = _Sequence(reading, asked, clues, meaning.vector, selection, trace)
        if asked.relevance is None:
            relevance = sequence.relevance()
        if question.budget_tokens < RECALL_TOKENS_MIN:
            degraded = _too_small(question.budget_tokens)
        else:
            page = fit(sequence.items(), asked.offset, asked.given, sequence.room())
            shortened: list[JsonValue] = [item.id for item in page.items if item.original_tokens]
            trace.lap("fit", len(page.items), left_out=len(page.left_out), tokens=page.tokens, shortened=shortened)
            more, digits = page.puts_off or sequence.has_more(page.offset), sequence.digits_of(page)
        if sequence.wordless and meaning.vector is None:
            degraded = f"{degraded}; the question has no word to look for, so nothing could be found"
    model_name = None if meaning.vector is None else reading.model_name
    cursor = Cursor(point.head.seq, point.valid_at, point.reference_us, page.offset, page.given, carried(relevance))
    return RecallResult(
        items=both_ends(page.items) if settings.both_ends else page.items,
        mode=Mode(
            retrieval="full_text" if meaning.vector is None else "hybrid",
            model=model_name,
            pending=_pending(reading),
            degraded=degraded,
            tokenizer=counter.name,
        ),
        tokens=page.tokens,
        left_out=list(page.left_out),
        left_out_tokens=page.left_out,
        id_digits=digits,
        next_cursor=cursor.encode(asked.scope) if more else None,
        read_point=point.result(model_name, settings.digest),
        hidden_erased=hidden,
        relevance=relevance,
        abstains=abstention(page, kappa, withheld=withheld),
        trace=trace.stages() if asked.explain else [],
    )


def _too_small(budget_tokens: int) -> str:
    return f"nothing is shown in {budget_tokens} tokens; budget_tokens={RECALL_TOKENS_MIN} is the least that shows a memory"


def _pending(reading: Reading) -> int:
    """Count what full text alone can find at a read point."""
    point, matrix = reading.point, reading.matrix
    if reading.model_name is None:
        return 0
    if matrix is None or matrix.seq < point.head.seq:
        return reading.embedded.pending(reading.view, reading.model, point)
    return matrix.pending(point.head.seq, point.valid_at)


class _Sequence:
    """The memories that answer a question, as items, from where this page begins."""

    def __init__(
        self,
        reading: Reading,
        asked: RecallCall,
        clues: Clues,
        vector: npt.NDArray[np.float32] | None,
        selection: Selection,
        trace: Trace,
    ) -> None:
        self._reading, self._asked, self._vector = reading, asked, vector
        self._selection, self._trace = selection, trace
        limit, settings = asked.question.limit, reading.settings
        alone = vector is None or not reading.model
        words = LexicalSearch(selection, asked.question.query, settings, reading.lexicon, clues.names, alone=alone)
        trace.lap("terms", len(words.terms))
        self.wordless = not words.terms
        depth = max(settings.dense_candidates, 3 * limit)
        candidates = Candidates(reading, selection, words, clues, vector, depth, trace, self._above)
        self._words, self._candidates, self._clues = words, candidates, clues
        first = navigated(iter(candidates), settings, self._qualities, self._vectors)
        compared = reading if vector is not None else replace(reading, model=NO_MODEL_NUMBER)
        chunk = limit + 1  # one more: is there more?
        self._arranged = Arranged(compared, selection, first, chunk, trace, asked.question.query, self._relevance)
        self._places = enumerate(self._arranged)
        self._ahead: list[tuple[int, Placed]] = []
        self._loaded: dict[str, Loaded] = {}
        self._digits: dict[str, int] = {}  # of ids that need more than the least

    def relevance(self) -> Relevance:
        """Return whether anything relevant is stored."""
        asked = Asked(self._clues.text, self._vector)
        return relevance_of(self._reading, self._selection, self._words, self._candidates, asked)

    def room(self) -> Room:
        """Return what the answer may take, and what shortens its memories for this question."""
        reading, question = self._reading, self._asked.question
        count, level = reading.workspace.kept.counter().count, None if self._asked.detailed else self._level
        passages = Passages(question_words(question.query), words_of, count, level, reading.settings.compress)
        return Room(question.budget_tokens, question.limit, count, passages, Names(self._digits))

    def digits_of(self, page: Page) -> dict[str, int]:
        """Return how many digits those ids of a page need that need more than the least."""
        named = {*ids_in(page.items), *page.left_out}
        return {name: digits for name, digits in self._digits.items() if name in named}

    def _level(self, item: Item) -> Level:
        """Return how much of a memory its age and priority keep where room is short."""
        loaded = self._loaded[item.id]
        since = loaded.occurred_us
        if since is None:
            since = self._reading.view.head_at(loaded.row.seq).recorded_us
        priority = number_of(loaded.fields, "priority")
        return level_of(
            self._reading.point.reference_us - since,
            PRIORITY_DEFAULT if priority is None else priority,
            self._reading.settings.compress,
        )

    def _above(self) -> dict[Rid, float]:
        """Return the atoms below the nearest sections, files and classes."""
        reading, settings, vector = self._reading, self._reading.settings, self._vector
        if vector is None or not settings.node_weight:
            return {}
        return above(
            self._selection, reading.nodes, reading.manifests, reading.model, vector,
            settings.node_candidates, settings.node_decay, settings.node_passages_max,
        )  # fmt: skip

    def _vectors(self, rids: Sequence[Rid]) -> dict[Rid, bytes]:
        reading = self._reading
        return reading.view.vectors_of(reading.model, rids, reading.point.head.seq) if reading.model else {}

    def _qualities(self, first: Sequence[Candidate]) -> dict[Rid, dict[str, float]]:
        """Return the scores that are apart from the match, of the first candidates."""
        reading = self._reading
        view, point, settings = reading.view, reading.point, reading.settings
        rids, rows = [hit.rid for hit, _ in first], {row.rid: row for _, row in first}
        found = load(view, reading.objects, rids, point.head.seq, point.valid_at, rows)
        known = Known.at(view, point, self._relevance, settings, reading.superseded)
        notes = reconcile(view, point, list(found.values()), known)
        places = places_of(view, reading.manifests, list(found.values()), point.head.seq)
        return {rid: self._quality(loaded, notes[rid], places[rid][0]) for rid, loaded in found.items()}

    def _quality(self, loaded: Loaded, notes: Notes, place: str | None) -> dict[str, float]:
        recorded = self._reading.view.head_at(loaded.row.seq).recorded_us
        return parts(
            loaded, notes, self._reading.point, recorded_us=recorded, place=place, c=self._reading.settings.quality
        )

    def _why(self, placed: Placed, place: str | None) -> dict[str, float]:
        """Return the parts of a score by name: what was added, and the scores that are apart from the match."""
        hit = placed.hit
        added = {name: value for name, value in zip(PARTS, hit.parts, strict=False) if value}
        quality = self._quality(placed.loaded, placed.notes, place)
        return {"score": hit.score, "dense": hit.dense, "lexical": hit.lexical, **added, **quality}

    def _relevance(self, rids: Sequence[Rid]) -> dict[Rid, float]:
        """Return the cosines of memories with the question, those that the filter excludes included."""
        vector, reading = self._vector, self._reading
        if vector is None:
            return {}
        import numpy as np

        rows = reading.view.vectors_of(reading.model, rids, reading.point.head.seq)
        return {
            rid: max(0.0, float(exact(vector, np.frombuffer(row, np.float32).reshape(1, -1))[0]))
            for rid, row in rows.items()
        }

    def items(self) -> Iterator[tuple[int, Item]]:
        """Yield (place, item) from the page's first place on, without what was given before."""
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
        """Return whether anything from `offset` on was not given."""
        return bool(self._ahead) or any(place >= offset for place, _ in self._places)

    def _made(self, chunk: list[Placed]) -> list[Item]:
        reading, asked = self._reading, self._asked
        view, seq = reading.view, reading.point.head.seq
        places = places_of(view, reading.manifests, [placed.loaded for placed in chunk], seq)
        loads = [placed.loaded for placed in chunk]
        recorded = view.times_of(placed.loaded.row.seq for placed in chunk)
        beside = neighbours(view, reading.objects, reading.manifests, reading.point, loads, asked.question.around)
        kappa = kappa_of(asked.question, reading.settings.kappa)
        out, count = [], reading.workspace.kept.counter().count
        for placed in chunk:
            hit, loaded, notes = placed.hit, placed.loaded, placed.notes
            place, hash_ = places[hit.rid]
            self._loaded[loaded.name] = loaded
            out.append(
                item_of(
                    loaded,
                    score=hit.score,
                    recorded_us=recorded[loaded.row.seq],
                    detailed=asked.detailed,
                    gate=gated(number_of(loaded.fields, "confidence"), kappa),
                    place=place,
                    dependency_hash=hash_ if asked.detailed else None,
                    conflicts=[brief(note, count) for note in notes.conflicts],
                    more_conflicts=notes.more,
                    superseded_by=[atom_name(view.record(rid).key) for rid in notes.superseded_by],
                    stale_premises=notes.stale[:RIVALS_NAMED],
                    more_stale_premises=max(0, len(notes.stale) - RIVALS_NAMED),
                    duplicates=[other.name for other in placed.others],
                    around=beside.get(hit.rid, []),
                    why=self._why(placed, place) if asked.explain else None,
                )
            )
        self._digits |= longer(view, set(ids_in(out)), reading.point.head.last_rid)
        return out
