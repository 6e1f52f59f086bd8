"""What an embedder is, and what identifies the vectors that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cmc_mcp.errors import InvalidInput, Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class EmbeddingIdentity:
    """Say which model made a vector. Vectors of different identities are never compared.

    `weights_digest` is the SHA-256 of the model file in hex, or ``""`` when it cannot be known (a remote endpoint);
    `maximum_tokens` is where the model cuts a text off, or 0 when that cannot be known.

    >>> EmbeddingIdentity("e5-small", "", "float32", 384, 512).dimension
    384
    """

    model_id: str
    weights_digest: str
    precision: str
    dimension: int
    maximum_tokens: int


class Embedder(Protocol):
    """Turn texts into vectors of unit length. Implementations are safe to call from several threads."""

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model behind the vectors; reading it loads nothing."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Give one row of unit length per text, in the order of the texts: shape (len(texts), identity.dimension).

        Raises:
            EmbedderError: no vector could be made; the message says what to do.
            DimensionMismatch: the model answered with vectors of another length.
            InvalidInput: a text is not valid Unicode, or one string was passed in place of a list.
        """
        ...

    def close(self) -> None:
        """Give memory and connections back. Closing twice is allowed."""
        ...


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what no embedder can take, naming every offender.

    Raises:
        InvalidInput: one string in place of a list of them, or a lone surrogate, which no encoding can carry.
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
