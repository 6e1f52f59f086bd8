"""Asking: a question is embedded while nothing is open, and answered at the read point that was fixed before.

An endpoint may take minutes, and a transaction that waits for one is ended by a database, and lets a file's log grow.
So a first, short read fixes the read point and looks up whom the question names; then it is embedded; then a second read
answers, at that very point. Where nothing must be looked up, or memory knows the speakers, the question is embedded first,
and one read fixes the point and answers, if it finds that memory knew the right ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.names import measured, unread
from cmc_mcp.embed.protocol import Embedder, query_vector
from cmc_mcp.errors import EmbedderError
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.read.clues import Clues, Naming, askable
from cmc_mcp.read.point import Point
from cmc_mcp.store.ports import AuditView, ReadView
from cmc_mcp.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EMBEDDINGS_MAX: Final = 3
"""So often a question is embedded: again only where a speaker that it names is new to memory, or was erased meanwhile."""
_ZEROS: Final = "found by full text alone: the model gave the question a vector of zeros, which is near nothing"

UNREAD: Final = (
    "the embedding model hardly reads the script of this question, so words find more than meaning does;"
    " the model of cmc-mcp[multilingual] reads it"
)
_MOSTLY: Final = 0.5  # of a question's letters


@dataclass(frozen=True, slots=True)
class Meaning:
    """The vector of a question (unit length), and what is amiss: why it has none, or why it says little."""

    vector: npt.NDArray[np.float32] | None
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """A question as it is put to one workspace: its words, what embeds it, where its vector was not handed over.

    `naming` are its words that could be names, None where speakers are not left out of what is embedded; `speakers` tells
    known ones as of some state, if they are in memory; `resolves_first` has the read point resolved before the question
    is embedded, so that one that names nothing is refused at once.
    """

    query: str
    embedder: Embedder | None
    naming: Naming | None
    handed: npt.NDArray[np.float32] | None = None
    resolves_first: bool = False
    speakers: Callable[[Sequence[int]], Collection[int]] | None = None

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        query: str,
        *,
        handed: npt.NDArray[np.float32] | None = None,
        resolves_first: bool = False,
    ) -> Asking:
        """Return a question as it is put to a workspace."""
        query = askable(query)
        matrix = workspace.kept.at_hand(Matrix)
        speakers = None if matrix is None else matrix.speakers
        naming = Naming(query) if workspace.settings.mask_names else None
        return cls(query, workspace.embedder, naming, handed, resolves_first, speakers)

    @property
    def known(self) -> Meaning | None:
        """What needs no embedding: the vector that was handed over, or that there is no model."""
        if self.handed is not None:
            return Meaning(self.handed)
        if self.embedder is None:
            return Meaning(None, "no embedding model is configured: found by full text alone")
        return None

    def foreseen(self) -> str | None:
        """Return what will be embedded, as far as memory knows; None where the store must be read first."""
        if self.resolves_first:
            return None
        naming = self.naming
        if naming is None or not naming.keys:
            return self.query
        return None if self.speakers is None else naming.clues(self.speakers(naming.keys)).text

    def clues(self, view: ReadView, point: Point) -> Clues:
        """Return what the question says beside its words, as of a read point."""
        if self.naming is None:
            return Naming(self.query).clues(())
        keys = self.naming.keys
        return self.naming.clues(view.speakers(keys, point.head.last_rid) if keys else ())

    def embedded(self, text: str) -> Meaning:
        """Embed a text; if the embedder fails, return no vector and say why. Say, too, if the model hardly reads the text."""
        assert self.embedder is not None
        model = measured(self.embedder.identity)
        amiss = UNREAD if model is not None and unread(model, text) > _MOSTLY else None
        try:
            vector = query_vector(self.embedder, text)
            return Meaning(vector, amiss) if vector.any() else Meaning(None, _ZEROS)
        except EmbedderError as error:
            return Meaning(None, f"found by full text alone: {error.message}")


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the first read of a question fixed: its read point, and its clues there as of an erasure count."""

    point: Point
    erasure_count: int
    clues: Clues


@dataclass(frozen=True, slots=True)
class Standpoint:
    """The read transaction that answers a question: at which point, by which clues and vector. Nothing is embedded in it."""

    view: AuditView
    point: Point
    clues: Clues
    meaning: Meaning


@contextmanager
def standpoint(
    reader: Callable[[], AbstractContextManager[AuditView]], asking: Asking, resolve: Callable[[ReadView], Point]
) -> Iterator[Standpoint]:
    """Embed a question with nothing open, then open the read transaction that answers it.

    `reader` opens a read transaction; `resolve` is asked once, in the first. After an erase between the two the clues are
    read anew at the same point, and the question is embedded again only where another text of it is left.
    """
    meanings: dict[str, Meaning] = {}
    known, fixed = asking.known, None
    if known is None and (text := asking.foreseen()) is not None:
        meanings[text] = asking.embedded(text)
    while True:
        with reader() as view:
            fixed = _fixed(view, asking, resolve, fixed)
            meaning = known or meanings.get(fixed.clues.text)
            if meaning is None and len(meanings) == EMBEDDINGS_MAX:
                meaning = Meaning(None, "found by full text alone: erasures kept changing whom the question names")
            if meaning is not None:
                yield Standpoint(view, fixed.point, fixed.clues, meaning)
                return
        meanings[fixed.clues.text] = asking.embedded(fixed.clues.text)


def _fixed(view: ReadView, asking: Asking, resolve: Callable[[ReadView], Point], before: Fixed | None) -> Fixed:
    """Fix the read point, or keep what was fixed before unless something was erased since."""
    erasure_count = view.erasure_count()
    if before is None:
        point = resolve(view)
        return Fixed(point, erasure_count, asking.clues(view, point))
    if before.erasure_count == erasure_count:
        return before
    point = replace(before.point, head=view.head_at(before.point.head.seq))
    return Fixed(point, erasure_count, asking.clues(view, point))
