"""Vectors that were made once: the product's own model, in front of it a file of what it gave before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt

from cmc_mcp.embed import MiniLM
from cmc_mcp.embed.protocol import EmbeddingIdentity

_BATCH = 256


class KeptVectors:
    """The bundled model, with its vectors kept in a file by text. A text's vector never depends on others, so it may be."""

    def __init__(self, path: Path) -> None:
        self._model = MiniLM()
        self._file = apsw.Connection(str(path))
        self._file.set_busy_timeout(60_000)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE IF NOT EXISTS vectors(hash TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    @property
    def identity(self) -> EmbeddingIdentity:
        return self._model.identity

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector a text, embedding only what never was."""
        if not texts:
            return np.empty((0, self.identity.dimension), np.float32)
        names = [_name(text) for text in texts]
        known = {name: found for name in set(names) if (found := self._get(name)) is not None}
        missing = [(name, text) for name, text in dict(zip(names, texts, strict=True)).items() if name not in known]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            rows = [row.tobytes() for row in self._model.embed([text for _, text in part])]
            self._put([(name, row) for (name, _), row in zip(part, rows, strict=True)])
            known.update((name, row) for (name, _), row in zip(part, rows, strict=True))
        return np.stack([np.frombuffer(known[name], np.float32) for name in names])

    def take(self, file: Path) -> int:
        """Load the vectors of an .npz file: `v`, float32 rows, and `h`, the SHA-1 of each text in hex."""
        with np.load(file) as data:
            self._put([(str(name), row.tobytes()) for name, row in zip(data["h"], data["v"], strict=True)])
            return len(data["h"])

    def close(self) -> None:
        """Close the file; the model goes with the process."""

    def _get(self, name: str) -> bytes | None:
        row = self._file.execute("SELECT vector FROM vectors WHERE hash = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _put(self, rows: Sequence[tuple[str, bytes]]) -> None:
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)


def _name(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
