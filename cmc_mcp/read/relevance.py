"""Relevance: whether anything that is stored has to do with the question at all, told before an answer is cut into pages.

The scores of the ranking are relative: the best memory has about the same whatever was asked. These signals are
absolute. A memory is evidence by how near it is, on the scale that unrelated memories of this workspace set, and by the
share of the question's words that it holds, the rare ones counting most. The best memory decides; where it holds every word
that says what is asked, something relevant is stored. The verdict removes and moves nothing, and what was marked as used,
right or wrong has no part in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.config import RelevanceScale
from cmc_mcp.embed.names import Measured, measured, unread
from cmc_mcp.ids import Rid
from cmc_mcp.model.results import RecallResult, Relevance, Verdict
from cmc_mcp.store.codes import exact

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.read.candidates import Candidates
    from cmc_mcp.read.lexical import LexicalSearch
    from cmc_mcp.read.reading import Reading
    from cmc_mcp.read.retrieve import Selection

NOTHING_RELEVANT: Final = "Nothing relevant is stored; the nearest follow."
_THOUSANDTHS: Final = 1_000
_NARROWEST: Final = 0.05
"""The least range between unrelated and equal texts: a model may place all texts of a script in one spot."""


class Asked(NamedTuple):
    """A question as it was embedded, and its vector; None where it has none."""

    text: str
    vector: npt.NDArray[np.float32] | None


def relevance_of(
    reading: Reading,
    selection: Selection,
    words: LexicalSearch,
    candidates: Candidates,
    asked: Asked,
) -> Relevance:
    """Return how relevant the best of the first candidates is."""
    import numpy as np

    scale = reading.settings.relevance
    near, said = candidates.first()
    first = {rid for found in (near, said) for rid, _ in found[: scale.looked_at]}
    if not first:
        return told(0, scale)
    rids = np.array(sorted(first), np.int64)
    held = words.held(rids)
    least = math.ceil(_THOUSANDTHS * scale.weak) if words.is_all(held) else 0
    shares = held / (words.asked() + scale.unseen)
    if asked.vector is None or not near:
        return told(max(least, _score(scale.words_alone * float(shares.max()), scale)), scale)
    known = dict(near)
    known |= selection.cosines(reading.model, asked.vector, [rid for rid in rids.tolist() if rid not in known])
    cosines = np.array([known.get(rid, 0.0) for rid in rids.tolist()])
    unrelated, trust = _unrelated(reading, asked, scale)
    model = _model(reading)
    nearness = (cosines - unrelated) / max((1.0 if model is None else model.answer) - unrelated, _NARROWEST)
    nearness = np.minimum(nearness, 1.0)
    # where nearness says nothing yet, words count as much as they do alone
    weight = trust * scale.words + (1.0 - trust) * scale.words_alone
    return told(max(least, _score(float((trust * nearness + weight * shares).max()), scale)), scale)


def _model(reading: Reading) -> Measured | None:
    """Return what was measured of the model that is read with; None of one that is not known."""
    embedder = reading.workspace.embedder
    return None if embedder is None else measured(embedder.identity)


def _unrelated(reading: Reading, asked: Asked, scale: RelevanceScale) -> tuple[float, float]:
    """Return the cosine of the question with what has nothing to do with it, and how far that can be trusted (0 to 1).

    Of the models that run here it was measured. Of another the workspace shows it: by the mean over memories picked
    evenly from all that were recorded up to the read point, of which a few say little.
    """
    import numpy as np

    model = _model(reading)
    if model is not None:
        background = scale.background if model.unrelated is None else model.unrelated
        return background + unread(model, asked.text) * (scale.background_foreign - background), 1.0
    low, head = reading.view.ws << 40, reading.point.head
    places = np.unique(np.linspace(low + 1, head.last_rid, scale.sample).astype(np.int64))
    picked = reading.view.vectors_of(reading.model, [Rid(rid) for rid in places.tolist()], head.seq)
    if not picked or asked.vector is None:
        return 0.0, 0.0
    rows = np.frombuffer(b"".join([picked[rid] for rid in sorted(picked)]), np.float32)
    mean = float(exact(asked.vector, rows.reshape(len(picked), -1)).mean())
    return mean, len(picked) / (len(picked) + scale.sample_trusted)


def _score(evidence: float, scale: RelevanceScale) -> int:
    """Return evidence as a score from 0 to 1, in thousandths."""
    return round(_THOUSANDTHS / (1.0 + math.exp(-scale.steepness * (evidence - scale.middle))))


def told(thousandths: int, scale: RelevanceScale) -> Relevance:
    """Return a score and what it means.

    >>> told(120, RelevanceScale()).verdict, told(900, RelevanceScale()).verdict
    ('none', 'good')
    """
    score = thousandths / _THOUSANDTHS
    verdict: Verdict = "good" if score >= scale.good else "weak" if score >= scale.weak else "none"
    return Relevance(verdict=verdict, score=score)


def carried(relevance: Relevance) -> int:
    """Return a relevance as a cursor carries it: its score in thousandths."""
    return round(relevance.score * _THOUSANDTHS)


def first_lines(result: RecallResult) -> list[str]:
    """Return what an answer's text says before its memories: that it abstains, and that what follows is only nearest."""
    lines = [] if result.abstains is None else [f"Abstains: {result.abstains}."]
    if result.items and result.relevance is not None and result.relevance.verdict == "none":
        lines.append(NOTHING_RELEVANT)
    return lines
