"""Quality: what a memory is worth apart from its match with the question (`docs/design/scores.md` §§1, 2).

Pure functions of plain values, a few microseconds an item. Every part is bounded and monotone: more confidence,
authority, links and coverage, less age, idleness, conflict and staleness never lower a score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from cmc_mcp.config import Quality
from cmc_mcp.model.facts import DECAY_TAU_S_DEFAULT, number_of, tags_of, used_of

if TYPE_CHECKING:
    from cmc_mcp.documents.loading import Loaded
    from cmc_mcp.read.notes import Notes
    from cmc_mcp.read.point import Point

DEFAULTS: Final = Quality()
RELEVANCE_DEFAULT: Final = 1.0
_US: Final = 1_000_000
_DISAGREES: Final = frozenset({"claim", "contradicts", "superseded_by", "possible"})  # not the newer of two: it stands
_CONTRADICTS: Final = frozenset({"claim", "contradicts"})


# ---------------------------------------------------------------------- QS: quality
def confidence_part(confidence: float | None, band: str | None = None, c: Quality = DEFAULTS) -> float:
    """Return the confidence, else the value of its band, else the value of an unknown confidence.

    >>> confidence_part(0.3, "A"), confidence_part(None, "B"), confidence_part(None)
    (0.3, 0.7, 0.5)
    """
    if confidence is not None:
        return min(max(confidence, 0.0), 1.0)
    return {"A": c.band_a, "B": c.band_b, "C": c.band_c}.get(band or "", c.confidence_unknown)


def recency_part(age_s: float, c: Quality = DEFAULTS) -> float:
    """Return 1/(1 + age/7 d), in (0, 1]; what is dated after the reference time is new.

    >>> recency_part(0), recency_part(604_800)
    (1.0, 0.5)
    """
    return 1.0 / (1.0 + max(age_s, 0.0) / c.recency_s)


def authority_part(tags: Mapping[str, str], c: Quality = DEFAULTS) -> float:
    """Return the authority that the tags `verified=true` and `source=official` lend.

    >>> authority_part({"verified": "true"}), authority_part({"source": "official"}), authority_part({})
    (1.0, 0.9, 0.7)
    """
    if tags.get("verified") == "true":
        return c.authority_verified
    return c.authority_official if tags.get("source") == "official" else c.authority_other


def quality_score(
    confidence: float | None, age_s: float, tags: Mapping[str, str], *, band: str | None = None, c: Quality = DEFAULTS
) -> float:
    """Return QS = .4·confidence + .3·recency + .3·authority, in (0, 1].

    >>> round(quality_score(0.9, 604_800, {"source": "official"}), 6)
    0.78
    """
    return (
        c.confidence_share * confidence_part(confidence, band, c)
        + c.recency_share * recency_part(age_s, c)
        + c.authority_share * authority_part(tags, c)
    )


# ---------------------------------------------------------------------- IDS: place among the rest
def integration_score(
    levels: int, density: float = 0.0, coverage: float = 0.0, dangling: float = 0.0, c: Quality = DEFAULTS
) -> float:
    """Return IDS = σ(.8·ln(1+d) + .6·ρ + .4·coverage − .9·ξ), in (0, 1); .5 is that of an unplaced memory.

    `levels` of the hierarchy resolved; density of links, share of siblings indexed and share of dangling or stale
    dependencies in [0, 1].

    >>> integration_score(0), round(integration_score(3, coverage=1.0), 6)
    (0.5, 0.818918)
    """
    x = c.level_weight * math.log1p(max(levels, 0)) + c.link_weight * _share(density)
    x += c.coverage_weight * _share(coverage) - c.dangling_weight * _share(dangling)
    return 1.0 / (1.0 + math.exp(-x))


# ---------------------------------------------------------------------- DD: dissonance
def dissonance(
    in_conflict: bool,
    staleness: float = 0.0,
    drifts: Iterable[tuple[float, float]] = (),
    *,
    contradiction: bool = False,
    c: Quality = DEFAULTS,
) -> float:
    """Return DD = clip(.5·[in conflict] + .2·staleness + Σ w·|Δtag|, 0, 1), at least .7 of a hard contradiction, never 1.

    `staleness` is the share of premises superseded; `drifts` are (weight, difference) of numeric tags.

    >>> dissonance(True, 1.0), dissonance(True, contradiction=True), dissonance(True, 1.0, [(1.0, -3.0)])
    (0.7, 0.7, 0.99)
    """
    x = c.conflict_weight * (in_conflict or contradiction) + c.stale_weight * _share(staleness)
    x += math.fsum(weight * abs(difference) for weight, difference in drifts)
    x = max(x, c.contradiction_min) if contradiction else x
    return min(max(x, 0.0), c.dissonance_max)


# ---------------------------------------------------------------------- RS, decay, and the final mix
def resonance(qs: float, ids: float, dd: float) -> float:
    """Return RS = QS · IDS · (1 − DD), in (0, 1).

    >>> resonance(0.8, 0.5, 0.5)
    0.2
    """
    return qs * ids * (1.0 - dd)


def decay(idle_s: float, tau_s: float | None, relevance: float = RELEVANCE_DEFAULT) -> float:
    """Return relevance · e^(−max(0, idle)/τ), in [0, relevance]; without τ (None or 0) nothing fades.

    `idle_s` is the time since the last reported use, else since it was recorded.

    >>> round(decay(604_800, 604_800), 6), decay(-5, 604_800), decay(1e9, None)
    (0.367879, 1.0, 1.0)
    """
    return relevance * math.exp(-max(idle_s, 0.0) / tau_s) if tau_s else relevance


def final(
    match: float, rs: float, weight: float, faded: float = 1.0, decay_weight: float = 0.0, c: Quality = DEFAULTS
) -> float:
    """Mix log-linearly: log r = log match + λ·log max(RS, .05) + μ·log max(decay, .05); return r.

    It is written as a product, so that a match of 0 stays 0 and, with both weights 0, the match stays what it is.

    >>> final(0.5, 0.25, 0.5), final(0.123456, 0.9, 0.0, 0.3)
    (0.25, 0.123456)
    """
    return float(match * max(rs, c.floor) ** weight * max(faded, c.floor) ** decay_weight)


# ---------------------------------------------------------------------- of one memory at a read point
def parts(
    loaded: Loaded,
    notes: Notes,
    point: Point,
    *,
    recorded_us: int,
    place: str | None = None,
    links: int = 0,
    c: Quality = DEFAULTS,
) -> dict[str, float]:
    """Return the scores of one memory by name: qs, ids, dd, rs, decay; rounded to 1e-6. The function does not read the store.

    `recorded_us` is when it was first recorded (`view.times_of` gives many at once), `place` its path in its source,
    `links` how many links it has beside its premises, where that is known. "Now" is the point's reference time.
    """
    fields = loaded.fields
    kinds = {note.kind for note in notes.conflicts}
    premises = len(loaded.derived_from)
    stale = min(len(notes.stale) / premises, 1.0) if premises else 0.0
    age_s = (point.reference_us - recorded_us) / _US
    idle_s = (point.reference_us - (used_of(fields) or recorded_us)) / _US
    qs = quality_score(number_of(fields, "confidence"), age_s, tags_of(fields), c=c)
    ids = integration_score(
        levels_of(place),
        min((premises + links) / c.links_full, 1.0),
        coverage=1.0 if place else 0.0,  # a source is indexed whole, in one transaction
        dangling=stale,
        c=c,
    )
    dd = dissonance(bool(kinds & _DISAGREES), stale, contradiction=bool(kinds & _CONTRADICTS), c=c)
    tau_s = fields.get("decay_tau_s", DECAY_TAU_S_DEFAULT)
    faded = decay(idle_s, tau_s if isinstance(tau_s, int) else None)
    named = {"qs": qs, "ids": ids, "dd": dd, "rs": resonance(qs, ids, dd), "decay": faded}
    return {name: round(value, 6) for name, value in named.items()}


def levels_of(place: str | None) -> int:
    """Count the levels of the hierarchy that a place resolves: the source, a section or session in it, the memory's own.

    >>> levels_of(None), levels_of("#1"), levels_of("Deploy/CI#2"), levels_of("team/2026-05-08")
    (0, 2, 3, 2)
    """
    if place is None:
        return 0
    section, _, own = place.rpartition("#") if "#" in place else (place, "", "")
    return 1 + bool(section) + bool(own)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
