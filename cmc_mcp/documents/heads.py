"""Heads of documents: what the record of a source is to history, and how its plans lose the words of what is erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.canon import payload_hash
from cmc_mcp.documents.headings import SEPARATOR
from cmc_mcp.documents.loading import indexed_text
from cmc_mcp.documents.manifest import Manifest, decode_manifest, redacted
from cmc_mcp.documents.nodes import nodes_in
from cmc_mcp.documents.sources import NODES, named
from cmc_mcp.ids import NodeKey, PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import ATOM, SOURCE, atom_record
from cmc_mcp.model.facts import FactFields, facts_of
from cmc_mcp.model.shown import ERASED
from cmc_mcp.store.behaviours import Behaviour, Gone, Ref
from cmc_mcp.store.ports import LedgerView, Objects, WriteUnit
from cmc_mcp.store.rows import AtomRow

_NAMED: Final = frozenset({"heading", "class", "function", "module"})
_MANIFEST: Final = "manifest"


class _Heads(Behaviour):
    """A head names the plan of its present version."""

    kind = SOURCE

    def refers(self, fields: FactFields) -> Iterable[Ref]:
        said = fields.get(_MANIFEST)
        return (Ref(_MANIFEST, str(said)),) if said else ()

    def origin(self, view: LedgerView, rid: Rid) -> Pid | None:
        return view.origin_of(rid)

    def subjects(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        """Return the memories of either version that the transaction changed too."""
        intervals = (*view.intervals(rid, Seq(seq - 1)), *view.intervals(rid, seq))
        plans = [named(view, str(interval.facts.fields[_MANIFEST])) for interval in intervals]
        keys = {part.atom for plan in plans if plan is not None for part in plan.parts}
        atoms = [atom for key in sorted(keys) if (atom := view.rid(atom_record(key))) is not None]
        changed = set(view.changed(Seq(seq - 1), seq))
        return [atom for atom in atoms if atom in changed]

    def bound(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        """Return what the new version of a document changed that dropped a memory: both are undone together."""
        if view.record(rid).kind != ATOM.code:
            return []
        origin = view.origin_of(rid)
        if not origin or view.intervals(rid, seq):
            return []
        head = view.rid(SOURCE.record(view.payload_row(origin).hash))
        return [] if head is None or seq not in view.change_seqs(head) else self.subjects(view, head, seq)

    def redact(self, unit: WriteUnit, gone: Gone) -> Collection[Pid]:
        _nodes(unit, gone.rows)
        return _plans(unit, gone.objects, gone.rows)


def _plans(unit: WriteUnit, objects: Objects, rows: Mapping[Rid, AtomRow]) -> set[Pid]:
    """Take the words of erased headings out of what stands under them; return the plans that held them."""
    out: set[Pid] = set()
    keys = {row.key for row in rows.values()}
    for origin in sorted({row.origin for row in rows.values() if row.origin}):
        rid = unit.rid(SOURCE.record(unit.payload_row(origin).hash))
        if rid is None:
            continue
        plans = dict(_versions(unit, rid))
        titles = {title for plan in plans.values() for title in _titles(plan, keys)}
        titles.discard(ERASED)
        if not titles:
            continue
        for row in unit.atoms_with_origin(origin):
            if row.rid not in rows and not is_erased(unit, unit.payload_row(row.content).hash):
                _rehead(unit, objects, row, titles)
        held = {pid for pid, plan in plans.items() if any(node.title in titles for node in plan.nodes)}
        out |= held
        _replace(unit, rid, {pid: plans[pid] for pid in held}, titles)
    return out


def _nodes(unit: WriteUnit, rows: Mapping[Rid, AtomRow]) -> None:
    """Destroy the vectors of every node, of any version, above what is erased, or under a title that goes with it."""
    keys = {row.key for row in rows.values()}
    for origin in sorted({row.origin for row in rows.values() if row.origin}):
        rid = unit.rid(SOURCE.record(unit.payload_row(origin).hash))
        if rid is None:
            continue
        plans = [plan for _, plan in _versions(unit, rid)]
        titles = {title for plan in plans for title in _titles(plan, keys)}
        gone: set[NodeKey] = set()
        for plan in plans:
            erased = [place for place, part in enumerate(plan.parts) if part.atom in keys]
            for node in nodes_in(plan):
                if titles.intersection(node.titles) or any(node.first <= place < node.end for place in erased):
                    gone.add(node.key)
        unit.drop_node_vectors(gone)
        unit.renew(NODES, rid)


def _versions(unit: LedgerView, rid: Rid) -> list[tuple[Pid, Manifest]]:
    out = []
    for *_, facts in unit.interval_rows(rid):
        pid = unit.pid(PayloadHash(bytes.fromhex(str(unit.facts(facts).fields["manifest"]))))
        body = None if pid is None else unit.payload(pid)
        if pid is not None and body is not None:
            out.append((pid, decode_manifest(body)))
    return out


def _titles(plan: Manifest, keys: Collection[bytes]) -> set[str]:
    """Return the titles that erased atoms gave to a plan; its own too, when nothing else is left of it."""
    titles = {node.path: node.title for node in plan.nodes}
    out = {
        titles.get(part.place.rpartition("#")[0], "")
        for part in plan.parts
        if part.atom in keys and part.kind in _NAMED and not part.place.startswith("#")
    }
    if all(part.atom in keys for part in plan.parts):
        out |= set(titles.values())
    return out - {""}


def _rehead(unit: WriteUnit, objects: Objects, row: AtomRow, titles: Collection[str]) -> None:
    old = unit.heading(row.rid)
    new = SEPARATOR.join(word for word in old.split(SEPARATOR) if word not in titles)
    for title in titles:
        if SEPARATOR in title:
            new = new.replace(title, "")
    if new != old:
        unit.rehead(row.rid, old, new, indexed_text(unit, objects, row))


def _replace(unit: WriteUnit, rid: Rid, held: Mapping[Pid, Manifest], titles: Collection[str]) -> None:
    """Give a source a plan without the words, in place of its present one."""
    for interval in unit.intervals(rid):
        pid = unit.pid(PayloadHash(bytes.fromhex(str(interval.facts.fields["manifest"]))))
        if pid is not None and pid in held:
            body = redacted(held[pid], titles, ERASED).encode()
            unit.put(body)
            facts = facts_of({"manifest": payload_hash(body).hex()})
            unit.set_intervals(rid, (Interval(interval.valid_from, interval.valid_to, facts),))


HEADS: Final = _Heads()
