"""Run the benchmarks: `python -m benchmarks [NAME …] [--sizes 10000 100000] [--json FILE]`.

Every figure is a ratio to a floor measured in the same run, or stands beside one; the bars are in the names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

Figures = dict[str, float]


def _sections(sizes: tuple[int, ...]) -> dict[str, Callable[[], Figures]]:
    from benchmarks import adapters, footprint, history, reading, serving, write

    return {
        "single": write.single,
        "bulk": write.bulk,
        "bulk-model": write.bulk_with_model,
        "history": lambda: history.history(sizes),
        "tree": lambda: history.tree(sizes[-1]),
        "reading": lambda: reading.reading(sizes),
        "footprint": footprint.footprint,
        "serving": serving.serving,
        "adapters": adapters.adapters,
    }


def main() -> None:
    """Run what is asked, print it, and write it down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="sections; all when none is named")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000], help="atoms in the stores compared")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    sections = _sections(tuple(options.sizes))
    unknown = sorted(set(options.names) - set(sections))
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; sections are {', '.join(sections)}")
    found: dict[str, Figures] = {}
    for name in options.names or sections:
        print(f"== {name}", flush=True)
        found[name] = sections[name]()
        for figure, value in found[name].items():
            print(f"  {figure:<78} {value:>12,.3f}", flush=True)
    if options.json:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "load": os.getloadavg()[0]}
        options.json.write_text(json.dumps({"machine": machine, "figures": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
