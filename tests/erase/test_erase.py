"""Erase destroys: no byte of what was erased is left anywhere, and everything that proves still holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.config import Settings
from cmc_mcp.errors import Conflict, InvalidInput, SourceIncomplete
from cmc_mcp.memory import Memory
from tests.objects.kept import PLACES, kept_in
from tests.support import reach
from tests.support.embedders import CountingEmbedder
from tests.support.memories import erase, opened, raw_bytes, root

CANARY = "Qx7vZ1kWn4Rt8Lp2Bs6Hd0Gf3Jm5Yc9A"  # 32 bytes that occur nowhere else
assert len(CANARY) == 32


def _is_gone(folder: Path, memory: Memory) -> bool:
    """Look for the canary in every file, as it was written and as full text folds it."""
    memory.close()
    data = raw_bytes(folder)
    return not any(form in data for form in (CANARY.encode(), CANARY.lower().encode(), CANARY.encode().hex().encode()))


def test_the_words_of_an_erased_heading_leave_what_stands_under_it(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    text = f"# Guide\n\n## Plan {CANARY}\n\nwe go north\n\n### Sub\n\ndeeper\n\n## Other\n\nthe rest\n"
    first = memory.remember(text, source="plan.md", title="A guide")
    second = memory.remember(text + "\nmore\n", source="plan.md")
    heading = next(id for id in first.added if CANARY in memory.history(id).memory.text)  # type: ignore[union-attr]
    erase(memory, heading)
    assert memory.verify().faults == []
    assert memory.recall(CANARY).items == []
    assert [item.text for item in memory.recall("north").items] == ["we go north"]
    assert [item.text for item in memory.recall("guide sub deeper").items][:1] == ["deeper"]
    places = [memory.history(id).memory.place for id in first.added if id != heading]  # type: ignore[union-attr]
    assert "Guide/[erased]#2" in places
    assert "Guide/[erased]/Sub#2" in places
    nodes = memory.history(source="plan.md").nodes
    assert [node.title for node in nodes if node.level == 2] == ["Guide", "[erased]", "Sub", "Other"]
    with pytest.raises(SourceIncomplete) as caught:
        memory.read_source("plan.md")
    assert caught.value.fields["missing"] == [heading]
    with pytest.raises(SourceIncomplete):
        memory.read_source("plan.md", second.transaction - 1)
    assert _is_gone(tmp_path, memory)


def test_an_erased_heading_can_be_edited_away(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    first = memory.remember(f"# Plan {CANARY}\n\nnorth\n\nsouth\n", source="plan.md")
    erase(memory, first.added[0])
    second = memory.remember("# Plan\n\nnorth\n", source="plan.md")
    assert second.retired == [first.added[2]]
    assert memory.read_source("plan.md") == b"# Plan\n\nnorth\n"
    assert memory.verify().faults == []


def test_reasons_and_receipts_lose_the_words_too(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    rival = memory.remember("other", claim={"subject": "app", "predicate": "on", "object": "H"})
    arguments = {
        "content": "x",
        "claim": {"subject": "app", "predicate": "on", "object": CANARY},
        "idempotency_key": "k",
    }
    receipt = memory.remember(**arguments)  # type: ignore[arg-type]
    assert CANARY in receipt.conflicts[0].reason
    (id,) = receipt.added
    memory.revise(id, tags={"a": "1"}, reason=f"because of {CANARY}")
    memory.remember("later", claim={"subject": "app", "predicate": "on", "object": "F"}, idempotency_key="k2")
    memory.forget(id, reason=f"it was {CANARY}")
    erase(memory, id)
    again = memory.remember(**arguments)  # type: ignore[arg-type]
    assert again.added == receipt.added
    assert [note.reason for note in again.conflicts] == ["[erased]"]
    assert [note.with_id for note in again.conflicts] == rival.added
    assert memory.verify().faults == []
    assert _is_gone(tmp_path, memory)


def test_a_reason_given_for_others_too_stays(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    ids = [memory.remember(text).added[0] for text in ("a", "b")]
    memory.forget(ids, reason="both are old")
    erase(memory, ids[0])
    assert "both are old" in {row.reason for row in memory.history().transactions}


def test_an_erase_needs_the_digest_of_its_plan(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    receipt = memory.remember(CANARY)
    with pytest.raises(InvalidInput, match="digest"):
        memory.forget(receipt.added, erase=True)
    plain = memory.forget(receipt.added, dry_run=True)
    with pytest.raises(Conflict):
        memory.forget(receipt.added, erase=True, digest=plain.digest)
    plan = memory.forget(receipt.added, erase=True, dry_run=True)
    memory.remember("something else")
    with pytest.raises(Conflict):
        memory.forget(receipt.added, erase=True, digest=plan.digest)
    assert memory.recall(CANARY).items[0].text == CANARY


def test_memories_of_the_same_content_are_listed_and_go_too(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    note = memory.remember("shared words").added[0]
    part = memory.remember("shared words\n\nother words\n", source="doc").added[0]
    turn = memory.remember("shared words", session="s").added[0]
    plan = memory.forget(note, erase=True, dry_run=True)
    assert plan.ids == [note]
    assert plan.shared == sorted([part, turn])
    receipt = memory.forget(note, erase=True, digest=plan.digest).receipt
    assert receipt is not None
    assert receipt.retracted == [note, *sorted([part, turn])]
    assert memory.recall("shared words").items[0].text == "other words"
    assert memory.history(part).memory.text == "[erased]"  # type: ignore[union-attr]
    assert memory.verify().faults == []


def test_facts_speakers_and_names_that_others_have_stay(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    said = {"session": "s", "speaker": "ana", "occurred_at": "2026-05-08", "tags": {"t": "x"}}
    one, two = (memory.remember(text, **said).added[0] for text in ("one", "two"))  # type: ignore[arg-type]
    erase(memory, one)
    item = memory.history(two).memory
    assert item is not None
    assert (item.speaker, item.session, item.source, item.tags) == ("ana", "s", "session:s", {"t": "x"})
    assert memory.sources() == ["session:s"]


def test_the_number_of_a_twin_is_shared_and_stays(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    first = memory.remember("same\n\nsame\n", source="a")
    second = memory.remember("other\n\nother\n", source="b")
    erase(memory, first.added)
    again = memory.remember("other\n\nother\n\nmore\n", source="b")
    assert again.reaffirmed == second.added
    assert memory.verify().faults == []


@pytest.mark.parametrize("text", ["text/plain", "maya", "doc.md", "session:s"])
def test_a_content_that_is_also_a_name_is_refused(tmp_path: Path, text: str) -> None:
    memory = opened(tmp_path)
    memory.remember("a\n\nb\n", source="doc.md")
    memory.remember("hello", session="s")
    receipt = memory.remember(text)
    with pytest.raises(Conflict, match="name") as caught:
        memory.forget(receipt.added, erase=True, dry_run=True)
    assert caught.value.fields["ids"] == receipt.added
    memory.forget(receipt.added)
    assert memory.verify().faults == []


def test_tags_that_were_erased_can_be_given_again(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    gone = memory.remember("gone", tags={"topic": "deploy"}, source="doc", session="s", speaker="ana").added
    erase(memory, gone)
    again = memory.remember("new", tags={"topic": "deploy"}, source="doc", session="s", speaker="ana").added
    assert [item.id for item in memory.recall("new", tags={"topic": "deploy"}).items] == again
    item = memory.history(again[0]).memory
    assert item is not None
    assert (item.tags, item.source, item.speaker) == ({"topic": "deploy"}, "doc", "ana")
    before = memory.snapshot()
    memory.forget(again)
    memory.rollback(before)
    assert root(memory) == before.root
    assert memory.verify().faults == []


def test_a_rollback_does_not_bring_it_back(tmp_path: Path) -> None:
    memory = opened(tmp_path, embedder=CountingEmbedder())
    memory.remember("kept")
    gone = memory.remember(f"text {CANARY}").added[0]
    before = memory.snapshot("before")
    checkpoint = memory.checkpoint(bytes(range(32)))
    erase(memory, gone)
    memory.remember("later")
    result = memory.rollback("before")
    assert result.erased == [gone]
    assert [item.text for item in memory.recall("kept later text").items] == ["kept"]
    assert memory.history(gone).versions[0].ended is not None
    assert memory.verify(checkpoint=checkpoint.checkpoint, public_key=checkpoint.public_key).faults == []
    assert memory.snapshot().root != before.root
    assert _is_gone(tmp_path, memory)


def test_old_states_show_that_something_was_erased(tmp_path: Path) -> None:
    memory = opened(tmp_path, embedder=CountingEmbedder())
    memory.remember("kept words")
    gone = memory.remember(f"gone words {CANARY}").added[0]
    before = memory.snapshot().transaction
    erase(memory, gone)
    answer = memory.recall("words", as_of=before)
    assert [item.text for item in answer.items] == ["kept words"]
    assert answer.hidden_erased == 1
    assert memory.recall("words").hidden_erased == 0
    change = next(c for c in memory.history(from_=0, to=before).diff.added if c.id == gone)  # type: ignore[union-attr]
    assert change.text == "[erased]"
    assert memory.history(gone).memory.text == "[erased]"  # type: ignore[union-attr]
    assert memory.verify(id=gone).proof is not None


def test_what_was_cached_before_an_erase_is_not_served_after_it(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path), opened(tmp_path)
    receipt = writer.remember(f"# {CANARY}\n\ntext\n", source="doc", tags={"t": CANARY})
    assert CANARY in reader.recall("text").model_dump_json()
    assert CANARY in reader.history(source="doc").model_dump_json()
    erase(writer, receipt.added)
    assert CANARY not in reader.history(source="doc").model_dump_json()
    assert CANARY not in reader.recall("text", as_of=receipt.transaction).model_dump_json()
    assert CANARY not in reader.history(receipt.added[1]).model_dump_json()


def test_erasing_twice_changes_nothing_more(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    receipt = memory.remember(f"text {CANARY}", title="T")
    erase(memory, receipt.added)
    again = erase(memory, receipt.added)
    assert again.receipt is not None
    assert again.receipt.retracted == []
    assert memory.verify().faults == []


def test_an_erase_of_a_reader_in_the_way_says_so_and_the_next_open_finishes(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    receipt = memory.remember(f"text {CANARY}")
    other = opened(tmp_path)
    with reach.store(other).reader(1) as view:
        view.head()
        result = erase(memory, receipt.added).receipt
        assert result is not None
        assert result.pages_pending
    other.close()
    memory.close()
    reopened = opened(tmp_path)
    assert _is_gone(tmp_path, reopened)


@pytest.mark.parametrize("place", PLACES)
def test_large_content_goes_with_its_last_reference_in_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    settings, objects = Settings(inline_bytes=64), kept_in(place, tmp_path, monkeypatch)
    first, second = (
        opened(tmp_path, workspace=name, settings=settings, objects=objects.place) for name in ("one", "two")
    )
    text = f"{CANARY} " * 10
    gone = first.remember(text, modality="event").added
    kept = second.remember(text, modality="event").added
    erase(first, gone)
    assert second.history(kept[0]).memory.text == text  # type: ignore[union-attr]
    assert first.history(gone[0]).memory.text == "[erased]"  # type: ignore[union-attr]
    assert first.verify().faults == second.verify().faults == []
    erase(second, kept)
    assert objects.raw() == {}


def test_a_source_is_erased_with_what_its_versions_dropped(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    first = memory.remember(f"kept\n\ndropped {CANARY}\n", source="doc", tags={"t": CANARY})
    memory.remember("kept\n", source="doc")
    memory.forget(memory.remember(f"forgotten {CANARY}", session="s", source="doc").added)
    memory.remember("elsewhere")
    assert len(memory.forget(source="doc", dry_run=True).ids) == 1
    assert memory.forget(tags={"t": CANARY}, erase=True, dry_run=True).ids == first.added
    plan = memory.forget(source="doc", erase=True, dry_run=True)
    assert len(plan.ids) == 3
    memory.forget(source="doc", erase=True, digest=plan.digest)
    assert memory.forget(source="doc", erase=True, dry_run=True).ids == []
    assert memory.sources() == []
    assert memory.verify().faults == []
    assert _is_gone(tmp_path, memory)


def test_an_erase_whose_process_ended_too_soon_is_finished_by_the_next_open(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    receipt = memory.remember(f"{CANARY} " + "x " * 40_000, modality="event")
    (path,) = (path for path in (tmp_path / "memory.db.objects").rglob("*") if path.is_file())
    data = path.read_bytes()
    other = opened(tmp_path)
    with reach.store(other).reader(1) as view:  # as if it had ended before the log was truncated and the object deleted
        view.head()
        erase(memory, receipt.added)
    memory.close()
    other.close()
    path.write_bytes(data)
    reopened = opened(tmp_path)
    assert reopened.verify().faults == []
    assert not path.exists()
    assert _is_gone(tmp_path, reopened)


def test_what_was_read_before_an_erase_is_not_read_from_memory_after_it(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.remember(f"# Plan\n\nThe key is {CANARY}.\n\n## Ship\n\nOn Friday.\n", source="plan.md")
        ids = memory.history(source="plan.md").source_versions
        assert ids[0].parts == 4
        plan = memory.forget(source="plan.md", erase=True, dry_run=True)
        memory.forget(source="plan.md", erase=True, digest=plan.digest)
        warm = memory.history(source="plan.md")
    with opened(tmp_path) as cold:
        assert warm == cold.history(source="plan.md")


def test_what_is_let_in_again_is_found_by_who_asked_before(tmp_path: Path) -> None:
    with opened(tmp_path) as memory, opened(tmp_path) as other:
        erase(memory, memory.remember("the code is zanzibar").added[0])
        memory.remember("something else")
        assert memory.recall("zanzibar").items == other.recall("zanzibar").items == []
        kept = memory.remember("the code is zanzibar").quarantined
        memory.release(kept[0].id)
        for one in (memory, other):
            found = one.recall("zanzibar")
            assert ([item.text for item in found.items], found.hidden_erased) == (["the code is zanzibar"], 0)
        assert memory.verify(deep=True).faults == []
