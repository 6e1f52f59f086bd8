"""Calibration: against naive sums and a grid, at the edges of the bins, whatever the order of the outcomes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.model.calibration import (
    ECE_ADVISED,
    Calibration,
    Outcome,
    calibrations,
    expected_error,
    fitted_temperature,
    logit,
    tempered,
)

CONFIDENCES = st.integers(0, 1_000_000).map(lambda n: n / 1_000_000)
SAID = st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=40)


def naive_error(said: list[tuple[float, bool]]) -> float:
    """The formula, bin by bin, over whole millionths."""
    total = 0.0
    for number in range(10):
        low, high = number * 100_000, (number + 1) * 100_000
        part = [(p, y) for p, y in said if low <= round(p * 1e6) < high or (number == 9 and p == 1.0)]
        if part:
            mean = sum(p for p, _ in part) / len(part)
            accuracy = sum(y for _, y in part) / len(part)
            total += len(part) / len(said) * abs(mean - accuracy)
    return total


def loss(said: list[tuple[float, bool]], temperature: float) -> float:
    """The negative log likelihood, in a form that does not overflow."""
    total = 0.0
    for p, right in said:
        z = logit(p) / temperature * (1 if right else -1)
        total += math.log1p(math.exp(-z)) if z > 0 else -z + math.log1p(math.exp(z))
    return total


@given(SAID)
def test_the_expected_error_is_the_sum_of_the_formula(said: list[tuple[float, bool]]) -> None:
    assert math.isclose(expected_error(said), naive_error(said), abs_tol=1e-9)
    assert 0.0 <= expected_error(said) <= 1.0


def test_the_edges_of_the_bins_are_exact() -> None:
    # .7 and .3 are a hair off in binary; a bin too low would put them beside other confidences
    assert expected_error([(0.7, True), (0.79, False)]) == pytest.approx((1.49 - 1) / 2)
    assert expected_error([(0.3, True), (0.29, False)]) == pytest.approx((0.7 + 0.29) / 2)
    assert expected_error([(1.0, True), (0.9, True)]) == pytest.approx(0.05)  # 1.0 falls in the last bin
    assert expected_error([]) == 0.0


@given(SAID)
def test_the_temperature_is_the_likeliest_of_a_grid(said: list[tuple[float, bool]]) -> None:
    fitted = fitted_temperature(said)
    if fitted is None:
        assert all(p == 0.5 for p, _ in said)
        return
    assert 0.05 <= fitted <= 20.0
    grid = [0.05 * (400 ** (step / 60)) for step in range(61)]
    assert loss(said, fitted) <= min(loss(said, t) for t in grid) + 1e-4 * len(said)


@given(st.lists(st.builds(Outcome, st.sampled_from("ab"), st.sampled_from("xy"), st.none() | CONFIDENCES, st.booleans())),
       st.randoms())  # fmt: skip
def test_the_order_of_the_outcomes_changes_nothing(outcomes: list[Outcome], random: object) -> None:
    shuffled = list(outcomes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = calibrations(outcomes)
    assert calibrations(shuffled) == found
    assert sum(one.judged + one.unsaid for one in found) == len(outcomes)
    assert all((one.temperature is None) or one.ece >= ECE_ADVISED for one in found)


def test_who_is_too_sure_is_told_a_temperature_above_one_and_who_is_not_sure_enough_one_below() -> None:
    bold = [Outcome("bold", "m", 0.99, n % 2 == 0) for n in range(40)]
    shy = [Outcome("shy", "none", 0.55, n % 10 > 0) for n in range(40)]
    good = [Outcome("good", "none", 0.9, n % 10 > 0) for n in range(40)]
    silent = [Outcome("silent", "none", None, True)]
    found = {one.writer: one for one in calibrations([*bold, *shy, *good, *silent])}
    assert found["bold"].temperature is not None and found["bold"].temperature > 1 and found["bold"].gap == 0.49
    assert found["shy"].temperature is not None and found["shy"].temperature < 1 and found["shy"].gap == -0.35
    assert tempered(0.55, found["shy"].temperature) == pytest.approx(0.9, abs=1e-3)
    assert found["good"].temperature is None and found["good"].ece == 0.0
    assert found["silent"] == Calibration("silent", "none", 0, 1, 0.0, 0.0, 0.0, 0.0, None)


def test_certainty_that_was_wrong_does_not_break_the_fit() -> None:
    assert fitted_temperature([(1.0, False), (0.0, True)]) == 20.0
    assert fitted_temperature([(1.0, True), (0.0, False)]) == 0.05
    assert 0.0 < tempered(0.0, 20.0) < 0.5 < tempered(1.0, 20.0) < 1.0
