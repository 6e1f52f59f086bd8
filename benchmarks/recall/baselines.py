"""Simple ways to search, made apart from the product: BM25 of FTS5, cosine, reciprocal ranks, and a plain sum.

Documents are taken as the sets give them (a turn, a paragraph, a function), their titles as a second column.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import apsw
import numpy as np
import numpy.typing as npt

from benchmarks.recall.sets import Scope
from benchmarks.recall.shipped import DEPTH, Row, scored
from benchmarks.recall.vectors import KeptVectors

WAYS = ("BM25", "dense", "RRF 60", "sum")
_RRF = 60
_FUNCTION_WORDS_TEXT = (
    "a about an and any are as at be by can could did do does for from had has have he her him his how i if in into is it its"
    " me my no not of on or our she should so some than that the their them then there these they this those to up us was we"
    " were what when where which who whom whose why will with would you your"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_WORDS_TEXT.split())
_Scores = npt.NDArray[np.float64]


class _Both:
    """Scores of every document by words and by meaning."""

    def __init__(self, scope: Scope, embedder: KeptVectors) -> None:
        self._embedder, self._size = embedder, len(scope.docs)
        self._file = apsw.Connection(":memory:")
        self._file.execute("CREATE VIRTUAL TABLE texts USING fts5(body, title, tokenize = 'porter unicode61')")
        rows = [(place, doc["text"], doc.get("title") or "") for place, doc in enumerate(scope.docs)]
        self._file.executemany("INSERT INTO texts(rowid, body, title) VALUES (?, ?, ?)", rows)
        self._vectors = embedder.embed([doc["text"] for doc in scope.docs])

    def words(self, query: str) -> _Scores:
        """Return FTS5's BM25 of any of the words, 0 for a document without them."""
        scores = np.zeros(self._size)
        terms = dict.fromkeys(re.findall(r"\w+", query.lower()))
        found = " OR ".join(f'"{term}"' for term in [t for t in terms if t not in _FUNCTION_WORDS] or terms)
        if found:
            for place, score in self._file.execute(
                "SELECT rowid, -bm25(texts) FROM texts WHERE texts MATCH ?", (found,)
            ):
                scores[place] = score
        return scores

    def meaning(self, query: str) -> _Scores:
        """Return the cosines."""
        return np.asarray(self._vectors @ self._embedder.embed([query])[0], np.float64)


def _by_ranks(words: _Scores, meaning: _Scores) -> _Scores:
    """Add reciprocal ranks (Cormack, Clarke and Büttcher, 2009); what has no word in common has no rank by words."""
    total = np.zeros(len(words))
    for scores, known in ((words, words > 0), (meaning, np.ones(len(words), bool))):
        ranks = np.empty(len(scores))
        ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        total += np.where(known, 1 / (_RRF + ranks), 0.0)
    return total


def _by_sum(words: _Scores, meaning: _Scores) -> _Scores:
    """Add BM25 over its best and the cosine stretched from its median to its best, half and half."""
    middle, best = float(np.median(meaning)), float(meaning.max())
    near = np.clip((meaning - middle) / max(best - middle, 1e-9), 0.0, 1.0)
    return 0.5 * words / max(float(words.max()), 1e-9) + 0.5 * near


def search(keep: Path, scope: Scope, metrics: ModuleType) -> dict[str, list[Row]]:
    """Ask every question of a scope in every simple way."""
    both = _Both(scope, KeptVectors(keep / "vectors.db"))
    names = [doc["id"] for doc in scope.docs]
    sizes = {doc["id"]: metrics.token_count(doc["text"]) for doc in scope.docs}
    out: dict[str, list[Row]] = {name: [] for name in WAYS}
    for question in scope.asks:
        words, meaning = both.words(question["text"]), both.meaning(question["text"])
        ways = (words, meaning, _by_ranks(words, meaning), _by_sum(words, meaning))
        for name, scores in zip(WAYS, ways, strict=True):
            order = np.argsort(-scores, kind="stable")[:DEPTH]
            ranking = [names[place] for place in order if name != "BM25" or scores[place] > 0]
            out[name].append(scored(metrics, ranking, question, sizes))
    return out
