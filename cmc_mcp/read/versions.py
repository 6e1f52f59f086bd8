"""Versions: what one memory, or one source, was over time, and what it stands on."""

from __future__ import annotations

from typing import Final, cast

from pydantic import JsonValue

from cmc_mcp.canon import payload_hash
from cmc_mcp.documents.loading import load, place_of
from cmc_mcp.documents.manifest import ManifestNode
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.errors import NotFound
from cmc_mcp.history.log import transaction_model
from cmc_mcp.history.references import resolve_atom, resolve_origin
from cmc_mcp.ids import PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import SOURCE
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.model.results import HistoryResult, NodeModel, SourceVersion, Version
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.read.items import item_of
from cmc_mcp.read.outline import outline, turns_in, whole
from cmc_mcp.store.ports import LedgerView, Objects

_LINEAGE_DEPTH_MAX: Final = 10


# ---------------------------------------------------------------------- one memory
def memory_versions(view: LedgerView, objects: Objects, manifests: Manifests, reference: str) -> HistoryResult:
    """Return one memory: every version on both clocks, its lineage up and down, and where it stands in its source."""
    rid = resolve_atom(view, reference)
    rows = view.interval_rows(rid)
    last = max((min(row[3], OPEN) for row in rows), default=0)
    seq = view.head().seq if last == OPEN else Seq(last - 1)
    loaded = load(view, objects, [rid], seq, None).get(rid)
    item = None
    if loaded is not None:
        place, hash_ = place_of(view, manifests, loaded, seq)
        item = item_of(loaded, recorded_us=view.head_at(loaded.row.seq).recorded_us)
        item = item.model_copy(update={"place": place, "dependency_hash": hash_})
    versions = [
        Version(
            valid_from=format_time(start),
            valid_to=format_time(end),
            recorded=tx_from,
            ended=None if tx_to == OPEN else tx_to,
            facts=cast("dict[str, JsonValue]", dict(view.facts(pid).fields)),
        )
        for start, end, tx_from, tx_to, pid in rows
    ]
    around = HistoryResult()
    if loaded is not None and item is not None and item.place is not None and loaded.origin != ERASED:
        around = outline(view, objects, manifests, loaded.origin, item.place, seq=seq, limit=0)
    return HistoryResult(
        memory=item,
        parent=around.parent,
        siblings=around.siblings,
        versions=versions,
        derived_from=_lineage(view, rid, "derives", incoming=False),
        supports=_lineage(view, rid, "derives", incoming=True),
        supersedes=_lineage(view, rid, "supersedes", incoming=False),
        superseded_by=_lineage(view, rid, "supersedes", incoming=True),
        transactions=[transaction_model(view, row, []) for s in view.change_seqs(rid) if (row := view.transaction(s))],
    )


def _lineage(view: LedgerView, rid: Rid, kind: str, *, incoming: bool) -> list[str]:
    """Walk edges of a type, nearest first, at most ten deep."""
    out: dict[Rid, None] = {}
    layer = [rid]
    for _ in range(_LINEAGE_DEPTH_MAX):
        found = [e for e in view.edges(layer, incoming=incoming) if e.type == kind and view.intervals(e.rid)]
        layer = [r for e in found if (r := e.source if incoming else e.target) not in out and r != rid]
        out.update(dict.fromkeys(layer))
        if not layer:
            break
    return [atom_name(view.record(r).key) for r in out]


# ---------------------------------------------------------------------- one source
def source_versions(view: LedgerView, origin: str, manifests: Manifests) -> HistoryResult:
    """Return the versions of a source, newest first, and the hierarchy of the last one.

    Raises:
        NotFound: the source does not exist.
    """
    origin = resolve_origin(view, origin)
    hash_ = payload_hash(origin.encode())
    pid = view.pid(hash_)
    rid = view.rid(SOURCE.record(hash_))
    if rid is not None:
        return _document(view, rid, manifests)
    if pid is not None and view.items(pid):
        return _conversation(view, pid, origin)
    raise NotFound(f"no source {origin!r} exists in this workspace; a bare note has no versions", source=origin)


def _document(view: LedgerView, rid: Rid, manifests: Manifests) -> HistoryResult:
    versions: list[SourceVersion] = []
    nodes: tuple[ManifestNode, ...] = ()
    for _, _, tx_from, _, pid in view.interval_rows(rid):
        hash_ = PayloadHash(bytes.fromhex(str(view.facts(pid).fields["manifest"])))
        manifest = manifests.get(view, hash_)
        versions.append(
            SourceVersion(
                version=hash_.hex()[:32],
                transaction=tx_from,
                recorded_at=format_time(view.head_at(tx_from).recorded_us) or "",
                parts=0 if manifest is None else len(manifest.parts),
                bytes=None if manifest is None else manifest.size,
            )
        )
        nodes = () if manifest is None else manifest.nodes
    return HistoryResult(
        source_versions=versions[::-1],
        nodes=[NodeModel(path=n.path, level=n.level, title=n.title, dependency_hash=n.dependency_hash) for n in nodes],
    )


def _conversation(view: LedgerView, pid: Pid, origin: str) -> HistoryResult:
    """One version a turn; its hierarchy is conversation › session, hashed over the turns in order."""
    versions: list[SourceVersion] = []
    for position, rid in view.items(pid):
        for _, _, tx_from, _, facts in view.interval_rows(rid):
            versions.append(
                SourceVersion(
                    version=str(view.facts(facts).fields["chain"])[:32],
                    transaction=tx_from,
                    recorded_at=format_time(view.head_at(tx_from).recorded_us) or "",
                    parts=position + 1,
                )
            )
    places = turns_in(view, origin, view.head().seq)
    nodes = [
        NodeModel(path=p.path, level=p.level, title=p.title, dependency_hash=p.dependency_hash)
        for p in places or [whole(origin, [])]
        if p.atom is None
    ]
    return HistoryResult(source_versions=sorted(versions, key=lambda v: (-v.transaction, -v.parts)), nodes=nodes)
