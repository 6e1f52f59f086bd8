"""Everything in one workspace: each open set's questions asked where the other sets and short notes are remembered too.

A mixture is a workspace that holds one scope of each set, and the notes of `notes.py`. There are as many mixtures as the
set of the most scopes has; a set of fewer goes round. So what stands beside a question's own documents is always of *other*
sets: its own scope is there whole and once, its neighbours, sessions and statistics of its own kind stay what they were, and
no second conversation of its own set takes a place, which is another question than this one. Each question is asked once: in
the first mixture that holds its scope; those of a set of one scope are dealt out over the mixtures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from benchmarks.recall.notes import notes_scope
from benchmarks.recall.report import Grid, cell, signed
from benchmarks.recall.run import SetFigures
from benchmarks.recall.sets import SETS, Scope, load
from benchmarks.recall.variants import SHIPPED

MIXED: Final = "mixed"
MIXED_LOSS_MAX: Final = 0.01  # of R@10, against the set alone


def mixtures(folder: Path, names: Sequence[str] = SETS, most: int | None = None) -> list[Scope]:
    """Return the mixtures of some sets, at most so many. The category of a question is its set."""
    sets = [*(load(folder, name) for name in names), [notes_scope()]]
    count = max(map(len, sets))
    if most is not None:
        count = min(count, most)
    out = []
    for place in range(count):
        parts = tuple(_part(scopes, place, count) for scopes in sets)
        docs, asks = (tuple(one for part in parts for one in given) for given in _columns(parts))
        out.append(Scope(MIXED, f"mixture-{place + 1}", docs, asks, parts))  # type: ignore[arg-type]
    return out


def _columns(parts: Sequence[Scope]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    return [part.docs for part in parts], [part.asks for part in parts]


def _part(scopes: Sequence[Scope], place: int, count: int) -> Scope:
    """Return the scope of a set that a mixture holds, with the questions that are asked in this mixture."""
    scope = scopes[place % len(scopes)]
    asks = scope.asks
    if len(scopes) == 1:
        asks = asks[place::count]
    elif place >= len(scopes):
        asks = ()
    return Scope(
        scope.set,
        scope.name,
        scope.docs,
        tuple({**ask, "category": scope.set} for ask in asks),
        (),  # type: ignore[arg-type]
    )


def beside_alone(mixed: SetFigures, alone: dict[str, SetFigures], metrics: ModuleType) -> Grid:
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
            said = "yes" if mean >= -MIXED_LOSS_MAX else "no"
        near = [row for row in cosine if row["category"] == name]
        cells = [cell(metrics.mean_of(own, "R@10") if own else None), cell(metrics.mean_of(part, "R@10"))]
        firsts = [cell(metrics.mean_of(part, "R@1")), cell(metrics.mean_of(near, "R@1") if near else None)]
        rows.append(
            (name, str(len(part)), *cells, change, said, cell(metrics.mean_of(near, "R@10") if near else None), *firsts)
        )
    columns = ("set", "n", "R@10 alone", "R@10 mixed", "mixed − alone (95 %)", f"within {MIXED_LOSS_MAX}", "cosine, mixed",
               "R@1 mixed", "R@1 cosine")  # fmt: skip
    return Grid("Everything in one workspace", columns, rows)
