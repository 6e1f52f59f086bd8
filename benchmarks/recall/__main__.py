"""Measure recall, all of it, through the product: `python -m benchmarks.recall --eval ../shared/eval`.

The sets with intervals, simple baselines beside them, each stage's worth, the evidence inside 2,000 tokens, and with
--latency the time of each stage by size. With --keep the stores and vectors stay in a folder and are used again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from rich.console import Console

from benchmarks.recall import companions, page, report
from benchmarks.recall.mixed import MIXED
from benchmarks.recall.run import SetFigures, Way, measure
from benchmarks.recall.sets import SETS, load_metrics
from benchmarks.recall.shipped import stamp
from benchmarks.recall.stages import Latency, latency
from benchmarks.recall.stdio import Served, served, smallest
from benchmarks.recall.variants import ABLATIONS, BASELINES, FIRST_TEN, SHIPPED, known
from benchmarks.recall.vectors import KeptVectors

INTERRUPTED = 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recall", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"), help="folder of the evaluation sets")
    parser.add_argument("--sets", default=",".join(SETS), help="of these; `none` for no set")
    parser.add_argument(
        "--variants",
        default="all",
        help=f"`all`, `{SHIPPED}`, `{BASELINES}`, `ablations`, or names of ablations, with commas",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="folder to keep stores and vectors in, and to take them from")
    parser.add_argument("--vectors", type=Path, nargs="*", default=[], help=".npz files of vectors made before (v, h)")
    parser.add_argument("--latency", default="", help="sizes, with commas: 1000,10000,100000,1000000")
    parser.add_argument("--mcp", action="store_true", help="also ask the smallest scope through the server over stdio")
    parser.add_argument("--mixed", action="store_true", help="also ask everything where all sets are in one workspace")
    parser.add_argument("--companions", action="store_true", help="also run " + ", ".join(companions.COMPANIONS))
    parser.add_argument(
        "--page", type=Path, help="put tables and pictures into this Markdown file, between its markers"
    )
    parser.add_argument("--json", type=Path, help="write all figures here, a row a question included")
    return parser.parse_args()


def _ways(text: str) -> list[Way]:
    """Read --variants: the product as shipped always goes first, as what others are compared with.

    Raises:
        ValueError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    can = known()
    ways: list[Way] = [(SHIPPED, {})]
    if {"all", BASELINES} & set(names):
        ways.append((BASELINES, None))
    all_of_them = bool({"all", "ablations"} & set(names))
    chosen = [(name, one.changes) for name, one in can.items() if all_of_them or name in names]
    ways += [(FIRST_TEN, {}), *chosen] if chosen else []
    if wrong := [name for name in names if name not in {"all", SHIPPED, BASELINES, "ablations", *ABLATIONS}]:
        raise ValueError(f"no variant {', '.join(wrong)}; ablations are: {'; '.join(ABLATIONS)}")
    return ways


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with TemporaryDirectory(prefix="cmc-recall-") as name:
        yield Path(name)


def _sets(options: argparse.Namespace, console: Console) -> list[str]:
    """Return the sets that are there; say which are not."""
    names = [] if options.sets == "none" else [name for name in options.sets.split(",") if name]
    there = [name for name in names if (options.eval / name / "queries.jsonl").exists()]
    for name in names:
        if name not in there:
            console.print(f"{name}: skipped, it is not at {options.eval}")
    return there


@dataclass(slots=True)
class _Found:
    """What a run found, and its tables by the part of the page that they are for."""

    figures: dict[str, SetFigures] = field(default_factory=dict)
    sizes: list[Latency] = field(default_factory=list)
    served: Served | None = None
    apart: dict[str, dict[str, float]] = field(default_factory=dict)
    grids: dict[str, list[report.Grid]] = field(default_factory=dict)


def _quality(found: _Found, options: argparse.Namespace, keep: Path, console: Console) -> ModuleType | None:
    ways = _ways(options.variants)
    names = _sets(options, console)
    metrics = load_metrics(options.eval)
    if metrics is None:
        console.print(f"The sets are skipped: there is no retrieval_eval.py at {options.eval} (give --eval FOLDER).")
    if metrics is None or not names:
        return None
    found.figures = figures = measure(options.eval, keep, names, ways, options.jobs, console)
    found.grids["quality"] = [report.bars(figures, metrics), report.quality(figures, metrics)]
    if any(changes is None for _, changes in ways):
        found.grids["baselines"] = [report.compared(figures, metrics)]
    if any(changes for _, changes in ways):
        found.grids["ablations"] = [report.ablations(figures, metrics)]
    found.grids["times"] = [report.times(figures)]
    if options.mixed:
        ways = [(SHIPPED, {}), (BASELINES, None)]
        mixed = measure(options.eval, keep, [MIXED], ways, options.jobs, console)[MIXED]
        found.grids["mixed"] = [report.mixed_beside_alone(mixed, figures, metrics)]
    if options.mcp and (scope := smallest(options.eval, names)) is not None:
        console.print(f"asking {scope.set}/{scope.name} over stdio")
        found.served = served(keep, scope, metrics)
        found.grids["mcp"] = [report.wire(found.served)]
    return metrics


def run(options: argparse.Namespace, console: Console) -> None:
    """Measure what is asked, print it, and write it down."""
    _ways(options.variants)  # a wrong name is said before anything runs
    sizes = [int(size) for size in options.latency.split(",") if size]
    found = _Found()
    with _place(options.keep) as keep:
        kept = KeptVectors(keep / "vectors.db")
        for file in options.vectors:
            console.print(f"{kept.take(file):,} vectors taken from {file}")
        kept.close()
        metrics = _quality(found, options, keep, console)
        for size in sizes:
            console.print(f"timing a recall among {size:,}")
            found.sizes.append(latency(keep / f"latency-{stamp()}", size))
    if found.sizes:
        found.grids["latency"] = [report.latency(found.sizes)]
    for name in companions.COMPANIONS if options.companions else ():
        console.print(f"running {name}")
        if figures := companions.figures(name, options.eval, console):
            found.apart[name] = figures
            found.grids[name] = [report.named(name, figures)]
    for grids in found.grids.values():
        for grid in grids:
            grid.show(console)
    _write(found, options, metrics, console)


def _write(found: _Found, options: argparse.Namespace, metrics: ModuleType | None, console: Console) -> None:
    if options.json:
        options.json.write_text(json.dumps(_plain(found), indent=1) + "\n", encoding="utf-8")
    if options.page:
        missing = page.write(options.page, {name: page.tables(grids) for name, grids in found.grids.items()})
        made = page.draw(options.page.parent / "img", found.figures, metrics, found.sizes)
        console.print(f"{options.page} and {', '.join(str(path) for path in made) or 'no picture'} written")
        for name in missing:
            console.print(f"{options.page} has no place for {name}: <!-- measured: {name} --> <!-- end: {name} -->")


def _plain(found: _Found) -> dict[str, object]:
    sets = {
        name: {"rows": f.rows, "recall_ms": f.recall_ms, "stages_ms": f.stages_ms} for name, f in found.figures.items()
    }
    return {
        "sets": sets,
        "latency": [one._asdict() for one in found.sizes],
        "mcp": None if found.served is None else found.served._asdict(),
        **found.apart,
    }


def main() -> None:
    """Run as a script."""
    options = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        run(options, console)
    except ValueError as error:
        sys.exit(f"python -m benchmarks.recall: {error}")
    except KeyboardInterrupt:
        console.print("Stopped." + (f" What was built is in {options.keep}." if options.keep else ""))
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
