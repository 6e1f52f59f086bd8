"""Short notes beside long documents: how many are found, beside plain cosine over the same passages.

Usage: python -m benchmarks.recall.notes [--each]

The notes, their questions and three documents about the same matters were written for this (`beside/`); six more documents
are design pages of this repository. Every second question is only measured: nobody looked at what it finds while ranking
was worked on. Headings and list entries are passages as the product makes them; one item of the answer is one place.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from benchmarks.recall.sets import Ask, Doc, Scope
from cmc_mcp.embed import MiniLM
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.memory import Memory

HERE: Final = Path(__file__).parent / "beside"
PAGES: Final = Path(__file__).parents[2] / "docs" / "design"
PAGE_NAMES: Final = ("backends.md", "kernel.md", "read.md", "reliability.md", "store.md", "write.md")
CUTS: Final = (1, 3, 5, 10)


class Note(NamedTuple):
    """A note, a question that it answers, and whether what the question finds may be looked at."""

    number: int  # from 1
    text: str
    question: str
    seen: bool


def notes() -> list[Note]:
    """Return the questions with their notes; most notes have two, one in the note's words and one in others."""
    rows = [json.loads(line) for line in (HERE / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [(number, row["note"], question) for number, row in enumerate(rows, 1) for question in row["questions"]]
    return [Note(*one, one[0] % 2 == 1) for one in asked]  # both questions of every second note


def documents() -> list[tuple[str, str]]:
    """Return the documents that stand beside the notes, by name."""
    files = [*sorted(HERE.glob("*.md")), *(PAGES / name for name in PAGE_NAMES)]
    return [(file.name, file.read_text(encoding="utf-8")) for file in files]


def notes_scope() -> Scope:
    """Return the notes as a set of one scope."""
    docs: dict[str, Doc] = {}
    asks: list[Ask] = []
    for place, note in enumerate(notes(), 1):
        name = f"note-{note.number}"
        docs[name] = {
            "id": name, "scope": "notes", "session": None, "time": None, "speaker": None, "title": None,
            "text": note.text,
        }  # fmt: skip
        ask: Ask = {"id": f"notes/{place}", "scope": "notes", "text": note.question, "category": "notes"}
        asks.append({**ask, "relevant": [name]})
    return Scope("notes", "notes", tuple(docs.values()), tuple(asks))


def remember(memory: Memory) -> tuple[dict[int, str], list[str], list[str]]:
    """Remember notes and documents; return the ids of the notes by number, all ids, and the text of each."""
    texts = {note.number: note.text for note in notes()}
    pages = memory.remember_many(
        [{"content": text, "source": name, "media_type": "text/markdown"} for name, text in documents()]
    )
    mine = memory.remember_many([{"content": text} for text in texts.values()]).added
    ids = [*pages.added, *mine]
    said = [kept.text for name in ids if (kept := memory.history(name).memory) is not None]
    return dict(zip(texts, mine, strict=True)), ids, said


def places(memory: Memory, embedder: Embedder, limit: int) -> tuple[list[int], list[int]]:
    """Return the place of the note for each question: in recall, and by plain cosine over the same passages."""
    mine, ids, texts = remember(memory)
    vectors, asked = embedder.embed(texts), notes()
    recalled, near = [], []
    for note, query in zip(asked, embedder.embed([note.question for note in asked]), strict=True):
        name = mine[note.number]
        found = memory.recall(note.question, limit=limit, budget_tokens=50_000, detail="concise").items
        recalled.append(next((place for place, item in enumerate(found, 1) if item.id == name), limit + 1))
        cosines = vectors @ query
        near.append(1 + int(np.count_nonzero(cosines > cosines[ids.index(name)])))
    return recalled, near


def figures() -> dict[str, float]:
    """Return how many notes are found at each cut, in recall and by cosine: all, and those only measured."""
    embedder = MiniLM()
    with TemporaryDirectory() as folder, Memory.open(Path(folder) / "memory.db", embedder=embedder) as memory:
        recalled, near = places(memory, embedder, max(CUTS))
    unseen = [place for place, note in enumerate(notes()) if not note.seen]
    out: dict[str, float] = {"questions": len(recalled), "documents": len(documents())}
    for said, which in (("", list(range(len(recalled)))), (", only measured", unseen)):
        for way, found in (("recall", recalled), ("cosine", near)):
            out |= {f"found at {cut}, {way}{said}": _within(found, which, cut) for cut in CUTS}
    return out


def _within(found: Sequence[int], which: Sequence[int], cut: int) -> int:
    return sum(found[place] <= cut for place in which)


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", action="store_true", help="also say the places of those that may be looked at")
    options = parser.parse_args()
    for name, value in figures().items():
        print(f"{name:<40}{value:>8.0f}")
    if options.each:
        embedder = MiniLM()
        with TemporaryDirectory() as folder, Memory.open(Path(folder) / "memory.db", embedder=embedder) as memory:
            recalled, near = places(memory, embedder, max(CUTS))
        for note, place, other in zip(notes(), recalled, near, strict=True):
            if note.seen and place != other:
                print(f"{place:>4} {other:>4}  {note.question}  |  {note.text}")


if __name__ == "__main__":
    main()
