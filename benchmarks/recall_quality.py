"""Recall quality of the shipped read path on the evaluation sets: `Memory.remember_many`, then `Memory.recall`.

Usage: python -m benchmarks.recall_quality --eval FOLDER [SET ...]

FOLDER holds the sets and `retrieval_eval.py`, which measures; without it nothing is run, and that is said.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from cmc_mcp.embed import MiniLM
from cmc_mcp.memory import Memory
from cmc_mcp.write.validate import RememberArguments

SETS = ("locomo", "realtalk", "squadshifts", "timeqa", "cosqa")
# R@10 of summed normalised scores, and of the best simple way, as `reference/retrieval.md` gives them
BASELINE = {
    "locomo": (0.604, 0.853), "realtalk": (0.457, 0.543), "beam": (0.527, 0.601), "beam_update": (0.879, 0.879),
    "squadshifts": (0.976, 0.976), "timeqa": (0.796, 0.857), "cosqa": (0.786, 0.826),
}  # fmt: skip
DIALOGUE = ("locomo", "realtalk", "beam", "beam_update")
LARGEST_BUDGET = 100_000


class Shipped:
    """The product as `retrieval_eval.py` drives it: one store a scope."""

    def __init__(self, name: str, model: MiniLM) -> None:
        self._name, self._folder = name, TemporaryDirectory(prefix="cmc-eval-")
        self._memory = Memory.open(Path(self._folder.name) / "memory.db", embedder=model)
        self._ids: dict[str, str] = {}

    def ingest(self, docs: Sequence[dict[str, Any]]) -> None:
        """Remember every document as what it is: a turn, a titled paragraph, a function."""
        items = [self._item(doc) for doc in docs]
        for start in range(0, len(items), 1_000):
            part = items[start : start + 1_000]
            self._memory.remember_many(part)
        for doc in docs:
            self._ids.setdefault(doc["text"].strip(), doc["id"])

    def _item(self, doc: dict[str, Any]) -> RememberArguments:
        item: RememberArguments = {"content": doc["text"], "tags": {"doc": doc["id"]}}
        if self._name in DIALOGUE:
            item["session"] = doc["session"] or doc["scope"]
            if doc.get("speaker"):
                item["speaker"] = doc["speaker"]
            if doc.get("time"):
                item["occurred_at"] = doc["time"] + "Z"
        elif self._name == "cosqa":
            item["modality"] = "code"
            item["media_type"] = "text/x-python"
        if doc.get("title"):
            item["title"] = doc["title"]
        return item

    def search(self, query: str, k: int) -> list[str]:
        """Recall `k` memories; what one stands for is named beside it."""
        answer = self._memory.recall(query, limit=k, budget_tokens=LARGEST_BUDGET, detail="concise")
        return [item.tags["doc"] for item in answer.items]

    def __del__(self) -> None:
        self._memory._store.close()
        self._folder.cleanup()


def _metrics(folder: Path) -> ModuleType | None:
    path = folder / "retrieval_eval.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("retrieval_eval", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(folder: Path, names: Sequence[str], show: Callable[[str], None] = print) -> dict[str, float]:
    """Run sets; give R@10 of each, and print every metric by category beside the baselines."""
    metrics = _metrics(folder)
    if metrics is None:
        show(f"skipped: there are no evaluation sets at {folder} (give --eval FOLDER)")
        return {}
    model = MiniLM()
    out: dict[str, float] = {}
    for name in names:
        if not (folder / name / "queries.jsonl").exists():
            show(f"{name}: skipped, it is not there")
            continue
        result = metrics.evaluate(folder / name, lambda name=name: Shipped(name, model))
        metrics.report(name, result)
        out[name] = metrics.mean_of(result["rows"], "R@10")
        summed, best = BASELINE[name]
        show(
            f"{name}: R@10 {out[name]:.3f}; summed scores {summed:.3f} ({out[name] - summed:+.3f}), best simple {best:.3f}"
        )
    return out


def main() -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--eval", type=Path, default=Path("eval"), help="folder of the evaluation sets")
    arguments = parser.parse_args()
    measure(arguments.eval, arguments.sets)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
