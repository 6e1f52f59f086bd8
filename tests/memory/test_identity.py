"""An id depends on what is remembered, not on where, when or beside what; an edit changes what was edited."""

from __future__ import annotations

import random
from pathlib import Path

from cmc_mcp.memory import Memory
from tests.support.embedders import CountingEmbedder
from tests.support.memories import START_US, opened, root


def test_ids_are_the_same_in_another_store_workspace_and_time(tmp_path: Path) -> None:
    first = opened(tmp_path, "a.db", workspace="one")
    second = opened(tmp_path, "b.db", workspace="two", start_us=START_US + 10**12)
    second.remember("something else first", tags={"z": "1"})
    things = [
        {"content": "a note"},
        {"content": "para\n\npara\n\nother\n", "source": "doc.md"},
        {"content": "hello", "session": "s", "speaker": "ana"},
        {"content": "{}", "modality": "event"},
    ]
    for thing in things:
        again = {**thing, "tags": {"topic": "x"}, "confidence": 0.3, "title": "another"}
        assert first.remember(**thing).added == second.remember(**again).added  # type: ignore[arg-type]


def test_another_origin_modality_or_model_is_another_atom(memory: Memory) -> None:
    ids = [
        memory.remember("same words", **more).added[0]  # type: ignore[arg-type]
        for more in ({}, {"source": "a"}, {"source": "b"}, {"modality": "event"}, {"media_type": "text/markdown"})
    ]
    assert len(set(ids)) == len(ids)


def test_the_same_note_by_another_model_renames_nothing(memory: Memory) -> None:
    (first,) = memory.remember("a fact").added
    before = root(memory)
    again = memory.remember("a fact", model_id="gpt-9")
    assert (again.added, again.reaffirmed) == ([], [first])
    assert root(memory) == before


def test_the_same_note_by_another_principal_is_a_memory_of_its_own_and_renames_nothing(memory: Memory) -> None:
    (first,) = memory.remember("a fact").added
    zoe = memory.as_principal("zoe")
    (second,) = zoe.remember("a fact").added
    assert second != first and zoe.remember("a fact").reaffirmed == [second]
    assert memory.remember("a fact").reaffirmed == [first]
    assert memory.history(first).memory.witness.writer == "maya"  # type: ignore[union-attr]


