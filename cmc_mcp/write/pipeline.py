"""The write pipeline: runs the stages, one transaction a call; `remember_many` is a series of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from cmc_mcp.canon import Json, payload_hash
from cmc_mcp.errors import Conflict, InvalidInput
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.limits import BATCH_ITEMS_MAX
from cmc_mcp.model.facts import claim_of
from cmc_mcp.model.results import ConflictNote, Quarantined, Receipt, SnapshotPair
from cmc_mcp.store.protocol import LedgerView, WriteUnit
from cmc_mcp.store.references import resolve_atom
from cmc_mcp.store.rows import Head
from cmc_mcp.write.commit import Batch, Laid
from cmc_mcp.write.draft import Draft, draft
from cmc_mcp.write.engine import Cancel, Engine, Progress, pair
from cmc_mcp.write.enrich import Vectors, enrich
from cmc_mcp.write.gate import keep_back, let_in, reasons
from cmc_mcp.write.validate import RememberArguments, Request, validate


def remember(engine: Engine, arguments: RememberArguments, *, cancel: Cancel | None = None) -> Receipt:
    """Remember one thing, in one transaction.

    Raises:
        InvalidInput: an argument is wrong; Conflict: the idempotency key was used for something else.
    """
    return _transact(engine, [validate(arguments)], "remember", cancel)


def remember_many(
    engine: Engine,
    items: Iterable[RememberArguments],
    *,
    progress: Progress | None = None,
    total: int = 0,
    cancel: Cancel | None = None,
) -> Receipt:
    """Remember many things, in transactions of at most 1,000; an interrupt keeps whole batches.

    Raises:
        InvalidInput: an item is wrong; its path begins with its number. Batches before it are kept.
    """
    receipts: list[Receipt] = []
    done = 0
    for batch in _batches(items):
        receipts.append(_transact(engine, batch, "remember", cancel))
        done += len(batch)
        if progress:
            progress(done, total)
    if not receipts:
        raise InvalidInput.at("items", "is empty; there is nothing to remember")
    return _sum(receipts)


def release(engine: Engine, request: Request, gate: int) -> Receipt:
    """Remember a request that is in quarantine under a gate record, past the gate."""
    return _transact(engine, [request], "release", None, gate=gate)


def _batches(items: Iterable[RememberArguments]) -> Iterator[list[Request]]:
    """Group requests: at most 1,000, a document origin once, an idempotency key alone (its receipt is its own)."""
    iterator, number = iter(items), 0
    batch: list[Request] = []
    origins: set[str] = set()
    while chunk := list(islice(iterator, BATCH_ITEMS_MAX)):
        for arguments in chunk:
            request = _numbered(arguments, number)
            number += 1
            again = request.session is None and request.source is not None and request.source in origins
            alone = request.idempotency_key is not None
            if batch and (again or alone or len(batch) >= BATCH_ITEMS_MAX):
                yield batch
                batch, origins = [], set()
            batch.append(request)
            if request.source is not None:
                origins.add(request.source)
            if alone:
                yield batch
                batch, origins = [], set()
    if batch:
        yield batch


def _numbered(arguments: RememberArguments, number: int) -> Request:
    try:
        return validate(arguments)
    except InvalidInput as error:
        raise InvalidInput.of([p._replace(path=f"items[{number}].{p.path}") for p in error.problems]) from error


def _transact(
    engine: Engine, requests: Sequence[Request], verb: str, cancel: Cancel | None, *, gate: int | None = None
) -> Receipt:
    clock = _Stopwatch()
    with engine.store.reader(engine.ws) as view:
        requests = [_resolved(view, request) for request in requests]
        key = requests[0].idempotency_key
        if key is not None and (known := _repeat(view, key, requests[0])) is not None:
            return known
        drafts = [draft(request) for request in requests]
        clock.lap("atomize")
        vectors = enrich(view, engine.embedder, drafts)
        clock.lap("enrich")
    for item in drafts:
        for part in item.parts:
            if len(part.data) > engine.settings.inline_bytes:
                engine.objects.put(engine.ws, part.hash, part.data)
    with engine.store.writer(engine.ws) as unit:
        if key is not None and (known := _repeat(unit, key, requests[0])) is not None:
            return known  # nothing was collected, so leaving commits nothing
        batch = Batch(unit, engine.principal, engine.settings.inline_bytes)
        kept_back: list[Quarantined] = []
        for item in drafts:
            why = reasons(unit, item) if gate is None else []
            if why:
                kept_back.append(Quarantined(id=keep_back(unit, item.request, why), reasons=why))
            else:
                batch.lay(item)
        if gate is not None:
            let_in(unit, gate)
        clock.lap("index")
        pending = index_vectors(engine, unit, batch.laid, vectors)
        conflicts = conflicts_of(unit, batch.laid)
        arguments: dict[str, Json] = {"requests": payload_hash(b"".join(r.digest() for r in requests)).hex()}
        receipt = partial(_receipt, unit, batch.laid, kept_back, pending, conflicts, drafts)
        if key is not None:
            body = receipt(unit.before, {}).model_dump_json(exclude={"snapshot"})
            unit.add_key(key, requests[0].digest(), body.encode())
        head = engine.commit(unit, verb, arguments, cancel)
    clock.lap("commit")
    return receipt(head, clock.laps)


def _resolved(view: LedgerView, request: Request) -> Request:
    """Write the premises as full ids."""
    if not request.derived_from:
        return request
    names = []
    for index, reference in enumerate(request.derived_from):
        rid = resolve_atom(view, reference, f"derived_from[{index}]")
        names.append(atom_name(view.record(rid).key))
    return replace(request, derived_from=tuple(dict.fromkeys(names)))


def _repeat(view: LedgerView, key: str, request: Request) -> Receipt | None:
    """Give the original receipt of an idempotency key that was used before."""
    found = view.idempotency(key)
    if found is None:
        return None
    digest, seq, body = found
    if digest != request.digest():
        raise Conflict(
            f"the idempotency key {key!r} was used for another request, in transaction {seq}; use a new key",
            transaction=seq,
        )
    before, after = view.head_at(seq - 1), view.head_at(seq)
    undone = next((t.seq for t in view.rollbacks(seq) if _undoes(view, t.seq, seq)), None)
    raw = Receipt.model_validate_json(body[:-1] + b',"snapshot":{"before":"","after":""}}')
    return raw.model_copy(update={"snapshot": pair(before, after), "undone_by": undone})


def _undoes(view: LedgerView, rollback: int, seq: int) -> bool:
    return bool(set(view.changed(rollback - 1, rollback)) & set(view.changed(seq - 1, seq)))


def index_vectors(engine: Engine, unit: WriteUnit, laid: Laid, vectors: Vectors) -> int:
    """Add the vectors of new contents; give how many atoms stay without one."""
    if not laid.contents:
        return 0
    if engine.embedder is None:
        return len(laid.contents)
    identity = engine.embedder.identity
    model = unit.model_number(identity.model_id, identity.weights_digest, identity.precision, identity.dimension)
    old = [pid for pid in laid.contents if pid <= unit.before.last_pid]  # what is new has no vector yet
    known = unit.embedded(model, old) if old else set()
    pending = 0
    for pid, hash_ in laid.contents.items():
        if pid in known:
            continue
        vector = vectors.by_hash.get(hash_)
        if vector is None:
            pending += 1
        else:
            unit.add_vector(model, pid, vector)
    return pending


def conflicts_of(view: LedgerView, laid: Laid) -> list[ConflictNote]:
    """Find live claims about the same subject and predicate that say something else at a common time."""
    notes: list[ConflictNote] = []
    for rid, registers in laid.claims:
        claim = claim_of(registers)
        if claim is None or claim.many:
            continue
        mine = view.pieces(rid)
        facts = view.facts_with_claim(claim.subject, claim.predicate)
        for other, start, end, pid in view.holders(facts, view.head().seq) if facts else []:
            theirs = claim_of(view.facts(pid).registers)
            if other == rid or theirs is None or theirs.many or theirs.object == claim.object:
                continue
            if any(p.valid_from < end and start < p.valid_to for p in mine):
                notes.append(
                    ConflictNote(
                        with_id=atom_name(view.record(other).key),
                        kind="claim",
                        reason=f"{claim.subject} · {claim.predicate}: it says {theirs.object!r}, this says {claim.object!r}",
                    )
                )
    return notes


def _receipt(
    unit: WriteUnit,
    laid: Laid,
    kept_back: list[Quarantined],
    pending: int,
    conflicts: list[ConflictNote],
    drafts: Sequence[Draft],
    after: Head,
    timings_ms: dict[str, float],
) -> Receipt:
    return Receipt(
        transaction=unit.seq,
        snapshot=pair(unit.before, after),
        timings_ms=timings_ms,
        added=_names(laid.added),
        reaffirmed=_names(laid.reaffirmed),
        restored=_names(laid.restored),
        retired=_names(laid.retired),
        quarantined=kept_back,
        pending=pending,
        conflicts=conflicts,
        source=drafts[0].origin if len(drafts) == 1 and drafts[0].stream != "note" else None,
    )


def _names(keys: Iterable[bytes]) -> list[str]:
    return [atom_name(key) for key in dict.fromkeys(keys)]


def _sum(receipts: Sequence[Receipt]) -> Receipt:
    """Add receipts of consecutive transactions up."""
    if len(receipts) == 1:
        return receipts[0]
    first, last = receipts[0], receipts[-1]
    timings: dict[str, float] = {}
    for receipt in receipts:
        for stage, ms in receipt.timings_ms.items():
            timings[stage] = round(timings.get(stage, 0.0) + ms, 3)
    return Receipt(
        transaction=last.transaction,
        snapshot=SnapshotPair(before=first.snapshot.before, after=last.snapshot.after),
        added=[name for receipt in receipts for name in receipt.added],
        reaffirmed=[name for receipt in receipts for name in receipt.reaffirmed],
        restored=[name for receipt in receipts for name in receipt.restored],
        retired=[name for receipt in receipts for name in receipt.retired],
        quarantined=[entry for receipt in receipts for entry in receipt.quarantined],
        conflicts=[note for receipt in receipts for note in receipt.conflicts],
        pending=sum(receipt.pending for receipt in receipts),
        transactions=len(receipts),
        timings_ms=timings,
    )


class _Stopwatch:
    """Times of stages, in milliseconds; shown, never hashed."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = round((now - self._last) * 1000, 3)
        self._last = now
