"""Candidates settle where the energy is least, whatever they are, and where the motion would have brought them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cmc_mcp.config import Physics
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.read.dvns import (
    CANDIDATES_MAX,
    Settled,
    Springs,
    joined,
    links,
    minimum,
    settle,
    siblings,
    system_of,
)

Floats = NDArray[np.float64]
Given = tuple[Floats, Floats, Springs]
SPEC = Physics()
STRONG = Physics(gravity=4.0, spring=3.0, repulsion=5.0, reach=0.15, rest_length=0.02)


def _made(seed: int, size: int, kinds: int, linked: float, levels: int) -> Given:
    """Make candidates of so many kinds of text: matches on so many levels (0 included), a share of all pairs linked."""
    draw = np.random.default_rng(seed)
    match = draw.integers(0, levels + 1, size) / levels
    ideas = draw.normal(size=(kinds, 16))
    vectors = ideas[draw.integers(0, kinds, size)] + draw.choice([0.0, 0.05, 0.3, 1.0]) * draw.normal(size=(size, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.nonzero(np.triu(draw.random((size, size)) < linked, 1))
    return match, vectors @ vectors.T, Springs(first, second, draw.integers(0, 5, len(first)) / 4)


def candidates(largest: int = CANDIDATES_MAX) -> st.SearchStrategy[Given]:
    """Return candidates with ties, zero masses, identical vectors, no springs, all springs, from none to the most."""
    sizes = st.one_of(st.integers(0, min(40, largest)), st.sampled_from([0, 1, 2, largest]))
    return st.builds(
        _made,
        seed=st.integers(0, 2**32 - 1),
        size=sizes,
        kinds=st.sampled_from([1, 2, 5, 60]),
        linked=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
        levels=st.sampled_from([1, 3, 1_000_000]),
    )


physics = st.sampled_from([SPEC, STRONG, replace(SPEC, repulsion=0.0), replace(SPEC, gravity=0.0)])


def _none() -> Springs:
    return links([])


@settings(deadline=None)
@given(candidates(), physics)
def test_every_input_comes_to_rest_inside_the_box_and_its_energy_falls(given_: Given, constants: Physics) -> None:
    match, cosine, springs = given_
    settled = settle(match, cosine, springs, constants)
    assert settled.rest
    assert settled.steps <= constants.steps_max
    assert sorted(settled.order) == list(range(len(match)))
    assert all(later <= earlier + 1e-12 for earlier, later in zip(settled.energy, settled.energy[1:], strict=False))
    push = constants.repulsion * constants.reach
    assert (settled.distance >= (1.0 - push) / (1.0 + constants.gravity * match.max(initial=0.0)) - 1e-6).all()
    assert (settled.distance <= 1.0 + push + 1e-6).all()
    assert np.isfinite(settled.distance).all()


@settings(deadline=None)
@given(candidates(40), physics, st.integers(0, 2**32 - 1))
def test_the_force_is_the_negative_gradient_of_the_energy(given_: Given, constants: Physics, seed: int) -> None:
    system = system_of(*given_, constants)
    size = len(given_[0])
    r = np.random.default_rng(seed).random(size) * 1.2
    h, difference = 1e-6, np.zeros(size)
    for i in range(size):
        aside = np.zeros(size)
        aside[i] = h
        difference[i] = (system.energy(r + aside) - system.energy(r - aside)) / (2 * h)
    assert system.force(r) == pytest.approx(-difference, abs=1e-3)


@settings(deadline=None)
@given(candidates(40), physics, st.integers(0, 2**32 - 1))
def test_the_curvature_is_the_change_of_the_force_and_positive(given_: Given, constants: Physics, seed: int) -> None:
    system = system_of(*given_, constants)
    size = len(given_[0])
    draw = np.random.default_rng(seed)
    r, along = draw.random(size) * 1.2, draw.normal(size=size)
    gap, turn = r[system.second] - r[system.first], along[system.second] - along[system.first]
    h = 1e-7
    for bound in (system.low, system.high):
        system = system._replace(stiffness=np.where(np.abs(gap - bound) <= h * np.abs(turn), 0.0, system.stiffness))
    change = (system.force(r + h * along) - system.force(r - h * along)) / (2 * h)
    assert system.curvature(r) @ along == pytest.approx(-change, abs=1e-4)
    assert (np.linalg.eigvalsh(system.curvature(r)) >= 1.0 - 1e-9).all()


@settings(deadline=None)
@given(candidates(60), physics, st.integers(0, 2**32 - 1))
def test_the_minimum_is_one_wherever_one_starts(given_: Given, constants: Physics, seed: int) -> None:
    system = system_of(*given_, constants)
    size = len(given_[0])
    found, _, _ = minimum(system, system.centre, constants.steps_max)
    other, _, rest = minimum(system, np.random.default_rng(seed).random(size) * 3 - 1, constants.steps_max)
    assert rest
    assert np.abs(found - other).max(initial=0.0) <= 2e-9


def _moved(match: Floats, cosine: Floats, springs: Springs, constants: Physics) -> Floats:
    """Follow the motion as the forces of `docs/dvns.md` say, pair by pair from the text, until nothing moves.

    Velocity-Verlet, Δt .05, the friction −.1·v taken half before and half after the drift, forces capped at 10, the box
    from 0 to 2; unit inertia. It runs for as long as it needs, not for 200 steps.
    """
    size, dt, friction = len(match), 0.05, 0.1
    order = {int(place): rank for rank, place in enumerate(np.lexsort((np.arange(size), -match)))}
    share = np.clip((cosine - constants.duplicate_line) / (1 - constants.duplicate_line), 0, 1)
    np.fill_diagonal(share, 0.0)
    crowd = np.maximum(share.sum(axis=1), 1.0)
    spring = np.zeros((size, size))
    for i, j, weight in zip(*springs, strict=True):
        spring[i, j] += constants.spring * weight
        spring[j, i] += constants.spring * weight
    better = np.array([[order[i] < order[j] for j in range(size)] for i in range(size)], bool).reshape(size, size)
    push = constants.repulsion * share / np.maximum(crowd[:, None], crowd)

    def force(r: Floats) -> Floats:
        outward = r[None, :] - r[:, None]  # from i to j
        pulled = spring * np.sign(outward) * np.maximum(np.abs(outward) - constants.rest_length, 0)
        behind = better.T & (outward + constants.reach > 0)  # j is better: it pushes i away from the query
        ahead = better & (outward < constants.reach)  # i is better: j pushes it toward the query
        pushed = push * (behind * (outward + constants.reach) - ahead * (constants.reach - outward))
        total = (1.0 - r) - constants.gravity * match * r + (pulled + pushed).sum(axis=1)
        return np.asarray(np.clip(total, -10.0, 10.0), np.float64)

    r, v = 1.0 / (1.0 + constants.gravity * match), np.zeros(size)
    f = force(r)
    for _ in range(40_000):
        v = v + dt / 2 * (f - friction * v)
        r = np.clip(r + dt * v, 0.0, 2.0)
        f = force(r)
        v = (v + dt / 2 * f) / (1 + dt / 2 * friction)
        if np.abs(v).max() < 1e-7 and np.abs(f).max() < 1e-7:
            return r
    raise AssertionError("the motion did not come to rest")


@settings(deadline=None, max_examples=25)
@given(candidates(12).filter(lambda made: len(made[0]) > 0), physics)
def test_the_minimum_is_where_the_motion_comes_to_rest_in_the_same_order(given_: Given, constants: Physics) -> None:
    match, cosine, springs = given_
    settled = settle(match, cosine, springs, constants)
    moved = _moved(match, cosine, springs, constants)
    assert settled.distance == pytest.approx(moved, abs=2e-6)
    along = moved[settled.order]
    assert (np.diff(along) >= -4e-6).all()


@given(candidates(60))
def test_without_springs_and_duplicates_the_order_is_that_of_the_match(given_: Given) -> None:
    match = given_[0]
    settled = settle(match, np.eye(len(match)), _none(), SPEC)
    assert settled.order == sorted(range(len(match)), key=lambda place: (-match[place], place))
    assert settled.steps == 0


@settings(deadline=None)
@given(candidates(40), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_are_given_moves_ties_only(given_: Given, random: object) -> None:
    match, cosine, springs = given_
    size = len(match)
    match = match + np.arange(size) * 1e-4  # no ties
    shuffled = list(range(size))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    place = np.argsort(np.array(shuffled, np.intp))
    moved = Springs(place[springs.first], place[springs.second], springs.weight)
    plain = settle(match, cosine, springs, SPEC)
    other = settle(match[shuffled], cosine[np.ix_(shuffled, shuffled)], moved, SPEC)
    assert other.distance == pytest.approx(plain.distance[shuffled], abs=2e-6)


def test_matches_that_differ_by_less_than_the_rounding_still_decide() -> None:
    assert settle(np.array([0.5, 0.5 + 1e-8]), np.eye(2), _none(), SPEC).order == [1, 0]


def test_a_weak_candidate_rises_when_a_strong_one_is_its_sibling() -> None:
    match = np.array([0.9, 0.5, 0.45])
    assert settle(match, np.eye(3), _none(), SPEC).order == [0, 1, 2]
    assert settle(match, np.eye(3), siblings(np.array([1, -1, 1]), SPEC.sibling), SPEC).order == [0, 2, 1]


def test_the_worse_of_two_near_duplicates_lets_another_pass() -> None:
    match = np.array([0.800, 0.799, 0.790])
    cosine = np.eye(3)
    cosine[0, 1] = cosine[1, 0] = 0.99
    assert settle(match, np.eye(3), _none(), SPEC).order == [0, 1, 2]
    assert settle(match, cosine, _none(), SPEC).order == [0, 2, 1]


def test_those_under_the_line_of_duplicates_do_not_push_and_at_the_line_the_push_begins_at_nothing() -> None:
    def at(value: float) -> Settled:
        return settle(np.array([0.8, 0.79]), np.array([[1.0, value], [value, 1.0]]), _none(), SPEC)

    assert at(SPEC.duplicate_line - 1e-9).steps == 0
    assert at(SPEC.duplicate_line - 1e-9).distance == pytest.approx(at(SPEC.duplicate_line + 1e-6).distance, abs=2e-6)
    assert at(1.0).distance[1] > at(0.5).distance[1] + 1e-3


def test_identical_candidates_keep_the_order_they_were_given_in() -> None:
    for size in (0, 1, 2, CANDIDATES_MAX):
        same = settle(np.full(size, 0.5), np.ones((size, size)), siblings(np.zeros(size, np.int64), 0.5), SPEC)
        assert same.order == list(range(size))
        assert same.rest


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_siblings_pull_as_springs_to_a_centre_without_mass_would(size: int, seed: int) -> None:
    match = np.random.default_rng(seed).random(size)
    weight = 0.5
    settled = settle(match, np.eye(size), siblings(np.zeros(size, np.int64), weight), SPEC)
    stiffness = SPEC.spring * weight
    forces = np.diag(np.append(1.0 + SPEC.gravity * match + stiffness, size * stiffness))
    forces[:-1, -1] = forces[-1, :-1] = -stiffness
    star = np.linalg.solve(forces, np.append(np.ones(size), 0.0))
    assert settled.distance == pytest.approx(star[:-1], abs=1e-6)


def test_links_that_are_put_together_all_pull() -> None:
    match, pair = np.array([0.9, 0.1]), links([(0, 1, 0.5)])
    once = settle(match, np.eye(2), pair, SPEC).distance
    twice = settle(match, np.eye(2), joined(pair, pair), SPEC).distance
    assert twice.tolist() == settle(match, np.eye(2), links([(1, 0, 1.0)]), SPEC).distance.tolist()
    assert twice[1] < once[1] < settle(match, np.eye(2), _none(), SPEC).distance[1]
    assert settle(match, np.eye(2), links([(1, 1, 1.0)]), SPEC).steps == 0  # a link to itself


@pytest.mark.parametrize(
    ("match", "cosine", "springs", "path"),
    [
        (np.array([0.5, np.nan]), np.eye(2), [], "match"),
        (np.array([0.5, -0.1]), np.eye(2), [], "match"),
        (np.array([[0.5], [0.1]]), np.eye(2), [], "match"),
        (np.array([0.5, 0.1]), np.eye(3), [], "cosine"),
        (np.array([0.5, 0.1]), np.full((2, 2), np.inf), [], "cosine"),
        (np.array([0.5, 0.1]), np.eye(2), [(0, 2, 0.5)], "springs"),
        (np.array([0.5, 0.1]), np.eye(2), [(-1, 1, 0.5)], "springs"),
        (np.array([0.5, 0.1]), np.eye(2), [(0, 1, 1.5)], "springs"),
        (np.array([0.5, 0.1]), np.eye(2), [(0, 1, np.nan)], "springs"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    match: Floats, cosine: Floats, springs: list[tuple[int, int, float]], path: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        settle(match, cosine, links(springs), SPEC)
    assert [problem.path for problem in raised.value.problems] == [path]


def test_more_candidates_than_the_most_are_refused() -> None:
    size = CANDIDATES_MAX + 1
    with pytest.raises(LimitExceeded):
        settle(np.zeros(size), np.eye(size), _none(), SPEC)
