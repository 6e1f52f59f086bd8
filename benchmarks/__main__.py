"""Run the benchmarks: `python -m benchmarks [NAME …] [--sizes 10000 100000] [--json FILE] [--store]`.

Every figure is a ratio to a floor measured in the same run, or stands beside one; the bars are in the names. At the end
stands the table of those that have a bar, each beside the last stored result (`benchmarks/last.json`, which `--store`
brings up to date). `peers` installs other memory systems, so it runs only when it is named.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.common import Figures

_ONLY_WHEN_NAMED = ("peers",)


def _sections(sizes: tuple[int, ...]) -> dict[str, Callable[[], Figures]]:
    from benchmarks import adapters, floors, footprint, history, peers, reading, scale, serving, write

    return {
        "single": write.single,
        "bulk": write.bulk,
        "bulk-model": write.bulk_with_model,
        "history": lambda: history.history(sizes),
        "tree": lambda: history.tree(sizes[-1]),
        "upkeep": floors.upkeep,
        "reading": lambda: reading.reading(sizes),
        "legs": lambda: {f"{n:,}: {name}": value for n in sizes for name, value in floors.legs(n).items()},
        "footprint": footprint.footprint,
        "starting": floors.starting,
        "serving": serving.serving,
        "writers": floors.writers,
        "adapters": adapters.adapters,
        "scale": lambda: scale.scale(sizes),
        "peers": peers.peers,
    }


def main() -> None:
    """Run what is asked, print it, and write it down."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="sections; all but peers when none is named")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000], help="atoms in the stores compared")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--against", type=Path, default=report.LAST, help="the stored result to compare with")
    parser.add_argument("--store", action="store_true", help="make this the last stored result")
    options = parser.parse_args()
    sections = _sections(tuple(options.sizes))
    unknown = sorted(set(options.names) - set(sections))
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; sections are {', '.join(sections)}")
    found: dict[str, Figures] = {}
    for name in options.names or [name for name in sections if name not in _ONLY_WHEN_NAMED]:
        print(f"== {name}", flush=True)
        found[name] = sections[name]()
        for figure, value in found[name].items():
            print(f"  {figure:<78} {value:>12,.3f}", flush=True)
    print(f"\n{report.table(found, report.load(options.against))}")
    if options.json:
        report.store(found, options.json)
    if options.store:
        report.store(found, report.LAST)


if __name__ == "__main__":
    main()
