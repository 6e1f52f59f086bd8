"""What `remember` means: facts set on an interval, what is not named stays, and never another atom's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import InvalidInput, NotFound
from cmc_mcp.kernel.identity import with_own_vector
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Item, Version
from tests.support.memories import opened, root


def _live(memory: Memory, id: str) -> list[Version]:
    return sorted((v for v in memory.history(id).versions if v.ended is None), key=lambda v: v.valid_from or "")


def _item(memory: Memory, id: str) -> Item:
    item = memory.history(id).memory
    assert item is not None
    return item


# ---------------------------------------------------------------------- intervals
def test_facts_are_set_for_a_portion_of_time(memory: Memory) -> None:
    (id,) = memory.remember("x", tags={"a": "1"}, valid_from="2026-01-01", valid_to="2026-12-01").added
    memory.remember("x", tags={"b": "2"}, valid_from="2026-03-01", valid_to="2026-05-01")
    assert [(v.valid_from, v.valid_to, v.facts) for v in _live(memory, id)] == [
        ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", {"tag:a": "1"}),
        ("2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z", {"tag:a": "1", "tag:b": "2"}),
        ("2026-05-01T00:00:00Z", "2026-12-01T00:00:00Z", {"tag:a": "1"}),
    ]
    memory.remember("x", tags={"b": None}, valid_from="2026-03-01", valid_to="2026-05-01")  # type: ignore[dict-item]
    assert len(_live(memory, id)) == 1  # equal neighbours are one piece again


_DAYS = st.integers(0, 9)
_WRITE = st.tuples(
    _DAYS, _DAYS, st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2", None]), max_size=2)
).filter(lambda write: write[0] < write[1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(_WRITE, min_size=1, max_size=6))
def test_every_day_holds_what_was_said_for_it_last(
    memory: Memory, writes: list[tuple[int, int, dict[str, str]]]
) -> None:
    days: list[dict[str, str] | None] = [None] * 10
    words = f"x{memory.status()['transaction']}"
    for start, end, tags in writes:
        memory.remember(words, tags=tags, valid_from=f"2026-01-{start + 1:02}", valid_to=f"2026-01-{end + 1:02}")
        for day in range(start, end):
            held = {**(days[day] or {}), **tags}
            days[day] = {k: v for k, v in held.items() if v is not None}
    for day, expected in enumerate(days):
        found = [i for i in memory.recall(words, valid_at=f"2026-01-{day + 1:02}T12:00:00Z").items if i.text == words]
        assert [item.tags for item in found] == ([] if expected is None else [expected])


def test_remembering_changes_no_other_atom(memory: Memory) -> None:
    (other,) = memory.remember(
        "The app runs on Heroku", claim={"subject": "app", "predicate": "on", "object": "H"}
    ).added
    before = memory.history(other).versions
    receipt = memory.remember("The app runs on Fly", claim={"subject": "app", "predicate": "on", "object": "F"})
    assert memory.history(other).versions == before
    assert [note.with_id for note in receipt.conflicts] == [other]


def test_claims_that_many_may_hold_or_at_other_times_do_not_conflict(memory: Memory) -> None:
    def claim(what: str, **more: bool) -> dict[str, object]:
        return {"subject": "app", "predicate": "on", "object": what, **more}

    memory.remember("a", claim=claim("H"), valid_to="2026-06-01")  # type: ignore[arg-type]
    assert memory.remember("b", claim=claim("F"), valid_from="2026-06-01").conflicts == []  # type: ignore[arg-type]
    assert memory.remember("c", claim=claim("G", many=True)).conflicts == []  # type: ignore[arg-type]
    assert len(memory.remember("d", claim=claim("K"), valid_from="2026-05-31").conflicts) == 2  # type: ignore[arg-type]


def test_a_claim_that_the_new_version_dropped_is_no_conflict(memory: Memory) -> None:
    claims = [{"subject": "app", "predicate": "on", "object": what} for what in ("H", "F")]
    memory.remember("It runs on H", source="doc", claim=claims[0])  # type: ignore[arg-type]
    assert memory.remember("It runs on F", source="doc", claim=claims[1]).conflicts == []  # type: ignore[arg-type]


# ---------------------------------------------------------------------- facts
def test_facts_not_named_stay_and_a_null_removes_a_tag(memory: Memory) -> None:
    (id,) = memory.remember("x", tags={"a": "1", "b": "2"}, confidence=0.8, title="T", priority=0.9).added
    memory.remember("x", tags={"a": None, "c": "3"})  # type: ignore[dict-item]
    item = _item(memory, id)
    assert (item.tags, item.title, item.priority) == ({"b": "2", "c": "3"}, "T", 0.9)
    assert item.witness is not None
    assert item.witness.confidence == 0.8


def test_naming_a_default_sets_it_back(memory: Memory) -> None:
    (id,) = memory.remember("x").added
    plain = root(memory)
    memory.remember("x", priority=0.9, decay_tau_s=86_400, metadata={"k": "v"}, tags={"a": "1"})
    assert root(memory) != plain
    memory.remember("x", priority=0.5, decay_tau_s=604_800, metadata={"k": None}, tags={"a": None})  # type: ignore[dict-item]
    assert root(memory) == plain
    assert _item(memory, id).priority == 0.5


def test_equal_facts_have_equal_bytes_however_they_are_written(tmp_path: Path) -> None:
    first, second = opened(tmp_path, "a.db"), opened(tmp_path, "b.db")
    first.remember("x", confidence=1, priority=0.5000000001, tags={"a": "1", "b": "2"}, valid_from="2026-01-01")
    second.remember("x", confidence=1.0, tags={"b": "2", "a": "1"}, valid_from="2026-01-01T02:00:00+02:00")
    assert root(first) == root(second)
    first.remember("y", confidence=-0.0)
    second.remember("y", confidence=0)
    assert root(first) == root(second)


def test_reaffirming_is_a_transaction_without_changes(memory: Memory) -> None:
    first = memory.remember("x", tags={"a": "1"})
    again = memory.remember("x")
    assert again.reaffirmed == first.added
    assert again.transaction == 2
    assert again.snapshot.before == again.snapshot.after == first.snapshot.after
    assert memory.history().transactions[0].changes == 0


def test_after_a_forget_it_starts_from_defaults(memory: Memory) -> None:
    (id,) = memory.remember("x", tags={"a": "1"}, confidence=0.9, valid_from="2026-01-01").added
    memory.forget(id)
    receipt = memory.remember("x", tags={"b": "2"})
    assert (receipt.added, receipt.restored) == ([], [id])
    assert [(v.valid_from, v.facts) for v in _live(memory, id)] == [(None, {"tag:b": "2"})]


def test_metadata_is_kept_with_the_facts(memory: Memory) -> None:
    (id,) = memory.remember("x", metadata={"page": 3, "who": {"a": ["b", None]}}).added
    assert _live(memory, id)[0].facts == {"meta:page": 3, "meta:who": {"a": ["b", None]}}
    with pytest.raises(InvalidInput, match="metadata"):
        memory.remember("y", metadata={"f": 0.5})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("confidence", "band"), [(0.9, "A"), (1, "A"), (0.899999, "B"), (0.7, "B"), (0.699999, "C"), (0, "C"), (None, None)]
)
def test_confidence_has_a_band(memory: Memory, confidence: float | None, band: str | None) -> None:
    (id,) = memory.remember("x", confidence=confidence, entropy=1.25).added
    witness = _item(memory, id).witness
    assert witness is not None
    assert (witness.confidence, witness.band, witness.entropy) == (confidence, band, 1.25)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"claim": {"subject": "a", "predicate": None, "object": "c"}}, "claim.predicate"),
        ({"claim": {"subject": "a", "object": "c"}}, "claim.predicate"),
        ({"claim": {"subject": "a", "predicate": "b", "object": "c", "why": "d"}}, "claim.why"),
        ({"tool_ids": [None]}, "tool_ids"),
        ({"tool_ids": "grep"}, "tool_ids"),
        ({"priority": float("nan")}, "priority"),
        ({"confidence": True}, "confidence"),
        ({"confidence": 1.0001}, "confidence"),
        ({"decay_tau_s": -1}, "decay_tau_s"),
        ({"valid_from": "2026-01-02", "valid_to": "2026-01-02"}, "valid_to"),
        ({"valid_from": "2026-01-02T10:00:00"}, "valid_from"),
        ({"tags": {"a b": "1"}}, "tags"),
        ({"tags": {"a": 1}}, "tags.a"),
        ({"source": "note:abc"}, "source"),
        ({"modality": "smell"}, "modality"),
        ({"title": "\ud800"}, "title"),
        ({"session": "a\0b"}, "session"),
        ({"content": "\ufeff \n"}, "content"),
        ({"content": b"\xff"}, "content"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_and_nothing_is_written(
    memory: Memory, arguments: dict[str, object], path: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        memory.remember(**{"content": "x", **arguments})  # type: ignore[arg-type]
    assert [problem.path.startswith(path) for problem in caught.value.problems] == [True]
    assert memory.status()["transaction"] == 0


def test_every_problem_is_reported_at_once(memory: Memory) -> None:
    with pytest.raises(InvalidInput) as caught:
        memory.remember("", confidence=2, tags={"": "x"}, valid_from="soon")
    assert {problem.path.partition(".")[0] for problem in caught.value.problems} == {
        "content", "confidence", "tags", "valid_from",
    }  # fmt: skip


# ---------------------------------------------------------------------- premises
def test_premises_are_given_by_prefix_and_walked_both_ways(memory: Memory) -> None:
    a = memory.remember("a").added[0]
    b = memory.remember("b", derived_from=[a[:13], a]).added[0]
    c = memory.remember("c", derived_from=[b]).added[0]
    assert _item(memory, b).witness.derived_from == [a]  # type: ignore[union-attr]
    assert memory.history(c).derived_from == [b, a]
    assert memory.history(a).supports == [b, c]
    assert memory.history(a).derived_from == memory.history(c).supports == []


def test_an_unknown_premise_is_not_found(memory: Memory) -> None:
    with pytest.raises(NotFound):
        memory.remember("b", derived_from=["atom_" + "0" * 32])
    with pytest.raises(InvalidInput, match="derived_from"):
        memory.remember("b", derived_from=["what I said"])
    assert memory.status()["transaction"] == 0


def test_a_memory_cannot_come_to_rest_on_itself(memory: Memory) -> None:
    a = memory.remember("a").added[0]
    b = memory.remember("b", derived_from=[a]).added[0]
    again = memory.remember("a", derived_from=[b])
    assert again.reaffirmed == [a]  # the same words are the same memory, whose provenance is fixed
    assert memory.history(a).derived_from == []
    assert memory.verify().holds


def test_what_was_rolled_back_comes_back_with_its_premises(memory: Memory) -> None:
    a = memory.remember("a").added[0]
    before = memory.snapshot()
    b = memory.remember("b", derived_from=[a]).added[0]
    whole = root(memory)
    memory.rollback(before)
    assert memory.history(a).supports == []
    assert memory.remember("b", derived_from=[a]).restored == [b]
    assert memory.history(a).supports == [b]
    assert root(memory) == whole


def test_times_of_validity_are_shown_as_they_were_given(memory: Memory) -> None:
    (id,) = memory.remember("x", valid_from="2026-05-01T12:00:00.000001+02:00").added
    item = _item(memory, id)
    assert (item.valid_from, item.valid_to) == ("2026-05-01T10:00:00.000001Z", None)


def test_bytes_that_end_as_the_name_of_a_vector_does_are_refused_and_all_others_come_back(memory: Memory) -> None:
    marked = with_own_vector(b"\x00\x01", b"1234")
    with pytest.raises(InvalidInput, match="ends as the name of a vector"):
        memory.remember(marked, modality="data")
    for kept in (marked + b"\n", marked[:-1], b"\0vector:"):
        source = f"{len(kept)}.bin"
        memory.remember(kept, modality="data", source=source)
        assert memory.read_source(source) == kept
