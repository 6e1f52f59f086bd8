"""Dedupe: one memory stands for all with the same content, and for what says the same, and carries their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.ids import Pid, Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.rows import AtomRow


def duplicates(selection: Selection, contents: Mapping[Rid, Pid]) -> dict[Rid, list[str]]:
    """Return, for each of some memories (record number → content), the ids of the others with the same content.

    All that may be found at the read point, whether or not this question found them.
    """
    import numpy as np

    shown = {content: rid for rid, content in contents.items()}
    rows = [row for row in selection.view.atoms_of(list(shown)) if row[0] != shown[row[2]]]
    out: dict[Rid, list[str]] = {}
    if rows:
        passing = selection.passing(np.array([rid for rid, _, _ in rows], np.int64)).tolist()
        for (_, key, content), ok in zip(rows, passing, strict=True):
            if ok:
                out.setdefault(shown[content], []).append(atom_name(key))
    return out


def stood_for(selection: Selection, groups: Mapping[Rid, Sequence[AtomRow]]) -> dict[Rid, list[str]]:
    """Return, for each memory shown, the ids of all that it stands for.

    `groups` holds, by the atom that is shown, the atoms of its group, itself the first. Copies of a member follow it.
    """
    same = duplicates(selection, {row.rid: row.content for rows in groups.values() for row in rows})
    return {
        shown: [
            name for row in rows for name in ([] if row.rid == shown else [atom_name(row.key)]) + same.get(row.rid, [])
        ]
        for shown, rows in groups.items()
    }


def first_of_each(contents: Sequence[tuple[Rid, Pid]], seen: set[Pid]) -> list[Rid]:
    """Return those of some memories (record number, content) whose content neither came before nor was seen."""
    out, new = [], set(seen)
    for rid, content in contents:
        if content not in new:
            new.add(content)
            out.append(rid)
    return out
