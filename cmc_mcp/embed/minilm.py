"""The bundled model: all-MiniLM-L6-v2 with 8-bit weights, on one thread, with no network.

``scripts/build_model.py`` builds the two model files, which lie beside this module as package data. Their digests stand
here: a changed file is refused before any of its bytes are used.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.protocol import EmbeddingIdentity, check_texts
from cmc_mcp.embed.runtime import READ_CHARS_MAX, InferenceSession, open_session, read_checked
from cmc_mcp.errors import EmbedderError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

MODEL_FILE: Final = "minilm-l6-v2-w8.onnx"
MODEL_SHA256: Final = "7240a9ea1c488a1c26e427b9f2baf5583c7fa4a15401edec4465a8b85dd071f8"
TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZER_SHA256: Final = "3ad857958ba886d154a5a852119fb31a0dd549d03d8a3fc20e33f2336272cc19"

DIMENSION: Final = 384
TOKENS_MAX: Final = 256

IDENTITY: Final = EmbeddingIdentity(
    model_id="sentence-transformers/all-MiniLM-L6-v2",
    weights_digest=MODEL_SHA256,
    precision="int8-weights",
    dimension=DIMENSION,
    maximum_tokens=TOKENS_MAX,
)

_WINDOW_CHARS = 4_096  # about four times what 256 word pieces of prose take
_WORD_PIECES_MAX = 100  # the tokenizer makes one unknown piece of a longer word


@dataclass(frozen=True, slots=True)
class _Engine:
    session: InferenceSession
    tokenizer: Tokenizer


class MiniLM:
    """Embed with the bundled model: 384 dimensions, unit length, English first.

    A text is cut off at 256 word pieces (about 200 English words) or `READ_CHARS_MAX` characters, whichever comes first;
    its vector then stands for its beginning. Markup of the tokenizer inside a text (``[SEP]``, ``[PAD]``) is read as
    ordinary words. A text's vector is the same, byte for byte, in every batch. The first `embed` loads the model, which
    takes about 0.2 s; after that, a sentence takes a few milliseconds of one core. Threads may share an instance.

    Args:
        data_dir: a folder with the two files, in place of the package's own.

    >>> MiniLM().identity.dimension
    384
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._engine: _Engine | None = None
        self._closed = False

    @property
    def identity(self) -> EmbeddingIdentity:
        """The model's identity; `weights_digest` is the digest of the ONNX file. Reading the property does not load the model."""
        return IDENTITY

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, in order: float32 of shape (len(texts), 384).

        Raises:
            EmbedderError: a model file is missing or is not the one that was built, or this instance is closed.
            InvalidInput: a text is not valid Unicode, or one string was passed in place of a list.
        """
        check_texts(texts)
        engine = self._engine or self._load()
        import numpy as np

        rows = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for index, text in enumerate(texts):
            # One text a run. On one thread a padded batch is no faster (24 tokens: 2.0 against 2.1 ms of CPU for each
            # text; 250 tokens: 29 against 24), and rounding then depends on what else is in the batch.
            ids = np.array([_encode(engine.tokenizer, text)], dtype=np.int64)
            rows[index] = engine.session.run(None, {"ids": ids})[0][0]
        return rows

    def close(self) -> None:
        """Release the model's memory. A closed instance cannot embed; closing twice is allowed."""
        with self._lock:
            self._closed = True
            self._engine = None

    def _load(self) -> _Engine:
        from importlib import resources

        with self._lock:
            if self._closed:
                raise EmbedderError("this embedder is closed; make a new one")
            if self._engine is None:
                folder: Traversable = self._data_dir or resources.files("cmc_mcp.embed.data")
                tokenizer = read_checked(folder, TOKENIZER_FILE, TOKENIZER_SHA256)
                self._engine = _Engine(
                    open_session(read_checked(folder, MODEL_FILE, MODEL_SHA256)), _open_tokenizer(tokenizer)
                )
            return self._engine


def _open_tokenizer(data: bytes) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_buffer(data)
    tokenizer.encode_special_tokens = True  # stored text is data: "[SEP]" in it is a word, not a command
    return tokenizer


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of the first 256 word pieces, the marks at both ends included, without reading a whole book.

    A window cuts only the word at its end, and a word has at most `_WORD_PIECES_MAX` pieces. When the window holds that
    many pieces beyond those kept, the kept ones equal those of the whole text. Megabytes of blanks hold few pieces, so
    reading ends at `READ_CHARS_MAX` in any case.
    """
    window = _WINDOW_CHARS
    while True:
        ids = tokenizer.encode(text[:window]).ids
        if len(ids) > TOKENS_MAX + _WORD_PIECES_MAX or window >= min(len(text), READ_CHARS_MAX):
            break
        window *= 4
    return ids if len(ids) <= TOKENS_MAX else [*ids[: TOKENS_MAX - 1], ids[-1]]
