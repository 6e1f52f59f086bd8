"""BM25 alone, by the terms of `cmc_mcp.terms` and by those of today: `python -m benchmarks.recall.words --eval ../shared/eval`.

No vectors, no store: an index in memory with the product's constants, so that what differs is the terms. Questions in other
languages and questions for identifiers (`identifiers.json`) are counted where their text comes first, beside BM25 over pairs
of characters; the English sets have recall at ten and at one, and the paired difference with its interval.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import apsw
import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.recall.identifiers import IDENTIFIERS
from benchmarks.recall.report import Grid, signed
from benchmarks.recall.sets import load, load_metrics
from cmc_mcp.config import Settings
from cmc_mcp.read.words import capitals
from cmc_mcp.read.words import words as word_lists
from cmc_mcp.terms.near import Vocabulary
from cmc_mcp.terms.passage import EXTRA_WEIGHT, passage_terms
from cmc_mcp.terms.query import query_terms, widened

ENGLISH: Final = ("locomo", "realtalk", "cosqa", "timeqa", "squadshifts")
_TERMS_MAX: Final = 64
_SETTINGS: Final = Settings()
_DEPTH: Final = 100
Text = tuple[str, str]
"""A heading, and a text."""
_Scores = npt.NDArray[np.float64]


class Index(ABC):
    """BM25 over texts in memory."""

    def __init__(self, texts: Sequence[Text]) -> None:
        counted: dict[str, dict[int, float]] = {}
        lengths = np.zeros(len(texts))
        for place, (heading, text) in enumerate(texts):
            for part, weight in ((text, 1.0), (heading, _SETTINGS.heading_weight)):
                length, counts = self.made(part) if part else (0, {})
                lengths[place] += length
                for term, count in counts.items():
                    held = counted.setdefault(term, {})
                    held[place] = held.get(place, 0.0) + weight * count
        self.size = len(texts)
        self.held = {
            term: (np.fromiter(held, np.int64, len(held)), np.fromiter(held.values(), np.float64, len(held)))
            for term, held in counted.items()
        }
        average = float(lengths.mean()) or 1.0
        self._norm = _SETTINGS.bm25_k1 * (1 - _SETTINGS.bm25_b + _SETTINGS.bm25_b * lengths / average)

    @abstractmethod
    def made(self, text: str) -> tuple[int, Mapping[str, float]]:
        """Return the length of a text and its terms."""

    @abstractmethod
    def scores(self, question: str) -> _Scores:
        """Score every text."""

    def first(self, question: str, count: int) -> list[int]:
        """Return the places of the best texts, best first, the earlier ones before equals."""
        scores = self.scores(question)
        order = np.lexsort((np.arange(self.size), -scores))[:count]
        return [int(place) for place in order if scores[place] > 0]

    def share(self, counts: _Scores, holding: int) -> _Scores:
        """Return what a term adds to the scores of all texts, by its counts in them."""
        weight = math.log(1 + (self.size - holding + 0.5) / (holding + 0.5))
        return weight * (_SETTINGS.bm25_k1 + 1) * counts / (counts + self._norm)

    def counts(self, term: str) -> _Scores:
        """Return how often a term is in each text."""
        out = np.zeros(self.size)
        if term in self.held:
            places, counts = self.held[term]
            out[places] = counts
        return out

    def by_term(self, term: str) -> _Scores:
        """Return what a term adds to the scores."""
        return self.share(self.counts(term), len(self.held[term][0])) if term in self.held else np.zeros(self.size)


class Today(Index):
    """The terms of SQLite's `porter unicode61`, as the product searches with them."""

    _tokenizer = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])

    def _terms(self, text: str) -> dict[str, list[str]]:
        data = text.encode("utf-8", "replace")
        found: dict[str, list[str]] = {}
        made = self._tokenizer(data, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_colocated=False)
        for start, end, term in cast("list[tuple[int, int, str]]", made):
            found.setdefault(term, []).append(data[start:end].decode("utf-8", "replace"))
        return found

    def made(self, text: str) -> tuple[int, Mapping[str, float]]:
        """Return the length of a text and its terms."""
        found = self._terms(text)
        return sum(map(len, found.values())), {term: float(len(words)) for term, words in found.items()}

    def scores(self, question: str) -> _Scores:
        """Score every text by the words that are no function words, if there are any."""
        terms, asking, named = self._terms(question), word_lists().asking, capitals(question)
        said = [one for one, (word, *_) in terms.items() if word.lower() not in asking or word.lower() in named]
        out = np.zeros(self.size)
        for term in (said or list(terms))[: _SETTINGS.terms_max]:
            out += self.by_term(term)
        return out


