"""What the tests of the write path and the facade share: a store in a folder, a clock that steps, a small embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.protocol import Embedder, EmbeddingIdentity
from cmc_mcp.errors import EmbedderError
from cmc_mcp.memory import Memory

START_US = 1_750_000_000_000_000
DIMENSION = 16


class CountingEmbedder:
    """Embeds a text as counts of its letters, and remembers which texts it was given."""

    def __init__(self, *, fails: bool = False) -> None:
        self.texts: list[str] = []
        self.fails = fails

    @property
    def identity(self) -> EmbeddingIdentity:
        return EmbeddingIdentity("letters", "ab" * 32, "float32", DIMENSION, 0)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self.fails:
            raise EmbedderError("the letters are out")
        self.texts += texts
        rows = np.ones((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for char in text:
                row[ord(char) % DIMENSION] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def close(self) -> None:
        """Nothing to give back."""


def opened(
    folder: Path,
    name: str = "memory.db",
    *,
    workspace: str = "default",
    principal: str = "maya",
    embedder: Embedder | None = None,
    settings: Settings | None = None,
    start_us: int = START_US,
    objects: str | None = None,
) -> Memory:
    """Open a store in a folder, with a clock that steps a second a look."""
    return Memory.open(
        folder / name,
        workspace=workspace,
        principal=principal,
        embedder=embedder,
        clock=FixedClock(start_us, step_us=1_000_000),
        settings=settings,
        objects=objects or str(folder / f"{name}.objects"),
    )


def root(memory: Memory) -> str:
    """Return the present state root."""
    return memory.snapshot().root


def raw_bytes(folder: Path) -> bytes:
    """Give every byte that a store and its objects keep on disk."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
