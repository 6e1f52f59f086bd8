"""Marks: outcomes are facts in the ledger, so they roll back, are undone by writer, and move no earlier answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp import Memory, limits
from cmc_mcp.errors import Ambiguous, Cancelled, CmcError, InvalidInput, LimitExceeded, NotFound
from cmc_mcp.model.facts import judgements_of, tags_of, used_of
from cmc_mcp.read.outcomes import outcomes
from cmc_mcp.verbs.models import Outcome
from tests.read.made import without_matrix
from tests.support import reach
from tests.support.memories import erase, opened

START_US = 1_780_000_000_000_000


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with opened(tmp_path, start_us=START_US, step_us=1000, principal=None) as found:
        yield found
        assert found.verify().faults == []


def remembered(memory: Memory, *texts: str) -> list[str]:
    return [memory.remember(text, confidence=0.9, tags={"topic": "birds"}).added[0] for text in texts]


def facts(memory: Memory, id: str) -> dict[str, object]:
    """The registers that hold now; every piece of valid time must carry the same marks."""
    live = [version.facts for version in memory.history(id).versions if version.ended is None]
    assert len({json.dumps([used_of(f), judgements_of(f)]) for f in live}) <= 1  # type: ignore[arg-type]
    return dict(live[0]) if live else {}


def judged(memory: Memory, id: str) -> dict[str, bool]:
    return judgements_of(facts(memory, id))  # type: ignore[arg-type]


def used(memory: Memory, id: str) -> int | None:
    return used_of(facts(memory, id))  # type: ignore[arg-type]


def test_a_batch_is_one_transaction_with_one_time(memory: Memory) -> None:
    ids = remembered(memory, "a heron", "a stork", "a crane")
    receipt = memory.mark(ids[:2], "used", reason="cited")
    assert receipt.transaction == 4 and receipt.revised == ids[:2]
    assert receipt.snapshot.before != receipt.snapshot.after
    (entry,) = memory.history(limit=1).transactions
    assert (entry.verb, entry.changes, entry.reason) == ("mark", 2, "cited")
    times = [used(memory, id) for id in ids]
    assert times[0] == times[1] and times[2] is None
    with reach.reader(memory) as view:
        assert view.head_at(3).recorded_us < cast(int, times[0]) <= view.head().recorded_us


def test_one_id_may_be_given_as_text_and_by_its_beginning(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    assert memory.mark(id[:12], "right").revised == [id]
    assert judged(memory, id) == {"local": True}


def test_a_principal_has_one_judgement_its_latest_and_others_keep_theirs(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    zoe = memory.as_principal("agent:zoë%")
    zoe.mark(id, "right")
    memory.mark(id, "wrong")
    zoe.mark(id, "wrong")
    memory.mark(id, "right")
    assert judged(memory, id) == {"agent:zoë%": False, "local": True}


def test_marks_are_no_tags_are_not_found_as_words_and_change_no_text(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    before = memory.recall("heron", detail="concise").items[0]
    memory.mark(id, "used")
    memory.as_principal("zanzibar").mark(id, "wrong")
    after = memory.recall("heron", detail="concise").items[0]
    assert after == before and after.tags == {"topic": "birds"}
    assert tags_of(facts(memory, id)) == {"topic": "birds"}  # type: ignore[arg-type]
    for word in ("zanzibar", "wrong", "mark", "used_us"):
        assert memory.recall(word).items == []
    assert [item.id for item in memory.recall("heron", tags={"topic": "birds"}, min_confidence=0.9).items] == [id]


def test_an_answer_as_of_before_a_mark_is_the_same_bytes_after_it(memory: Memory) -> None:
    ids = remembered(memory, "a heron in the reeds", "a heron in the air")
    asked: list[Callable[[], str]] = [
        lambda m=m: m.recall("heron", as_of=2).model_dump_json() for m in (memory, without_matrix(memory))
    ]
    before = [ask() for ask in asked]
    assert before[0] == before[1].replace(without_matrix(memory).settings.digest, memory.settings.digest)
    memory.mark(ids[1], "used")
    memory.as_principal("zoe").mark(ids, "wrong")
    assert [ask() for ask in asked] == before


def test_reading_reports_no_use(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    head = memory.status()["transaction"]
    memory.recall("heron", explain=True)
    memory.history(id)
    assert memory.status()["transaction"] == head and used(memory, id) is None


def test_a_rollback_takes_marks_back_and_one_of_it_brings_them_again(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    memory.mark(id, "used")
    seq = memory.mark(id, "right").transaction
    time = used(memory, id)
    done = memory.rollback(1)
    assert (used(memory, id), judged(memory, id)) == (None, {})
    (change,) = done.diff.changed
    assert {field.field for field in change.changes} == {"used_us", "mark:local"}
    memory.rollback(seq)
    assert (used(memory, id), judged(memory, id)) == (time, {"local": True})


def test_a_selective_undo_removes_exactly_the_marks_of_its_writer(memory: Memory) -> None:
    first, second = remembered(memory, "a heron", "a stork")
    eve = memory.as_principal("eve")
    memory.mark(first, "right")
    eve.mark([first, second], "wrong")
    memory.mark(second, "used")
    memory.revise(first, tags={"topic": "waders"})
    memory.rollback(since=0, writer="eve")
    assert (judged(memory, first), judged(memory, second)) == ({"local": True}, {})
    assert used(memory, second) is not None
    assert tags_of(facts(memory, first)) == {"topic": "waders"}  # type: ignore[arg-type]


def test_a_diff_shows_what_was_marked(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    memory.mark(id, "wrong")
    diff = memory.history(from_=1).diff
    assert diff is not None
    (change,) = diff.changed
    assert [(c.field, c.before, c.after) for c in change.changes] == [("mark:local", None, "wrong")]


def test_every_piece_of_valid_time_bears_the_mark(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    memory.remember("a heron", tags={"season": "summer"}, valid_from="2026-06-01", valid_to="2026-09-01")
    memory.mark(id, "right")
    assert len([v for v in memory.history(id).versions if v.ended is None]) == 3
    assert judged(memory, id) == {"local": True}


def test_facts_keep_marks_and_a_new_wording_starts_without_any(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    memory.mark(id, "used")
    memory.mark(id, "wrong")
    memory.revise(id, tags={"topic": "waders"}, confidence=0.5)
    memory.remember("a heron", tags={"seen": "twice"})
    assert judged(memory, id) == {"local": False} and used(memory, id) is not None
    (corrected,) = memory.revise(id, content="a grey heron").added
    assert judged(memory, corrected) == {} and used(memory, corrected) is None
    assert facts(memory, corrected)["confidence"] == "0.500000"
    (changed,) = memory.revise(corrected, content="a purple heron", valid_from="2026-06-01").added
    memory.mark(corrected, "right")
    assert (judged(memory, corrected), judged(memory, changed)) == ({"local": True}, {})


def test_erasing_a_memory_destroys_its_marks_and_the_reason_given(memory: Memory) -> None:
    (id,) = remembered(memory, "a heron")
    memory.as_principal("canary-principal").mark(id, "wrong", reason="canary-reason")
    erase(memory, id)
    assert all(entry.reason is None for entry in memory.history(id).transactions)
    assert all("mark:" not in json.dumps(version.facts) for version in memory.history(id).versions)
    assert memory.calibration() == []
    with pytest.raises(NotFound, match="erased for good"):
        memory.mark(id, "right")


BAD: list[tuple[Callable[[Memory, list[str]], object], type[CmcError], str]] = [
    (lambda m, ids: m.mark([], "used"), InvalidInput, "ids: is empty"),
    (lambda m, ids: m.mark(ids, cast(Outcome, "useful")), InvalidInput, "use one of used, right, wrong"),
    (lambda m, ids: m.mark(ids, cast(Outcome, ["used"])), InvalidInput, "use one of used, right, wrong"),
    (lambda m, ids: m.mark([*ids, "atom_" + "0" * 32], "used"), NotFound, "atom_0000"),
    (lambda m, ids: m.mark([*ids, "no id"], "used"), InvalidInput, r"ids\[2\]: 'no id' is not a memory id"),
    (lambda m, ids: m.mark([*ids, ids[0][:12]], "used"), InvalidInput, r"ids\[2\]: is the same memory as ids\[0\]"),
    (lambda m, ids: m.mark([ids[0], cast(str, 7)], "used"), InvalidInput, r"ids\[1\]: is a int"),
    (lambda m, ids: m.mark(cast(str, 7), "used"), InvalidInput, "ids: is a int"),
    (lambda m, ids: m.mark(cast(str, b"atom_00"), "used"), InvalidInput, "ids: is a bytes"),
    (lambda m, ids: m.mark([*ids, ""], "used"), InvalidInput, "not a memory id"),
    (lambda m, ids: m.mark(ids * 501, "used"), LimitExceeded, "BATCH_ITEMS_MAX"),
    (lambda m, ids: m.mark(ids, "used", reason=" "), InvalidInput, "reason: is blank"),
    (lambda m, ids: m.mark(ids, "used", reason="\ud800"), InvalidInput, "reason: .*surrogate"),
    (lambda m, ids: m.mark(ids, "used", reason="x" * (limits.REASON_CHARS_MAX + 1)), LimitExceeded, "REASON_CHARS_MAX"),
    (lambda m, ids: m.mark(ids, "used", cancel=lambda: True), Cancelled, "nothing was changed"),
]


@pytest.mark.parametrize(("call", "kind", "says"), BAD)
def test_what_is_wrong_is_said_and_changes_nothing(
    memory: Memory, call: Callable[[Memory, list[str]], object], kind: type[CmcError], says: str
) -> None:
    ids = remembered(memory, "a heron", "a stork")
    before = memory.status()
    with pytest.raises(kind, match=says):
        call(memory, ids)
    assert memory.status() == before
    memory.mark(ids, "used")  # and nothing is left half-done


def test_a_forgotten_memory_among_others_is_named_and_none_is_marked(memory: Memory) -> None:
    kept, gone = remembered(memory, "a heron", "a stork")
    memory.forget(gone)
    with pytest.raises(NotFound, match=f"{gone} cannot be marked: it was forgotten"):
        memory.mark([kept, gone], "wrong")
    assert judged(memory, kept) == {}


def test_an_ambiguous_beginning_is_refused(memory: Memory) -> None:
    many = memory.remember_many([{"content": f"heron number {n}"} for n in range(900)]).added
    starts = [id[:9] for id in many]
    (start, *_) = [s for s in starts if starts.count(s) > 1]
    with pytest.raises(Ambiguous, match="could be any of"):
        memory.mark(start, "used")


def test_a_thousand_memories_are_marked_at_once(memory: Memory) -> None:
    many = memory.remember_many([{"content": f"heron number {n}"} for n in range(1000)]).added
    receipt = memory.mark(many, "right")
    assert receipt.transactions == 1 and receipt.revised == many
    assert sum(one.judged + one.unsaid for one in memory.calibration()) == 1000


def test_calibration_groups_by_writer_and_model_and_counts_judgements_in_force(memory: Memory) -> None:
    ann = memory.as_principal("ann")
    sure = [ann.remember(f"sure {n}", confidence=0.95, model_id="m1").added[0] for n in range(4)]
    plain = memory.remember("said without a number").added[0]
    memory.mark(sure[:2], "right")
    ann.mark(sure, "wrong")
    memory.mark(plain, "right")
    memory.forget(sure[3])
    by = {(one.writer, one.model_id): one for one in memory.calibration()}
    assert (by["ann", "m1"].judged, by["ann", "m1"].accuracy) == (5, 0.4)
    assert by["ann", "m1"].ece == pytest.approx(0.55)
    assert (by["local", "none"].judged, by["local", "none"].unsaid) == (0, 1)
    assert naive(memory) == sorted(outcomes_of(memory))
    memory.rollback(since=5, writer="ann")
    (left,) = [one for one in memory.calibration() if one.writer == "ann"]
    assert (left.judged, left.accuracy, left.gap) == (2, 1.0, -0.05)
    assert naive(memory) == sorted(outcomes_of(memory))


def outcomes_of(memory: Memory) -> list[tuple[str, float | None, bool]]:
    with reach.reader(memory) as view:
        return [(one.writer, one.confidence, one.right) for one in outcomes(view)]


def naive(memory: Memory) -> list[tuple[str, float | None, bool]]:
    """The same by looking at every memory there is."""
    out = []
    with reach.reader(memory) as view:
        names = [row.key.hex() for row in view.all_atoms()]
    for name in names:
        found = memory.history("atom_" + name)
        if found.memory is not None and found.memory.witness is not None and facts(memory, name):
            writer, confidence = found.memory.witness.writer, found.memory.witness.confidence
            out += [(writer, confidence, right) for right in judged(memory, name).values()]
    return sorted(out)


WHO = st.sampled_from(["local", "eve"])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("mark"), WHO, st.sets(st.integers(0, 2), min_size=1), st.sampled_from(["used", "right", "wrong"])
        ),
        st.tuples(st.just("tag"), WHO, st.integers(0, 2), st.just("")),
        st.tuples(st.just("undo"), WHO, st.integers(3, 12), st.just("")),
        st.tuples(st.just("rollback"), WHO, st.integers(3, 12), st.just("")),
    ),
    max_size=10,
)


@settings(max_examples=40)
@given(STEPS)
def test_marks_follow_a_plain_model_through_undos_and_rollbacks(steps: list[tuple[str, str, object, str]]) -> None:
    """The oracle: per memory a list of changes in force; an undo drops a writer's, a rollback restores the list."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder), start_us=START_US, step_us=1000, principal=None) as memory,
    ):
        ids = remembered(memory, "a heron", "a stork", "a crane")
        force: dict[int, list[tuple[int, str, int, str, object]]] = {}  # (seq, who, memory, what, value)
        force[3] = now = []
        for verb, who, what, outcome in steps:
            mine = memory.as_principal(who)
            seq = cast(int, memory.status()["transaction"]) + 1
            if verb == "mark":
                places = sorted(cast("set[int]", what))
                mine.mark([ids[place] for place in places], cast(Outcome, outcome))
                value = used(memory, ids[places[0]]) if outcome == "used" else outcome == "right"
                register = "used" if outcome == "used" else f"by {who}"
                now = [*now, *((seq, who, place, register, value) for place in places)]
            elif verb == "tag":
                mine.revise(ids[cast(int, what)], tags={"topic": f"at {seq}"})
            elif verb == "undo":
                since = min(cast(int, what), seq - 1)
                mine.rollback(since=since, writer=who)
                now = [change for change in now if not (change[0] > since and change[1] == who)]
            else:
                to = min(cast(int, what), seq - 1)
                mine.rollback(to)
                now = force[to]
            for at in range(seq, cast(int, memory.status()["transaction"]) + 1):
                force[at] = now
        for place, id in enumerate(ids):
            expected = {register: value for _, _, mark, register, value in now if mark == place}
            assert used(memory, id) == expected.pop("used", None)
            assert {f"by {who}": right for who, right in judged(memory, id).items()} == expected
        assert sorted(outcomes_of(memory)) == naive(memory)
        assert memory.verify().holds
