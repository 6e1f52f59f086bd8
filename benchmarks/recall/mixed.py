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
from typing import Final

from benchmarks.recall.notes import notes_scope
from benchmarks.recall.sets import SETS, Ask, Scope, load

MIXED: Final = "mixed"


def mixtures(folder: Path, names: Sequence[str] = SETS, most: int | None = None) -> list[Scope]:
    """Return the mixtures of some sets, at most so many. The category of a question is its set."""
    sets = [*(load(folder, name) for name in names), [notes_scope()]]
    count = max(map(len, sets))
    if most is not None:
        count = min(count, most)
    out = []
    for place in range(count):
        parts = tuple(_part(scopes, place, count) for scopes in sets)
        docs = tuple(doc for part in parts for doc in part.docs)
        asks = tuple(ask for part in parts for ask in part.asks)
        out.append(Scope(MIXED, f"mixture-{place + 1}", docs, asks, parts))
    return out


def _part(scopes: Sequence[Scope], place: int, count: int) -> Scope:
    """Return the scope of a set that a mixture holds, with the questions that are asked in this mixture."""
    scope = scopes[place % len(scopes)]
    asks = scope.asks
    if len(scopes) == 1:
        asks = asks[place::count]
    elif place >= len(scopes):
        asks = ()
    asked: list[Ask] = [{**ask, "category": scope.set} for ask in asks]
    return Scope(scope.set, scope.name, scope.docs, tuple(asked))
