"""Scripts that a model reads, so far as it is known."""

from __future__ import annotations

from typing import Final

from cmc_mcp.embed.minilm import IDENTITY
from cmc_mcp.embed.protocol import Embedder

_LATIN_LAST: Final = 0x24F


def unread(embedder: Embedder | None, text: str) -> float:
    """Return the share of a text's letters that are in scripts which a model does not read, from 0 to 1.

    The bundled model was trained on English: it hardly tells texts of scripts other than Latin apart. Of other models
    nothing is known, and they count as reading every script.

    >>> from cmc_mcp.embed.minilm import MiniLM
    >>> unread(MiniLM(), "Où est la clé ?"), unread(MiniLM(), "Где ключ?"), unread(None, "Где ключ?")
    (0.0, 1.0, 0.0)
    """
    if embedder is None or embedder.identity.model_id != IDENTITY.model_id:
        return 0.0
    letters = [char for char in text if char.isalpha()]
    return sum(ord(char) > _LATIN_LAST for char in letters) / len(letters) if letters else 0.0
