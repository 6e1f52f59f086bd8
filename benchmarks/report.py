"""What the figures say: whether a bar in a name was reached, and what changed since the last stored result."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import Figures

LAST = Path(__file__).with_name("last.json")
NOISE = 0.2
"""A ratio that moved by less than this share is told as unchanged: two shared cores are not a quiet laboratory."""
_BAR = re.compile(r"\((≤|≥) ([\d.,]+)")


class Row(NamedTuple):
    """One figure with a bar, as the table shows it."""

    section: str
    name: str
    value: float
    reached: bool
    last: float | None

    @property
    def change(self) -> str:
        """Return the change since the last stored result."""
        if not self.last:
            return "new" if self.last is None else ""
        share = self.value / self.last - 1
        return "=" if abs(share) < NOISE else f"{share:+.0%}"


def is_reached(name: str, value: float) -> bool | None:
    """Return whether a figure reaches the bar in its name; None for a name without a bar.

    >>> is_reached("recall (≤ 1.5)", 1.4), is_reached("rate (≥ 6,000; stretch 15,000)", 5_999.0), is_reached("p50", 1.0)
    (True, False, None)
    """
    found = _BAR.search(name)
    if found is None:
        return None
    bar = float(found[2].replace(",", "").rstrip("."))
    return value <= bar if found[1] == "≤" else value >= bar


def rows(found: Mapping[str, Figures], last: Mapping[str, Figures]) -> list[Row]:
    """Return the figures that have a bar, beside the last stored ones."""
    return [
        Row(section, name, value, reached, last.get(section, {}).get(name))
        for section, figures in found.items()
        for name, value in figures.items()
        if (reached := is_reached(name, value)) is not None
    ]


def table(found: Mapping[str, Figures], last: Mapping[str, Figures]) -> str:
    """Return the table as Markdown."""
    lines = ["| section | figure | value | bar | since the last stored |", "|---|---|---|---|---|"]
    for row in rows(found, last):
        said = "reached" if row.reached else "**missed**"
        lines.append(f"| {row.section} | {row.name} | {row.value:,.3g} | {said} | {row.change} |")
    return "\n".join(lines)


def load(path: Path = LAST) -> dict[str, Figures]:
    """Read a stored result; empty if it is missing."""
    if not path.exists():
        return {}
    figures: dict[str, Figures] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return figures


def store(found: Mapping[str, Figures], path: Path) -> None:
    """Write a result with the machine it is of; sections that were not run stay as they were stored."""
    machine = {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}
    kept = {**load(path), **found}
    path.write_text(
        json.dumps({"machine": machine, "figures": kept}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
