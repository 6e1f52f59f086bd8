"""Revise: new facts about a memory, or a new wording of it that supersedes the old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cmc_mcp.atoms.superseded import Superseded
from cmc_mcp.canon import Json, payload_hash
from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.errors import InvalidInput, NotFound
from cmc_mcp.history.references import resolve_atom
from cmc_mcp.ids import Rid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.intervals import Intervals, bounded, overlaid, revised, without
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.calls import Cancel
from cmc_mcp.model.facts import outcome_fields, said_fields
from cmc_mcp.model.results import Receipt
from cmc_mcp.model.time import parse_time
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.rows import BINARY, MODALITIES
from cmc_mcp.verbs.check import Check, fields
from cmc_mcp.verbs.models import Revise
from cmc_mcp.workspace import Workspace
from cmc_mcp.write.commit import Batch
from cmc_mcp.write.disagree import conflicts_of, echoes_of
from cmc_mcp.write.draft import Draft, Part, draft
from cmc_mcp.write.enrich import Unembedded, enrich, unembedded
from cmc_mcp.write.gate import reasons
from cmc_mcp.write.links import link
from cmc_mcp.write.pipeline import index_vectors
from cmc_mcp.write.receipts import pair
from cmc_mcp.write.validate import RememberArguments, Request, validate


@dataclass(frozen=True, slots=True)
class Revision:
    """The changes to make; None leaves a value as it is."""

    fields: Mapping[str, Json]
    replaces_tags: bool
    valid_from: int | None
    valid_to: int | None
    reason: str | None

    @property
    def is_empty(self) -> bool:
        """Whether it leaves everything as it is."""
        times = (self.valid_from, self.valid_to)
        return not self.fields and not self.replaces_tags and all(time is None for time in times)


def revise(workspace: Workspace, asked: Revise, *, cancel: Cancel | None = None) -> Receipt:
    """Revise a memory, in one transaction; see `docs/design/kernel.md` §3.

    Without content: named facts and tags are replaced, validity becomes the interval given. With content and no
    `valid_from`: a correction, the old wording is retracted. With both: a change, the old one ends there. The new
    wording supersedes the old one.

    Raises:
        InvalidInput: an argument is wrong, nothing is to change, or nothing would be left.
        NotFound: no such memory.
    """
    change = _check(asked)
    id, content, reason = asked.id, asked.content, asked.reason
    if content is None and change.is_empty:
        raise InvalidInput.at(
            "content", "nothing is to change: give content, a claim, tags, times, confidence or priority"
        )
    with workspace.reader() as view:
        rid = resolve_atom(view, id)
        old = load(view, workspace.objects, [rid], view.head().seq, None).get(rid)
        if old is None or old.data is None:
            raise NotFound(f"the memory {id} was forgotten; remember it anew", id=id)
        new = _reworded(old, content)
        _remaining(view, rid, change)  # what is refused leaves no object behind
        _gated(view, new)
        wanted = Unembedded() if new is None else unembedded(view, workspace.embedder, [new])
    vectors = enrich(workspace.embedder, wanted)
    large = [part for part in (() if new is None else new.parts) if len(part.data) > workspace.settings.inline_bytes]
    if large:
        with workspace.reader() as view:
            _gated(view, new)  # it may have been erased while it was embedded
    for part in large:
        workspace.objects.put(workspace.ws, part.hash, part.data)
    with workspace.writer() as unit:
        batch = Batch(unit, workspace.principal, workspace.settings.inline_bytes)
        key = unit.record(rid).key
        apply_revision(unit, batch, rid, change, new)
        pending = 0 if new is None else index_vectors(workspace, unit, batch.staged, vectors)
        others = conflicts_of(unit, batch.staged)
        told = [] if new is None else [([_worded(batch)], new)]
        echoes = echoes_of(unit, workspace.kept.of(unit.erasure_count(), Superseded), told)
        arguments: dict[str, Json] = {"id": atom_name(key)}
        if reason:
            arguments["reason"] = reason
        head = workspace.commit(unit, "revise", arguments, cancel)
    return Receipt(
        transaction=head.seq,
        snapshot=pair(unit.before, head),
        added=[atom_name(k) for k in batch.staged.added],
        reaffirmed=[atom_name(k) for k in batch.staged.reaffirmed],
        restored=[atom_name(k) for k in batch.staged.restored],
        revised=[atom_name(key)],
        pending=pending,
        conflicts=[*others.notes, *echoes.notes],
        more_conflicts=others.more,
        echo_of=list(echoes.echo_of),
    )


def _worded(batch: Batch) -> bytes:
    """Return the id of the new wording."""
    return (*batch.staged.added, *batch.staged.reaffirmed, *batch.staged.restored)[-1]


def apply_revision(unit: WriteUnit, batch: Batch, rid: Rid, change: Revision, new: Draft | None = None) -> None:
    """Set the memory's new facts, or move their times to the new wording.

    Raises:
        NotFound: the memory does not hold any more.
        InvalidInput: nothing would be left of it.
    """
    before, held = _remaining(unit, rid, change)
    held = revised(held, change.fields, replace_tags=change.replaces_tags)
    if new is None:
        unit.set_intervals(rid, held)
    else:
        _gated(unit, new)
        _supersede(unit, batch, rid, before, _unjudged(held), new)
    if "claim" in change.fields:
        staged = (*batch.staged.added, *batch.staged.reaffirmed, *batch.staged.restored)
        worded = [unit.intern(atom_record(key))[0] for key in staged]
        batch.staged.claims += [(holder, change.fields) for holder in (rid, *worded)]


def _remaining(view: LedgerView, rid: Rid, change: Revision) -> tuple[Intervals, Intervals]:
    """Return the intervals of a memory, and the part of them that the new times leave."""
    before = view.intervals(rid)
    if not before:
        raise NotFound("the memory was forgotten meanwhile; remember it anew", id=atom_name(view.record(rid).key))
    held = bounded(before, change.valid_from, change.valid_to)
    if not held:
        raise InvalidInput.at("valid_to", "nothing would be left of it; to take it back, use forget")
    return before, held


def _gated(view: LedgerView, new: Draft | None) -> None:
    """Refuse a wording that the gate keeps back."""
    if new is not None and (why := reasons(view, new)):
        raise InvalidInput.at("content", "; ".join(why))


def _check(asked: Revise) -> Revision:
    check = Check()
    found = check.read(Revise, vars(asked), only=("claim", "tags", "confidence", "priority", "reason"))
    check.raise_()
    start = None if asked.valid_from is None else parse_time(asked.valid_from, "valid_from")
    end = None if asked.valid_to is None else parse_time(asked.valid_to, "valid_to")
    if start is not None and end is not None and start >= end:
        raise InvalidInput.at("valid_to", "must be after valid_from; intervals are half-open [valid_from, valid_to)")
    return Revision(fields(Revise, found), asked.tags is not None, start, end, asked.reason)


def _reworded(old: Loaded, content: str | bytes | None) -> Draft | None:
    """Draft the new wording as one part of the old one's modality, media type and source."""
    if content is None:
        return None
    modality = MODALITIES[old.row.modality]
    arguments: RememberArguments = {"content": content, "modality": modality, "media_type": old.media_type}
    request: Request = validate(arguments)
    if "session" in old.discriminator:  # a new wording has no place in the conversation: who said it is a fact of it
        request = replace(request, fields=said_fields(old.speaker or "", old.occurred_us))
    elif "speaker" in old.discriminator:
        request = replace(request, speaker=old.speaker or "", occurred_us=old.occurred_us)
    if payload_hash(request.data) == payload_hash(old.data or b""):
        return None
    if "entry" in old.discriminator:  # it stays what its collection knows by that id
        part = Part(request.data, payload_hash(request.data), "whole", ())
        own = replace(request, source=old.origin)
        entry = str(old.discriminator["entry"])
        return Draft(own, "entry", old.origin, old.media_type, part.hash, (part,), (b"", b""), entry=entry)
    plain = draft(request)
    if len(plain.parts) == 1 or modality in BINARY:
        return plain
    # a revision stays one atom, whatever its paragraphs: it takes one place
    part = replace(plain.parts[0], data=request.data, hash=plain.whole, kind="whole", path=())
    return Draft(request, "note", plain.origin, plain.media_type, plain.whole, (part,), (b"", b""))


