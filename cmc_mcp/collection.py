"""Collection: a caller's own records in a memory, each under the caller's id; what the adapters are built on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.canon import payload_hash
from cmc_mcp.embed.external import ExternalEmbedder, unit_rows
from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity, query_vector
from cmc_mcp.errors import EmbedderError, InvalidInput, LimitExceeded, brief
from cmc_mcp.history.references import PointLike, plain_text
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name, collection_origin, entry_discriminator
from cmc_mcp.model.entries import Entry, Found
from cmc_mcp.model.filters import Where, checked
from cmc_mcp.model.results import Receipt
from cmc_mcp.model.time import TimeLike, parse_time
from cmc_mcp.read import entries as reading
from cmc_mcp.read.asking import Asking, standpoint
from cmc_mcp.read.modelled import Trying, trial, tried_on
from cmc_mcp.read.pipeline import RecallCall, recall
from cmc_mcp.read.point import Point, resolve
from cmc_mcp.read.query import question
from cmc_mcp.read.reading import Reading, reading_at
from cmc_mcp.store.ports import ReadView
from cmc_mcp.store.rows import AtomRow, Filter
from cmc_mcp.verbs.models import Recall
from cmc_mcp.workspace import Workspace, model_of
from cmc_mcp.write import entries as writing
from cmc_mcp.write.handed import CheckedEntries

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = Sequence[float] | npt.NDArray[np.float32]

_RECALL_BUDGET: Final = limits.BUDGET_TOKENS_MAX


class Collection:
    """A named set of entries. Thread-safe; `Memory.collection` gives one.

    An entry is one memory at a time: put again under its id, another text supersedes the old one, and delete ends
    belief in it; so `history`, `snapshot`, `rollback`, `as_of` and `cmc` see whatever is done here.

    >>> import tempfile, pathlib
    >>> from cmc_mcp import Memory
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Memory.open(pathlib.Path(folder.name) / "memory.db", embedder=None) as memory:
    ...     notes = memory.collection("notes")
    ...     receipts = notes.put([Entry("a", "The kettle is in the cellar", {"room": 0.5})])
    ...     found = notes.search(text="kettle", k=1)
    >>> found[0].id, found[0].metadata
    ('a', {'room': 0.5})
    >>> folder.cleanup()
    """

    def __init__(self, name: str, workspace: Workspace) -> None:
        self.name = plain_text(name, "collection")
        if not name.strip():
            raise InvalidInput.at("collection", "is blank; give the collection a name")
        if len(name) > limits.COLLECTION_CHARS_MAX:
            raise LimitExceeded.over("collection", "COLLECTION_CHARS_MAX", len(name), limits.COLLECTION_CHARS_MAX)
        self.origin = collection_origin(name)
        self._workspace = workspace
        self._tried: Embedder | None = None  # found to be the model of this collection's entries

    # ------------------------------------------------------------------ writing
    def put(
        self, entries: Sequence[Entry], *, gone: Sequence[str] = (), lapse: bool = False, large: bool = False
    ) -> list[Receipt]:
        """Put entries, all checked first; a transaction for each thousand. Of an id given twice, the last one counts.

        Texts whose vector is not given, and that have none yet, are embedded. Belief in the entries `gone` ends in the
        first transaction. With `lapse` an entry's `valid_to` is its expiry: nothing holds under its id afterwards. With `large`
        metadata may be as large as a text.

        Raises:
            InvalidInput: something is wrong, with its place; nothing is put.
            DimensionMismatch: vectors of another length, or a collection of another model.
            EmbedderError: a text could not be embedded.
            Conflict: a text was erased, or the gate keeps it back.
        """
        if not entries:
            self.delete(gone)
            return []
        self._ids(gone)
        staged = writing.drafted(self.origin, entries, self._dimension, large=large)
        if any(draft.searchable for draft in staged.drafts):
            self._check_model()
        workspace = self._workspace
        out, size = [], limits.BATCH_ITEMS_MAX
        for start in range(0, len(staged.drafts), size):
            part = slice(start, start + size)
            batch = CheckedEntries(staged.drafts[part], staged.vectors[part])
            out.append(writing.put(workspace, batch, gone, lapse))
            gone = ()
        return out

    def prolong(self, ends: Mapping[str, TimeLike]) -> int:
        """Make what holds now of each entry hold until a later time; return how many did.

        One transaction; what holds longer stays, and nothing else of the entries changes. Unknown ids are ignored.

        Raises:
            InvalidInput: an id or a time is invalid.
        """
        self._ids(list(ends))
        made = {id: parse_time(end, f"ends.{id:.80}") for id, end in ends.items()}
        return writing.prolong(self._workspace, self.origin, made) if made else 0

    def delete(self, ids: Sequence[str]) -> int:
        """End belief in entries by their ids, in one transaction; return how many there were."""
        return writing.delete(self._workspace, self.origin, self._ids(ids)) if ids else 0

    def clear(self) -> int:
        """End belief in every entry of the collection, in one transaction; return how many there were."""
        return writing.delete(self._workspace, self.origin, None)

    # ------------------------------------------------------------------ reading
    def get(
        self, ids: Sequence[str], *, as_of: PointLike | None = None, valid_at: TimeLike | None = None
    ) -> list[Found]:
        """Return entries by their ids, in the order of these; what is not there is left out."""
        if not ids:
            return []
        with self._reading(as_of, valid_at) as here:
            return reading.listed(here, None, self._ids(ids), None, 0)

    def entries(
        self,
        *,
        where: Where | None = None,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest: bool = False,
        as_of: PointLike | None = None,
        valid_at: TimeLike | None = None,
    ) -> list[Found]:
        """Return the entries that pass, in order of first recording; with `newest`, the last changed ones first."""
        with self._reading(as_of, valid_at) as here:
            return reading.listed(here, where, None if ids is None else self._ids(ids), limit, offset, newest)

    def metadata(
        self, *, as_of: PointLike | None = None, valid_at: TimeLike | None = None
    ) -> list[Mapping[str, JsonValue]]:
        """Return the metadata of all entries, each once, loading nothing else of them. They are shared: do not change them."""
        with self._reading(as_of, valid_at) as here:
            return reading.every_metadata(here)

    def count(
        self, *, where: Where | None = None, as_of: PointLike | None = None, valid_at: TimeLike | None = None
    ) -> int:
        """Count the entries that pass."""
        with self._reading(as_of, valid_at) as here:
            return reading.counted(here, where, None)

    def search(
        self,
        *,
        vector: Vector | None = None,
        text: str | None = None,
        k: int = 4,
        where: Where | None = None,
        ids: Sequence[str] | None = None,
        as_of: PointLike | None = None,
        valid_at: TimeLike | None = None,
        alpha: float = 0.5,
    ) -> list[Found]:
        """Find the `k` best: by vector (score: cosine), by text (score: BM25), or by both.

        Filtered first and exact: by vector, `k` rows come whenever `k` entries with a vector pass. With both, `alpha`
        (0 to 1) is the share of the vector, and scores are from 0 to 1.

        Raises:
            InvalidInput: neither is given, or `k` is not positive.
            DimensionMismatch: the vector's length.
        """
        self._check_k(k)
        if vector is None and text is None:
            raise InvalidInput.at("vector", "give a vector, a text, or both")
        if isinstance(alpha, bool) or not 0 <= alpha <= 1:
            raise InvalidInput.at("alpha", f"{brief(alpha)} is not a number from 0 to 1")
        asked = None if vector is None else self._vector(vector)
        if asked is not None:
            self._check_model()
        with self._reading(as_of, valid_at) as here:
            limited = reading.limits_of(here, where, None if ids is None else self._ids(ids))
            if limited is None:
                return []
            limited = limited._replace(modalities=reading.SEARCHED)
            return reading.shown(here, reading.hits(here, limited, asked, text, k, alpha))

    def diverse(
        self,
        vector: Vector,
        *,
        k: int = 4,
        fetch_k: int = 20,
        share: float = 0.5,
        where: Where | None = None,
        ids: Sequence[str] | None = None,
        as_of: PointLike | None = None,
        valid_at: TimeLike | None = None,
    ) -> list[Found]:
        """Find `k` that are near the vector and unlike each other, of the `fetch_k` nearest (maximal marginal relevance).

        `share` (0 to 1) is what nearness counts against unlikeness. Scores are cosines.
        """
        self._check_k(k)
        if isinstance(share, bool) or not 0 <= share <= 1:
            raise InvalidInput.at("lambda", f"{brief(share)} is not a number from 0 to 1")
        asked = self._vector(vector)
        self._check_model()
        with self._reading(as_of, valid_at) as here:
            named = None if ids is None else self._ids(ids)
            hits = reading.by_vector(here, asked, max(k, min(fetch_k, limits.ENTRIES_K_MAX)), where, named)
            return reading.shown(here, reading.diverse(here, asked, hits, k, share))

    def recall(
        self,
        query: str,
        *,
        k: int = 4,
        budget_tokens: int = _RECALL_BUDGET,
        where: Where | None = None,
        mode: str = "hybrid",
        as_of: PointLike | None = None,
        valid_at: TimeLike | None = None,
        min_confidence: float | None = None,
        writer: str | Sequence[str] | None = None,
        vector: Vector | None = None,
    ) -> list[Found]:
        """Answer with the full read pipeline of `Memory.recall`, over this collection: its scores, budget and order.

        `mode` is hybrid; dense (vectors alone) and text (words alone) leave the pipeline out, and the budget with it.
        `vector` is that of the question where it is at hand: of the text that `meant` gives.

        Raises:
            InvalidInput: an argument is wrong.
            EmbedderError: the mode is dense, and the question has no vector.
        """
        if mode not in ("hybrid", "dense", "text"):
            raise InvalidInput.at("mode", f"{brief(mode)} is not a valid mode; use one of hybrid, dense, text")
        asked = question(
            Recall(query, budget_tokens, k, source=self.origin, writer=writer, min_confidence=min_confidence)
        )
        if mode != "hybrid":
            if writer is not None or min_confidence is not None or budget_tokens != _RECALL_BUDGET:
                raise InvalidInput.at("mode", "takes writer, min_confidence and budget_tokens in hybrid alone")
            vector = None if mode == "text" else self.embed_query(query) if vector is None else vector
            text = query if mode == "text" else None
            return self.search(vector=vector, text=text, k=k, where=where, as_of=as_of, valid_at=valid_at)
        if where is not None:
            checked(where)
        self._check_model()
        workspace = self._workspace
        resolved = partial(self._resolved, as_of, valid_at)
        handed = None if vector is None else self._vector(vector)
        asking = Asking.of(workspace, query, handed=handed, resolves_first=as_of is not None)
        with standpoint(workspace.reader, asking, resolved) as at:
            here = self._reading_at(at.view, at.point)

            def narrow(given: Filter) -> Filter | None:
                return given if where is None else reading.narrowed(here, given, where)

            scope = asked.scope(self._workspace.name, self._workspace.settings.digest)
            answer = recall(here, RecallCall(asked, scope, narrow=narrow), at.clues, at.meaning)
            rids = {atom_name(row.key): rid for rid, row in _rows(here, [item.id for item in answer.items]).items()}
            return reading.shown(here, [(rids[item.id], item.score) for item in answer.items])

    def meant(self, query: str, as_of: PointLike | None = None, valid_at: TimeLike | None = None) -> str:
        """Return the text that is embedded for a question to `recall`: without the names of known speakers."""
        with self._workspace.reader() as view:
            return Asking.of(self._workspace, query).clues(view, self._resolved(as_of, valid_at, view)).text

    def without_model(self) -> Collection:
        """Return the same collection as seen without a model: found by words alone."""
        return Collection(self.name, self._workspace.through(None))

    def wordings(self, id: str) -> list[str]:
        """Return the memory ids of every wording an entry ever had, in order of first recording."""
        with self._reading(None, None) as here:
            said = here.view.pid(payload_hash(entry_discriminator(id)))
            rows = [] if said is None else here.view.entries(here.origin, [said])
            return [atom_name(row.key) for row in rows]

    # ------------------------------------------------------------------ vectors
    @property
    def identity(self) -> EmbeddingIdentity | None:
        """The model that embeds for this collection; None without one."""
        embedder = self._workspace.embedder
        return None if embedder is None else embedder.identity

    def unembedded(self, texts: Sequence[str]) -> list[str]:
        """Return those texts, each once, that have no vector of the model of the store yet."""
        embedder = self._embedder()
        hashes = {payload_hash(text.encode("utf-8", "replace")): text for text in texts}
        with self._workspace.reader() as view:
            model = model_of(view, embedder)
            pids = view.pids(list(hashes)) if model else {}
            known = view.embedded(model, list(pids.values())) if pids else set()
        return [text for hash_, text in hashes.items() if pids.get(hash_) not in known]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts by the model of the store: shape (n, dimension), rows of unit length.

        Raises:
            EmbedderError: the store has no model, or the model does not answer.
        """
        return self._embedder().embed(texts)

    def _embedder(self) -> Embedder:
        embedder = self._workspace.embedder
        if embedder is None:
            raise EmbedderError("the store was opened without an embedding model; open it with one, or search by text")
        return embedder

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Embed a question by the model of the store: shape (dimension,), of unit length."""
        return query_vector(self._embedder(), text)

    # ------------------------------------------------------------------ within
    @contextmanager
    def _reading(self, as_of: PointLike | None, valid_at: TimeLike | None) -> Iterator[Reading]:
        with self._workspace.reader() as view:
            yield self._reading_at(view, self._resolved(as_of, valid_at, view))

    def _reading_at(self, view: ReadView, point: Point) -> Reading:
        return reading_at(self._workspace, view, point, reading.origin_pid(view, self.origin))

    def _resolved(self, as_of: PointLike | None, valid_at: TimeLike | None, view: ReadView) -> Point:
        return resolve(view, as_of, valid_at, self._workspace.clock.now_us())

    def _ids(self, ids: Sequence[str]) -> Sequence[str]:
        if isinstance(ids, str):
            raise InvalidInput.at("ids", "is one text; pass a list of ids")
        for place, id in enumerate(ids):
            if not isinstance(id, str):
                raise InvalidInput.at(f"ids[{place}]", f"is a {type(id).__name__}; ids are text")
            plain_text(id, f"ids[{place}]")
        return ids

    def _check_k(self, k: object) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InvalidInput.at("k", f"{brief(k)} is not a whole number of at least 1")
        if k > limits.ENTRIES_K_MAX:
            raise LimitExceeded.over("k", "ENTRIES_K_MAX", k, limits.ENTRIES_K_MAX)

    def _vector(self, vector: Vector) -> npt.NDArray[np.float32]:
        import numpy as np

        row: npt.NDArray[np.float32] = unit_rows([vector], self._dimension(int(np.size(vector))))[0]
        return row

    def _dimension(self, size: int) -> int:
        """Return the dimension of the model; one that is not known yet is the store's, or else that of a vector given."""
        if self._workspace.embedder is None:
            raise InvalidInput.at(
                "vector", "is given, and the store was opened without an embedding model; open it with one"
            )
        self._check_model(size)
        embedder = self._embedder()
        if not embedder.identity.dimension and isinstance(embedder, ExternalEmbedder):
            embedder.learn(size)
        return embedder.identity.dimension

    def _check_model(self, size: int = 0) -> None:
        """Refuse a model that this collection was not embedded by; looked up once for each model.

        An embedding from outside is tried on stored texts, and takes the name that the collection knows it by.
        """
        embedder = self._workspace.embedder
        if embedder is None or embedder is self._tried:
            return
        if not isinstance(embedder, ExternalEmbedder):
            self._check_name(embedder)
            return
        steps = self.trying(size)
        rows = None
        with suppress(StopIteration):
            while True:
                rows = self._embedded(embedder, steps.send(rows))

    def _check_name(self, embedder: Embedder) -> None:
        with self._workspace.reader() as view:
            model = model_of(view, embedder)
            reading.check_model(view, reading.origin_pid(view, self.origin), model, embedder.identity.model_id)
        if model:
            self._tried = embedder

    @staticmethod
    def _embedded(embedder: ExternalEmbedder, texts: list[str]) -> npt.NDArray[np.float32] | None:
        try:
            return embedder.embed(texts)
        except EmbedderError:
            return None  # what needs the model says so

    # ------------------------------------------------------------------ the model of a collection
    @property
    def untried(self) -> ExternalEmbedder | None:
        """The embedding from outside, while it is still to be tried on stored texts: see `trying`."""
        embedder = self._workspace.embedder
        return embedder if isinstance(embedder, ExternalEmbedder) and embedder is not self._tried else None

    def trying(self, size: int = 0) -> Trying:
        """Try an embedding from outside, and use it for this collection if it is the collection's model.

        Yields texts to be embedded, and is sent their vectors, or None if they cannot be embedded. `size` is the length of
        a vector that was handed over.

        Raises:
            DimensionMismatch: the collection is of another model.
        """
        embedder = self._workspace.embedder
        assert isinstance(embedder, ExternalEmbedder)
        with self._workspace.reader() as view:
            origin = reading.origin_pid(view, self.origin)
            asked = trial(view, self._workspace.objects, origin, embedder)
        found, tried = yield from tried_on(asked, embedder, size)
        adopted = embedder.adopt(found.name, found.dimension)
        if adopted is not embedder:
            self._workspace = self._workspace.through(adopted)
        if tried and (adopted.makes or found.dimension):
            self._tried = adopted


def _rows(here: Reading, names: Sequence[str]) -> dict[Rid, AtomRow]:
    rids = [reading.rid_of(here.view, name) for name in names]
    return here.view.atoms(rids)
