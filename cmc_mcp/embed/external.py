"""Vectors from a framework: its embedding class as an embedder, or vectors that the framework computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cmc_mcp.embed.protocol import EmbeddingIdentity, check_texts
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput, Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = Sequence[float] | npt.NDArray[np.float32]

Given = TypeVar("Given")
Made = TypeVar("Made")
_NAMED_BY = (
    "model", "model_name", "model_id", "deployment", "repo_id", "azure_deployment", "deployment_name", "model_name_or_path",
    "model_path", "engine", "endpoint_name",
)  # fmt: skip
_WRAPS = ("underlying_embeddings", "base_embeddings", "underlying", "wrapped", "inner")
_WRAPPED_MAX = 4


class ExternalEmbedder:
    """An external embedding as an `Embedder`. Thread-safe if the embedding is.

    `texts` and `query` embed documents and a question; without them, the caller must pass every vector. The dimension is
    learnt from the first vector or from the store; until then, the identity says 0. A collection may know the same model
    by another name, which the embedder then takes over (`adopt`). If `named` is false the model is unknown, and vectors
    count as of the model that a collection has.

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
        named: bool = True,
    ) -> None:
        self.given, self.named, self.adopted = model_id, named, False
        self._model_id, self._texts, self._query = model_id, texts, query
        self._dimension = dimension
        self._guard = threading.Lock()

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model of the vectors; the digest of its weights is unknown."""
        return EmbeddingIdentity(self._model_id, "", "float32", self._dimension, 0)

    @property
    def is_unknown(self) -> bool:
        """Whether nobody named the model: its vectors are handed over, and no collection knew better."""
        return not self.named and self._model_id.partition("#")[0] == self.given

    @property
    def makes(self) -> bool:
        """Whether it can embed texts; otherwise every vector is handed over."""
        return self._texts is not None

    def adopt(self, model_id: str, dimension: int) -> ExternalEmbedder:
        """Take over the name that a store knows the model by; return another embedder where this one has a name already.

        Raises:
            DimensionMismatch: the known dimension differs.
        """
        if self.adopted and self._model_id != model_id:
            other = ExternalEmbedder(self.given, self._texts, self._query, named=self.named)
            return other.adopt(model_id, dimension)
        if dimension:
            self.learn(dimension)
        self._model_id, self.adopted = model_id, True
        return self

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
    """Return a name for an embedding: its class, and the attribute that names its model; of a cache, what it wraps.

    >>> class Some: model = "e5"
    >>> class Cache: underlying_embeddings = Some()
    >>> model_name(Some()), model_name(Cache())
    ('Some:e5', 'Some:e5')
    """
    for _ in range(_WRAPPED_MAX):
        wrapped = next((inner for name in _WRAPS if _embeds(inner := getattr(embedding, name, None))), None)
        if wrapped is None:
            break
        embedding = wrapped
    kind = type(embedding).__qualname__
    for attribute in _NAMED_BY:
        value = getattr(embedding, attribute, None)
        if isinstance(value, str) and value:
            return f"{kind}:{value}"[:256]
    return kind[:256]


def _embeds(value: object) -> bool:
    """Return whether a value can be an embedding that another wraps."""
    return value is not None and not isinstance(value, str | bytes | int | float | bool | list | dict | tuple)


def unit_rows(
    vectors: Sequence[Vector], dimension: int, places: Sequence[str] | None = None
) -> npt.NDArray[np.float32]:
    """Return vectors scaled to unit length after checking them: shape (n, dimension). One of zeros alone stays as it is.

    `places` name the vectors in errors.

    Raises:
        DimensionMismatch: the length of a vector differs from `dimension`.
        InvalidInput: a vector holds a number that is not finite; the error names each.
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
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(largest).all():
        wrong = np.flatnonzero(~np.isfinite(largest[:, 0])).tolist()
        named = ["vector" if places is None else places[n] for n in wrong]
        raise InvalidInput.of([Problem(name, "holds NaN or infinity; pass finite numbers") for name in named])
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():  # squares that are too large or too small, or zeros
        rows = rows / np.where(largest > 0, largest, 1.0)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit


def mismatch(given: int, dimension: int) -> DimensionMismatch:
    """Return the error for a vector whose length differs from the model's dimension."""
    return DimensionMismatch(
        f"a vector has {given} dimensions, and the model of this store {dimension}; embed with that model, or give the"
        " store the embedding that made these vectors"
    )
