"""The write pipeline: runs the stages, one transaction a call; `remember_many` is a series of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from cmc_mcp.atoms.erasures import is_erased
from cmc_mcp.atoms.superseded import Superseded
from cmc_mcp.canon import Json, payload_hash
from cmc_mcp.errors import InvalidInput, LimitExceeded, NotFound, StoreError
from cmc_mcp.history.references import resolve_atom
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.limits import ATOM_BYTES_MAX, BATCH_ITEMS_MAX, DOCUMENT_ATOMS_MAX
from cmc_mcp.model.calls import Cancel, Progress
from cmc_mcp.model.results import Quarantined, Receipt, SnapshotPair
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.rows import Head
from cmc_mcp.workspace import Workspace
from cmc_mcp.write.commit import Batch, Staged
from cmc_mcp.write.disagree import Disagreement, conflicts_of, echoes_of
from cmc_mcp.write.draft import Draft, draft
from cmc_mcp.write.enrich import Vectors, enrich, unembedded
from cmc_mcp.write.gate import keep_back, let_in, readmit, reasons
from cmc_mcp.write.receipts import pair
from cmc_mcp.write.repeat import repeated
from cmc_mcp.write.validate import RememberArguments, Request, validate


def remember(workspace: Workspace, arguments: RememberArguments, *, cancel: Cancel | None = None) -> Receipt:
    """Remember one thing, in one transaction.

    Raises:
        InvalidInput: an argument is wrong.
        Conflict: the idempotency key was used for something else.
    """
    return _transact(workspace, [validate(arguments)], "remember", cancel)


def remember_many(
    workspace: Workspace,
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
    if not isinstance(items, Iterable):
        raise InvalidInput.at("items", f"is a {type(items).__name__}; pass a list of what to remember")
    receipts: list[Receipt] = []
    done = 0
    with workspace.reader() as view:
        start = view.head().seq
    try:
        for batch in _batches(items):
            while batch:
                try:
                    receipts.append(_transact(workspace, batch, "remember", cancel))
                    taken = len(batch)
                except _LaterPremise as later:  # what comes before it may be what it rests on
                    taken = later.place
                    if not taken:
                        raise NotFound(f"items[{done}].{later.cause.message}", **later.cause.fields) from later
                    receipts.append(_transact(workspace, batch[:taken], "remember", cancel))
                batch = batch[taken:]
                done += taken
                if progress:
                    progress(done, total)
    except StoreError as error:
        if not done:
            raise
        raise error.after(f"the first {done} items are kept") from error
    if not receipts:
        raise InvalidInput.at("items", "is empty; pass content to remember")
    return _sum(receipts, start)


def release(workspace: Workspace, request: Request, gate: Rid, writer: str) -> Receipt:
    """Remember a request that is in quarantine under a gate record, past the gate, as its writer gave it."""
    return _transact(workspace, [request], "release", None, gate=gate, writer=writer)


def _batches(items: Iterable[RememberArguments]) -> Iterator[list[Request]]:
    """Group requests: at most 1,000, a document once, an idempotency key alone (its receipt is its own)."""
    iterator, number = iter(items), 0
    batch: list[Request] = []
    origins: set[str | bytes] = set()
    while chunk := list(islice(iterator, BATCH_ITEMS_MAX)):
        for arguments in chunk:
            request = _numbered(arguments, number)
            number += 1
            origin = _origin(request)
            again = origin in origins
            alone = request.idempotency_key is not None
            if batch and (again or alone or len(batch) >= BATCH_ITEMS_MAX):
                yield batch
                batch, origins = [], set()
            batch.append(request)
            if origin is not None:
                origins.add(origin)
            if alone:
                yield batch
                batch, origins = [], set()
    if batch:
        yield batch


def _origin(request: Request) -> str | bytes | None:
    """Return the key that may occur only once in a transaction: a document's origin, or a note's text where it may become one."""
    if request.session is not None:
        return None
    if request.source is not None:
        return request.source
    if request.is_said:
        return None
    data = request.data
    divisible = request.modality in ("text", "code") and (len(data) > ATOM_BYTES_MAX or b"\n" in data or b"\r" in data)
    return data if divisible else None


def _numbered(arguments: RememberArguments, number: int) -> Request:
    try:
        return validate(arguments)
    except InvalidInput as error:
        problems = tuple(p._replace(path=f"items[{number}].{p.path}") for p in error.problems)
        if isinstance(error, LimitExceeded):
            limit = LimitExceeded(f"items[{number}].{error.message}", **{**error.fields, "paths": [problems[0].path]})
            limit.problems = problems
            raise limit from error
        raise InvalidInput.of(problems) from error


class _LaterPremise(Exception):
    """An item of a batch rests on something unknown, which an earlier item of the batch may be."""

    def __init__(self, place: int, cause: NotFound) -> None:
        super().__init__(place)
        self.place, self.cause = place, cause


def _check_blocks(drafts: Sequence[Draft]) -> None:
    """Refuse a document that would hold the write lock for long.

    Raises:
        LimitExceeded: it has more blocks than DOCUMENT_ATOMS_MAX.
    """
    for place, item in enumerate(drafts):
        if (blocks := len(item.parts)) > DOCUMENT_ATOMS_MAX:
            path = "content" if len(drafts) == 1 else f"items[{place}].content"
            raise LimitExceeded(
                f"{path}: has {blocks:,} blocks, over the limit DOCUMENT_ATOMS_MAX of {DOCUMENT_ATOMS_MAX:,}; divide it "
                "into several sources",
                limit="DOCUMENT_ATOMS_MAX", value=blocks, maximum=DOCUMENT_ATOMS_MAX, paths=[path],
            )  # fmt: skip


def _transact(
    workspace: Workspace,
    requests: Sequence[Request],
    verb: str,
    cancel: Cancel | None,
    *,
    gate: Rid | None = None,
    writer: str | None = None,
) -> Receipt:
    clock = _Stopwatch()
    with workspace.reader() as view:
        requests = [_resolved(view, request, place, len(requests)) for place, request in enumerate(requests)]
        if (known := repeated(view, requests[0])) is not None:
            return known
        drafts = [draft(request) for request in requests]
        if gate is None:
            _check_blocks(drafts)
        clock.lap("atomize")
        wanted = unembedded(view, workspace.embedder, drafts)
    vectors = enrich(workspace.embedder, wanted)
    clock.lap("enrich")
    large = [part for item in drafts for part in item.parts if len(part.data) > workspace.settings.inline_bytes]
    if large and gate is None:  # what was erased, by now, is to be kept back, not written again
        with workspace.reader() as view:
            large = [part for part in large if not is_erased(view, part.hash)]
    for part in large:
        workspace.objects.put(workspace.ws, part.hash, part.data)
    with workspace.writer() as unit:
        if (known := repeated(unit, requests[0])) is not None:
            return known  # nothing was collected, so leaving commits nothing
        batch = Batch(unit, writer or workspace.principal, workspace.settings.inline_bytes)
        kept_back: list[Quarantined] = []
        told: list[tuple[Sequence[bytes], Draft]] = []
        unit.prefetch([part.hash for item in drafts for part in item.parts])
        for item in drafts:
            why = reasons(unit, item) if gate is None else []
            if why:
                kept_back.append(Quarantined(id=keep_back(unit, item.request, batch.principal, why), reasons=why))
                continue
            if gate is not None:
                let_in(unit, gate)
                batch.staged.contents.update(readmit(unit, item, workspace.settings.inline_bytes))
            told.append((batch.stage(item), item))
        clock.lap("index")
        pending = index_vectors(workspace, unit, batch.staged, vectors)
        conflicts = conflicts_of(unit, batch.staged)
        echoes = echoes_of(unit, workspace.kept.of(unit.erasure_count(), Superseded), told)
        arguments: dict[str, Json] = {"requests": payload_hash(b"".join(r.digest() for r in requests)).hex()}
        receipt = partial(_receipt, unit, batch.staged, kept_back, pending, (conflicts, echoes), drafts)
        if (key := requests[0].idempotency_key) is not None:
            body = receipt(unit.before, {}).model_dump_json(exclude={"snapshot"})
            unit.add_key(key, requests[0].digest(), body.encode())
        head = workspace.commit(unit, verb, arguments, cancel)
    clock.lap("commit")
    return receipt(head, clock.laps)


def _resolved(view: LedgerView, request: Request, place: int, size: int) -> Request:
    """Write the premises as full ids."""
    if not request.derived_from:
        return request
    names = []
    for index, reference in enumerate(request.derived_from):
        try:
            rid = resolve_atom(view, reference, f"derived_from[{index}]")
        except NotFound as error:
            if size == 1 and not place:
                raise
            raise _LaterPremise(place, error) from error
        names.append(atom_name(view.record(rid).key))
    return replace(request, derived_from=tuple(dict.fromkeys(names)))


def index_vectors(workspace: Workspace, unit: WriteUnit, staged: Staged, vectors: Vectors) -> int:
    """Add the vectors of new contents, and of nodes; return how many atoms stay without one."""
    if not staged.contents and not staged.nodes:
        return 0
    if workspace.embedder is None:
        return len(staged.contents)
    identity = workspace.embedder.identity
    model = unit.model_number(identity.model_id, identity.weights_digest, identity.precision, identity.dimension)
    for key in staged.nodes:
        if (made := vectors.by_node.get(key)) is not None:
            unit.add_node_vector(model, key, made)
    old = [pid for pid in staged.contents if pid <= unit.before.last_pid]  # what is new has no vector yet
    known = unit.embedded(model, old) if old else set()
    pending = 0
    for pid, hash_ in staged.contents.items():
        if pid in known:
            continue
        vector = vectors.by_hash.get(hash_)
        if vector is None:
            pending += 1
        else:
            unit.add_vector(model, pid, vector)
    return pending


def _receipt(
    unit: WriteUnit,
    staged: Staged,
    kept_back: list[Quarantined],
    pending: int,
    others: tuple[Disagreement, Disagreement],
    drafts: Sequence[Draft],
    after: Head,
    timings_ms: dict[str, float],
) -> Receipt:
    return Receipt(
        transaction=unit.seq,
        snapshot=pair(unit.before, after),
        timings_ms=timings_ms,
        added=_names(staged.added),
        reaffirmed=_names(staged.reaffirmed),
        restored=_names(staged.restored),
        retired=_names(staged.retired),
        quarantined=kept_back,
        pending=pending,
        conflicts=[note for each in others for note in each.notes],
        more_conflicts=sum(each.more for each in others),
        echo_of=[name for each in others for name in each.echo_of],
        source=drafts[0].origin if len(drafts) == 1 and drafts[0].stream != "note" else None,
    )


def _names(keys: Iterable[bytes]) -> list[str]:
    return [atom_name(key) for key in dict.fromkeys(keys)]


def _sum(receipts: Sequence[Receipt], start: int) -> Receipt:
    """Add receipts of consecutive transactions up; those up to `start` are repeated ones."""
    if len(receipts) == 1:
        return receipts[0]
    fresh = [receipt for receipt in receipts if receipt.transaction > start] or receipts[-1:]
    first, last = fresh[0], fresh[-1]
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
        more_conflicts=sum(receipt.more_conflicts for receipt in receipts),
        echo_of=list(dict.fromkeys(name for receipt in receipts for name in receipt.echo_of)),
        pending=sum(receipt.pending for receipt in receipts),
        transactions=len(fresh),
        first_transaction=first.transaction,
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
