"""Rank: normalised scores, summed with weights by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cmc_mcp.config import Settings
from cmc_mcp.store.rows import MODALITIES

_CODE = MODALITIES.index("code")


@dataclass(frozen=True, slots=True)
class Hit:
    """A candidate and the parts of its score."""

    rid: int
    score: float
    dense: float
    lexical: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What scores are divided by: the best of each kind, so that a score does not depend on how many were asked for."""

    cosine: float
    bm25: float


def fuse(
    cosines: Mapping[int, float],
    words: Mapping[int, float],
    modalities: Mapping[int, int],
    scale: Scale,
    settings: Settings,
) -> list[Hit]:
    """Sum normalised scores: BM25 over its maximum, cosine over its maximum. Best first; ties are not ordered yet.

    Adding scores beat adding reciprocal ranks by .03 (CombSUM; Fox and Shaw, 1994), measured in
    `reference/retrieval.md`. Scores are rounded to 1e-6.
    """
    hits, hybrid = [], scale.cosine > 0
    for rid, modality in modalities.items():
        near = max(0.0, cosines.get(rid, 0.0)) / scale.cosine if hybrid else 0.0
        word = words.get(rid, 0.0) / scale.bm25 if scale.bm25 > 0 else 0.0
        share = settings.lexical_share_code if modality == _CODE else settings.lexical_share_text
        share = share if hybrid else 1.0
        hits.append(Hit(rid, round(share * word + (1 - share) * near, 6), round(near, 6), round(word, 6)))
    return sorted(hits, key=lambda hit: -hit.score)