def _unjudged(intervals: Intervals) -> Intervals:
    """Remove use and judgements, which belong to the old wording."""
    names = {name for interval in intervals for name in outcome_fields(interval.facts.fields)}
    return revised(intervals, dict.fromkeys(names), replace_tags=False) if names else intervals


def _supersede(unit: WriteUnit, batch: Batch, old: Rid, before: Intervals, held: Intervals, new: Draft) -> None:
    """Assign the times that `held` covers to the new wording; the old one keeps the rest, which may be empty."""
    (key,) = batch.stage(new)
    rid, _ = unit.intern(atom_record(key))
    held = revised(held, new.request.fields, replace_tags=False)
    unit.set_intervals(rid, overlaid(unit.intervals(rid, unit.before.seq), held))
    unit.set_intervals(old, without(before, held))
    _reopen(unit, rid, old)
    link(unit, rid, "supersedes", old)


def _reopen(unit: WriteUnit, new: Rid, old: Rid) -> None:
    """Where the new wording superseded the old one before, retract the links by which it was superseded since.

    The link cannot be made anew, and the latest of a circle wins: nothing older than this revision may stand above it.
    """
    links = [edge for edge in unit.edges([old], incoming=True) if edge.type == "supersedes" and edge.source == new]
    if not any(unit.intervals(edge.rid) for edge in links):
        return
    below, layer = {old}, [old]
    while layer:
        found = unit.edges(layer)
        layer = [e.target for e in found if e.type == "supersedes" and unit.intervals(e.rid) and e.target not in below]
        below.update(layer)
    for edge in unit.edges([new], incoming=True):
        if edge.type == "supersedes" and edge.source in below:
            unit.set_intervals(edge.rid, ())
