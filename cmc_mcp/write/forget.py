"""Forget: end belief in memories; or erase them, destroying their bytes. Both show a plan first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmc_mcp import limits
from cmc_mcp.canon import Json, digest, payload_hash
from cmc_mcp.errors import Conflict, InvalidInput, LimitExceeded
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import ErasureKind, SourceKind
from cmc_mcp.kernel.pieces import Piece
from cmc_mcp.model.facts import NO_FACTS, facts_of
from cmc_mcp.model.results import ForgetResult, Receipt
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.loading import content_of
from cmc_mcp.store.manifest import decode_manifest
from cmc_mcp.store.protocol import LedgerView, WriteUnit
from cmc_mcp.store.references import PointLike, resolve_atoms, resolve_point
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow, checked
from cmc_mcp.write.engine import Cancel, Engine, pair

_NAMED = frozenset({"heading", "class", "function", "module"})


@dataclass(frozen=True, slots=True)
class Selection:
    """What to forget: ids, or what matches all that is given."""

    ids: tuple[str, ...] = ()
    source: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    writer: str | None = None
    since: PointLike | None = None


def forget(
    engine: Engine,
    selection: Selection,
    *,
    reason: str | None = None,
    dry_run: bool = False,
    erase: bool = False,
    digest_: str | None = None,
    cancel: Cancel | None = None,
) -> ForgetResult:
    """Forget what is selected, in one transaction; with `erase`, destroy its content for good.

    Raises:
        InvalidInput: nothing, or ids and a selection, are given, or an erase comes without its plan's digest;
        Conflict: the plan is no longer the one the digest was given for; NotFound: no such memory.
    """
    if reason is not None and len(reason) > limits.REASON_CHARS_MAX:
        raise LimitExceeded.over("reason", "REASON_CHARS_MAX", len(reason), limits.REASON_CHARS_MAX)
    if dry_run:
        with engine.store.reader(engine.ws) as view:
            return _plan(view, selection, erase)
    if erase and digest_ is None:
        raise InvalidInput.at("digest", "an erase destroys content for good: call with dry_run first, then give its digest")
    with engine.store.writer(engine.ws) as unit:
        plan = _plan(unit, selection, erase)
        if digest_ is not None and digest_ != plan.digest:
            raise Conflict("the store has changed since that plan was made; nothing was forgotten. Make a new dry run")
        rids = resolve_atoms(unit, plan.ids) if plan.ids else []
        for rid in rids:
            unit.set_pieces(rid, ())
        arguments: dict[str, Json] = {"ids": len(plan.ids)}
        if reason:
            arguments["reason"] = reason
        erased: list[bytes] = []
        if erase:
            erased = _erase(engine, unit, rids)
        head = engine.commit(unit, "erase" if erase else "forget", arguments, cancel)
    receipt = Receipt(transaction=head.seq, snapshot=pair(unit.before, head), retracted=plan.ids)
    if erase:
        for hash_ in erased:
            engine.objects.delete(engine.ws, hash_)
        receipt = receipt.model_copy(update={"pages_pending": not engine.store.scrub()})
    return plan.model_copy(update={"receipt": receipt, "dry_run": False})


def _plan(view: LedgerView, selection: Selection, erase: bool) -> ForgetResult:
    rids = select(view, selection, also_dead=erase)
    names = [atom_name(view.record(rid).key) for rid in rids]
    head = view.head()
    bound = digest("cmc/plan/1", head.hash, str(erase).encode(), "\n".join(names).encode()).hex()[:32]
    shared: list[str] = []
    if erase:
        mine = set(rids)
        for row in view.atoms(rids).values():
            shared += [atom_name(o.key) for o in view.atoms_with("content", row.content) if o.rid not in mine]
    return ForgetResult(dry_run=True, digest=bound, ids=names, erase=erase, shared=sorted(set(shared)))


def select(view: LedgerView, selection: Selection, *, also_dead: bool = False) -> list[int]:
    """Find what is selected; of the dead only those named by id, and only where asked."""
    general = (selection.source, selection.writer, selection.since)
    if selection.ids:
        if selection.tags or any(part is not None for part in general):
            raise InvalidInput.at("ids", "give ids, or a selection by source, tags, writer and since, not both")
        if len(selection.ids) > limits.FORGET_IDS_MAX:
            raise LimitExceeded.over("ids", "FORGET_IDS_MAX", len(selection.ids), limits.FORGET_IDS_MAX)
        rids = resolve_atoms(view, selection.ids)
        return rids if also_dead else [rid for rid in rids if view.pieces(rid)]
    if not selection.tags and all(part is None for part in general):
        raise InvalidInput.at("ids", "nothing is selected: give ids, or a source, tags, a writer or since")
    found: set[int] | None = None

    def narrow(rids: Sequence[int]) -> None:
        nonlocal found
        found = set(rids) if found is None else found & set(rids)

    if selection.source is not None:
        pid = view.pid(payload_hash(selection.source.encode()))
        narrow([] if pid is None else [row.rid for row in view.atoms_with("origin", pid)])
    seq = view.head().seq
    for name, value in selection.tags:
        facts = view.facts_with_tag(name, value)
        narrow([rid for rid, *_ in view.holders(facts, seq)] if facts else [])
    if selection.since is not None:
        narrow(view.changed(resolve_point(view, selection.since, "since", latest=True), seq))
    if selection.writer is not None:
        narrow(_written(view, selection.writer, found))
    atoms = view.atoms(sorted(found or ()))
    return [rid for rid in sorted(atoms) if view.pieces(rid)]


def _written(view: LedgerView, writer: str, among: set[int] | None) -> list[int]:
    witnesses = set(view.witnesses_of(writer))
    rows = view.all_atoms() if among is None else iter(view.atoms(sorted(among)).values())
    return [row.rid for row in rows if row.witness in witnesses]


# ---------------------------------------------------------------------- erase
def _erase(engine: Engine, unit: WriteUnit, rids: list[int]) -> list[bytes]:
    """Destroy the payloads that only these atoms use, and what was made of them; give the objects to delete."""
    rows = unit.atoms(rids)
    bodies: dict[int, AtomRow] = {}
    for row in rows.values():
        for shared in unit.atoms_with("content", row.content):
            bodies[shared.rid] = shared
    texts = {rid: (unit.heading(rid), _indexed(engine, unit, row)) for rid, row in bodies.items()}
    contents = {row.content for row in rows.values()}
    facts = {pid for rid in rids for *_, pid in unit.piece_rows(rid)}
    own_facts = {pid for pid in facts if set(unit.facts_used(pid)) <= set(rids)} - {unit.pid(NO_FACTS.hash)}
    discriminators = {row.discriminator for row in rows.values() if row.discriminator}
    manifests = _manifests(unit, rows)
    pids = sorted(contents | own_facts | discriminators | manifests)
    payloads = unit.payload_rows(pids)
    for pid in pids:
        record, _ = unit.intern(ErasureKind.record(payloads[pid].hash))
        body = facts_of({"hash": payloads[pid].hash.hex(), "atoms": len(rows)})
        unit.set_pieces(record, (Piece(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, body),))
    unit.erase(pids, sorted(texts), texts)
    return [payloads[pid].hash for pid in sorted(contents) if payloads[pid].object]


def _indexed(engine: Engine, unit: WriteUnit, row: AtomRow) -> str:
    """Give the text of an atom as full text knows it."""
    if MODALITIES[row.modality] in BINARY:
        return ""
    payload = unit.payload_row(row.content)
    data = content_of(unit, engine.objects, payload, {payload.pid: checked(payload)})
    return "" if data is None else data.decode()


def _manifests(unit: WriteUnit, rows: dict[int, AtomRow]) -> set[int]:
    """Give the manifests that hold words of what is erased: a heading's or a function's name is in the hierarchy."""
    keys = {row.key for row in rows.values()}
    out: set[int] = set()
    for origin in {row.origin for row in rows.values() if row.origin}:
        body = unit.payload_row(origin).body
        rid = None if body is None else unit.rid(SourceKind.record(payload_hash(body)))
        for *_, pid in unit.piece_rows(rid) if rid is not None else ():
            manifest = unit.pid(bytes.fromhex(str(unit.facts(pid).registers["manifest"])))
            stored = None if manifest is None else unit.payload(manifest)
            if manifest is None or stored is None:
                continue
            parts = decode_manifest(stored).parts
            named = any(part.atom in keys and part.kind in _NAMED for part in parts)
            if named or all(part.atom in keys for part in parts):
                out.add(manifest)
    return out
