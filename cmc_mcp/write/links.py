"""Links: edges between atoms, asserted in a unit of work."""

from __future__ import annotations

from cmc_mcp.atoms.edges import EDGES, Edge
from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import EDGE, atom_record
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.ports import WriteUnit


def premise_rid(unit: WriteUnit, premise: str) -> Rid:
    """Return the record number of a premise whose id was resolved before."""
    rid = unit.rid(atom_record(bytes.fromhex(premise.removeprefix("atom_"))))
    if rid is None:
        raise IntegrityError("a premise vanished while it was being linked", table="records", key=premise)
    return rid


def link(unit: WriteUnit, source: Rid, kind: str, target: Rid) -> Rid:
    """Assert an edge between atoms; return its record number."""
    record = EDGE.record(unit.record(source).key, kind.encode(), unit.record(target).key)
    rid, new = unit.intern(record)
    if new:
        unit.tell(EDGES, Edge(rid, source, kind, target))
    if not unit.intervals(rid):
        unit.set_intervals(rid, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts_of({})),))
    return rid
