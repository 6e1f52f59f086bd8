"""Navigate: the first candidates once more, by what only shows when they are seen together or loaded.

Both steps are left out by default (`docs/recall.md` has what they were worth), and what follows the first candidates keeps
its place. How many are looked at is a setting, so that neither the page nor the budget moves an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from cmc_mcp.config import Settings
from cmc_mcp.ids import Rid
from cmc_mcp.read.quality import final
from cmc_mcp.read.rank import Hit
from cmc_mcp.store.rows import AtomRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Candidate = tuple[Hit, AtomRow]
Parts = Callable[[Sequence[Candidate]], Mapping[Rid, Mapping[str, float]]]
"""Gives the scores of `read/quality.py` of some candidates, by record number."""
Vectors = Callable[[Sequence[Rid]], "Mapping[Rid, bytes]"]
"""Gives the vectors of some candidates (fp32, unit length), by record number."""


def navigated(
    candidates: Iterator[Candidate], settings: Settings, parts: Parts, vectors: Vectors
) -> Iterator[Candidate]:
    """Yield the candidates, the first of them in the order of their quality too, and of where they come to rest."""
    weighs = bool(settings.rs_weight or settings.decay_weight)
    if weighs or settings.dvns:
        first = list(islice(candidates, settings.navigate_depth))
        if weighs:
            first = by_quality(first, parts(first), settings)
        if settings.dvns:
            first = settled(first, vectors([hit.rid for hit, _ in first]), settings)
        yield from first
    yield from candidates


def by_quality(
    first: Sequence[Candidate], parts: Mapping[Rid, Mapping[str, float]], settings: Settings
) -> list[Candidate]:
    """Order candidates by match, quality and decay, mixed log-linearly (`docs/design/scores.md` §2)."""
    scored = []
    for hit, row in first:
        named = parts[hit.rid]
        match = max(hit.score, 0.0)
        score = final(match, named["rs"], settings.rs_weight, named["decay"], settings.decay_weight, settings.quality)
        scored.append((hit._replace(score=round(score, 6)), row))
    return sorted(scored, key=lambda candidate: (-candidate[0].score, candidate[1].key))


def settled(first: Sequence[Candidate], vectors: Mapping[Rid, bytes], settings: Settings) -> list[Candidate]:
    """Order candidates by the distance from the query at which they come to rest; links are those of one session."""
    import numpy as np

    from cmc_mcp.read.dvns import settle, siblings

    if not first:
        return []
    best = max(hit.score for hit, _ in first)
    match = np.array([round(max(hit.score, 0.0) / best, 6) if best > 0 else 0.0 for hit, _ in first])
    groups = np.array([row.origin if row.discriminator and row.origin else -1 for _, row in first], np.int64)
    springs = siblings(groups, settings.physics.sibling)
    order = settle(match, _cosines([hit.rid for hit, _ in first], vectors), springs, settings.physics).order
    return [first[place] for place in order]


def _cosines(rids: Sequence[Rid], vectors: Mapping[Rid, bytes]) -> npt.NDArray[np.float64]:
    """Return the cosines of all pairs, 0 where one has no vector."""
    import numpy as np

    width = max((len(body) for body in vectors.values()), default=4) // 4
    rows = np.zeros((len(rids), width), np.float64)
    for place, rid in enumerate(rids):
        if rid in vectors:
            rows[place] = np.frombuffer(vectors[rid], np.float32)
    return np.clip(rows @ rows.T, -1.0, 1.0)
