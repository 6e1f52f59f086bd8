"""Large and binary content: whole in the object store, found by words, title and tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import Conflict, IntegrityError, InvalidInput, LimitExceeded
from cmc_mcp.limits import CONTENT_BYTES_MAX, INLINE_BYTES
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from tests.objects.kept import PLACES, Kept, kept_in
from tests.support.embedders import CountingEmbedder
from tests.support.memories import erase, opened


@pytest.fixture(params=PLACES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return kept_in(request.param, tmp_path, monkeypatch)


@pytest.fixture
def memory(tmp_path: Path, kept: Kept) -> Memory:
    return opened(tmp_path, embedder=CountingEmbedder(), objects=kept.place)


@pytest.mark.parametrize(("size", "count"), [(INLINE_BYTES, 0), (INLINE_BYTES + 1, 1), (100_000, 1)])
def test_only_what_is_past_the_bound_goes_to_the_object_store(
    memory: Memory, kept: Kept, size: int, count: int
) -> None:
    text = ("needle " + "größer " * size).encode()[: size - 1].decode("utf-8", "ignore")
    text += "x" * (size - len(text.encode()))
    assert len(text.encode()) == size
    receipt = memory.remember(text, modality="event", source="log.json", tags={"kind": "big"})
    assert len(kept.raw()) == count
    assert memory.read_source("log.json") == text.encode()
    assert memory.history(receipt.added[0]).memory.text == text  # type: ignore[union-attr]
    answer = memory.recall("needle", budget_tokens=100_000)
    assert [item.text for item in answer.items] == [text]
    assert memory.verify(deep=True).faults == []
    memory.remember(text, modality="event", source="log.json")
    assert len(kept.raw()) == count


def test_a_write_that_is_refused_leaves_no_object(memory: Memory, kept: Kept) -> None:
    (held,) = memory.remember("small", valid_from="2026-05-28").added
    large = "needle " * INLINE_BYTES
    with pytest.raises(InvalidInput, match="nothing would be left"):
        memory.revise(held, content=large, valid_to="2020-01-01")
    notes = memory.collection("notes")
    notes.put([Entry("gone", "swordfish")])
    erase(memory, notes.wordings("gone"))
    with pytest.raises(Conflict, match="erased"):
        notes.put([Entry("large", large), Entry("gone", "swordfish")])
    assert kept.raw() == {}


def test_large_words_that_were_erased_do_not_come_back_as_an_object(memory: Memory, kept: Kept) -> None:
    (held,) = memory.remember("small").added
    large = "needle " * INLINE_BYTES
    erase(memory, memory.remember(large, modality="event").added)
    with pytest.raises(InvalidInput, match="erased"):
        memory.revise(held, content=large)
    with pytest.raises(Conflict, match="erased"):
        memory.collection("notes").put([Entry("large", large)])
    assert memory.remember(large, modality="event").quarantined
    assert kept.raw() == {}


@pytest.mark.parametrize(("modality", "media"), [("image", "image/png"), ("audio", "audio/ogg")])
def test_a_binary_memory_is_found_by_its_title_and_tags(memory: Memory, modality: str, media: str) -> None:
    data = bytes(range(256)) * 4
    receipt = memory.remember(
        data, modality=modality, media_type=media, source="holiday", title="a boat on the lake", tags={"trip": "norway"}
    )
    (found,) = memory.recall("boat").items
    assert (found.id, found.title, found.modality, found.media_type) == (
        receipt.added[0], "a boat on the lake", modality, media,
    )  # fmt: skip
    assert found.text == f"[{modality}, {media}, 1,024 bytes]"
    assert [
        item.id for item in memory.recall("lake", tags={"trip": "norway"}, modality=modality).items
    ] == receipt.added
    assert memory.read_source("holiday") == data
    assert receipt.pending == 0
    assert memory.verify().faults == []


def test_a_large_image_is_kept_whole_and_bytes_that_look_like_text_are_not_indexed(memory: Memory, kept: Kept) -> None:
    data = b"needle " + bytes(200_000)
    memory.remember(data, modality="image", media_type="image/png", title="a chart")
    small = memory.remember(b"needle in hay", modality="image", media_type="image/png", title="small")
    assert len(kept.raw()) == 1
    assert memory.recall("needle").items == []
    assert memory.recall("chart").items[0].text.endswith("200,007 bytes]")
    assert memory.recall("small").items[0].id == small.added[0]
    assert memory.verify().faults == []


def test_binary_content_given_as_text_and_the_other_way_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="bytes"):
        memory.remember("text", modality="image")
    with pytest.raises(InvalidInput, match="UTF-8"):
        memory.remember(b"\x89PNG\xff")
    with pytest.raises(InvalidInput, match="blank"):
        memory.remember(b"", modality="audio")
    with pytest.raises(LimitExceeded) as caught:
        memory.remember(bytes(CONTENT_BYTES_MAX + 1), modality="audio")
    assert caught.value.fields["limit"] == "CONTENT_BYTES_MAX"
    assert memory.status()["transaction"] == 0


def test_a_missing_object_is_named_and_nothing_else_is_lost(tmp_path: Path, kept: Kept) -> None:
    memory = opened(tmp_path, objects=kept.place)
    memory.remember("x " * 50_000, modality="event", source="big")
    memory.remember("small")
    (name,) = kept.raw()
    kept.remove(name)
    assert [fault.table for fault in memory.verify().faults if fault.table == "objects"] == ["objects"]
    assert memory.recall("small").items[0].text == "small"
    with pytest.raises(IntegrityError, match="object"):
        memory.recall("x")
    with pytest.raises(IntegrityError, match="object"):
        memory.read_source("big")
