"""Calibration: how well the confidence that writers stated fits how often they were right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

BINS: Final = 10
ECE_ADVISED: Final = 0.10
"""The expected calibration error from which recalibration is advised (`docs/design/scores.md` §3)."""

_MILLION: Final = 1_000_000
_SHARPEST, _FLATTEST = (
    0.05,
    20.0,
)  # temperatures; past them, a fit shows only that the confidence carries no information
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """One judgement of one memory: its writer, model and confidence (0 to 1; None if unknown), and whether it was right."""

    writer: str
    model_id: str
    confidence: float | None
    right: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of one writer with one model. Shares and errors lie in [0, 1], rounded to 1e-6.

    `judged` counts the judged memories with a confidence, `unsaid` those without one. `gap` is the mean confidence minus
    the accuracy, so it is positive when the writer is too sure. `temperature` divides the logit; it is None when no
    recalibration is advised.
    """

    writer: str
    model_id: str
    judged: int
    unsaid: int
    accuracy: float
    confidence: float
    ece: float
    gap: float
    temperature: float | None


def calibrations(outcomes: Iterable[Outcome]) -> list[Calibration]:
    """Return the calibration of every (writer, model), sorted.

    >>> said = [Outcome("ann", "none", 0.9, right) for right in (True, True, False, False)]
    >>> calibrations(said)[0].ece, calibrations(said)[0].gap
    (0.4, 0.4)
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.writer, outcome.model_id), []).append(outcome)
    return [_calibration(*who, group) for who, group in sorted(groups.items())]


def _calibration(writer: str, model_id: str, group: Sequence[Outcome]) -> Calibration:
    said = [(one.confidence, one.right) for one in group if one.confidence is not None]
    error = expected_error(said)
    mean = math.fsum(p for p, _ in said) / len(said) if said else 0.0
    accuracy = sum(right for _, right in said) / len(said) if said else 0.0
    return Calibration(
        writer,
        model_id,
        judged=len(said),
        unsaid=len(group) - len(said),
        accuracy=round(accuracy, 6),
        confidence=round(mean, 6),
        ece=round(error, 6),
        gap=round(mean - accuracy, 6),
        temperature=fitted_temperature(said) if round(error, 6) >= ECE_ADVISED else None,
    )


def expected_error(said: Sequence[tuple[float, bool]]) -> float:
    """Return the expected calibration error of (confidence, was right) pairs over ten equal bins; 0 without pairs.

    ECE = Σ_b (n_b/N)·|mean confidence_b − accuracy_b|; a confidence of 1.0 falls in the last bin
    (Naeini, Cooper, Hauskrecht, AAAI 2015).

    >>> round(expected_error([(1.0, True), (0.95, False)]), 6)
    0.475
    """
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in said:
        number = min(round(confidence * _MILLION) * BINS // _MILLION, BINS - 1)  # exact at the edges, unlike floats
        bins.setdefault(number, []).append((confidence, right))
    return math.fsum(abs(math.fsum(p for p, _ in part) - sum(right for _, right in part)) for part in bins.values()) / (
        len(said) or 1
    )


def fitted_temperature(said: Sequence[tuple[float, bool]]) -> float | None:
    """Return the temperature on the logit that makes the outcomes likeliest, in [0.05, 20], rounded to 1e-6.

    A temperature above 1 lowers confidence. The negative log likelihood is convex in the inverse temperature, so bisection on
    its derivative finds the one minimum (Guo et al., ICML 2017). The result is None
    when every confidence is .5, which leaves nothing to fit.

    >>> fitted_temperature([(0.9, True)] * 3 + [(0.9, False)])
    2.0
    """
    logits = [(logit(p), right) for p, right in said]
    if not any(z for z, _ in logits):
        return None
    low, high = 1 / _FLATTEST, 1 / _SHARPEST  # of the inverse
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if math.fsum((_sigmoid(middle * z) - right) * z for z, right in logits) > 0:
            high = middle
        else:
            low = middle
    return round(2 / (low + high), 6)


def tempered(confidence: float, temperature: float) -> float:
    """Recalibrate a confidence by dividing its logit by a temperature.

    >>> round(tempered(0.9, 2.0), 6)
    0.75
    """
    return _sigmoid(logit(confidence) / temperature)


def logit(confidence: float) -> float:
    """Return the log odds of a confidence, clamped to stay a millionth away from 0 and 1."""
    bounded = min(max(confidence, 1 / _MILLION), 1 - 1 / _MILLION)
    return math.log(bounded) - math.log1p(-bounded)


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))
