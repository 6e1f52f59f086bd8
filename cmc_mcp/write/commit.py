"""Commit: stage a draft's atoms, assertions, places and links in a unit of work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cmc_mcp.canon import Json, digest, payload_hash
from cmc_mcp.documents.items import ITEMS, Item
from cmc_mcp.documents.manifest import Manifest, ManifestPart, decode_manifest
from cmc_mcp.documents.nodes import nodes_in
from cmc_mcp.documents.sources import SOURCES, Source
from cmc_mcp.ids import NO_PAYLOAD, NodeKey, PayloadHash, Pid, Rid
from cmc_mcp.kernel.identity import (
    aligned,
    atom_id,
    entry_discriminator,
    note_discriminator,
    text_of,
    turn_discriminator,
    twin_discriminator,
)
from cmc_mcp.kernel.intervals import Interval, Intervals, asserted, without
from cmc_mcp.kernel.kinds import EDGE, ITEM, SOURCE, Record, atom_record
from cmc_mcp.model.facts import Facts, facts_of, merged
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.model.witness import Witness
from cmc_mcp.store.ports import WriteUnit
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow
from cmc_mcp.write.draft import Draft, Part
from cmc_mcp.write.links import link, premise_rid

ALWAYS = (SINCE_ALWAYS, UNTIL_FURTHER_NOTICE)
CHAIN_START = bytes(32)
_TWIN = re.compile(rb'\{"twin":[1-9][0-9]{0,5}\}')


@dataclass(slots=True)
class Staged:
    """The effects of the staged drafts, as atom ids (16 bytes), in order."""

    added: list[bytes] = field(default_factory=list)
    reaffirmed: list[bytes] = field(default_factory=list)
    restored: list[bytes] = field(default_factory=list)
    retired: list[bytes] = field(default_factory=list)
    contents: dict[Pid, PayloadHash] = field(default_factory=dict)  # payload number → hash, of searchable atoms
    nodes: dict[NodeKey, None] = field(default_factory=dict)  # keys of the nodes of documents
    claims: list[tuple[Rid, Mapping[str, Json]]] = field(default_factory=list)


class _Text(NamedTuple):
    """A text of a source, by what its atom's id covers; a `content` below zero is one that the store does not have yet."""

    modality: int
    media_type: Pid
    content: Pid


class _Twin(NamedTuple):
    """One of the equal texts of a source, numbered from 0."""

    text: _Text
    number: int


class _Telling(NamedTuple):
    """A draft with its witness, and the payload of the origin that its atoms have (0 for none)."""

    draft: Draft
    witness: Witness
    origin: Pid


TurnIdentity = tuple[str, str, str, bytes, bytes]
"""The identity of a turn: origin, modality, media type, content hash, and the speaker, time and session."""


@dataclass(slots=True)
class _Tail:
    """The end of a conversation in this unit of work."""

    position: int
    chain: bytes


