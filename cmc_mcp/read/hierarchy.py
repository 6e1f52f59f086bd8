"""Hierarchy: what stands above a memory, and beside it (`docs/design/read.md` §§5, 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.ids import ModelNumber, Rid, Seq
from cmc_mcp.index.nodematrix import Near, NodeMatrix, Plan, Plans, depth, nearest_by_rows
from cmc_mcp.kernel.kinds import SOURCE, atom_record
from cmc_mcp.model.results import Neighbour

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.read.point import Point
    from cmc_mcp.read.retrieve import Selection
    from cmc_mcp.store.ports import Objects, ReadView

_LOOKED_INTO: Final = 16  # times as many nodes as are wanted, where filters leave little below them


def above(
    selection: Selection,
    nodes: NodeMatrix | None,
    manifests: Manifests,
    model: ModelNumber,
    query: npt.NDArray[np.float32],
    k: int,
    decay: float,
    atoms_max: int,
) -> dict[Rid, float]:
    """Return, for the atoms that may be found below the `k` nearest nodes, the best cosine of a node above each.

    A level between node and atom costs a factor `decay` (0 to 1). Nodes count whose vector and version were there at
    the selection's point; of the nearest 16·k, those are passed over that have more than `atoms_max` atoms (they say
    too little of each), or below which nothing may be found. The answer is the same with the nodes in memory and by SQL
    (`nodes` None), scores rounded to 1e-6.
    """
    import numpy as np

    view, seq = selection.view, selection.point.head.seq
    plans = Plans() if nodes is None else nodes.plans
    found = [near for near in _nearest(selection, nodes, model, query, _LOOKED_INTO * k) if near.cosine > 0]
    out: dict[Rid, float] = {}
    taken = 0
    for start in range(0, len(found), k):
        below = [
            (near, _below(view, plans, manifests, near, seq, decay, atoms_max)) for near in found[start : start + k]
        ]
        every = np.array(sorted({rid for _, atoms in below for rid in atoms}), np.int64)
        passing = set(every[selection.passing(every)].tolist()) if len(every) else set()
        for near, atoms in below:
            mine = {rid: share for rid, share in atoms.items() if rid in passing}
            for rid, share in mine.items():
                out[rid] = max(out.get(rid, 0.0), round(near.cosine * share, 6))
            taken += bool(mine)
            if taken == k:
                return out
    return out


def _nearest(
    selection: Selection, nodes: NodeMatrix | None, model: ModelNumber, query: npt.NDArray[np.float32], count: int
) -> list[Near]:
    view, seq = selection.view, selection.point.head.seq
    sources = None
    if (origins := selection.limits.origins) is not None:
        heads = [view.rid(SOURCE.record(view.payload_row(pid).hash)) for pid in origins]
        sources = [rid for rid in heads if rid is not None]
    if nodes is None or nodes.model != model:
        return nearest_by_rows(view, model, query, seq, sources, count)
    nodes.catch_up(view, view.head().seq)
    return nodes.nearest(query, seq, sources, count)


def _below(
    view: ReadView, plans: Plans, manifests: Manifests, near: Near, seq: Seq, decay: float, atoms_max: int
) -> Mapping[Rid, float]:
    """Return the atoms below a node, each with what its distance leaves of the node's score."""
    plan: Plan | None = plans.at(view, manifests, near.source, seq)
    first, end = (0, 0) if plan is None else plan.spans.get(near.path, (0, 0))
    if plan is None or end - first > atoms_max:
        return {}
    level = depth(near.path)
    atoms = cast("Sequence[Rid]", plan.atoms)
    return {atoms[place]: decay ** (plan.depths[place] - level) for place in range(first, end) if atoms[place]}


# ---------------------------------------------------------------------- beside
def neighbours(
    view: ReadView, objects: Objects, manifests: Manifests, point: Point, loaded: Sequence[Loaded], n: int
) -> dict[Rid, list[Neighbour]]:
    """Return the neighbours within `n` places on each side of memories, in order: turns of one session, atoms of one section.

    Only what holds at the point, and was not erased; filters of a question do not apply, since it is context.
    """
    beside = {item.row.rid: _beside(view, manifests, point, item, n) for item in loaded} if n else {}
    rids = list(dict.fromkeys(rid for before, after in beside.values() for rid in (*before, *after)))
    found = load(view, objects, rids, point.head.seq, point.valid_at) if rids else {}
    out: dict[Rid, list[Neighbour]] = {}
    for item in loaded:
        before, after = beside.get(item.row.rid, ([], []))
        known = [(rid, found[rid]) for rid in (*before, *after) if rid in found and found[rid].data is not None]
        session = item.discriminator.get("session")
        out[item.row.rid] = [
            Neighbour(id=other.name, text=other.text, after=rid in after)
            for rid, other in known
            if other.discriminator.get("session") == session
        ]
    return out


def _beside(view: ReadView, manifests: Manifests, point: Point, item: Loaded, n: int) -> tuple[list[Rid], list[Rid]]:
    """Return the record numbers of what stands before and after a memory, in order."""
    if not item.row.origin:
        return [], []
    if "session" in item.discriminator:
        return _turns_beside(view, point.head.seq, item, n)
    found = manifests.of_origin(view, item.origin, point.head.seq)
    if found is None:
        return [], []
    parts = found[1].parts
    place = next((number for number, part in enumerate(parts) if part.atom == item.row.key), None)
    if place is None:
        return [], []
    section = _section(parts[place].place)
    near = range(max(0, place - n), min(len(parts), place + n + 1))
    keys = [(number, parts[number]) for number in near if number != place]
    mine = [(number, view.rid(atom_record(part.atom))) for number, part in keys if _section(part.place) == section]
    before = [rid for number, rid in mine if number < place and rid is not None]
    return before, [rid for number, rid in mine if number > place and rid is not None]


def _section(place: str) -> str:
    return place.rpartition("#")[0]


def _turns_beside(view: ReadView, seq: Seq, item: Loaded, n: int) -> tuple[list[Rid], list[Rid]]:
    position = next(
        (
            position
            for position, rid in view.item_of(item.row.rid)
            if any(p.facts.fields.get("atom") == item.row.key.hex() for p in view.intervals(rid, seq))
        ),
        None,
    )
    if position is None:
        return [], []
    before: list[Rid] = []
    after: list[Rid] = []
    for other, rid in view.items_between(item.row.origin, position - n, position + n):
        for interval in view.intervals(rid, seq) if other != position else ():
            atom = view.rid(atom_record(bytes.fromhex(str(interval.facts.fields["atom"]))))
            if atom is not None:
                (before if other < position else after).append(atom)
    return before, after