class Pairs(Index):
    """Pairs of characters."""

    def made(self, text: str) -> tuple[int, Mapping[str, float]]:
        """Return the length of a text and its terms."""
        plain = "".join(text.casefold().split())
        pairs = Counter(plain[place : place + 2] for place in range(len(plain) - 1))
        return pairs.total(), {pair: float(count) for pair, count in pairs.items()}

    def scores(self, question: str) -> _Scores:
        """Score every text."""
        out = np.zeros(self.size)
        for pair in self.made(question)[1]:
            out += self.by_term(pair)
        return out


class Ours(Index):
    """The terms of `cmc_mcp.terms`, without near terms."""

    near = False

    def __init__(self, texts: Sequence[Text]) -> None:
        super().__init__(texts)
        self._vocabulary = Vocabulary()
        self._vocabulary.add(1, self.held)

    def made(self, text: str) -> tuple[int, Mapping[str, float]]:
        """Return the length of a text and its terms, additions counting less."""
        terms = passage_terms(text)
        counts = Counter({term: float(count) for term, count in terms.counts.items()})
        counts.update({term: EXTRA_WEIGHT * count for term, count in terms.extras.items()})
        return terms.length, counts

    def scores(self, question: str) -> _Scores:
        """Score every text by the terms that are no function words, if there are any, and by what is near them."""
        terms = query_terms(question)
        said = ([term for term in terms if not term.function] or list(terms))[:_TERMS_MAX]
        out = np.zeros(self.size)
        for term in said:
            out += term.weight * self.by_term(term.term)
        for term, weight in widened(said, self.held.__contains__) if self.near else ():
            counts = np.zeros(self.size)
            for near, similarity in self._vocabulary.near(term.term, 1):
                counts = np.maximum(counts, similarity * self.counts(near))
            out += weight * self.share(counts, int(np.count_nonzero(counts)))
        return out


class OursAndNear(Ours):
    """The terms of `cmc_mcp.terms`, each word together with what is near it."""

    near = True


WAYS: Final[dict[str, type[Index]]] = {
    "today": Today, "pairs of characters": Pairs, "ours": Ours, "ours and near": OursAndNear,
}  # fmt: skip


def firsts(texts: Sequence[str], asked: Sequence[tuple[str, str]]) -> dict[str, list[bool]]:
    """Return, for each way and each (question, text), whether the text comes first."""
    out = {}
    for name, way in WAYS.items():
        index = way([("", text) for text in texts])
        out[name] = [[texts[place] for place in index.first(question, 1)] == [text] for question, text in asked]
    return out


def languages(folder: Path) -> Grid:
    """Count the needles of each language that come first."""
    grid = Grid("first, by language", ("language", "questions", *WAYS), [])
    for file in sorted((folder / "languages").glob("*.json")):
        given = json.loads(file.read_text(encoding="utf-8"))
        texts = list(dict.fromkeys([*given["distractors"], *(needle["text"] for needle in given["needles"])]))
        asked = [(one["query"], needle["text"]) for needle in given["needles"] for one in needle["queries"]]
        _count(grid, file.stem, firsts(texts, asked))
    return grid


def identifiers(missed: Console | None = None) -> Grid:
    """Count the texts that come first when their identifier is asked for, by its kind."""
    given = json.loads(IDENTIFIERS.read_text(encoding="utf-8"))
    texts = [*given["distractors"], *(one["text"] for kind in given["kinds"].values() for one in kind)]
    texts += [text for kind in given["kinds"].values() for one in kind for text in one.get("beside", ())]
    kinds = [(name, one["query"], one["text"]) for name, kind in given["kinds"].items() for one in kind]
    found = firsts(list(dict.fromkeys(texts)), [(question, text) for _, question, text in kinds])
    grid = Grid("first, by kind of identifier", ("kind", "questions", *WAYS), [])
    for name in given["kinds"]:
        places = [place for place, kind in enumerate(kinds) if kind[0] == name]
        _count(grid, name, {way: [right[place] for place in places] for way, right in found.items()})
    _count(grid, "all", found)
    for (name, question, _), right in zip(kinds, found["ours and near"], strict=True):
        if missed is not None and not right:
            missed.print(f"missed: {name}: {question}", markup=False)
    return grid


def _count(grid: Grid, name: str, found: Mapping[str, Sequence[bool]]) -> None:
    some = next(iter(found.values()))
    grid.rows.append((name, str(len(some)), *(str(sum(right)) for right in found.values())))


