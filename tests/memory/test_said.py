"""Who said it and when is kept of whatever is remembered, in a session or in none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.kernel.identity import note_discriminator
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Item
from cmc_mcp.read.frame import written
from tests.pg.plugin import examples
from tests.support.memories import at, erase, raw_bytes, root

JUNE = "2026-06-01T09:30:00Z"
PARAGRAPHS = "# Minutes\n\nWe moved to Hetzner.\n\nBen pays.\n"


def item(memory: Memory, id: str) -> Item:
    found = memory.history(id).memory
    assert found is not None
    return found


def test_a_note_says_who_said_it_and_when(memory: Memory) -> None:
    (id,) = memory.remember("We moved to Hetzner", speaker="Maya", occurred_at=JUNE).added
    answer = memory.recall("hetzner")
    for found in (item(memory, id), answer.items[0]):
        assert (found.speaker, found.occurred_at, found.session, found.source) == ("Maya", JUNE, None, None)
    assert written(answer.items).startswith("# 2026-06-01 09:30, by maya\n") and " Maya\n" in written(answer.items)


@settings(max_examples=examples(60, 5))
@given(
    st.data(),
    st.sampled_from(["one line", PARAGRAPHS, "x" * 9_000]),
    st.sampled_from(["text", "code", "event", "tool:result", "image"]),
    st.none() | st.sampled_from(["Maya", "assistant", "José"]),
    st.none() | st.sampled_from([JUNE, "1600-01-01T00:00:00Z"]),
)
def test_whatever_it_is_told_with_who_and_when_are_there(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    text: str,
    modality: str,
    who: str | None,
    when: str | None,
) -> None:
    told = {name: value for name, value in (("speaker", who), ("occurred_at", when)) if value is not None}
    places = [{}, {"source": "a.md"}, {"session": "s"}, {"source": "a.md", "session": "s"}]
    place = data.draw(st.sampled_from(places))
    media = {"media_type": "image/png"} if modality == "image" else {}
    content = text.encode() if modality == "image" else text
    with at(tmp_path_factory.mktemp("said") / "memory.db") as memory:
        added = memory.remember(content, modality=modality, **media, **place, **told).added  # type: ignore[arg-type]
        assert added
        for id in added:
            assert (item(memory, id).speaker, item(memory, id).occurred_at) == (who, when)
        assert memory.verify().holds


def test_a_note_of_which_neither_is_told_has_the_id_that_it_always_had(memory: Memory) -> None:
    assert note_discriminator("", None) == b""
    assert memory.remember("The deploy target is Heroku").added == ["atom_9d63836047fbb33f21064fab15199759"]


def test_the_same_note_of_another_speaker_or_day_is_a_memory_of_its_own(memory: Memory) -> None:
    told = [{}, {"speaker": "Ann"}, {"speaker": "Ben"}, {"occurred_at": "2026-06-01"}, {"occurred_at": "2026-06-02"}]
    ids = [memory.remember(PARAGRAPHS, **each).added for each in told[1:]]  # type: ignore[arg-type]
    assert [len(each) for each in ids] == [1] * 4 and len({id for (id,) in ids}) == 4
    before = root(memory)
    again = [memory.remember(PARAGRAPHS, **each) for each in told[1:]]  # type: ignore[arg-type]
    assert [receipt.reaffirmed for receipt in again] == ids and root(memory) == before
    many = memory.remember_many([{"content": PARAGRAPHS, **each} for each in told[1:]])  # type: ignore[typeddict-item]
    assert many.transactions == 1 and not many.added
    shown = memory.recall("hetzner", limit=10, budget_tokens=4_000).items
    assert {(each.speaker, each.occurred_at) for each in shown} == {
        ("Ann", None), ("Ben", None), (None, "2026-06-01T00:00:00Z"), (None, "2026-06-02T00:00:00Z"),
    }  # fmt: skip


def test_a_document_says_who_said_it_and_when_and_keeps_its_ids(memory: Memory) -> None:
    plain = memory.remember(PARAGRAPHS, source="minutes.md").added
    dated = memory.remember(PARAGRAPHS, source="minutes.md", speaker="Maya", occurred_at=JUNE)
    assert dated.reaffirmed == plain and not dated.added
    later = memory.remember(PARAGRAPHS + "\nIt is done.\n", source="minutes.md", occurred_at="2026-07-01")
    ids = [*plain, *later.added]
    assert {item(memory, id).occurred_at for id in ids} == {"2026-07-01T00:00:00Z"}
    assert {item(memory, id).speaker for id in plain} == {"Maya"}
    assert memory.recall("hetzner", as_of=dated.transaction).items[0].occurred_at == JUNE


def test_full_text_finds_a_note_by_who_said_it(memory: Memory) -> None:
    (id,) = memory.remember("We moved to Hetzner", speaker="Wilhelmina").added
    memory.remember("We moved to Render", speaker="Ben")
    assert memory.recall("Wilhelmina").items[0].id == id


@pytest.mark.parametrize("session", [None, "standup"])
def test_a_new_wording_keeps_who_said_it_and_when(memory: Memory, session: str | None) -> None:
    (id,) = memory.remember("We moved to Hezner", session=session, speaker="Maya", occurred_at=JUNE).added
    (new,) = memory.revise(id, content="We moved to Hetzner").added
    assert (item(memory, new).speaker, item(memory, new).occurred_at) == ("Maya", JUNE)


def test_wordings_that_differ_in_who_said_them_alone_are_not_one_item(memory: Memory) -> None:
    (id,) = memory.remember("We moved to Hezner", session="s", speaker="Maya").added
    memory.revise(id, content="We moved to Hetzner")
    memory.remember("We moved to Hetzner.")
    assert {found.speaker for found in memory.recall("hetzner").items} >= {"Maya", None}
    assert not any(found.duplicates for found in memory.recall("hetzner").items)


def test_what_leaves_quarantine_has_who_said_it_and_when(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.5)
    for more in ({}, {"source": "a.md"}):
        told = {"speaker": "Maya", "occurred_at": JUNE, "confidence": 0.1, **more}
        (kept,) = memory.remember(f"A guess {more}", **told).quarantined  # type: ignore[arg-type]
        (id,) = memory.release(kept.id).added
        assert (item(memory, id).speaker, item(memory, id).occurred_at) == ("Maya", JUNE)


def test_who_said_an_erased_note_is_erased_and_comes_back_with_it(tmp_path: Path) -> None:
    told = {"speaker": "Wilhelmina", "occurred_at": JUNE}
    with at(tmp_path / "memory.db") as memory:
        (id,) = memory.remember("We moved to Hetzner", **told).added  # type: ignore[arg-type]
        (other,) = memory.remember("We moved", source="a.md", **told).added  # type: ignore[arg-type]
        erase(memory, [id, other])
        assert memory.verify().holds
        (kept,) = memory.remember("We moved to Hetzner", **told).quarantined  # type: ignore[arg-type]
        assert memory.release(kept.id).restored == [id]
        assert item(memory, id).speaker == "Wilhelmina"
        erase(memory, [id])
        assert memory.verify().holds
    assert b"Wilhelmina" not in raw_bytes(tmp_path)


def test_when_it_was_said_and_when_another_was_recorded_make_neither_the_newer(memory: Memory) -> None:
    question = "What is the budget for the move?"
    memory.remember("The budget for the move is $4,000", occurred_at="2026-06-01")
    memory.remember("The budget for the move is $5,000")
    assert not newer(memory, question)
    memory.remember("The budget for the move is $6,000", occurred_at="2026-06-02")
    assert newer(memory, question) == {"6000 for 4000"}


def newer(memory: Memory, question: str) -> set[str]:
    notes = [note for found in memory.recall(question).items for note in found.conflicts]
    return {note.reason for note in notes if note.kind == "newer"}
