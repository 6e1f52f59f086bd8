"""Questions in languages that the bundled model does not read: at least as good as BM25 over pairs of characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.recall.languages import by_pairs
from cmc_mcp.embed.minilm import MiniLM
from tests.read.made import opened

NEEDLES = Path(__file__).parent / "needles" / "languages"


@pytest.mark.parametrize("language", sorted(file.stem for file in NEEDLES.glob("*.json")))
def test_needles_are_found_first_as_often_as_by_pairs_of_characters(tmp_path: Path, language: str) -> None:
    given = json.loads((NEEDLES / f"{language}.json").read_text(encoding="utf-8"))
    texts = [*given["distractors"], *(needle["text"] for needle in given["needles"])]
    asked = [(one["query"], needle["text"]) for needle in given["needles"] for one in needle["queries"]]
    with opened(tmp_path, embedder=MiniLM()) as memory:
        memory.remember_many([{"content": text} for text in texts])
        first = sum(memory.recall(query, limit=1).items[0].text == text for query, text in asked)
    assert first >= sum(by_pairs(texts, query)[:1] == [text] for query, text in asked)
