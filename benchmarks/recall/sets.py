"""The evaluation sets: what is in them, how each document is remembered, and the metrics they come with."""

from __future__ import annotations

import importlib.util
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from types import ModuleType
from typing import TypedDict, cast

from cmc_mcp.write.validate import RememberArguments

SETS = ("locomo", "realtalk", "beam", "beam_update", "squadshifts", "timeqa", "cosqa")
_CODE = re.compile(r"\s*(@\w|def |class |async def )")


class Doc(TypedDict):
    """A document of a set, as its file gives it."""

    id: str
    scope: str
    session: str | None
    time: str | None
    speaker: str | None
    title: str | None
    text: str


class Ask(TypedDict, total=False):
    """A question of a set; `fresh`, `stale` and `sides` in some only."""

    id: str
    scope: str
    text: str
    time: str | None
    category: str
    relevant: list[str]
    fresh: list[str]
    stale: list[str]
    sides: list[list[str]]


@dataclass(frozen=True, slots=True)
class Scope:
    """One conversation or one corpus: what one store holds, and what is asked of it. A mixture has scopes as its parts."""

    set: str
    name: str
    docs: tuple[Doc, ...]
    asks: tuple[Ask, ...]
    parts: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """One thing to remember, and the documents that it holds, in their order."""

    item: RememberArguments
    docs: tuple[Doc, ...]


def load_metrics(folder: Path) -> ModuleType | None:
    """Load `retrieval_eval.py` from where the sets are; None when it is not there."""
    path = folder / "retrieval_eval.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("retrieval_eval", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(folder: Path, name: str) -> list[Scope]:
    """Load a set by scopes, in the order of its file; questions without evidence are left out."""
    docs, asks = (
        cast(list[Doc], _rows(folder / name / "docs.jsonl")),
        cast(list[Ask], _rows(folder / name / "queries.jsonl")),
    )
    names = dict.fromkeys(doc["scope"] for doc in docs)
    return [
        Scope(
            name,
            scope,
            tuple(doc for doc in docs if doc["scope"] == scope),
            tuple(ask for ask in asks if ask["scope"] == scope and ask["relevant"]),
        )
        for scope in names
    ]


def _rows(path: Path) -> list[dict[str, object]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def remembered(docs: Sequence[Doc]) -> Iterator[Remembered]:
    """Turn documents into what they are, by what the data has: turns, the paragraphs of a page, functions, notes."""
    if all(doc["speaker"] for doc in docs):
        yield from map(_turn, docs)
    elif all(doc.get("title") for doc in docs):
        for page, parts in groupby(docs, key=lambda doc: doc["session"] or doc["id"]):
            yield _page(page, tuple(parts))
    elif sum(bool(_CODE.match(doc["text"])) for doc in docs) > len(docs) / 2:
        for doc in docs:
            yield Remembered({"content": doc["text"], "modality": "code", "media_type": "text/x-python"}, (doc,))
    else:
        for doc in docs:
            yield Remembered({"content": doc["text"]}, (doc,))


def _turn(doc: Doc) -> Remembered:
    item: RememberArguments = {"content": doc["text"], "session": doc["session"] or doc["scope"]}
    item["speaker"] = doc["speaker"]
    if doc["time"]:
        item["occurred_at"] = doc["time"] + ("Z" if "T" in doc["time"] else "")
    return Remembered(item, (doc,))


def _page(page: str, docs: tuple[Doc, ...]) -> Remembered:
    """Write a page as Markdown: a heading wherever the title goes on differently (levels stand between ` - `)."""
    blocks: list[str] = []
    path: list[str] = []
    for doc in docs:
        now = (doc["title"] or page).split(" - ")
        same = next((i for i, (a, b) in enumerate(zip(now, path, strict=False)) if a != b), min(len(now), len(path)))
        blocks += [f"{'#' * min(level, 6)} {name}" for level, name in enumerate(now[same:], same + 1)]
        blocks.append(doc["text"])
        path = now
    content = "\n\n".join(blocks) + "\n"
    return Remembered({"content": content, "source": page, "media_type": "text/markdown"}, docs)


class Aligner:
    """Says which documents each atom is from, atoms and documents coming in the same order.

    An atom may be a part of a document, or hold several (a list whose entries are documents).

    >>> docs = [{"id": name, "text": text} for name, text in {"a": "one. two.", "b": "Hi", "c": "Hi", "d": "- x"}.items()]
    >>> align = Aligner(docs)
    >>> [align(text) for text in ("# T", "one.", "two.", "Hi", "Hi - x")]
    [[], ['a'], ['a'], ['b'], ['c', 'd']]
    """

    def __init__(self, docs: Sequence[Doc]) -> None:
        texts = [flat(doc["text"]) for doc in docs]
        self._names = [doc["id"] for doc in docs]
        self._ends = list(accumulate(len(text) + 1 for text in texts))  # and the space after each
        self._whole = " ".join(texts)
        self._at = 0

    def __call__(self, text: str) -> list[str]:
        """Return the documents that the text runs over where it comes next; none when it does not come."""
        part = flat(text)
        found = self._whole.find(part, self._at) if part else -1
        if found < 0:
            return []
        self._at = found + len(part)
        return self._names[bisect_right(self._ends, found) : bisect_right(self._ends, self._at - 1) + 1]


def flat(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())
