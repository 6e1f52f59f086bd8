"""Questions for identifiers, in their own form and in others: how many find the text that holds it first.

The questions, what stands beside each and the distractors are in `identifiers.json`, one kind after the other (versions,
paths, hashes, phones, amounts and so on); all texts are remembered in one workspace.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from benchmarks.recall.languages import found

IDENTIFIERS: Final = Path(__file__).with_name("identifiers.json")


def figures() -> dict[str, float]:
    """Return how many of all are found, as `languages.found` counts them."""
    given = json.loads(IDENTIFIERS.read_text(encoding="utf-8"))
    every = [one for kind in given["kinds"].values() for one in kind]
    texts = [
        *given["distractors"],
        *(one["text"] for one in every),
        *(t for one in every for t in one.get("beside", ())),
    ]
    return found(texts, [(one["query"], one["text"]) for one in every])
