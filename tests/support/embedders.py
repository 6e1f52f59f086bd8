"""Embedders that need no model: their vectors follow from the text alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cmc_mcp.embed.protocol import EmbeddingIdentity
from cmc_mcp.errors import EmbedderError

DIMENSION = 32
LETTERS = 16


class CountingEmbedder:
    """Embeds a text as counts of its letters, and remembers which texts it was given."""

    def __init__(self, *, fails: bool = False) -> None:
        self.texts: list[str] = []
        self.fails = fails

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("letters", "ab" * 32, "float32", LETTERS, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.fails:
            raise EmbedderError("the letters are out")
        self.texts += texts
        rows = np.ones((len(texts), LETTERS), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for char in text:
                row[ord(char) % LETTERS] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def close(self) -> None:
        """Nothing to give back."""


class HashVectors:
    """An embedder whose vectors follow from the text alone.

    The part before `~` names a cluster: texts of one cluster are within a hair of each other. `=` after it: the very same
    vector. A text that begins with `!` has one component of nearly 1, far past what a code can hold.
    """

    def __init__(self, dimension: int = DIMENSION, *, down: bool = False) -> None:
        self.dimension, self.down, self.closed = dimension, down, False

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("hash", "ab" * 32, "float32", self.dimension, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.down:
            raise EmbedderError("the endpoint is down")
        return np.stack([self._one(text) for text in texts]) if texts else np.zeros((0, self.dimension), np.float32)

    def _one(self, text: str) -> npt.NDArray[np.float32]:
        cluster, near, rest = text.partition("~")
        vector = self._noise(cluster)
        if near and not rest.startswith("="):
            vector = vector + 1e-3 * self._noise(text)
        if text.startswith("!"):
            vector[len(text) % self.dimension] += 30.0
        unit: npt.NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit

    def _noise(self, text: str) -> npt.NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimension)

    def close(self) -> None:
        self.closed = True
