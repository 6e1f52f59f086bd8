"""A diff names what was added, removed and changed, field by field, in an order that is always the same."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Diff


def _diff(memory: Memory, first: int | str, second: int | str | None = None) -> Diff:
    found = memory.history(from_=first, to=second).diff
    assert found is not None
    return found


def test_fields_are_compared_one_by_one(memory: Memory) -> None:
    (id,) = memory.remember("a", tags={"x": "1", "y": "1"}, confidence=0.5).added
    memory.remember("a", tags={"x": "2", "y": None, "z": "3"}, confidence=0.75)  # type: ignore[dict-item]
    memory.revise(id, tags={"x": "2", "z": "3"}, valid_from="2026-01-01")
    (change,) = _diff(memory, 1, 3).changed
    assert (change.id, change.kind, change.text) == (id, "atom", "a")
    assert [(c.field, c.before, c.after) for c in change.changes] == [
        ("valid_from", None, "2026-01-01T00:00:00Z"),
        ("confidence", "0.500000", "0.750000"),
        ("tag:x", "1", "2"),
        ("tag:y", "1", None),
        ("tag:z", None, "3"),
    ]


def test_a_split_validity_is_shown_whole(memory: Memory) -> None:
    memory.remember("a", tags={"x": "1"})
    memory.remember("a", tags={"x": "2"}, valid_from="2026-01-01")
    (change,) = _diff(memory, 1).changed
    assert [c.field for c in change.changes] == ["validity"]
    assert change.changes[0].after == [
        {"valid_from": None, "valid_to": "2026-01-01T00:00:00Z", "facts": {"tag:x": "1"}},
        {"valid_from": "2026-01-01T00:00:00Z", "valid_to": None, "facts": {"tag:x": "2"}},
    ]


def test_sources_turns_and_links_are_named_as_people_know_them(memory: Memory) -> None:
    a = memory.remember("text\n", source="doc.md").added[0]
    b = memory.remember("hello", session="s", derived_from=[a]).added[0]
    found = _diff(memory, 0).added
    assert {(change.kind, change.text) for change in found} == {
        ("source", "doc.md"), ("atom", "text"), ("item", "session:s"), ("atom", "hello"), ("edge", f"{b} derives {a}"),
    }  # fmt: skip


def test_labels_and_policies_are_no_part_of_it(memory: Memory) -> None:
    memory.remember("a")
    memory.snapshot("named")
    memory.set_policy("gate.min_confidence", 0.5)
    assert _diff(memory, 1).is_empty


def test_a_long_text_is_shortened_and_a_binary_one_described(memory: Memory) -> None:
    memory.remember("x" * 500)
    memory.remember(b"\x89PNG", modality="image", media_type="image/png", title="a")
    texts = [change.text for change in _diff(memory, 0).added]
    assert texts == ["x" * 159 + "…", "[image, 4 bytes]"]


def test_the_same_state_has_no_diff_with_itself(memory: Memory) -> None:
    memory.remember("a")
    before = memory.snapshot().snapshot
    memory.remember("b")
    memory.rollback(before)
    assert _diff(memory, before).is_empty
    assert _diff(memory, 1, 3).is_empty


_CALLS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["remember", "tag", "forget"])), min_size=1, max_size=8
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=_CALLS, cut=st.integers(0, 8))
def test_backwards_is_forwards_mirrored_and_its_order_is_total(
    memory: Memory, calls: list[tuple[str, str]], cut: int
) -> None:
    start = memory.snapshot().transaction
    for number, (text, verb) in enumerate(calls):
        if verb == "forget":
            memory.forget(memory.remember(text).reaffirmed or memory.remember(text).reaffirmed)
        else:
            memory.remember(text, tags={"n": str(number)} if verb == "tag" else None)
    end = memory.snapshot().transaction
    middle = min(start + cut, end)
    there, back = _diff(memory, middle, end), _diff(memory, end, middle)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert [c.id for c in there.changed] == [c.id for c in back.changed]
    assert _diff(memory, middle, end) == there
    every = [change.id for change in (*there.added, *there.removed, *there.changed)]
    assert len(every) == len(set(every))
