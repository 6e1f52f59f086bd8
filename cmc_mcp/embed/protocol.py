"""The `Embedder` port, the identity of the vectors that an embedder makes, and how a question is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cmc_mcp.errors import InvalidInput, Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class EmbeddingIdentity:
    """The identity of the model that made a vector. Vectors of different identities are never compared.

    `weights_digest` is the SHA-256 of the model file in hex, or ``""`` if it is unknown (a remote endpoint).
    `maximum_tokens` is the length at which the model cuts a text off, or 0 if it is unknown.

    >>> EmbeddingIdentity("e5-small", "", "float32", 384, 512).dimension
    384
    """

    model_id: str
    weights_digest: str
    precision: str
    dimension: int
    maximum_tokens: int


class Embedder(Protocol):
    """A model that turns texts into vectors of unit length. Implementations must be safe for several threads."""

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model of the vectors; reading the property must not load the model."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one row of unit length for each text, in the order of the texts: shape (len(texts), identity.dimension).

        Raises:
            EmbedderError: the model could not make a vector; the message says what to do.
            DimensionMismatch: the length of a vector differs from the identity's dimension.
            InvalidInput: a text is not valid Unicode, or one string was passed in place of a list.
        """
        ...

    def close(self) -> None:
        """Release memory and connections. Closing twice is allowed."""
        ...


@runtime_checkable
class QueryEmbedder(Protocol):
    """What an `Embedder` may have beside: a method for questions, of a model that embeds them otherwise than texts."""

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Return the vector of a question: unit length, shape (identity.dimension,). Raises what `Embedder.embed` raises."""
        ...


def query_vector(embedder: Embedder, text: str) -> npt.NDArray[np.float32]:
    """Return the vector of a question, by `embed_query` if the embedder has it: unit length, shape (dimension,).

    Every question is embedded by this function, and every text that is stored by `Embedder.embed`.
    """
    asked: object = embedder
    if isinstance(asked, QueryEmbedder):
        return asked.embed_query(text)
    row: npt.NDArray[np.float32] = embedder.embed([text])[0]
    return row


def check_texts(texts: Sequence[str]) -> None:
    """Check that an embedder can take every text.

    Raises:
        InvalidInput: one string was passed in place of a list, or a text holds a lone surrogate; the error lists every
            such text.
    """
    if isinstance(texts, str):
        raise InvalidInput.at("texts", "is one string; pass a list of them")
    lone = "holds a lone surrogate, which is not valid Unicode text"
    problems = [Problem(f"texts[{index}]", lone) for index, text in enumerate(texts) if not _is_unicode(text)]
    if problems:
        raise InvalidInput.of(problems)


def _is_unicode(text: str) -> bool:
    # An ASCII flag stands in every string's header, so the usual text costs nothing.
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
