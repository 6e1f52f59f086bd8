"""Contradictions in sentence pairs, by the score with which the product decides.

Usage: python -m benchmarks.recall.pairs [--eval FOLDER] [--vectors FILE.npz]

Average precision of `read.detect.conflict_score` on SICK, with the bundled model's vectors; beside it the cosine alone, and
what the product would do at its settings. The figures of the open split do not judge anything: the constants were chosen
there by hand. Nothing is learnt from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from cmc_mcp.config import Settings
from cmc_mcp.embed import MiniLM
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.detect import by_words, conflict_score
from cmc_mcp.read.near import Closeness

BARS: Final = {"contradiction AP": (0.90, 0.93)}  # of the sealed split
PAGE: Final = 10


def average_precision(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """Return the mean of the precision at each true pair, best score first; equal scores keep the order of the file.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True])
    0.8333333333333333
    """
    found, total = 0, 0.0
    for place, i in enumerate(sorted(range(len(scores)), key=lambda i: -scores[i]), 1):
        if truth[i]:
            found += 1
            total += found / place
    return total / max(1, found)


def figures(folder: Path, vectors: Path | None = None, settings: Settings | None = None) -> dict[str, float]:
    """Score every pair of `folder`/pairs/pairs.jsonl; return the figures by name."""
    settings = settings or Settings()
    pairs: list[dict[str, Any]] = [
        json.loads(line) for line in (folder / "pairs" / "pairs.jsonl").read_text().splitlines()
    ]
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair["a"], pair["b"])))
    rows = dict(zip(texts, _embedded(texts, vectors), strict=True))
    said = {text: Statement(text) for text in texts}
    for pair in pairs:
        pair["cosine"] = round(float(rows[pair["a"]] @ rows[pair["b"]]), 6)
    other = [p for p in pairs if p["kind"] == "sick"]
    is_other = [p["label"] == "contradiction" for p in other]
    against = [conflict_score(said[p["a"]], said[p["b"]], p["cosine"], settings)[0] for p in other]
    marked = [score >= settings.possible_min for score in against]
    return {
        "contradiction AP": average_precision(against, is_other),
        "contradiction AP, cosine alone": average_precision([p["cosine"] for p in other], is_other),
        **_decided("marked", marked, is_other),
        **_cost([p["a"] for p in other], rows, settings),
    }


def _embedded(texts: Sequence[str], vectors: Path | None) -> Sequence[Any]:
    if vectors is None:
        return list(MiniLM().embed(texts).astype(np.float64))
    with np.load(vectors) as data:
        kept = dict(zip(data["h"].tolist(), data["v"].astype(np.float64), strict=True))
    return [kept[hashlib.sha1(text.encode()).hexdigest()] for text in texts]


def _decided(name: str, decided: Sequence[bool], truth: Sequence[bool]) -> dict[str, float]:
    right = sum(a and b for a, b in zip(decided, truth, strict=True))
    return {f"{name}, precision": right / max(1, sum(decided)), f"{name}, recall": right / max(1, sum(truth))}


def _cost(texts: Sequence[str], rows: dict[str, Any], settings: Settings) -> dict[str, float]:
    """Time detecting for pages of texts that were not compared before (median, ms)."""
    texts = list(dict.fromkeys(texts))
    taken = []
    for start in range(0, len(texts) - PAGE, PAGE):
        page = texts[start : start + PAGE]
        data = {i: rows[text].astype(np.float32).tobytes() for i, text in enumerate(page)}
        began = perf_counter()
        closeness = Closeness(data)
        said = {i: Statement(text) for i, text in enumerate(page)}
        by_words(said, closeness, settings)
        taken.append(1_000 * (perf_counter() - began))
    return {f"detect, ms for {PAGE} short texts": float(np.median(taken))}


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"), help="folder of the evaluation sets")
    parser.add_argument("--vectors", type=Path, help="vectors made before: an .npz of `v` and `h` (SHA-1 of the text)")
    options = parser.parse_args()
    if not (options.eval / "pairs" / "pairs.jsonl").exists():
        print(f"skipped: there are no pairs at {options.eval} (give --eval FOLDER)")
        return
    for name, value in figures(options.eval, options.vectors).items():
        bar = f"   bar {BARS[name][0]:.2f}, stretch {BARS[name][1]:.2f} (sealed split)" if name in BARS else ""
        print(f"{name:<44}{value:>8.4f}{bar}")


if __name__ == "__main__":
    main()
