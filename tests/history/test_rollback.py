"""Rollbacks: what their previews name, what `writer` means, and which references they take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cmc_mcp import Memory
from cmc_mcp.errors import Ambiguous, Conflict, InvalidInput, NotFound, SourceIncomplete
from tests.support.memories import erase, opened


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with opened(tmp_path, start_us=1_780_000_000_000_000, step_us=1000) as found:
        yield found
        assert found.verify().faults == []


def tags_of(memory: Memory, id: str) -> dict[str, str] | None:
    found = memory.history(id)
    live = [version for version in found.versions if version.ended is None]
    return None if not live else {k[4:]: str(v) for k, v in live[0].facts.items() if k.startswith("tag:")}


def test_the_writer_of_an_undo_is_who_changed_it_not_who_wrote_the_atom(memory: Memory) -> None:
    mine = memory.remember("honest words", tags={"a": "1"}).added[0]
    memory.as_principal("eve").revise(mine, tags={"a": "poison"})
    theirs = memory.as_principal("eve").remember("eve's words").added[0]
    memory.revise(theirs, tags={"b": "kept by nobody"})
    done = memory.rollback(since=1, writer="eve")
    assert tags_of(memory, mine) == {"a": "1"}
    assert tags_of(memory, theirs) is None
    assert done.orphaned == [theirs]


def test_what_rests_on_something_undone_stays_and_is_named(memory: Memory) -> None:
    poison = memory.as_principal("eve").remember("a false premise").added[0]
    derived = memory.remember("an honest conclusion", derived_from=[poison]).added[0]
    further = memory.remember("a further conclusion", derived_from=[derived]).added[0]
    better = memory.revise(poison, content="a corrected premise").added[0]
    plan = memory.rollback(since=0, writer="eve", dry_run=True)
    assert set(plan.stale) <= {derived, further, better}
    memory.rollback(since=0, writer="eve", digest=plan.digest)
    assert all(tags_of(memory, id) is not None for id in (derived, further, better))


def test_rollbacks_that_a_matching_principal_ran_are_named_and_stay(memory: Memory) -> None:
    memory.remember("one")
    two = memory.remember("two").added[0]
    memory.as_principal("eve").rollback(1)
    done = memory.rollback(since=0, writer="eve")
    assert done.not_undone == [3] and done.diff.is_empty and tags_of(memory, two) is None


def test_undo_by_tag_takes_the_version_of_a_document_with_its_parts(memory: Memory) -> None:
    memory.remember("kept\n\nedited\n", source="a.txt")
    memory.remember("kept\n\npoisoned\n", source="a.txt", tags={"topic": "poison"})
    memory.remember("other\n", source="b.txt", tags={"topic": "fine"})
    memory.rollback(since=1, tags={"topic": "poison"})
    assert memory.read_source("b.txt") == b"other\n"
    assert b"poisoned" not in memory.read_source("a.txt")


def test_an_erased_memory_does_not_come_back_and_the_rest_is_exactly_the_target(memory: Memory) -> None:
    secret = memory.remember("a secret", tags={"a": "1"}).added[0]
    other = memory.remember("something else").added[0]
    target = memory.snapshot("before")
    memory.revise(other, tags={"later": "yes"})
    erase(memory, secret)
    preview = memory.rollback("before", dry_run=True)
    done = memory.rollback("before", digest=preview.digest)
    assert preview.erased == done.erased == [secret]
    assert tags_of(memory, secret) is None and tags_of(memory, other) == {}
    assert memory.snapshot().root != target.root
    assert memory.rollback(since=0, writer="local", dry_run=True).erased == []
    assert memory.rollback(target).diff.is_empty, "the same again changes nothing"


def test_references_that_could_be_two_things_are_refused(memory: Memory) -> None:
    memory.remember("one")
    memory.remember("two")
    memory.snapshot("1", force=True)
    memory.snapshot("named")
    with pytest.raises(Ambiguous) as caught:
        memory.rollback("1")
    assert len(caught.value.fields["candidates"]) == 2  # type: ignore[arg-type]
    for wrong, error in (("nothing", NotFound), (99, NotFound), ("", InvalidInput), ("9" * 5000, NotFound)):
        with pytest.raises(error):
            memory.rollback(wrong)
    with pytest.raises(InvalidInput):
        memory.rollback(1, writer="eve")
    with pytest.raises(InvalidInput):
        memory.rollback()
    assert memory.rollback("named").diff.is_empty


def test_a_snapshot_that_occurs_twice_is_read_at_the_earliest_and_counted_since_the_last(memory: Memory) -> None:
    memory.remember("one")
    once = memory.snapshot()
    memory.remember("two")
    memory.rollback(1)
    memory.remember("three")
    assert memory.recall("one", as_of=once.snapshot).read_point.transaction == 1
    assert [c.text for c in memory.rollback(since=once.snapshot, dry_run=True).diff.removed] == ["three"]


def test_a_plan_binds_its_head(memory: Memory) -> None:
    memory.remember("one")
    memory.remember("two")
    plan = memory.rollback(since=1, dry_run=True)
    memory.remember("three")
    with pytest.raises(Conflict):
        memory.rollback(since=1, digest=plan.digest)
    assert memory.snapshot().transaction == 3


def test_validity_from_the_epoch_on_is_a_change_like_any_other(memory: Memory) -> None:
    id = memory.remember("timeless").added[0]
    memory.revise(id, valid_from=0)
    assert [v.valid_from for v in memory.history(id).versions if v.ended is None] == ["1970-01-01T00:00:00Z"]


# ---------------------------------------------------------------------- one document, several writers
def both(memory: Memory) -> tuple[Memory, Memory]:
    return memory.as_principal("xenia"), memory.as_principal("yuri")


def test_undoing_who_imported_first_keeps_the_better_version_of_who_came_after(memory: Memory) -> None:
    xenia, yuri = both(memory)
    xenia.remember("An old heron.\n\nAn old tern.", source="d.md")
    yuri.remember("A better heron.\n\nA better tern.", source="d.md")
    done = memory.rollback(writer="xenia")
    assert memory.read_source("d.md") == b"A better heron.\n\nA better tern."
    assert done.diff.removed == []
    assert {item.source for item in memory.recall("heron").items} == {"d.md"}


def test_undoing_who_came_last_returns_the_version_of_who_came_first(memory: Memory) -> None:
    xenia, yuri = both(memory)
    xenia.remember("An old heron.\n\nAn old tern.", source="d.md")
    yuri.remember("A false heron.\n\nA false tern.", source="d.md")
    memory.rollback(writer="yuri")
    assert memory.read_source("d.md") == b"An old heron.\n\nAn old tern."


def test_of_three_versions_the_undone_one_alone_is_gone(memory: Memory) -> None:
    xenia, yuri = both(memory)
    texts = ["One heron.\n\nOne tern.", "Two herons.\n\nTwo terns.", "Three herons.\n\nThree terns."]
    for writer, text in zip((xenia, yuri, memory), texts, strict=True):
        writer.remember(text, source="d.md")
    memory.rollback(writer="yuri")
    assert memory.read_source("d.md").decode() == texts[2]
    memory.rollback(writer=memory.principal)
    assert memory.read_source("d.md").decode() == texts[0]
    memory.rollback(writer="xenia")
    with pytest.raises(NotFound):
        memory.read_source("d.md")


def test_parts_that_only_who_was_undone_had_changed_are_listed_and_named(memory: Memory) -> None:
    xenia, yuri = both(memory)
    shared = xenia.remember("A shared heron.\n\nAn old tern.", source="d.md").added[0]
    yuri.remember("A shared heron.\n\nA better tern.", source="d.md")
    done = memory.rollback(writer="xenia")
    assert [change.id for change in done.diff.removed] == [shared]
    with pytest.raises(SourceIncomplete, match=shared):
        memory.read_source("d.md")
    assert [item.text for item in memory.recall("tern").items] == ["A better tern."]
