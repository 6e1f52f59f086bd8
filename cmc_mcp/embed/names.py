"""The models that run here, by the names that settings give them; and what was measured of each."""

from __future__ import annotations

from typing import Final, NamedTuple

from cmc_mcp.embed import minilm, multilingual
from cmc_mcp.embed.minilm import MiniLM
from cmc_mcp.embed.multilingual import MultilingualE5
from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity
from cmc_mcp.environment import EMBEDDERS, check_embedder

_LATIN_LAST: Final = 0x24F


class Measured(NamedTuple):
    """What was measured of a model, which the vectors themselves do not say.

    `latin_only` is whether it hardly tells texts in other scripts apart. `unrelated` is the cosine of a question with texts
    that have nothing to do with it, None where `RelevanceScale` has it; `answer` is that of as near a text as there is.
    """

    latin_only: bool
    unrelated: float | None = None
    answer: float = 1.0


_BUNDLED: Final = Measured(latin_only=True)
_MULTILINGUAL: Final = Measured(latin_only=False, unrelated=multilingual.UNRELATED, answer=multilingual.ANSWER)


def embedder_named(name: str) -> Embedder:
    """Make the model that a setting names; the model loads with its first text.

    Raises:
        InvalidInput: no model has the name.
        EmbedderError: the model's extra is not installed.

    >>> embedder_named("bundled").identity.model_id
    'sentence-transformers/all-MiniLM-L6-v2'
    """
    return MiniLM() if check_embedder(name) == EMBEDDERS[0] else MultilingualE5()


def measured(identity: EmbeddingIdentity) -> Measured | None:
    """Return what was measured of a model; None of one that is not known here.

    An endpoint may serve the bundled model under its name. The multilingual one is centred here alone, so its whole
    identity counts.
    """
    if identity.model_id == minilm.IDENTITY.model_id:
        return _BUNDLED
    return _MULTILINGUAL if identity == multilingual.IDENTITY else None


def unread_by(embedder: Embedder | None, text: str) -> float:
    """Return the share of a text's letters that a model is known not to read, from 0 to 1."""
    model = None if embedder is None else measured(embedder.identity)
    return 0.0 if model is None else unread(model, text)


def unread(model: Measured, text: str) -> float:
    """Return the share of a text's letters that are of scripts a model does not read.

    >>> unread(Measured(latin_only=True), "Où est la clé ?"), unread(Measured(latin_only=True), "Где ключ?")
    (0.0, 1.0)
    """
    letters = [char for char in text if char.isalpha()] if model.latin_only else []
    return sum(ord(char) > _LATIN_LAST for char in letters) / len(letters) if letters else 0.0