@dataclass(slots=True)
class Batch:
    """One unit of work in progress, and the effects that it has staged so far."""

    unit: WriteUnit
    principal: str
    inline_bytes: int
    staged: Staged = field(default_factory=Staged)
    _tails: dict[str, _Tail] = field(default_factory=dict)
    _notes: dict[tuple[str, str, str, PayloadHash, bytes], bytes] = field(default_factory=dict)
    _turns: set[bytes] = field(default_factory=set)
    _said: dict[TurnIdentity, bytes | None] = field(default_factory=dict)
    _facts: tuple[Mapping[str, Json], Facts] | None = None

    def stage(self, draft: Draft) -> list[bytes]:
        """Stage one draft; return the ids of its atoms in order."""
        request = draft.request
        witness = Witness(
            self.principal,
            request.model_id,
            request.weights_hash,
            request.prompt_template_id,
            request.tool_ids,
            request.derived_from,
        )
        if draft.stream == "note":
            return [self._note(draft, witness)]
        if draft.stream == "turn":
            return [self._turn(draft, witness)]
        if draft.stream == "entry":
            return [self._entry(draft, witness)]
        return self._document(draft, witness)

    # ------------------------------------------------------------------ the streams
    def _note(self, draft: Draft, witness: Witness) -> bytes:
        part, request = draft.parts[0], draft.request
        said = note_discriminator(request.speaker, request.occurred_us)
        text = (request.modality, draft.media_type, part.hash, said)
        key = self._notes.get((witness.writer, *text))
        if key is None:
            key = self._known_note(text, witness.writer) or atom_id(
                *text[:3], payload_hash(draft.origin.encode()), payload_hash(said), witness.key
            )
            self._notes[witness.writer, *text] = key
        return self._assert(_Telling(draft, witness, NO_PAYLOAD), part, key, said)

    def _known_note(self, text: tuple[str, str, PayloadHash, bytes], writer: str) -> bytes | None:
        """Return the id of the note with the same words, speaker and time by a writer, or None: what two say is said twice."""
        pid = self.unit.pid(text[2])
        said = self.unit.pid(payload_hash(text[3])) if text[3] else NO_PAYLOAD
        if pid is None or said is None:
            return None
        media = self.unit.pid(payload_hash(text[1].encode()))
        for row in self.unit.atoms_with_content(pid):
            same = (row.origin, row.discriminator, row.media_type) == (0, said, media)
            if same and MODALITIES[row.modality] == text[0] and self._writer(row.witness) == writer:
                return row.key
        return None

    def _writer(self, witness: Pid) -> str | None:
        """Return the writer of a witness; None when it was erased."""
        body = self.unit.payload(witness)
        return None if body is None else str(json.loads(body)["writer"])

    def _turn(self, draft: Draft, witness: Witness) -> bytes:
        part, request = draft.parts[0], draft.request
        origin = payload_hash(draft.origin.encode())
        tail = self._tail(draft.origin)
        ordinal = None if request.occurred_us is not None else tail.position + 1
        discriminator = turn_discriminator(request.session or "", request.speaker, request.occurred_us, ordinal)
        origin_pid = self.unit.put(draft.origin.encode())
        key = self._known_turn(draft, part, origin_pid, discriminator) or atom_id(
            request.modality, draft.media_type, part.hash, origin, payload_hash(discriminator), witness.key
        )
        stands = key in self._turns or self._has_place(key)
        self._assert(_Telling(draft, witness, origin_pid), part, key, discriminator)
        if request.occurred_us is not None:
            self._said[_words(draft, part, discriminator)] = key
        if stands:
            return key
        self._turns.add(key)
        tail.position += 1
        tail.chain = digest("cmc/chain/1", tail.chain, key)
        record = ITEM.record(origin, tail.position.to_bytes(8, "big"))
        atom, _ = self.unit.intern(atom_record(key))
        rid, _ = self.unit.intern(record)
        self.unit.tell(ITEMS, Item(origin_pid, tail.position, rid, atom))
        self.unit.set_intervals(rid, (Interval(*ALWAYS, facts_of({"atom": key.hex(), "chain": tail.chain.hex()})),))
        return key

    def _has_place(self, key: bytes) -> bool:
        """Return whether a turn has a place in its conversation; a forgotten turn keeps its place."""
        rid = self.unit.rid(atom_record(key))
        items = [] if rid is None else self.unit.item_of(rid)
        return any(p.facts.fields["atom"] == key.hex() for _, item in items for p in self.unit.intervals(item))

    def _known_turn(self, draft: Draft, part: Part, origin: Pid, discriminator: bytes) -> bytes | None:
        """Return the id of the turn with the same time, speaker and words, by any writer, or None."""
        if draft.request.occurred_us is None:
            return None
        text = _words(draft, part, discriminator)
        if text not in self._said:
            self._said[text] = None
            content, said = self.unit.pid(part.hash), self.unit.pid(payload_hash(discriminator))
            media = self.unit.pid(payload_hash(draft.media_type.encode()))
            for row in self.unit.atoms_with_content(content) if content and said and media else ():
                same = (row.origin, row.discriminator, row.media_type) == (origin, said, media)
                if same and MODALITIES[row.modality] == draft.request.modality:
                    self._said[text] = row.key
                    break
        return self._said[text]

    def _tail(self, origin: str) -> _Tail:
        tail = self._tails.get(origin)
        if tail is None:
            tail = _Tail(-1, CHAIN_START)
            pid = self.unit.pid(payload_hash(origin.encode()))
            last = None if pid is None else self.unit.last_item(pid)
            if last is not None:
                fields = self.unit.intervals(last[1])[0].facts.fields
                tail = _Tail(last[0], bytes.fromhex(str(fields["chain"])))
            self._tails[origin] = tail
        return tail

    def _entry(self, draft: Draft, witness: Witness) -> bytes:
        """Stage an entry of a collection: this wording takes its valid times over from the wordings that held them."""
        part, request, unit = draft.parts[0], draft.request, self.unit
        discriminator = entry_discriminator(draft.entry)
        origin = unit.put(draft.origin.encode())
        said = unit.pid(payload_hash(discriminator))
        versions = [] if said is None else unit.entries(origin, [said])
        text = (MODALITIES.index(request.modality), unit.put(draft.media_type.encode()), unit.pid(part.hash))
        key = next((v.key for v in versions if (v.modality, v.media_type, v.content) == text), None) or atom_id(
            request.modality,
            draft.media_type,
            part.hash,
            payload_hash(draft.origin.encode()),
            payload_hash(discriminator),
            witness.key,
        )
        self._assert(_Telling(draft, witness, origin), part, key, discriminator)
        mine = (Interval(request.valid_from, request.valid_to, facts_of({})),)
        for row in versions:
            if row.key != key and (before := unit.intervals(row.rid)):
                self._take_over(atom_record(key), row, without(before, mine))
        return key

    def _take_over(self, new: Record, old: AtomRow, left: Intervals) -> None:
        """Keep the times of an older wording that the new one does not cover, and link the two as superseded."""
        unit, rid = self.unit, self.unit.intern(new)[0]
        if left == unit.intervals(old.rid):
            return
        unit.set_intervals(old.rid, left)
        if not left:
            self.staged.retired.append(old.key)
        link(unit, rid, "supersedes", old.rid)
        back = unit.rid(EDGE.record(old.key, b"supersedes", new.key))
        if back is not None:  # an entry that returns to an earlier wording is not older than the wording that it leaves
            unit.set_intervals(back, ())

    def _document(self, draft: Draft, witness: Witness) -> list[bytes]:
        origin_hash = payload_hash(draft.origin.encode())
        rid, new = self.unit.intern(SOURCE.record(origin_hash))
        origin = self.unit.put(draft.origin.encode())
        if new:
            self.unit.tell(SOURCES, Source(rid, origin))
        previous = self._manifest(rid)
        known = {} if new else self._texts_of(origin)
        same = previous is not None and _is_version(previous, draft)
        if same and previous is not None and previous.atomizer != draft.atomizer:
            return self._again(draft, previous, witness, origin)
        held = [part.atom for part in previous.parts] if previous else self._held(rid, known)
        keys = self._align(draft, previous, known, witness, origin_hash)
        telling = _Telling(draft, witness, origin)
        for part, (key, discriminator) in zip(draft.parts, keys, strict=True):
            self._assert(telling, part, key, discriminator)
        ids = [key for key, _ in keys]
        # a source told again under another title keeps its version and its nodes
        indexed = nodes_in(previous) if same and previous is not None else draft.indexed
        self.staged.nodes.update((node.key, None) for node in indexed)
        if not same:
            body = _manifest_of(draft, ids).encode()
            self.unit.put(body)
            self.unit.set_intervals(rid, (Interval(*ALWAYS, facts_of({"manifest": payload_hash(body).hex()})),))
        self._retire(held, set(ids))
        return ids

    def _again(self, draft: Draft, previous: Manifest, witness: Witness, origin: Pid) -> list[bytes]:
        """Re-affirm the atoms of the same bytes in their earlier division, which may be an older atomizer's."""
        for part in previous.parts:
            self._assert(_Telling(draft, witness, origin), draft.parts[0], part.atom, b"", stands=True)
        return [part.atom for part in previous.parts]

    def _held(self, rid: Rid, known: Mapping[_Twin, AtomRow]) -> list[bytes]:
        """Return the live atoms of a source whose manifest was erased."""
        return [row.key for row in known.values()] if self.unit.intervals(rid) else []

    def _manifest(self, rid: Rid) -> Manifest | None:
        intervals = self.unit.intervals(rid)
        if not intervals:
            return None
        hash_ = PayloadHash(bytes.fromhex(str(intervals[0].facts.fields["manifest"])))
        pid = self.unit.pid(hash_)
        body = None if pid is None else self.unit.payload(pid)
        return None if body is None else decode_manifest(body)

    def _texts_of(self, origin: Pid) -> dict[_Twin, AtomRow]:
        """Return every atom ever recorded of an origin, by text and twin number."""
        out: dict[_Twin, AtomRow] = {}
        for row in self.unit.atoms_with_origin(origin):
            number = self._twin(row)
            if number is not None:
                out.setdefault(_Twin(_Text(row.modality, row.media_type, row.content), number), row)
        return out

    def _twin(self, row: AtomRow) -> int | None:
        if not row.discriminator:
            return 0
        body = self.unit.payload(row.discriminator)
        if body is None or not _TWIN.fullmatch(body):
            return None  # a turn of a conversation with the same origin
        number = int(body[len(b'{"twin":') : -1])
        return number if twin_discriminator(number) == body else None

    def _align(
        self,
        draft: Draft,
        previous: Manifest | None,
        known: Mapping[_Twin, AtomRow],
        witness: Witness,
        origin: bytes,
    ) -> list[tuple[bytes, bytes]]:
        """Return, for each part, the atom that it keeps or becomes, as (id, discriminator)."""
        modality = MODALITIES.index(draft.request.modality)
        media = self.unit.put(draft.media_type.encode())
        by_key = {row.key: text for text, row in known.items()}
        before = [by_key[part.atom] for part in previous.parts if part.atom in by_key] if previous else []
        texts = [_Text(modality, media, self.unit.pid(part.hash) or Pid(-1 - i)) for i, part in enumerate(draft.parts)]
        firsts: dict[PayloadHash, _Text] = {}
        texts = [firsts.setdefault(p.hash, t) for p, t in zip(draft.parts, texts, strict=True)]
        out = []
        for part, (text, number) in zip(draft.parts, aligned(before, texts), strict=True):
            row = known.get(_Twin(text, number))
            discriminator = twin_discriminator(number)
            key = (
                row.key
                if row is not None
                else atom_id(
                    draft.request.modality,
                    draft.media_type,
                    part.hash,
                    origin,
                    payload_hash(discriminator),
                    witness.key,
                )
            )
            out.append((key, discriminator))
        return out

    def _retire(self, before: list[bytes], kept: set[bytes]) -> None:
        for key in before:
            if key in kept:
                continue
            rid = self.unit.rid(atom_record(key))
            if rid is not None and self.unit.intervals(rid):
                self.unit.set_intervals(rid, ())
                self.staged.retired.append(key)

    # ------------------------------------------------------------------ one atom
    def _assert(
        self, telling: _Telling, part: Part, key: bytes, discriminator: bytes, *, stands: bool = False
    ) -> bytes:
        draft = telling.draft
        # an id covers the content, so an unseen content proves that the atom is new
        rid, new = self.unit.intern(atom_record(key), unknown=not stands and self.unit.pid(part.hash) is None)
        if new:
            self._add(rid, telling, part, discriminator)
            intervals: Intervals = (Interval(draft.request.valid_from, draft.request.valid_to, self._facts_of(draft)),)
            self.staged.added.append(key)
        else:
            before = self.unit.intervals(rid)
            request = draft.request
            intervals = asserted(before, request.valid_from, request.valid_to, request.fields)
            if not before:
                self._restore(rid, discriminator)
            (self.staged.reaffirmed if before else self.staged.restored).append(key)
        self.unit.set_intervals(rid, intervals)
        if "claim" in draft.request.fields:
            self.staged.claims.append((rid, draft.request.fields))
        return key

    def _restore(self, rid: Rid, discriminator: bytes) -> None:
        """Restore what was retracted with an atom: the links to its premises, and its speaker if it was erased."""
        if discriminator:
            self.unit.put(discriminator)
        row = self.unit.atom(rid)
        body = None if row is None else self.unit.payload(row.witness)
        for premise in json.loads(body or b"{}").get("derived_from", ()):
            link(self.unit, rid, "derives", premise_rid(self.unit, premise))

    def _facts_of(self, draft: Draft) -> Facts:
        fields = draft.request.fields
        if self._facts is None or self._facts[0] is not fields:
            self._facts = (fields, facts_of(merged({}, fields)))
        return self._facts[1]

    def _add(self, rid: Rid, telling: _Telling, part: Part, discriminator: bytes) -> None:
        draft, witness, origin = telling
        unit, request = self.unit, draft.request
        content = unit.put(part.data, hash_=part.hash, object_=len(part.data) > self.inline_bytes)
        unit.add_atom(
            rid,
            (
                MODALITIES.index(request.modality),
                unit.put(draft.media_type.encode()),
                content,
                origin,
                unit.put(discriminator) if discriminator else NO_PAYLOAD,
                unit.put_witness(witness),
            ),
            *draft.traits(part),
        )
        heading = draft.heading(part)
        if request.modality not in BINARY:
            unit.add_passage(rid, heading, text_of(part.data).decode())
            self.staged.contents[content] = part.hash
        else:
            unit.add_passage(rid, heading, "")
        for premise in request.derived_from:
            link(unit, rid, "derives", premise_rid(unit, premise))


def _words(draft: Draft, part: Part, discriminator: bytes) -> TurnIdentity:
    return draft.origin, draft.request.modality, draft.media_type, part.hash, discriminator


def _is_version(manifest: Manifest, draft: Draft) -> bool:
    """Return whether a draft equals this version; a manifest that lost words to an erase never does."""
    asked = (draft.whole, draft.request.modality, draft.media_type)
    whole = all(node.title != ERASED for node in manifest.nodes)
    return whole and (manifest.whole, manifest.modality, manifest.media_type) == asked


def _manifest_of(draft: Draft, ids: list[bytes]) -> Manifest:
    return Manifest(
        draft.atomizer,
        draft.media_type,
        draft.request.modality,
        draft.whole,
        len(draft.request.data),
        tuple(ManifestPart(key, p.kind, place) for key, p, place in zip(ids, draft.parts, draft.places, strict=True)),
        draft.literals,
        draft.nodes,
    )
