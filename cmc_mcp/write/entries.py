"""Entries of collections: put, delete and clear, each batch in one transaction.

An entry is one atom at a time. Its origin is its collection and its discriminator the caller's id, so the same id and
text is the same atom, whoever writes it; another text supersedes it, other metadata revises it, and to delete is to end
belief. History, snapshots and rollback need to know nothing of all this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cmc_mcp import limits
from cmc_mcp.canon import Json, payload_hash
from cmc_mcp.embed.external import unit_rows
from cmc_mcp.errors import Conflict, InvalidInput, LimitExceeded, Problem, brief
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name, entry_discriminator
from cmc_mcp.kernel.intervals import at, bounded
from cmc_mcp.model.entries import EXTRA, METADATA, Entry, json_text, metadata_text
from cmc_mcp.model.results import Receipt
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, interval
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.verbs.check import Check, fields, unfit
from cmc_mcp.verbs.models import Remember
from cmc_mcp.workspace import Workspace
from cmc_mcp.write.commit import Batch
from cmc_mcp.write.draft import Draft, Part
from cmc_mcp.write.enrich import Vectors, embedded, unembedded
from cmc_mcp.write.gate import reasons
from cmc_mcp.write.handed import CheckedEntries, settled, without_vectors
from cmc_mcp.write.pipeline import index_vectors
from cmc_mcp.write.receipts import pair
from cmc_mcp.write.validate import Request

_MEDIA: Final = "text/plain"
_MEDIA_KEPT: Final = "application/octet-stream"
_PART: Final = "whole"


def drafted(
    origin: str, entries: Sequence[Entry], dimension: Callable[[int], int], *, large: bool = False
) -> CheckedEntries:
    """Check entries and make drafts of them; of an id given twice, the last one counts. `large`: see `metadata_text`.

    Raises:
        InvalidInput: entries are wrong; the error lists every problem.
        LimitExceeded: a bound is passed.
        DimensionMismatch: the length of a vector differs.
    """
    last = {_shown(entry.id): place for place, entry in enumerate(entries)}
    problems: list[Problem] = []
    kept: list[Entry] = []
    drafts: list[Draft] = []
    over: LimitExceeded | None = None
    for place, entry in enumerate(entries):
        if last[_shown(entry.id)] == place:
            try:
                drafts.append(_draft(origin, entry, large))
                kept.append(entry)
            except InvalidInput as error:
                over = over or (error if isinstance(error, LimitExceeded) else None)
                problems += [Problem(f"entries[{place}].{p.path}", p.message) for p in error.problems]
    if over is not None and len(problems) == 1:
        raise over
    if problems:
        raise InvalidInput.of(problems)
    return CheckedEntries(tuple(drafts), _given(kept, dimension))


def _draft(origin: str, entry: Entry, large: bool) -> Draft:
    check_id(entry.id)
    text = entry.text
    if not isinstance(text, str):
        raise InvalidInput.at("text", f"is a {type(text).__name__}; pass text")
    if message := unfit(text):
        raise InvalidInput.at("text", message)
    data = text.encode()
    if len(data) > limits.CONTENT_BYTES_MAX:
        raise LimitExceeded.over("text", "CONTENT_BYTES_MAX", len(data), limits.CONTENT_BYTES_MAX)
    start, end = SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
    if entry.valid_from is not None or entry.valid_to is not None:
        start, end = interval(entry.valid_from, entry.valid_to)
    modality, media = ("text", _MEDIA) if entry.searchable else ("data", _MEDIA_KEPT)
    request = Request(
        data, modality, media, origin, None, "", None, start, end, _fields(entry, large), NO_MODEL, "", "", (), (), None
    )
    hash_ = payload_hash(data)
    return Draft(
        request, "entry", origin, media, hash_, (Part(data, hash_, _PART, ()),), (b"", b""), entry=entry.id
    )  # fmt: skip


def check_id(id: object) -> str:
    """Check the id of an entry.

    Raises:
        InvalidInput: the id is not text, is empty or too long, or cannot be stored.
    """
    if not isinstance(id, str):
        raise InvalidInput.at("id", f"is a {type(id).__name__}; the id of an entry is text")
    if not id:
        raise InvalidInput.at("id", "is empty; every entry has an id of its own")
    if message := unfit(id):
        raise InvalidInput.at("id", message)
    if len(id) > limits.ENTRY_ID_CHARS_MAX:
        raise LimitExceeded.over("id", "ENTRY_ID_CHARS_MAX", len(id), limits.ENTRY_ID_CHARS_MAX)
    return id


def _shown(id: object) -> str:
    return id if isinstance(id, str) else repr(id)


def _fields(entry: Entry, large: bool) -> dict[str, Json]:
    """Write what is known of an entry; None takes back what an earlier wording had."""
    check = Check()
    out = fields(Remember, check.read(Remember, {"confidence": entry.confidence}, only=("confidence",)))
    check.raise_()
    extra = (
        None if entry.extra is None else json_text(entry.extra, EXTRA, "CONTENT_BYTES_MAX", limits.CONTENT_BYTES_MAX)
    )
    out.update({METADATA: metadata_text(entry.metadata, large=large), EXTRA: extra})
    return out


def _given(entries: Sequence[Entry], dimension: Callable[[int], int]) -> tuple[bytes | None, ...]:
    """Return the vector that came with each entry as fp32 bytes of unit length; empty for one of zeros alone."""
    import numpy as np

    places = [n for n, entry in enumerate(entries) if entry.vector is not None and entry.searchable]
    out: list[bytes | None] = [None] * len(entries)
    if not places:
        return tuple(out)
    vectors = [vector for n in places if (vector := entries[n].vector) is not None]
    rows = unit_rows(vectors, dimension(int(np.size(vectors[0]))), [f"entries[{n}].vector" for n in places])
    for n, row in zip(places, rows, strict=True):
        out[n] = row.tobytes() if row.any() else b""
    return tuple(out)


def put(workspace: Workspace, staged: CheckedEntries, gone: Sequence[str] = (), lapse: bool = False) -> Receipt:
    """Put entries, in one transaction; whatever has no vector yet is embedded before the lock is taken.

    Belief in the entries `gone` ends with it. With `lapse` nothing holds under an id after its `valid_to`.

    Raises:
        Conflict: a text was erased from this workspace, or the gate keeps it back.
        EmbedderError: a text could not be embedded; nothing was changed.
    """
    while True:
        done = _put(workspace, staged, gone, lapse)
        if done is not None:
            return done


def _put(workspace: Workspace, staged: CheckedEntries, gone: Sequence[str], lapse: bool) -> Receipt | None:
    """Put entries; None where another writer gave a text a vector meanwhile, and nothing was written."""
    with workspace.reader() as view:
        _gated(view, staged.drafts)  # what is refused leaves no object behind
        begun, model = view.head().seq, workspace.model(view)
        found = settled(view, model, staged)
        mine = found.by_hash.keys() | found.bare
        wanted = unembedded(view, workspace.embedder, [d for d in found.drafts if d.whole not in mine])
    made = embedded(workspace.embedder, wanted)
    vectors = Vectors({**found.by_hash, **{hash_: row for hash_, row in made.by_hash.items() if any(row)}})
    drafts = without_vectors(found.drafts, made.by_hash.keys() - vectors.by_hash.keys())
    large = [d.parts[0] for d in drafts if len(d.request.data) > workspace.settings.inline_bytes]
    if large:
        with workspace.reader() as view:
            _gated(view, drafts)  # something may have been erased while others were embedded
    for part in large:
        workspace.objects.put(workspace.ws, part.hash, part.data)
    with workspace.writer() as unit:
        _gated(unit, drafts)
        moved = found.by_hash and unit.before.seq != begun  # another writer may have given a text a vector
        if moved and (not model or settled(unit, model, staged) != found):
            return None  # nothing was collected, so leaving commits nothing
        batch = Batch(unit, workspace.principal, workspace.settings.inline_bytes)
        put_ids = {draft.entry for draft in drafts}
        for rid in _live(unit, drafts[0].origin, [id for id in gone if id not in put_ids]) if gone else ():
            unit.set_intervals(rid, ())
        for draft in drafts:
            batch.stage(draft)
            if lapse and draft.request.valid_to != UNTIL_FURTHER_NOTICE:
                _cut(unit, draft.origin, draft.entry, draft.request.valid_to)
        for hash_ in vectors.by_hash:  # of texts that are known, and had no vector of this model
            if (pid := unit.pid(hash_)) is not None:
                batch.staged.contents.setdefault(pid, hash_)
        pending = index_vectors(workspace, unit, batch.staged, vectors)
        digests = payload_hash(b"".join([draft.request.digest() for draft in drafts])).hex()
        head = workspace.commit(unit, "remember", {"requests": digests})
    done = batch.staged
    return Receipt(
        transaction=head.seq,
        snapshot=pair(unit.before, head),
        added=[atom_name(key) for key in done.added],
        reaffirmed=[atom_name(key) for key in done.reaffirmed],
        restored=[atom_name(key) for key in done.restored],
        retired=[atom_name(key) for key in done.retired],
        pending=pending,
        source=drafts[0].origin,
    )


def _gated(view: LedgerView, drafts: Sequence[Draft]) -> None:
    kept = [(draft.entry, why) for draft in drafts if (why := reasons(view, draft))]
    if kept:
        said = "; ".join(f"{brief(id, 80)}: {', '.join(why)}" for id, why in kept[:5])
        raise Conflict(f"nothing was put, since the workspace keeps back {said}", ids=[id for id, _ in kept])


def delete(workspace: Workspace, origin: str, ids: Sequence[str] | None) -> int:
    """End belief in entries, in one transaction; None means all of the collection. Return the number.

    Nothing is written if no entry matches.
    """
    with workspace.writer() as unit:
        rids = _live(unit, origin, ids)
        if not rids:
            return 0
        for rid in rids:
            unit.set_intervals(rid, ())
        arguments: dict[str, Json] = {"source": origin, "ids": len(rids)}
        workspace.commit(unit, "forget", arguments)
    return len(rids)


def prolong(workspace: Workspace, origin: str, ends: Mapping[str, int]) -> int:
    """Make what holds now of each entry hold until a later time (microseconds), in one transaction; return how many did.

    Neither words nor facts change, and what holds longer stays, so this undoes nothing that others put at the same
    time.
    """
    with workspace.writer() as unit:
        now, held = workspace.clock.now_us(), 0
        for id, end in sorted(ends.items()):
            for rid in _live(unit, origin, [id]):
                intervals = unit.intervals(rid)
                if at(intervals, now) is not None and intervals[-1].valid_to < end:
                    unit.set_intervals(rid, bounded(intervals, None, end))
                    held += 1
        if held:
            workspace.commit(unit, "revise", {"source": origin, "ids": held})
    return held


def _cut(unit: WriteUnit, origin: str, id: str, end: int) -> None:
    """End every wording of an entry at a time."""
    for rid in _live(unit, origin, [id]):
        unit.set_intervals(rid, bounded(unit.intervals(rid), None, min(end, unit.intervals(rid)[-1].valid_to)))


def _live(unit: WriteUnit, origin: str, ids: Sequence[str] | None) -> list[Rid]:
    pid = unit.pid(payload_hash(origin.encode()))
    if pid is None:
        return []
    if ids is None:
        rows = unit.atoms_with_origin(pid)
    else:
        said = [n for id in dict.fromkeys(ids) if (n := unit.pid(payload_hash(entry_discriminator(id)))) is not None]
        rows = unit.entries(pid, said) if said else []
    return [row.rid for row in rows if unit.intervals(row.rid)]
