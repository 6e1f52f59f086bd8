"""Vectors that come with entries: each answers for its own, at every read point, whoever else has the text."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cmc_mcp import Memory
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.errors import DimensionMismatch
from cmc_mcp.kernel.identity import text_of, with_own_vector
from cmc_mcp.model.entries import Entry

X, Y = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def opened(folder: Path, name: str = "theirs") -> Memory:
    return Memory.open(folder / "memory.db", embedder=ExternalEmbedder(name))


def scores(memory: Memory, vector: list[float], **asked: object) -> dict[str, float | None]:
    found = memory.collection("notes").search(vector=vector, k=50, **asked)  # type: ignore[arg-type]
    return {entry.id: entry.score for entry in found}


def test_equal_texts_with_other_vectors_are_other_contents_and_one_text(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        notes = memory.collection("notes")
        notes.put([Entry("a", "kettle", vector=X), Entry("b", "kettle", vector=Y), Entry("c", "kettle", vector=X)])
        assert scores(memory, Y) == {"a": 0.0, "b": 1.0, "c": 0.0}
        assert [entry.text for entry in notes.get(["a", "b", "c"])] == ["kettle"] * 3
        assert len({str(entry.vif["content_hash"]) for entry in notes.get(["a", "b"])}) == 1
        assert {item.text for item in memory.recall("kettle").items} == {"kettle"}
        assert len(notes.search(text="kettle", k=9)) == 3
        assert memory.verify().holds


def test_an_earlier_read_point_has_the_earlier_vector(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        notes = memory.collection("notes")
        notes.put([Entry("a", "kettle", vector=X)])
        first = memory.status()["transaction"]
        notes.put([Entry("a", "kettle", vector=Y)])
        second = memory.status()["transaction"]
        notes.put([Entry("a", "kettle", vector=X)])
        assert scores(memory, X, as_of=first) == {"a": 1.0} == scores(memory, Y, as_of=second) == scores(memory, X)
        memory.rollback(to=second)
        assert scores(memory, Y) == {"a": 1.0}
        assert memory.verify().holds


def test_nearly_equal_digits_are_one_vector(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        notes = memory.collection("notes")
        notes.put([Entry("a", "kettle", vector=[0.6, 0.8, 0.0])])
        root = memory.snapshot().root
        notes.put([Entry("a", "kettle", vector=[0.60000003, 0.79999998, 1e-7])])
        assert memory.snapshot().root == root


def test_two_writers_of_one_text_at_once_keep_both_vectors(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        started = threading.Barrier(2)

        def work(memory: Memory, name: str, vector: list[float]) -> None:
            started.wait()
            for n in range(30):
                memory.collection("notes").put([Entry(f"{name}{n}", f"text {n}", vector=vector)])

        threads = [threading.Thread(target=work, args=args) for args in ((one, "x", X), (two, "y", Y))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = scores(one, X)
        assert len(found) == 50 and all(score == 1.0 for id, score in found.items() if id.startswith("x"))
        assert sum(id.startswith("x") for id in found) == 30
        assert one.verify().holds


@pytest.mark.parametrize("text", ["", "kettle", "é" * 70_000])
def test_a_text_comes_back_without_what_sets_its_content_apart(text: str) -> None:
    content = with_own_vector(text.encode(), b"vector")
    assert text_of(content) == text.encode() == text_of(text.encode()) and content != text.encode()


def test_a_model_of_another_length_or_name_is_refused_for_a_collection_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.collection("notes").put([Entry("a", "kettle", vector=X)])
        with pytest.raises(DimensionMismatch):
            memory.collection("notes").put([Entry("b", "cat", vector=[1.0, 0.0])])
    with opened(tmp_path) as memory:
        other = memory.collection("other")
        other.put([Entry("b", "cat", vector=[1.0, 0.0])])
        assert other.search(vector=[1.0, 0.0])[0].score == 1.0
        assert scores(memory, X) == {"a": 1.0}
    with opened(tmp_path, "others") as memory, pytest.raises(DimensionMismatch, match="theirs"):
        scores(memory, X)
