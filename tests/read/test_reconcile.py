"""Conflicts are shown on both sides, winners come first, stale premises are named, duplicates and erasures counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Item
from cmc_mcp.read.frame import written
from cmc_mcp.read.notes import NAMED_MAX
from tests.read.made import opened
from tests.support import reach
from tests.support.memories import erase

CLAIM = {"subject": "app", "predicate": "runs on"}


def _items(memory: Memory, query: str, **more: object) -> dict[str, Item]:
    return {item.text: item for item in memory.recall(query, **more).items}  # type: ignore[arg-type]


def test_claims_about_the_same_time_conflict_on_both_sides(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        one = memory.remember("it runs on Heroku", claim={**CLAIM, "object": "Heroku"}).added[0]
        two = memory.remember("it runs on Fly.io", claim={**CLAIM, "object": "Fly.io"}).added[0]
        found = _items(memory, "runs on")
        assert [(n.with_id, n.kind) for n in found["it runs on Heroku"].conflicts] == [(two, "claim")]
        assert [(n.with_id, n.kind) for n in found["it runs on Fly.io"].conflicts] == [(one, "claim")]
        assert not found["it runs on Heroku"].superseded_by


def test_the_latest_claim_comes_first_and_is_drawn_in(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        old = _claimed(memory, "the target is Heroku", "Heroku", valid_from="2026-01-01")
        middle = memory.remember(
            "moved away in May", claim={**CLAIM, "object": "Render"}, valid_from="2026-05-01"
        ).added[0]
        new = memory.remember("quite other words", claim={**CLAIM, "object": "Fly.io"}, valid_from="2026-06-01").added[
            0
        ]
        memory.remember_many([{"content": f"filler {i}"} for i in range(300)])
        answer = memory.recall("target Heroku", limit=5, valid_at="2026-07-01")
        ids = [item.id for item in answer.items]
        first, second = answer.items[ids.index(new) :][:2]
        assert second.id == old and middle in _ids_noted(second) and second.superseded_by == [new]
        assert {(n.with_id, n.kind) for n in first.conflicts} == {(old, "supersedes"), (middle, "supersedes")}
        earlier = [item.id for item in memory.recall("target Heroku", limit=3, valid_at="2026-05-15").items]
        assert earlier.index(middle) + 1 == earlier.index(old)
        alone = memory.recall("target Heroku", limit=3, valid_at="2026-01-15").items
        assert [item.conflicts for item in alone if item.id == old] == [[]]


def _ids_noted(item: Item) -> set[str]:
    return {note.with_id for note in item.conflicts}


def test_a_winner_that_the_filter_excludes_is_named_but_not_drawn_in(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        _claimed(memory, "the target is Heroku", "Heroku", tags={"t": "a"}, valid_from="2026-01-01")
        new = memory.remember("other words", claim={**CLAIM, "object": "Fly.io"}, valid_from="2026-06-01").added[0]
        found = memory.recall("target", tags={"t": "a"}, valid_at="2026-07-01").items
        assert [item.text for item in found] == ["the target is Heroku"]
        assert found[0].superseded_by == [new]


def test_many_valued_claims_and_equal_objects_do_not_conflict(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        for place in ("Rome", "Oslo"):
            memory.remember(
                f"was in {place}", claim={"subject": "I", "predicate": "was in", "object": place, "many": True}
            )
        memory.remember("it runs on Fly", claim={**CLAIM, "object": "Fly"})
        memory.remember("it does run on Fly", claim={**CLAIM, "object": "Fly"})
        assert all(not item.conflicts for item in memory.recall("was runs on in").items)


def test_a_dated_revision_supersedes_by_edge_on_both_sides(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        old = memory.remember("the limit is 10").added[0]
        new = memory.revise(old, content="the limit is 100", valid_from="2026-06-01").added[0]
        after = _items(memory, "limit", valid_at="2026-07-01")
        assert set(after) == {"the limit is 100"}
        before = _items(memory, "limit", valid_at="2026-05-01")
        assert set(before) == {"the limit is 10"}
        assert new not in _ids_noted(before["the limit is 10"])


def test_stale_premises_are_named_transitively(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        base = memory.remember("the sensor says 40 degrees").added[0]
        middle = memory.remember("so the engine is warm", derived_from=[base]).added[0]
        last = memory.remember("so the start can be tried", derived_from=[middle]).added[0]
        seq = memory.recall("x").read_point.transaction
        assert all(not item.stale_premises for item in memory.recall("so the").items)
        memory.forget(base)
        found = {item.id: item.stale_premises for item in memory.recall("so the").items}
        assert found[middle] == [base] and found[last] == [base]
        assert all(not item.stale_premises for item in memory.recall("so the", as_of=seq).items)
        memory.rollback(seq)
        assert all(not item.stale_premises for item in memory.recall("so the").items)


def test_of_many_stale_premises_some_are_named_and_the_others_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        premises = [memory.remember(f"sensor {n} says 40 degrees").added[0] for n in range(200)]
        memory.remember("so the engine is warm", derived_from=premises)
        memory.forget(premises)
        (item,) = memory.recall("engine warm").items
        assert item.stale_premises == premises[:NAMED_MAX]
        assert item.more_stale_premises == 200 - NAMED_MAX
        assert f"and {200 - NAMED_MAX} more" in written([item])


def test_one_stands_for_what_was_told_again_alike_and_names_it(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        told = ("the same words", "The same words.", "the  same words", '"the same words"', "“The same words.”")
        ids = [memory.remember(text).added[0] for text in told]
        gone = ids.pop(3)
        memory.forget(gone)
        memory.remember("the same words but one")
        answer = memory.recall("the same words")
        assert len(answer.items) == 2 and answer.items[1].text == "the same words but one"
        assert sorted([answer.items[0].id, *answer.items[0].duplicates]) == sorted(ids)
        assert answer.items[1].duplicates == []
        assert answer.next_cursor is None


@pytest.mark.parametrize("matrix", [True, False])
def test_what_was_erased_is_hidden_and_counted(tmp_path: Path, matrix: bool) -> None:
    from tests.read.made import NO_MATRIX

    with opened(tmp_path, settings=None if matrix else NO_MATRIX) as memory:
        ids = memory.remember_many([{"content": f"secret {i}", "tags": {"n": str(i % 2)}} for i in range(6)]).added
        seq = memory.recall("x").read_point.transaction
        assert memory.recall("secret", as_of=seq).hidden_erased == 0
        erase(memory, ids[:3])
        now, then = memory.recall("secret"), memory.recall("secret", as_of=seq)
        assert len(now.items) == len(then.items) == 3
        assert (now.hidden_erased, then.hidden_erased) == (0, 3)
        assert all("erased" not in item.text for item in then.items)


def test_turning_stages_off_leaves_the_rest(tmp_path: Path) -> None:
    from cmc_mcp.config import Settings

    with opened(tmp_path, settings=Settings(dedupe=False, reconcile=False)) as memory:
        for i in range(3):
            memory.remember("the same words", session="s", speaker=f"p{i}", claim={**CLAIM, "object": str(i)})
        items = memory.recall("same words").items
        assert len(items) == 3 and all(not item.conflicts and not item.duplicates for item in items)


def _claimed(memory: Memory, text: str, value: str, **more: object) -> str:
    return memory.remember(text, claim={**CLAIM, "object": value}, **more).added[0]  # type: ignore[arg-type]


def test_a_conflict_names_the_winner_on_both_sides(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        one = _claimed(memory, "it runs~ on Heroku", "Heroku")
        best = _claimed(memory, "it runs~ on Fly.io", "Fly.io", tags={"verified": "true"})
        same = _claimed(memory, "it runs~ and runs on Fly.io", "Fly.io")
        found = {item.id: item for item in memory.recall("runs on").items}
        assert set(found) == {one, best, same}
        assert {note.with_id for note in found[one].conflicts} == {best, same}
        for mine in (one, best, same):
            assert found[mine].conflicts and not found[mine].superseded_by
        assert ["; it stands best" in note.reason for note in found[one].conflicts] == [
            note.with_id == best for note in found[one].conflicts
        ]
        assert "this one stands best" in found[best].conflicts[0].reason
        assert [note.with_id for note in found[same].conflicts] == [one]  # who agrees with the winner is no loser


def test_who_agrees_with_the_latest_is_not_superseded_by_what_came_between(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        first = _claimed(memory, "it ran on Heroku at first", "Heroku", valid_from="2026-01-01")
        between = _claimed(memory, "then Render it was", "Render", valid_from="2026-02-01")
        last = _claimed(memory, "and Heroku again", "Heroku", valid_from="2026-03-01")
        found = {item.id: item for item in memory.recall("Heroku Render", valid_at="2026-07-01").items}
        assert found[first].superseded_by == found[last].superseded_by == []
        assert found[between].superseded_by == [last]
        assert {(n.with_id, n.kind) for n in found[first].conflicts} == {(between, "supersedes")}
        assert {(n.with_id, n.kind) for n in found[between].conflicts} == {
            (first, "superseded_by"), (last, "superseded_by"),
        }  # fmt: skip


def test_intervals_that_do_not_overlap_are_a_history(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        _claimed(memory, "it runs on Heroku", "Heroku", valid_from="2026-01-01", valid_to="2026-02-01")
        _claimed(memory, "it runs on Fly.io", "Fly.io", valid_from="2026-02-01")
        for day in ("2026-01-15", "2026-02-15"):
            (item,) = memory.recall("runs on", valid_at=day).items
            assert not item.conflicts and not item.superseded_by


@pytest.mark.parametrize("kind", ["supersedes", "contradicts"])
def test_edges_between_what_is_valid_at_once_are_said_on_both_sides(tmp_path: Path, kind: str) -> None:
    from cmc_mcp.documents.loading import load
    from tests.read.made import noted, point_at

    with opened(tmp_path) as memory:
        old, new = (memory.remember(text).added[0] for text in ("the old words", "the new words"))
        with reach.writer(memory) as unit:
            from cmc_mcp.kernel.kinds import atom_record
            from cmc_mcp.write.links import link

            rids = [unit.rid(atom_record(bytes.fromhex(name.removeprefix("atom_")))) for name in (old, new)]
            assert rids[0] is not None and rids[1] is not None
            link(unit, rids[1], kind, rids[0])
            unit.flush(verb="link", principal="test", arguments=b"{}", clock_us=0)
        with reach.reader(memory) as view:
            point = point_at(view)
            loaded = load(view, reach.objects(memory), [rid for rid in rids if rid], point.head.seq, point.valid_at)
            notes = noted(view, point, list(loaded.values()))
            said = {rid: [(n.with_id, n.kind) for n in notes[rid].conflicts] for rid in loaded}
            if kind == "contradicts":
                assert said == {rids[0]: [(new, kind)], rids[1]: [(old, kind)]}
            else:
                assert said == {rids[0]: [(new, "superseded_by")], rids[1]: [(old, "supersedes")]}
                assert notes[rids[0]].superseded_by == [rids[1]] and not notes[rids[1]].superseded_by


def test_a_premise_is_stale_when_a_later_claim_supersedes_it(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        base = _claimed(memory, "it runs on Heroku", "Heroku", valid_from="2026-01-01")
        memory.remember("so the dashboard is at Heroku", derived_from=[base])
        _claimed(memory, "quite other words", "Fly.io", valid_from="2026-06-01")
        before, after = (
            memory.recall("dashboard", limit=1, valid_at=day).items[0] for day in ("2026-05-01", "2026-07-01")
        )
        assert (before.stale_premises, after.stale_premises) == ([], [base])


SPELLED = (
    ("Ann", "lives in"), ("ann", "lives in"), ("ANN", "Lives In"), ("Zoe\u0301", "lives in"), ("zoé", "LIVES IN"),
)  # fmt: skip


def test_claims_meet_however_their_subjects_and_predicates_are_spelled(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        told = []
        for number, (subject, predicate) in enumerate(SPELLED):
            claim = {"subject": subject, "predicate": predicate, "object": f"town {number}"}
            told.append(memory.remember(f"{number}: home is in {number}", claim=claim))  # type: ignore[arg-type]
        ids = [receipt.added[0] for receipt in told]
        assert [len(receipt.conflicts) for receipt in told] == [0, 1, 2, 0, 1]
        found = {item.id: item for item in memory.recall("home is in", limit=10).items}
        for same in (ids[:3], ids[3:]):
            for id in same:
                assert _ids_noted(found[id]) == set(same) - {id}
        batch = [{"content": f"{n}", "claim": {"subject": n, "predicate": "is", "object": n}} for n in ("Bo", "BO")]
        assert not memory.remember_many(batch).conflicts  # type: ignore[arg-type]


def test_a_claim_spelled_otherwise_is_an_echo_of_the_superseded_one(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        claim = {"subject": "Ann", "predicate": "lives in"}
        old = memory.remember("Rome it is", claim={**claim, "object": "Rome"}).added[0]
        memory.revise(old, content="Oslo it is", claim={**claim, "object": "Oslo"})
        again = memory.remember("home is Rome", claim={"subject": "ANN", "predicate": "Lives in", "object": "rome"})
        assert again.echo_of == [old]
        assert memory.verify().holds
