"""The page: tables and pictures between markers of a Markdown file, whose other words stay as they are."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmarks.recall.bars import open_bars
from benchmarks.recall.baselines import WAYS
from benchmarks.recall.report import Grid
from benchmarks.recall.run import SetFigures
from benchmarks.recall.stages import Latency
from benchmarks.recall.variants import SHIPPED, compared_with, known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "<!-- measured: {name} -->\n{body}\n<!-- end: {name} -->"
_INK = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")


def write(page: Path, parts: Mapping[str, str]) -> list[str]:
    """Put each part between its markers; return the names of the parts that the page has no markers for.

    What has no part now keeps what it had: a run of some sets does not wipe the others' figures.
    """
    text, missing = page.read_text(encoding="utf-8"), []
    for name, body in parts.items():
        pattern = re.compile(
            re.escape(f"<!-- measured: {name} -->") + ".*?" + re.escape(f"<!-- end: {name} -->"), re.DOTALL
        )
        text, found = pattern.subn(lambda _: _MARKERS.format(name=name, body=body.strip()), text)
        if not found:
            missing.append(name)
    page.write_text(text, encoding="utf-8")
    return missing


def tables(grids: Sequence[Grid]) -> str:
    """Write tables, with when and where they were made."""
    when = f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return "\n".join([f"Measured {when}.\n", *(grid.markdown() for grid in grids)])


def draw(
    folder: Path, figures: Mapping[str, SetFigures], metrics: ModuleType | None, sizes: Sequence[Latency]
) -> list[Path]:
    """Draw the available figures: the sets beside simple ways, the worth of each stage, the cost of each."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    if metrics is not None and figures:
        made.append(_save(folder / "recall-sets.png", _sets(figures, metrics)))
        if any(name in found.rows for found in figures.values() for name in known()):
            made.append(_save(folder / "recall-ablations.png", _ablations(figures, metrics)))
    if sizes:
        made.append(_save(folder / "recall-latency.png", _latency(sizes)))
    return made


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _save(path: Path, figure: Figure) -> Path:
    figure.savefig(path, dpi=130, metadata={"Software": None})  # the same figures give the same file
    return path


def _sets(figures: Mapping[str, SetFigures], metrics: ModuleType) -> Figure:
    names = [name for name, found in figures.items() if found.rows.get(SHIPPED)]
    figure, axes = _axes(8.5, 4.2)
    for number, way in enumerate(WAYS):
        values = [metrics.mean_of(figures[name].rows.get(way, []), "R@10") for name in names]
        there = [(place, value) for place, value in enumerate(values) if value is not None]
        axes.plot([x for x, _ in there], [y for _, y in there], "o", color=_INK[number + 1], label=way, alpha=0.8)
    means = [metrics.mean_of(figures[name].rows[SHIPPED], "R@10") for name in names]
    ends = [metrics.interval(figures[name].rows[SHIPPED], "R@10") for name in names]
    errors = [
        [m - low for m, (low, _) in zip(means, ends, strict=True)],
        [h - m for m, (_, h) in zip(means, ends, strict=True)],
    ]
    axes.errorbar(
        range(len(names)), means, errors, fmt="D", color=_INK[0], capsize=4, label="CMC, 95 % interval", zorder=3
    )
    targets = {bar.set: bar.target for bar in open_bars() if bar.target is not None}
    marks = [(place, targets[name]) for place, name in enumerate(names) if name in targets]
    axes.plot(
        [x for x, _ in marks], [y for _, y in marks], "_", color="black", markersize=26, label="target (open split)"
    )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("R@10")
    axes.set_ylim(0.25, 1.01)
    axes.legend(ncols=3, fontsize=8, loc="lower right")
    return figure


def _ablations(figures: Mapping[str, SetFigures], metrics: ModuleType) -> Figure:
    rows = [(name, one) for name, one in known().items() if any(name in found.rows for found in figures.values())]
    sets = [name for name, found in figures.items() if found.rows.get(SHIPPED)]
    figure, axes = _axes(8.5, 1.6 + 0.55 * len(rows))
    for number, name in enumerate(sets):
        found = figures[name].rows
        for row, (variant, one) in enumerate(rows):
            if variant not in found:
                continue
            mean, low, high = metrics.paired_difference(found[variant], found[compared_with(one)], one.metric)
            height = row + (number - (len(sets) - 1) / 2) * 0.8 / len(sets)
            label = name if row == 0 else None
            error = [[mean - low], [high - mean]]
            axes.errorbar(
                [mean], [height], xerr=error, fmt="o", color=_INK[number % len(_INK)], markersize=4, label=label
            )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{name}" for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("what the stage adds (R@10, or the share in 2,000 tokens; paired, 95 %)")
    axes.legend(fontsize=8)
    return figure


def _latency(sizes: Sequence[Latency]) -> Figure:
    figure, axes = _axes(8.5, 1.6 + 0.6 * len(sizes))
    stages = list(dict.fromkeys(stage for one in sizes for stage in one.stages))
    for number, stage in enumerate(stages):
        starts = [sum(one.stages.get(before, 0.0) for before in stages[:number]) for one in sizes]
        widths = [one.stages.get(stage, 0.0) for one in sizes]
        axes.barh(range(len(sizes)), widths, left=starts, color=_INK[number % len(_INK)], label=stage)
    axes.set_yticks(range(len(sizes)), [f"{one.size:,}" for one in sizes])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of a recall by stage, p50, the question's embedding aside")
    axes.set_ylabel("memories")
    axes.legend(ncols=2, fontsize=8)
    return figure
