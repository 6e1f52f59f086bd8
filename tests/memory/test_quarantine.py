"""The gate keeps back what a workspace does not want, loses nothing, and lets it in again exactly as it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.errors import Ambiguous, InvalidInput, NotFound
from cmc_mcp.memory import Memory
from tests.support.embedders import CountingEmbedder
from tests.support.memories import erase, opened, raw_bytes, root

FULL = {
    "source": "doc.md", "title": "A title", "tags": {"t": "x"}, "confidence": 0.25, "entropy": 2.5, "model_id": "gpt-9",
    "prompt_template_id": "p1", "tool_ids": ["grep"], "valid_from": "2026-01-01", "valid_to": "2026-02-01",
    "claim": {"subject": "a", "predicate": "b", "object": "c"}, "priority": 0.9, "metadata": {"k": 1},
}  # fmt: skip


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return opened(tmp_path, embedder=CountingEmbedder())


def test_without_a_policy_nothing_is_kept_back(memory: Memory) -> None:
    assert memory.remember("unsure", confidence=0.01).quarantined == []


def test_low_confidence_is_kept_back_where_a_workspace_asks_for_it(memory: Memory, tmp_path: Path) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    before = root(memory)
    receipt = memory.remember("unsure", confidence=0.4, source="notes")
    assert receipt.added == []
    assert "0.4" in receipt.quarantined[0].reasons[0]
    assert "0.6" in receipt.quarantined[0].reasons[0]
    assert root(memory) == before
    assert memory.recall("unsure").items == []
    (entry,) = memory.quarantine()
    assert (entry.id, entry.text, entry.source) == (receipt.quarantined[0].id, "unsure", "notes")
    assert entry.reasons == receipt.quarantined[0].reasons
    assert entry.transaction == receipt.transaction
    for confidence in (0.6, None, 1.0):
        assert memory.remember(f"sure {confidence}", confidence=confidence).added
    other = opened(tmp_path, workspace="other")
    assert other.remember("unsure", confidence=0.4).added
    memory.set_policy("gate.min_confidence", None)
    assert memory.remember("another", confidence=0.4).added


def test_the_rest_of_a_batch_goes_on(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    receipt = memory.remember_many([{"content": "a"}, {"content": "b", "confidence": 0.1}, {"content": "c"}])
    assert len(receipt.added) == 2
    assert len(receipt.quarantined) == 1
    assert memory.verify().faults == []


def test_what_is_released_is_exactly_what_came(tmp_path: Path) -> None:
    free, gated = opened(tmp_path, "free.db", principal="zoe"), opened(tmp_path, "gated.db")
    content = "# Head\r\n\r\nfirst\n\nsecond  \n"
    free.remember(content, **FULL)  # type: ignore[arg-type]
    gated.set_policy("gate.min_confidence", 0.6)
    (kept,) = gated.as_principal("zoe").remember(content, **FULL).quarantined  # type: ignore[arg-type]
    receipt = gated.release(kept.id)
    assert root(gated) == root(free)
    assert gated.read_source("doc.md") == content.encode()
    assert gated.quarantine() == []
    assert {gated.history(id).memory.witness.writer for id in receipt.added} == {"zoe"}  # type: ignore[union-attr]
    assert gated.history().transactions[0].principal == "maya"
    assert gated.verify().faults == []


def test_an_image_is_released_as_it_came(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    data = bytes(range(256))
    (kept,) = memory.remember(
        data, modality="image", media_type="image/png", source="i.png", confidence=0.1
    ).quarantined
    memory.release(kept.id)
    assert memory.read_source("i.png") == data


def test_erased_content_remembered_again_is_kept_back_and_can_be_released(memory: Memory) -> None:
    first = memory.remember("text to erase", tags={"t": "x"})
    erase(memory, first.added)
    again = memory.remember("text to erase", tags={"t": "y"})
    assert again.added == again.restored == []
    assert "erased" in again.quarantined[0].reasons[0]
    assert memory.recall("text erase").items == []
    receipt = memory.release(again.quarantined[0].id)
    assert receipt.restored == first.added
    item = memory.recall("text erase").items[0]
    assert (item.text, item.tags) == ("text to erase", {"t": "y"})
    assert memory.recall("text erase").mode.pending == 0
    assert memory.verify(deep=True).faults == []
    assert memory.remember("text to erase").reaffirmed == first.added
    erase(memory, first.added)
    assert memory.recall("text erase").items == []
    assert memory.verify(deep=True).faults == []


def test_a_released_large_content_and_image_are_whole_again(memory: Memory) -> None:
    text, data = "word " * 20_000, b"\x89PNG" + bytes(100)
    ids = memory.remember(text, modality="event").added
    ids += memory.remember(data, modality="image", media_type="image/png", source="i", title="a boat").added
    erase(memory, ids)
    kept = memory.remember(text, modality="event").quarantined
    kept += memory.remember(data, modality="image", media_type="image/png", source="i", title="a boat").quarantined
    for entry in kept:
        memory.release(entry.id)
    assert memory.recall("word", budget_tokens=50_000).items[0].text == text
    assert memory.recall("boat").items[0].id == ids[1]
    assert memory.read_source("i") == data
    assert memory.verify().faults == []


def test_a_document_with_one_erased_block_is_kept_back_whole(memory: Memory) -> None:
    first = memory.remember("one\n\ntwo\n\nthree\n", source="doc.md")
    erase(memory, first.added[1:2])
    before = root(memory)
    again = memory.remember("one\n\ntwo\n\nthree\n", source="doc.md")
    assert len(again.quarantined) == 1
    assert (again.added, again.reaffirmed) == ([], [])
    assert root(memory) == before
    assert memory.remember("one\n\nthree\n", source="doc.md").quarantined == []
    memory.release(again.quarantined[0].id)
    assert memory.read_source("doc.md") == b"one\n\ntwo\n\nthree\n"
    assert memory.verify(deep=True).faults == []


def test_a_released_heading_is_back_in_the_plan(memory: Memory) -> None:
    text = "# Plan\n\nnorth\n"
    first = memory.remember(text, source="doc.md")
    erase(memory, first.added[:1])
    memory.release(memory.remember(text, source="doc.md").quarantined[0].id)
    assert memory.read_source("doc.md") == text.encode()
    assert memory.history(source="doc.md").nodes[1].title == "Plan"


def test_an_erase_takes_what_waits_in_quarantine_too(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    canary = "Zk3Xw9Qp5Rm1Tn7Vb2Ld8Hs4Gj6Fc0Ya"
    first = memory.remember(f"text {canary}")
    erase(memory, first.added)
    released = memory.release(memory.remember(f"text {canary}").quarantined[0].id)
    memory.set_policy("gate.min_confidence", 0.6)
    memory.remember(f"{canary} apart\n\ntext {canary}", confidence=0.1)
    assert len(memory.quarantine()) == 1
    erase(memory, released.restored)
    assert memory.quarantine() == []
    assert memory.verify().faults == []
    memory.close()
    assert canary.encode() not in raw_bytes(tmp_path)


def test_what_was_released_can_be_kept_back_again(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    (kept,) = memory.remember("unsure", confidence=0.1).quarantined
    memory.release(kept.id)
    assert memory.remember("unsure", confidence=0.1).quarantined[0].id == kept.id
    assert [entry.id for entry in memory.quarantine()] == [kept.id]
    assert memory.release(kept.id).reaffirmed
    assert memory.quarantine() == []
    assert memory.verify().faults == []


def test_the_same_thing_twice_is_one_entry(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    for _ in range(2):
        memory.remember_many([{"content": "unsure", "confidence": 0.1}, {"content": "unsure", "confidence": 0.1}])
    assert len(memory.quarantine()) == 1
    memory.as_principal("zoe").remember("unsure", confidence=0.1)
    assert len(memory.quarantine()) == 2


def test_releases_are_by_unique_prefix(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    ids = [memory.remember(f"unsure {n}", confidence=0.1).quarantined[0].id for n in range(600)]
    shared = next(id[:9] for id in ids if sum(other.startswith(id[:9]) for other in ids) > 1)
    with pytest.raises(Ambiguous):
        memory.release(shared)
    assert memory.release(ids[0][5:]).added
    for unknown in ("gate_" + "0" * 32, ids[0], "gate_", "x"):
        with pytest.raises(NotFound):
            memory.release(unknown)


def test_a_rollback_does_not_touch_the_quarantine(memory: Memory) -> None:
    memory.set_policy("gate.min_confidence", 0.6)
    memory.remember("a")
    (kept,) = memory.remember("unsure", confidence=0.1).quarantined
    memory.rollback(1)
    assert [entry.id for entry in memory.quarantine()] == [kept.id]


def test_only_known_policies_can_be_set(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="min_confidence"):
        memory.set_policy("gate.colour", 1)
