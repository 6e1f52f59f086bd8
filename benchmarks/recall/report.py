"""What was found, as tables: on the terminal, and as Markdown for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import ModuleType

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.recall.bars import LOSS_MAX, REFERENCE, open_bars
from benchmarks.recall.baselines import WAYS
from benchmarks.recall.run import SetFigures
from benchmarks.recall.shipped import Row
from benchmarks.recall.stages import KEYWORDS, LONG_WORDS, Latency
from benchmarks.recall.stdio import LIMIT, Served
from benchmarks.recall.variants import FIRST_TEN, SHIPPED, compared_with, known

_METRICS = ("R@1", "R@5", "R@10", "all@10", "MRR@10", "nDCG@10", "in 2k", "ctx2k", "fresh_first", "both@10")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: what it is, its columns, its rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=self.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for place, name in enumerate(self.columns):
            table.add_column(name, justify="left" if place == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """Write it."""
        lines = [f"### {self.title}", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|---" + "|---:" * (len(self.columns) - 1) + "|")
        return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in self.rows)]) + "\n"


def cell(value: float | None) -> str:
    """Write a share, without its leading zero; a dash for none."""
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """Write a difference."""
    return f"{value:+.3f}"


def _of(rows: Sequence[Row], category: str) -> list[Row]:
    return [row for row in rows if not category or row["category"] == category]


def quality(figures: Mapping[str, SetFigures], metrics: ModuleType) -> Grid:
    """Return every metric of the product as shipped, by set and category."""
    rows: list[tuple[str, ...]] = []
    for name, found in figures.items():
        mine = found.rows.get(SHIPPED, [])
        if not mine:
            continue
        low, high = metrics.interval(mine, "R@10")
        cells = [cell(metrics.mean_of(mine, metric)) for metric in _METRICS]
        rows.append((name, str(len(mine)), *cells, f"{cell(low)}–{cell(high)}"))
        categories = dict.fromkeys(str(row["category"]) for row in mine)
        for category in categories if len(categories) > 1 else ():
            part = _of(mine, category)
            rows.append((f"· {category}", str(len(part)), *(cell(metrics.mean_of(part, m)) for m in _METRICS), ""))
    return Grid("The product, default settings", ("set", "n", *_METRICS, "R@10, 95 %"), rows)


def compared(figures: Mapping[str, SetFigures], metrics: ModuleType, metric: str = "R@10") -> Grid:
    """Set the product beside the simple ways of this run, and beside what was published."""
    columns = ("set", "product", *WAYS, "product − sum (95 %)", "published sum", "best simple")
    rows: list[tuple[str, ...]] = []
    for name, found in figures.items():
        mine = found.rows.get(SHIPPED, [])
        if not mine:
            continue
        gain = ""
        if "sum" in found.rows:
            mean, low, high = metrics.paired_difference(found.rows["sum"], mine, metric)
            gain = f"{signed(mean)} ({signed(low)} … {signed(high)})"
        others = [cell(metrics.mean_of(found.rows.get(way, []), metric)) for way in WAYS]
        published = REFERENCE.get(name)
        last = (cell(published[3]), cell(published[4])) if published else ("–", "–")
        rows.append((name, cell(metrics.mean_of(mine, metric)), *others, gain, *last))
    return Grid(f"{metric} beside simple ways", columns, rows)


def bars(figures: Mapping[str, SetFigures], metrics: ModuleType) -> Grid:
    """Set each barred metric beside the open split's target, and name the sealed split's bar, which is not for these."""
    rows: list[tuple[str, ...]] = []
    for bar in open_bars():
        mine = _of(figures[bar.set].rows.get(SHIPPED, []), bar.category) if bar.set in figures else []
        value = metrics.mean_of(mine, bar.metric) if mine else None
        if value is None:
            continue
        low, high = metrics.interval(mine, bar.metric)
        said = "–"
        if bar.target is not None and bar.stretch is not None:
            said = (
                "stretch" if value >= bar.stretch else "target" if value >= bar.target else signed(value - bar.target)
            )
        what = f"{bar.metric}, {bar.category}" if bar.category else bar.metric
        ends = (cell(bar.target), cell(bar.stretch), said, cell(bar.sealed))
        rows.append((bar.set, what, cell(value), f"{cell(low)}–{cell(high)}", *ends))
    columns = ("set", "metric", "found", "95 %", "open target", "open stretch", "reached", "sealed bar")
    return Grid("Open split beside its own targets", columns, rows)


def ablations(figures: Mapping[str, SetFigures], metrics: ModuleType) -> Grid:
    """Return what each stage is worth: the metric as shipped less the metric without it, on the same questions."""
    names = [name for name, found in figures.items() if found.rows.get(SHIPPED)]
    ten = [cell(metrics.mean_of(figures[name].rows.get(FIRST_TEN, []), "R@10")) for name in names]
    rows: list[tuple[str, ...]] = [("nothing: as shipped", "R@10", *ten, "")]
    for variant, one in known().items():
        cells, harms = [], []
        for name in names:
            found = figures[name].rows
            if variant not in found:
                cells.append("–")
                continue
            mean, low, high = metrics.paired_difference(found[variant], found[compared_with(one)], one.metric)
            if mean < -LOSS_MAX:
                harms.append(name)
            cells.append("0" if mean == low == high == 0 else f"{signed(mean)} ({signed(low)}…{signed(high)})")
        if any(cell != "–" for cell in cells):
            rows.append((variant, one.metric, *cells, ", ".join(harms) or "none"))
    title = "What each stage is worth: shipped − without it (paired, 95 %)"
    return Grid(title, ("left out", "metric", *names, f"sets it costs more than {LOSS_MAX}"), rows)


def mixed_beside_alone(mixed: SetFigures, alone: Mapping[str, SetFigures], metrics: ModuleType) -> Grid:
    """Set what each set finds in a mixture beside what it finds alone, on the same questions."""
    mine = mixed.rows.get(SHIPPED, [])
    cosine = mixed.rows.get("dense", [])
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys(str(row["category"]) for row in mine):
        part = [row for row in mine if row["category"] == name]
        own = alone[name].rows.get(SHIPPED, []) if name in alone else []
        asked = {row["id"] for row in part}
        own = [row for row in own if row["id"] in asked]
        change, said = "–", "–"
        if own:
            mean, low, high = metrics.paired_difference(own, part, "R@10")
            change = f"{signed(mean)} ({signed(low)} … {signed(high)})"
            said = "yes" if mean >= -LOSS_MAX else "no"
        near = [row for row in cosine if row["category"] == name]
        cells = [cell(metrics.mean_of(own, "R@10") if own else None), cell(metrics.mean_of(part, "R@10"))]
        firsts = [cell(metrics.mean_of(part, "R@1")), cell(metrics.mean_of(near, "R@1") if near else None)]
        rows.append(
            (name, str(len(part)), *cells, change, said, cell(metrics.mean_of(near, "R@10") if near else None), *firsts)
        )
    columns = ("set", "n", "R@10 alone", "R@10 mixed", "mixed − alone (95 %)", f"within {LOSS_MAX}", "cosine, mixed",
               "R@1 mixed", "R@1 cosine")  # fmt: skip
    return Grid("Everything in one workspace", columns, rows)


def times(figures: Mapping[str, SetFigures]) -> Grid:
    """Return the time of a recall of 100 memories on the sets' own stores, by stage; questions embedded before."""
    stages = dict.fromkeys(stage for found in figures.values() for stage in found.stages_ms)
    rows = [
        (name, f"{median(found.recall_ms):.1f}", *(f"{found.stages_ms.get(stage, 0.0):.2f}" for stage in stages))
        for name, found in figures.items()
        if found.recall_ms
    ]
    return Grid("Milliseconds of a recall of 100 memories with --explain (p50)", ("set", "whole", *stages), rows)


