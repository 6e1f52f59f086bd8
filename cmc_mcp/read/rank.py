"""Rank: normalised scores, summed with weights by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cmc_mcp.config import Settings
from cmc_mcp.store.rows import MODALITIES

_CODE = MODALITIES.index("code")


class Hit(NamedTuple):
    """A candidate and the parts of its score."""

    rid: int
    score: float
    dense: float
    lexical: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What scores are divided by: the best of each kind (of words, at least a share of a perfect match).

    So a score does not depend on how many were asked for.
    """

    cosine: float
    bm25: float


def fuse(
    cosines: Mapping[int, float],
    words: Mapping[int, float],
    modalities: Mapping[int, int],
    scale: Scale,
    settings: Settings,
) -> list[Hit]:
    """Sum normalised scores, each over its scale. Best first; ties are not ordered yet.

    Adding scores beat adding reciprocal ranks by .03 (CombSUM; Fox and Shaw, 1994), measured in
    `reference/retrieval.md`. Scores are rounded to 1e-6.
    """
    import numpy as np

    rids, size = list(modalities), len(modalities)
    near, word, share = np.zeros(size), np.zeros(size), np.ones(size)
    if scale.cosine > 0:
        near = np.maximum(np.fromiter((cosines.get(rid, 0.0) for rid in rids), np.float64, size), 0.0) / scale.cosine
        is_code = np.fromiter((modality == _CODE for modality in modalities.values()), np.bool_, size)
        share = np.where(is_code, settings.lexical_share_code, settings.lexical_share_text)
    if scale.bm25 > 0:
        word = np.fromiter((words.get(rid, 0.0) for rid in rids), np.float64, size) / scale.bm25
    scores = np.round(share * word + (1.0 - share) * near, 6)
    order = np.argsort(-scores, kind="stable").tolist()
    parts = list(zip(rids, scores.tolist(), np.round(near, 6).tolist(), np.round(word, 6).tolist(), strict=True))
    return [Hit(*parts[place]) for place in order]
