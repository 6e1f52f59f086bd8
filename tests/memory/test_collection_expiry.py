"""Entries that expire, that are prolonged, and that go in the transaction of others, against a dictionary."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp import Memory
from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import InvalidInput
from cmc_mcp.model.entries import Entry

START, STEP = 1_790_000_000_000_000, 1_000_000
IDS = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("put"), IDS, st.sampled_from(["x", "y"]), st.none() | st.integers(1, 6), st.sets(IDS)),
    st.tuples(st.just("prolong"), IDS, st.integers(1, 6)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=10))
def test_an_expiring_entry_is_what_was_put_last_until_its_end(tmp_path_factory, steps):
    clock, now, model = FixedClock(START), 0, {}
    path = tmp_path_factory.mktemp("expiry") / "m.db"
    with Memory.open(path, embedder=None, clock=clock) as memory:
        entries = memory.collection("c")
        for step in steps:
            if step[0] == "put":
                _, id, text, life, gone = step
                end = None if life is None else now + life
                until = None if end is None else START + end * STEP
                entries.put([Entry(id, text, {"n": 1}, valid_to=until)], gone=sorted(gone), lapse=True)
                model = {key: held for key, held in model.items() if key not in gone} | {id: (text, end)}
            elif step[0] == "prolong":
                _, id, life = step
                held = int(id in model and model[id][1] is not None and model[id][1] < now + life)
                assert entries.prolong({id: START + (now + life) * STEP}) == held
                if held:
                    model[id] = (model[id][0], now + life)
            else:
                now += step[1]
                clock.set_us(START + now * STEP)
            model = {key: (text, end) for key, (text, end) in model.items() if end is None or end > now}
            assert {found.id: found.text for found in entries.entries()} == {
                key: text for key, (text, _) in model.items()
            }
            assert {found.id for found in entries.get(["a", "b", "c"])} == set(model)
            assert len(entries.metadata()) == min(1, len(model))
        assert memory.verify().holds


def test_gone_entries_go_in_the_transaction_of_those_put(memory):
    entries = memory.collection("c")
    entries.put([Entry("a", "one"), Entry("b", "two"), Entry("c", "three")])
    (receipt,) = entries.put([Entry("a", "four")], gone=["a", "b", "none"])
    assert [found.text for found in entries.entries()] == ["three", "four"]
    assert memory.status()["transaction"] == receipt.transaction
    assert entries.put([], gone=["c"]) == [] and [found.id for found in entries.entries()] == ["a"]


def test_the_last_changed_entries_come_first(memory):
    entries = memory.collection("c")
    for id in "abcd":
        entries.put([Entry(id, id)])
    entries.put([Entry("b", "b", {"changed": True})])
    assert [found.id for found in entries.entries(newest=True)] == ["b", "d", "c", "a"]
    assert [found.id for found in entries.entries(newest=True, limit=2, offset=1)] == ["d", "c"]
    assert [found.id for found in entries.entries(newest=True, as_of=3)] == ["c", "b", "a"]


def test_a_bad_end_or_id_is_refused(memory):
    entries = memory.collection("c")
    entries.put([Entry("a", "a")])
    for wrong in ({"a": "soon"}, {"a": None}, {7: START}):
        try:
            entries.prolong(wrong)
        except InvalidInput:
            continue
        raise AssertionError(wrong)
    assert entries.prolong({}) == 0 == entries.prolong({"none": START})
