"""Quality: bounded, monotone where the formula says so, equal to the formula written out, and exact at its examples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp import Memory
from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.documents.loading import load, places_of
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.history.references import resolve_atom
from cmc_mcp.model.results import ConflictNote
from cmc_mcp.model.witness import band
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.point import resolve
from cmc_mcp.read.quality import (
    confidence_part,
    decay,
    dissonance,
    final,
    integration_score,
    parts,
    quality_score,
    resonance,
)
from tests.read.made import noted
from tests.support import reach
from tests.support.memories import opened

SHARES = st.floats(0, 1)
WIDE = st.floats(-1e12, 1e12)
AGES_S = st.floats(-1e9, 1e11)
TAGS = st.sampled_from([{}, {"verified": "true"}, {"source": "official"}, {"verified": "no", "source": "blog"}])
DAY_US = 86_400_000_000


@given(st.none() | SHARES, AGES_S, TAGS)
def test_qs_is_the_formula_and_bounded(confidence: float | None, age_s: float, tags: dict[str, str]) -> None:
    said = 0.5 if confidence is None else confidence
    authority = 1.0 if tags.get("verified") == "true" else 0.9 if tags.get("source") == "official" else 0.7
    expected = 0.4 * said + 0.3 / (1 + max(age_s, 0) / 604_800) + 0.3 * authority
    assert math.isclose(quality_score(confidence, age_s, tags), expected, abs_tol=1e-12)
    assert 0.0 < quality_score(confidence, age_s, tags) <= 1.0 + 1e-12


@given(SHARES, SHARES, AGES_S, AGES_S, TAGS)
def test_qs_grows_with_confidence_and_falls_with_age(
    a: float, b: float, young: float, old: float, tags: dict[str, str]
) -> None:
    low, high = sorted((a, b))
    young, old = sorted((young, old))
    assert quality_score(low, young, tags) <= quality_score(high, young, tags)
    assert quality_score(low, old, tags) <= quality_score(low, young, tags)
    assert quality_score(low, old, {}) <= quality_score(low, old, tags)


def test_unknown_confidence_is_its_own_class_and_not_c() -> None:
    assert band(None) is None
    assert [confidence_part(None, name) for name in ("A", "B", None, "C")] == [1.0, 0.7, 0.5, 0.4]
    assert confidence_part(0.95, "C") == 0.95  # the number is kept, the band only stands in


@given(st.integers(0, 10), st.integers(0, 10), *(SHARES for _ in range(6)))
def test_ids_is_the_formula_bounded_and_monotone_in_each(
    d1: int, d2: int, p1: float, p2: float, c1: float, c2: float, x1: float, x2: float
) -> None:
    d1, d2 = sorted((d1, d2))
    p1, p2 = sorted((p1, p2))
    c1, c2 = sorted((c1, c2))
    x1, x2 = sorted((x1, x2))
    value = integration_score(d1, p1, c1, x2)
    z = 0.8 * math.log(1 + d1) + 0.6 * p1 + 0.4 * c1 - 0.9 * x2
    assert math.isclose(value, 1 / (1 + math.exp(-z)), abs_tol=1e-12)
    assert 0.0 < value < 1.0
    for better in ((d2, p1, c1, x2), (d1, p2, c1, x2), (d1, p1, c2, x2), (d1, p1, c1, x1)):
        assert integration_score(*better) >= value


@given(st.booleans(), st.booleans(), WIDE, st.lists(st.tuples(SHARES, st.floats(-10, 10)), max_size=4))
def test_dd_is_bounded_below_one_and_grows_with_what_disagrees(
    conflict: bool, contradiction: bool, staleness: float, drifts: list[tuple[float, float]]
) -> None:
    value = dissonance(conflict, staleness, drifts, contradiction=contradiction)
    assert 0.0 <= value < 1.0
    assert not contradiction or value >= 0.7
    assert dissonance(True, staleness, drifts, contradiction=contradiction) >= value
    assert dissonance(conflict, staleness, drifts, contradiction=True) >= value
    assert dissonance(conflict, 1.0, drifts, contradiction=contradiction) >= value
    assert dissonance(conflict, staleness, [*drifts, (1.0, -0.5)], contradiction=contradiction) >= value


@given(WIDE, WIDE, st.none() | st.integers(0, 10**10), SHARES)
def test_decay_never_grows_with_idleness_and_never_passes_its_relevance(
    a: float, b: float, tau_s: int | None, relevance: float
) -> None:
    short, long = sorted((a, b))
    assert 0.0 <= decay(long, tau_s, relevance) <= decay(short, tau_s, relevance) <= relevance
    assert decay(-1.0, tau_s, relevance) == relevance
    assert tau_s or decay(long, tau_s, relevance) == relevance


@given(SHARES, SHARES, SHARES, SHARES)
def test_the_final_score_keeps_the_order_of_the_match_without_weights_and_of_rs_with_one(
    match: float, other: float, rs: float, better: float
) -> None:
    rs, better = sorted((rs, better))
    assert final(match, rs, 0.0, better, 0.0) == match
    assert final(match, rs, 0.3) <= final(match, better, 0.3)
    assert final(match, 1.0, 0.3, rs, 0.2) <= final(match, 1.0, 0.3, better, 0.2)
    low, high = sorted((match, other))
    assert final(low, rs, 0.3) <= final(high, rs, 0.3)
    if match > 1e-9:
        expected = math.log(match) + 0.3 * math.log(max(rs, 0.05))
        assert math.isclose(math.log(final(match, rs, 0.3)), expected, abs_tol=1e-9)


@given(SHARES, SHARES, SHARES)
def test_rs_never_passes_any_of_its_parts(qs: float, ids: float, dd: float) -> None:
    assert 0.0 <= resonance(qs, ids, dd) <= min(qs, ids, 1.0 - dd)


def test_every_weight_is_a_setting_and_moves_the_digest() -> None:
    base = Settings()
    assert base.digest != replace(base, decay_weight=0.1).digest
    assert base.digest != replace(base, quality=replace(base.quality, floor=0.1)).digest


# ---------------------------------------------------------------------- of a memory at a read point
@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with opened(tmp_path, start_us=1_780_000_000_000_000, step_us=1000) as found:
        yield found


def scores(memory: Memory, id: str, days: float = 0.0, as_of: int | None = None) -> dict[str, float]:
    """The parts of one memory so many days after the head, or as of an earlier transaction."""
    with reach.reader(memory) as view:
        point = resolve(view, as_of, None, view.head().recorded_us + round(days * DAY_US))
        rid = resolve_atom(view, id)
        (loaded,) = load(view, reach.objects(memory), [rid], point.head.seq, point.valid_at).values()
        notes = noted(view, point, [loaded])[rid]
        times = view.times_of([loaded.row.seq])
        place = places_of(view, reach.kept(memory).of(view.erasure_count(), Manifests), [loaded], point.head.seq)[rid][
            0
        ]
        return parts(loaded, notes, point, recorded_us=times[loaded.row.seq], place=place)


def test_a_bare_note_has_the_parts_of_the_formulas(memory: Memory) -> None:
    id = memory.remember("A heron stands in the water", confidence=0.9).added[0]
    found = scores(memory, id, days=7)
    assert found["qs"] == pytest.approx(0.4 * 0.9 + 0.3 * 0.5 + 0.3 * 0.7, abs=1e-6)
    assert found["ids"] == 0.5 and found["dd"] == 0.0
    assert found["rs"] == pytest.approx(found["qs"] * 0.5, abs=1e-6)
    assert found["decay"] == pytest.approx(math.exp(-1), abs=1e-6)


def test_a_reported_use_starts_the_decay_anew_and_an_earlier_read_point_does_not_see_it(memory: Memory) -> None:
    id = memory.remember("A heron stands in the water").added[0]
    before = scores(memory, id, days=7)
    clock = reach.clock(memory)
    assert isinstance(clock, FixedClock)
    clock.set_us(clock.now_us() + 7 * DAY_US)
    seq = memory.mark([id], "used").transaction
    after = scores(memory, id)
    assert before["decay"] == pytest.approx(math.exp(-1), abs=1e-6) and after["decay"] == 1.0
    assert after["qs"] == pytest.approx(before["qs"], abs=1e-6)  # use is no quality
    assert scores(memory, id, as_of=seq - 1)["decay"] == 1.0  # "now" is that transaction
    assert scores(memory, id, days=7)["decay"] == pytest.approx(math.exp(-1), abs=1e-6)


def test_what_never_decays_does_not(memory: Memory) -> None:
    id = memory.remember("pi is irrational", decay_tau_s=0).added[0]
    assert scores(memory, id, days=10_000)["decay"] == 1.0
    quick = memory.remember("the kettle is on", decay_tau_s=86_400).added[0]
    assert scores(memory, quick, days=1)["decay"] == pytest.approx(math.exp(-1), abs=1e-6)


def test_a_placed_memory_is_worth_more_than_an_unplaced_one(memory: Memory) -> None:
    document = "# Plan\n\n## Deploy\n\nThe first step is a build.\n"
    placed = memory.remember(document, source="plan.md", media_type="text/markdown").added[-1]
    bare = memory.remember("The second step is a test").added[0]
    assert scores(memory, placed)["ids"] > scores(memory, bare)["ids"] == 0.5


def test_a_contradiction_counts_on_both_sides_and_a_change_only_on_the_older(memory: Memory) -> None:
    def told(text: str, target: str, **more: str) -> str:
        claim = {"subject": "shop", "predicate": "deploys to", "object": target}
        return memory.remember(text, claim=claim, **more).added[0]  # type: ignore[typeddict-item, arg-type]

    heroku, fly = told("We deploy to Heroku", "Heroku"), told("We deploy to Fly.io", "Fly.io")
    assert scores(memory, heroku)["dd"] == scores(memory, fly)["dd"] == 0.7
    older = told("We deploy to Render", "Render", valid_from="2026-01-01")
    assert scores(memory, older)["dd"] == 0.7  # who names no time is not older than who does
    for undated in (heroku, fly):
        memory.forget(undated)
    newer = told("We deploy to Hetzner", "Hetzner", valid_from="2026-02-01")
    assert scores(memory, newer)["dd"] == 0.0 and scores(memory, older)["dd"] >= 0.5


def test_a_stale_premise_makes_what_rests_on_it_worth_less(memory: Memory) -> None:
    premise = memory.remember("The tank holds ten litres").added[0]
    derived = memory.remember("So it lasts ten days", derived_from=[premise]).added[0]
    before = scores(memory, derived)
    memory.revise(premise, content="The tank holds five litres")
    after = scores(memory, derived)
    assert (before["dd"], after["dd"]) == (0.0, 0.2)
    assert after["ids"] < before["ids"] and after["rs"] < before["rs"]


def test_a_possible_conflict_is_a_conflict_but_no_contradiction(memory: Memory) -> None:
    id = memory.remember("The limit is 10").added[0]
    with reach.reader(memory) as view:
        point = resolve(view, None, None, view.head().recorded_us)
        rid = resolve_atom(view, id)
        (loaded,) = load(view, reach.objects(memory), [rid], point.head.seq, None).values()
        note = ConflictNote.model_construct(with_id="atom_00", kind="possible", reason="another number")
        found = parts(loaded, Notes(conflicts=[note]), point, recorded_us=point.reference_us)
    assert found["dd"] == 0.5
