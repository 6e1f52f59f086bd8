"""Vectors from a framework: its embedding class as an embedder, or vectors that the framework computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cmc_mcp.embed.protocol import EmbeddingIdentity, check_texts
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = Sequence[float] | npt.NDArray[np.float32]

Given = TypeVar("Given")
Made = TypeVar("Made")
_NAMED_BY = ("model", "model_name", "model_id", "deployment", "repo_id")


class ExternalEmbedder:
    """An external embedding as an `Embedder`. Thread-safe if the embedding is.

    `texts` and `query` embed documents and a question; without them, the caller must pass every vector. The dimension is
    learnt from the first vector or from the store; until then, the identity says 0.

    >>> letters = ExternalEmbedder("letters", lambda texts: [[float(len(t)), 1.0] for t in texts])
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
        """The model of the vectors; the digest of its weights is unknown."""
        return EmbeddingIdentity(self._model_id, "", "float32", self._dimension, 0)

    def learn(self, dimension: int) -> None:
        """Set the dimension if it is unknown.

        Raises:
            DimensionMismatch: the known dimension differs.
        """
        with self._guard:
            self._dimension = self._dimension or dimension
            if self._dimension != dimension:
                raise mismatch(dimension, self._dimension)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row of unit length for each text; see `Embedder.embed`."""
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
        """Return the vector of a question: unit length, shape (dimension,)."""
        check_texts([text])
        rows = self.embed([text]) if self._query is None else self._known([self._called(self._query, text)])
        row: npt.NDArray[np.float32] = rows[0]
        return row

    def close(self) -> None:
        """Do nothing: the embedding belongs to the caller."""

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
    """Return a name for an embedding: its class, and the attribute that names its model.

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
    """Return vectors scaled to unit length after checking them: shape (n, dimension).

    Raises:
        DimensionMismatch: the length of a vector differs from `dimension`.
        InvalidInput: a vector holds a number that is not finite, or holds only zeros.
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
        raise InvalidInput.at("vector", "is not a list of numbers")
    if rows.shape[1] != dimension:
        raise mismatch(rows.shape[1], dimension)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise InvalidInput.at("vector", "holds NaN, infinity or only zeros; pass finite numbers, not all zero")
    unit: npt.NDArray[np.float32] = (rows / norms).astype(np.float32)
    return unit


def mismatch(given: int, dimension: int) -> DimensionMismatch:
    """Return the error for a vector whose length differs from the model's dimension."""
    return DimensionMismatch(
        f"a vector has {given} dimensions, and the model of this store {dimension}; embed with that model, or give the"
        " store the embedding that made these vectors"
    )
