"""Int8 codes of unit vectors: a fixed scale, and the exact error of each, so that a bound holds and is not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cmc_mcp.ids import ModelNumber, Seq, Vid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SEGMENT_VECTORS: Final = 1_024
SCALE: Final = 508.0
"""Components of real sentence vectors stay within ±0.25; what does not is clipped, and its error says so."""


def quantise(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Code unit vectors (n, d) as int8; return the codes and the length of each one's error (n,)."""
    import numpy as np

    codes = np.clip(np.rint(vectors * np.float32(SCALE)), -127, 127).astype(np.int8)
    residue = vectors - codes.astype(np.float32) / np.float32(SCALE)
    return codes, np.sqrt(np.einsum("ij,ij->i", residue, residue)).astype(np.float32)


def pack(rows: Sequence[tuple[ModelNumber, Vid, Seq, bytes]]) -> dict[ModelNumber, tuple[bytes, bytes, bytes, bytes]]:
    """Pack vector rows (model, vid, seq, vector) into one (vids, seqs, errors, codes) a model."""
    import numpy as np

    out = {}
    for model in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == model]
        vectors = np.frombuffer(b"".join([row[3] for row in mine]), np.float32).reshape(len(mine), -1)
        codes, errors = quantise(vectors)
        vids = np.array([row[1] for row in mine], np.int64)
        seqs = np.array([row[2] for row in mine], np.int64)
        out[model] = (vids.tobytes(), seqs.tobytes(), errors.tobytes(), codes.tobytes())
    return out


def exact(query: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Score unit vectors (n, d) against a query (d,): cosine in float64, rounded to 1e-6 (`docs/design/read.md` §3)."""
    import numpy as np

    scores: npt.NDArray[np.float64] = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return np.round(scores, 6)
