"""Vectors that a framework makes: its embedding class as an embedder, or only the vectors it hands over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity, check_texts
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = Sequence[float] | npt.NDArray[np.float32]

Given = TypeVar("Given")
Made = TypeVar("Made")
_NAMED_BY = ("model", "model_name", "model_id", "deployment", "repo_id")


@runtime_checkable
class AsksOtherwise(Protocol):
    """An embedder that embeds a question otherwise than a text."""

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Give the vector of a question: unit length, shape (dimension,)."""
        ...


def query_vector(embedder: Embedder, text: str) -> npt.NDArray[np.float32]:
    """Embed a question, by the embedder's own way for questions if it has one: unit length, shape (dimension,)."""
    asked: object = embedder
    if isinstance(asked, AsksOtherwise):
        return asked.embed_query(text)
    row: npt.NDArray[np.float32] = embedder.embed([text])[0]
    return row


class GivenEmbedder:
    """Somebody else's embedding as an `Embedder`. Thread-safe if what it calls is.

    `texts` and `query` make vectors of documents and of a question; without them, vectors can only be handed over. The
    dimension is learnt from the first vector, or from the store; until then the identity says 0.

    >>> letters = GivenEmbedder("letters", lambda texts: [[float(len(t)), 1.0] for t in texts])
    >>> letters.embed(["abc"]).shape, letters.identity.dimension
    ((1, 2), 2)
    """

    def __init__(
        self,
        model_id: str,
        texts: Callable[[list[str]], Sequence[Vector]] | None = None,
        query: Callable[[str], Vector] | None = None,
        *,
        dimension: int = 0,
    ) -> None:
        self._model_id, self._texts, self._query = model_id, texts, query
        self._dimension = dimension
        self._guard = threading.Lock()

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model behind the vectors; its weights are not ours to hash."""
        return EmbeddingIdentity(self._model_id, "", "float32", self._dimension, 0)

    def learn(self, dimension: int) -> None:
        """Take note of the dimension, unless it is known.

        Raises:
            DimensionMismatch: it is known, and another.
        """
        with self._guard:
            self._dimension = self._dimension or dimension
            if self._dimension != dimension:
                raise mismatch(dimension, self._dimension)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Give one row of unit length per text; see `Embedder.embed`."""
        check_texts(texts)
        import numpy as np

        if not texts:
            return np.zeros((0, self._dimension), np.float32)
        if self._texts is None:
            raise EmbedderError(
                f"the vectors of {self._model_id} are handed over; give the store its embedding to make some"
            )
        rows = self._called(self._texts, list(texts))
        if len(rows) != len(texts):
            raise EmbedderError(f"{self._model_id} gave {len(rows)} vectors for {len(texts)} texts")
        return self._known(rows)

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Give the vector of a question: unit length, shape (dimension,)."""
        check_texts([text])
        rows = self.embed([text]) if self._query is None else self._known([self._called(self._query, text)])
        row: npt.NDArray[np.float32] = rows[0]
        return row

    def close(self) -> None:
        """Nothing to give back: the embedding is its owner's."""

    def _known(self, rows: Sequence[Vector]) -> npt.NDArray[np.float32]:
        import numpy as np

        self.learn(int(np.size(rows[0])))
        return unit_rows(rows, self._dimension)

    def _called(self, function: Callable[[Given], Made], given: Given) -> Made:
        try:
            return function(given)
        except CmcError:
            raise
        except Exception as error:
            raise EmbedderError(f"{self._model_id} could not embed: {type(error).__name__}: {error}") from error


def model_name(embedding: object) -> str:
    """Name an embedding by its class and by the attribute that says which model it calls.

    >>> class Some: model = "e5"
    >>> model_name(Some())
    'Some:e5'
    """
    kind = type(embedding).__qualname__
    for attribute in _NAMED_BY:
        value = getattr(embedding, attribute, None)
        if isinstance(value, str) and value:
            return f"{kind}:{value}"[:256]
    return kind[:256]


def unit_rows(vectors: Sequence[Vector], dimension: int) -> npt.NDArray[np.float32]:
    """Check vectors and scale them to unit length: shape (n, dimension).

    Raises:
        DimensionMismatch: a vector has another length; InvalidInput: it holds no finite numbers, or has no direction.
    """
    import numpy as np

    try:
        rows: npt.NDArray[np.float64] = np.asarray(vectors, np.float64)
    except (TypeError, ValueError):
        rows = np.zeros((0,) * 3)
    if rows.ndim != 2:
        odd = {int(np.size(vector)) for vector in vectors if np.ndim(np.asarray(vector, object)) == 1} - {dimension}
        if odd:
            raise mismatch(min(odd), dimension)
        raise InvalidInput.at("vector", "is no list of numbers")
    if rows.shape[1] != dimension:
        raise mismatch(rows.shape[1], dimension)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise InvalidInput.at("vector", "holds NaN or infinity, or nothing but zeros: it has no direction to compare")
    unit: npt.NDArray[np.float32] = (rows / norms).astype(np.float32)
    return unit


def mismatch(given: int, dimension: int) -> DimensionMismatch:
    """Say that a vector has another length than the model's."""
    return DimensionMismatch(
        f"a vector has {given} dimensions, and the model of this store {dimension}; embed with that model, or give the"
        " store the embedding that made these vectors"
    )
