"""What colleagues of this package measure by themselves: pairs, DVNS, notes beside documents, look-alikes, languages."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path

from rich.console import Console

COMPANIONS = ("pairs", "dvns", "notes", "lookalikes", "languages", "identifiers")


def figures(name: str, folder: Path, console: Console) -> dict[str, float]:
    """Run `figures` of a companion, with the folder of the sets if it takes one; empty if the companion is missing."""
    module_name = f"benchmarks.recall.{name}"
    if importlib.util.find_spec(module_name) is None:
        console.print(f"{name}: skipped, there is no {module_name}")
        return {}
    measure = getattr(importlib.import_module(module_name), "figures", None)
    if measure is None:
        console.print(f"{name}: skipped, {module_name} has no figures()")
        return {}
    if not inspect.signature(measure).parameters:
        return dict(measure())
    if not (folder / name).exists():
        console.print(f"{name}: skipped, it is not at {folder}")
        return {}
    return dict(measure(folder))
