"""Dedupe: one memory stands for all with the same content, and carries their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.read.retrieve import Selection


def duplicates(selection: Selection, contents: Mapping[int, int]) -> dict[int, list[str]]:
    """Give, for each of some memories (record number → content), the ids of the others with the same content.

    All that may be found at the read point, whether or not this question found them.
    """
    import numpy as np

    shown = {content: rid for rid, content in contents.items()}
    rows = [row for row in selection.view.atoms_of(list(shown)) if row[0] != shown[row[2]]]
    out: dict[int, list[str]] = {}
    if rows:
        passing = selection.passing(np.array([rid for rid, _, _ in rows], np.int64)).tolist()
        for (_, key, content), ok in zip(rows, passing, strict=True):
            if ok:
                out.setdefault(shown[content], []).append(atom_name(key))
    return out


def first_of_each(contents: Sequence[tuple[int, int]], seen: set[int]) -> list[int]:
    """Give those of some memories (record number, content) whose content neither came before nor was seen."""
    out, new = [], set(seen)
    for rid, content in contents:
        if content not in new:
            new.add(content)
            out.append(rid)
    return out