def latency(sizes: Sequence[Latency]) -> Grid:
    """Return the time of a recall of ten memories by size, and of its stages."""
    stages = dict.fromkeys(stage for one in sizes for stage in one.stages)
    rows = [
        (f"{one.size:,}", f"{one.p50:.2f}", f"{one.p95:.2f}", *(f"{one.stages.get(name, 0.0):.2f}" for name in stages),
         f"{one.keywords_new:.2f}", f"{one.keywords_again:.2f}")
        for one in sizes
    ]  # fmt: skip
    keywords = f"{' + '.join(KEYWORDS)}, {LONG_WORDS} new words"
    title = "Milliseconds of a recall by size, the question's vector given (stages: p50 with --explain)"
    return Grid(title, ("memories", "p50", "p95", *stages, keywords, "asked again"), rows)


def wire(one: Served) -> Grid:
    """Return what came over MCP, beside the library."""
    columns = ("scope", "questions", f"R@{LIMIT} by MCP", "by the library", "same answers", "round trip p50, ms")
    row = (f"{one.set}/{one.scope}", str(one.questions), cell(one.recall), cell(one.recall_library),
           f"{one.same} of {one.questions}", f"{one.p50_ms:.1f}")  # fmt: skip
    return Grid("Through the MCP server over stdio (tools/call recall, official client)", columns, [row])


def named(title: str, figures: Mapping[str, float]) -> Grid:
    """Return figures by name."""
    return Grid(title, ("figure", "value"), [(name, f"{value:.3f}") for name, value in figures.items()])