def english(folder: Path, names: Sequence[str]) -> Grid:
    """Compare recall on the English sets."""
    metrics = load_metrics(folder)
    assert metrics is not None, f"retrieval_eval.py is not at {folder}"
    ways = {name: way for name, way in WAYS.items() if way is not Pairs}
    grid = Grid("English sets", ("set", "questions", "way", "R@10", "difference", "R@1", "difference "), [])
    for name in names:
        rows: dict[str, list[dict[str, float | str]]] = {way: [] for way in ways}
        for scope in load(folder, name):
            texts = [(doc.get("title") or "", doc["text"]) for doc in scope.docs]
            sizes = {doc["id"]: metrics.token_count(doc["text"]) for doc in scope.docs}
            for way, made in ways.items():
                index = made(texts)
                for ask in scope.asks:
                    ranking = [scope.docs[place]["id"] for place in index.first(ask["text"], _DEPTH)]
                    rows[way].append({"id": ask["id"], **metrics.score_query(ranking, ask, sizes)})
        for way, found in rows.items():
            cells = []
            for metric in ("R@10", "R@1"):
                cells.append(f"{metrics.mean_of(found, metric):.3f}")
                gain = metrics.paired_difference(rows["today"], found, metric) if way != "today" else None
                cells.append(f"{signed(gain[0])} [{signed(gain[1])}, {signed(gain[2])}]" if gain else "")
            grid.rows.append((name, str(len(found)), way, *cells))
    return grid


def speed(folder: Path) -> Grid:
    """Time how long the terms of a passage take, those of today beside them, and the near terms of a word.

    The second time that a text is read, most of its words are known.
    """
    grid = Grid("microseconds", ("what", "each of", "characters", "today", "first time", "again"), [])
    tokens = Today._tokenizer

    def today(text: str) -> object:
        data = text.encode("utf-8", "replace")
        return tokens(data, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False)

    english = [doc["text"] for name in ("locomo", "realtalk") for scope in load(folder, name) for doc in scope.docs]
    texts = {"English, 85 to 125 characters": [text for text in english if 85 <= len(text) <= 125]}
    texts["code"] = [doc["text"] for scope in load(folder, "cosqa") for doc in scope.docs]
    for file in sorted((folder / "languages").glob("*.json")):
        given = json.loads(file.read_text(encoding="utf-8"))["distractors"]
        texts[file.stem] = [" ".join(given[place : place + 3]) for place in range(0, len(given), 3)]
    for name, some in texts.items():
        times = [_microseconds(today, some), _microseconds(passage_terms, some)]
        times.append(min(_microseconds(passage_terms, some) for _ in range(3)))
        size = sum(map(len, some)) / len(some)
        grid.rows.append((name, f"{len(some):,}", f"{size:.0f}", *(f"{time:.1f}" for time in times)))
    every = [doc["text"] for name in (*ENGLISH, "beam") for scope in load(folder, name) for doc in scope.docs]
    asked = ["kubernets", "deploi", "melani", "famili", "computerprogramm", "auth", "3f9a77c"]
    for some in (every[:4_000], every[:10_000], every):
        vocabulary, held = Vocabulary(), {term: None for text in some for term in passage_terms(text).counts}
        vocabulary.add(1, held)
        first = _microseconds(lambda word, near=vocabulary.near: near(word, 1), asked[:1])
        again = min(_microseconds(lambda word, near=vocabulary.near: near(word, 1), asked) for _ in range(5))
        grid.rows.append((f"near terms, {len(held):,} terms", str(len(asked)), "", "", f"{first:.0f}", f"{again:.0f}"))
    return grid


def _microseconds(made: Callable[[str], object], texts: Sequence[str]) -> float:
    started = time.process_time()
    for text in texts:
        made(text)
    return (time.process_time() - started) / len(texts) * 1e6


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall.words", description=__doc__)
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"), help="folder of the evaluation sets")
    parser.add_argument("--sets", default=",".join(ENGLISH), help="of the English sets these; `none` for no set")
    parser.add_argument("--speed", action="store_true", help="measure the time alone")
    options = parser.parse_args()
    console = Console(width=150)
    if options.speed:
        speed(options.eval).show(console)
        return
    languages(options.eval).show(console)
    identifiers(console).show(console)
    names = [name for name in options.sets.split(",") if name != "none"]
    if names:
        english(options.eval, names).show(console)


if __name__ == "__main__":
    main()