def test_editing_one_paragraph_makes_one_atom_and_embeds_one_text(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    memory = opened(tmp_path, embedder=embedder)
    parts = [f"paragraph number {n} says {n * 7}" for n in range(40)]
    first = memory.remember("\n\n".join(parts), source="doc.md")
    embedder.texts.clear()
    parts[17] = "an edited paragraph"
    second = memory.remember("\n\n".join(parts), source="doc.md")
    assert len(second.added) == len(second.retired) == 1
    assert second.retired == [first.added[17]]
    assert second.reaffirmed == [id for id in first.added if id != first.added[17]]
    (edited, above) = embedder.texts  # the paragraph, and the document that it stands in
    assert edited == "an edited paragraph" and above.startswith("doc.md\n")


def test_a_text_embedded_before_is_not_embedded_again(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    memory = opened(tmp_path, embedder=embedder)
    memory.remember("one text")
    memory.remember("one text", source="elsewhere.md")
    memory.remember_many(
        [{"content": "one text", "session": "s"}, {"content": "two"}, {"content": "two", "session": "s"}]
    )
    assert embedder.texts == ["one text", "two"]


def test_the_same_bytes_again_change_nothing(memory: Memory) -> None:
    text = "# Head\n\npara\n\npara\n"
    first = memory.remember(text, source="doc.md", tags={"a": "1"})
    before = root(memory)
    again = memory.as_principal("zoe").remember(text.encode(), source="doc.md")
    assert again.reaffirmed == first.added
    assert (again.added, again.retired, again.restored) == ([], [], [])
    assert root(memory) == before
    assert again.transaction == first.transaction + 1
    assert len(memory.history(source="doc.md").source_versions) == 1


def test_the_same_bytes_as_another_kind_of_thing_are_a_new_version(memory: Memory) -> None:
    text = "one\n\ntwo\n"
    first = memory.remember(text, source="doc")
    second = memory.remember(text, source="doc", modality="event")
    assert second.retired == first.added
    assert memory.read_source("doc") == text.encode()
    third = memory.remember(text, source="doc")
    assert third.restored == first.added
    assert memory.read_source("doc") == text.encode()


def test_a_moved_paragraph_keeps_its_id_and_tags(memory: Memory) -> None:
    first = memory.remember("alpha\n\nbeta\n\ngamma\n", source="doc.md")
    memory.revise(first.added[2], tags={"keep": "me"})
    second = memory.remember("gamma\n\nalpha\n\nbeta\n", source="doc.md")
    assert sorted(second.reaffirmed) == sorted(first.added)
    assert memory.recall("gamma").items[0].tags == {"keep": "me"}


def test_a_retired_paragraph_comes_back_with_its_id(memory: Memory) -> None:
    first = memory.remember("alpha\n\nbeta\n", source="doc.md", tags={"v": "1"})
    second = memory.remember("alpha\n", source="doc.md")
    assert second.retired == [first.added[1]]
    third = memory.remember("alpha\n\nbeta\n", source="doc.md")
    assert third.restored == [first.added[1]]
    assert third.reaffirmed == [first.added[0]]
    assert memory.recall("beta").items[0].tags == {}  # what comes back starts from defaults


def test_equal_paragraphs_are_told_apart_and_keep_their_tags(memory: Memory) -> None:
    first = memory.remember("same\n\nmiddle\n\nsame\n", source="doc.md")
    assert len(set(first.added)) == 3
    memory.revise(first.added[2], tags={"which": "last"})
    second = memory.remember("new\n\nsame\n\nmiddle\n\nsame\n", source="doc.md")
    assert second.reaffirmed == first.added
    third = memory.remember("new\n\nmiddle\n\nsame\n", source="doc.md")
    assert third.retired == [first.added[0]]
    assert memory.history(first.added[2]).memory.tags == {"which": "last"}  # type: ignore[union-attr]


def test_twins_slide_no_more_often_than_the_prototype(memory: Memory) -> None:
    """Documents of 100 paragraphs, 20 % of them repeated: in 600 edits, 20 atoms came to stand for another place."""
    from cmc_mcp.kernel.identity import aligned

    rnd = random.Random(5)
    slid = 0
    for _ in range(60):
        doc = [(i, f"T{rnd.randrange(4)}" if rnd.random() < 0.2 else f"u{i}") for i in range(100)]
        uid, ids = 100, aligned([], [text for _, text in doc])
        for _ in range(10):
            new, k = list(doc), rnd.randrange(len(doc))
            op = rnd.choice(["insdup", "edit", "del", "ins", "move"])
            if op == "insdup":
                new.insert(k, (uid, f"T{rnd.randrange(4)}"))
            elif op == "ins":
                new.insert(k, (uid, f"u{uid}"))
            elif op == "edit":
                new[k] = (uid, f"u{uid}")
            elif op == "del" and len(new) > 50:
                new.pop(k)
            elif op == "move":
                new.insert(rnd.randrange(len(new)), new.pop(k))
            uid += 1
            after = aligned(ids, [text for _, text in new])
            assert len(set(after)) == len(after)
            was = {atom: place for atom, (place, _) in zip(ids, doc, strict=True)}
            now = {atom: place for atom, (place, _) in zip(after, new, strict=True)}
            slid += sum(1 for atom in was.keys() & now.keys() if was[atom] != now[atom])
            doc, ids = new, after
    assert slid <= 20


def test_a_twin_keeps_its_id_through_rollback_and_return(memory: Memory) -> None:
    first = memory.remember("same\n\nsame\n", source="doc.md")
    before = memory.snapshot()
    memory.remember("same\n\nsame\n\nsame\n", source="doc.md")
    memory.rollback(before)
    again = memory.remember("same\n\nsame\n\nsame\n", source="doc.md")
    assert again.reaffirmed == first.added
    assert len(again.restored) == 1


def test_notes_of_several_paragraphs_in_one_batch_are_as_if_remembered_apart(tmp_path: Path) -> None:
    items = [{"content": "one\n\ntwo"}, {"content": "one\n\ntwo", "model_id": "gpt-9"}]
    apart, together = opened(tmp_path, "a.db"), opened(tmp_path, "b.db")
    for item in items:
        apart.remember(**item)  # type: ignore[arg-type]
    together.remember_many(items)  # type: ignore[arg-type]
    assert root(apart) == root(together)
