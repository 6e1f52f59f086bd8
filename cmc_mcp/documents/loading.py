"""Loading: from rows to what a reader sees of a memory, at one read point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from cmc_mcp.atoms import identity
from cmc_mcp.canon import Json
from cmc_mcp.documents.manifest import Manifest
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.errors import CmcError, IntegrityError
from cmc_mcp.ids import PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name, text_of
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.facts import FactFields
from cmc_mcp.model.shown import ERASED
from cmc_mcp.store.ports import LedgerView, Objects
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow, PayloadRow, checked


@dataclass(frozen=True, slots=True)
class Loaded:
    """One memory at a read point. `data` is None when its content was erased."""

    row: AtomRow
    interval: Interval
    data: bytes | None
    media_type: str
    origin: str
    witness: Mapping[str, Json]
    discriminator: Mapping[str, Json]

    @property
    def name(self) -> str:
        """The id as text."""
        return atom_name(self.row.key)

    @property
    def fields(self) -> FactFields:
        """The facts that hold."""
        return self.interval.facts.fields

    @property
    def text(self) -> str:
        """The content as text; of an image or audio, a line that says what it is."""
        if self.data is None:
            return ERASED
        if MODALITIES[self.row.modality] in BINARY:
            return f"[{MODALITIES[self.row.modality]}, {self.media_type}, {len(self.data):,} bytes]"
        return self.data.decode()

    @property
    def speaker(self) -> str | None:
        """Who said it, None if that is not told."""
        return cast("str | None", self.discriminator.get("speaker") or self.fields.get("speaker"))

    @property
    def occurred_us(self) -> int | None:
        """When it was said or happened, None if that is not told."""
        when = self.discriminator.get("occurred_at", self.fields.get("occurred_at"))
        return None if when is None else int(str(when))

    @property
    def derived_from(self) -> list[str]:
        """The premises, as ids."""
        return cast("list[str]", self.witness.get("derived_from", []))


def load(
    view: LedgerView,
    objects: Objects,
    rids: Sequence[Rid],
    seq: Seq,
    valid_at: int | None,
    rows: Mapping[Rid, AtomRow] | None = None,
) -> dict[Rid, Loaded]:
    """Load memories as they were at a read point; those that did not hold there are left out.

    Without `valid_at` the interval is the one that holds latest. `rows` are the atoms, where they are at hand.

    Raises:
        IntegrityError: stored bytes do not match their hash, or a memory does not match its id; nothing damaged or forged
            reaches an answer.
    """
    rows = view.atoms(rids) if rows is None else rows
    wanted = {pid for rid in rids if (row := rows.get(rid)) for pid in identity.parts_of(row)}
    payloads = view.payload_rows(wanted)
    bodies = {pid: checked(row) for pid, row in payloads.items()}
    held = view.intervals_of(rids, seq)
    out: dict[Rid, Loaded] = {}
    for rid in rids:
        row, intervals = rows.get(rid), held.get(rid, ())
        if valid_at is not None:
            intervals = tuple(p for p in intervals if p.valid_from <= valid_at < p.valid_to)
        if row is None or not intervals:
            continue
        identity.prove(row, payloads)
        data = content_of(view, objects, payloads.get(row.content), bodies)
        out[rid] = Loaded(
            row,
            intervals[-1],
            data,
            _text(bodies.get(row.media_type)),
            _text(bodies.get(row.origin)) if row.origin else _note(payloads[row.content]),
            _map(bodies.get(row.witness)),
            _map(bodies.get(row.discriminator)) if row.discriminator else {},
        )
    return out


def parts_of(view: LedgerView, objects: Objects, manifest: Manifest) -> list[tuple[str, bytes | None]]:
    """Return the (kind, bytes) of the atoms of a version, in order; None for what was erased, or is missing."""
    rids = [view.rid(atom_record(part.atom)) for part in manifest.parts]
    rows = view.atoms([rid for rid in rids if rid is not None])
    payloads, bodies = _proved(view, list(rows.values()))
    out: list[tuple[str, bytes | None]] = []
    for part, rid in zip(manifest.parts, rids, strict=True):
        row = None if rid is None else rows.get(rid)
        try:
            data = None if row is None else content_of(view, objects, payloads.get(row.content), bodies)
        except CmcError:
            data = None  # `verify` names a missing object
        out.append((part.kind, data))
    return out


def proved_contents(view: LedgerView, objects: Objects, rows: Sequence[AtomRow]) -> list[bytes | None]:
    """Return the contents of atoms, in order; None for what was erased.

    Raises:
        IntegrityError: stored bytes do not match their hash, or a memory does not match its id.
    """
    payloads, bodies = _proved(view, rows)
    return [content_of(view, objects, payloads.get(row.content), bodies) for row in rows]


def _proved(view: LedgerView, rows: Sequence[AtomRow]) -> tuple[Mapping[Pid, PayloadRow], Mapping[Pid, bytes | None]]:
    """Return what the ids of atoms cover, as rows and as checked bytes, each id computed again."""
    payloads = view.payload_rows({pid for row in rows for pid in identity.parts_of(row)})
    bodies = {pid: checked(row) for pid, row in payloads.items()}
    for row in rows:
        identity.prove(row, payloads)
    return payloads, bodies


def content_of(
    view: LedgerView, objects: Objects, row: PayloadRow | None, bodies: Mapping[Pid, bytes | None]
) -> bytes | None:
    """Return content, from the table or the object store; None when erased."""
    if row is None:
        raise IntegrityError("the content of a memory is missing", table="payloads")
    if row.object and row.body is None:
        return text_of(objects.get(view.ws, row.hash))
    return bodies.get(row.pid)


def _note(row: PayloadRow) -> str:
    return "note:" + row.hash.hex()


def _text(body: bytes | None) -> str:
    return ERASED if body is None else body.decode()


def _map(body: bytes | None) -> Mapping[str, Json]:
    return {} if body is None else cast("Mapping[str, Json]", json.loads(body))


def place_of(view: LedgerView, manifests: Manifests, loaded: Loaded, seq: Seq) -> tuple[str | None, str | None]:
    """Return the place of a memory in its source, and the dependency hash of the node it stands under."""
    return places_of(view, manifests, [loaded], seq)[loaded.row.rid]


def places_of(
    view: LedgerView, manifests: Manifests, loaded: Sequence[Loaded], seq: Seq
) -> dict[Rid, tuple[str | None, str | None]]:
    """Return the places of memories in their sources, and the dependency hashes of the nodes they stand under."""
    out: dict[Rid, tuple[str | None, str | None]] = {}
    turns = {item.row.rid: item for item in loaded if "session" in item.discriminator}
    items = view.items_of(list(turns)) if turns else []
    held = view.intervals_of([place.rid for place in items], seq) if items else {}
    for rid, item in turns.items():
        session = str(item.discriminator["session"])
        out[rid] = (session, None)
        for place in items:
            if place.atom == rid and any(
                p.facts.fields.get("atom") == item.row.key.hex() for p in held.get(place.rid, ())
            ):
                out[rid] = (f"{session}#{place.position + 1}", None)
                break
    current: dict[str, PayloadHash | None] = {}
    for item in loaded:
        if item.row.rid in turns:
            continue
        if item.row.origin and item.origin not in current:
            current[item.origin] = manifests.current(view, item.origin, seq)
        hash_ = current.get(item.origin) if item.row.origin else None
        out[item.row.rid] = (None, None) if hash_ is None else manifests.place(view, hash_, item.row.key)
    return out


def indexed_text(view: LedgerView, objects: Objects, row: AtomRow) -> str:
    """Return the text of an atom as full text knows it."""
    if MODALITIES[row.modality] in BINARY:
        return ""
    payload = view.payload_row(row.content)
    data = content_of(view, objects, payload, {payload.pid: checked(payload)})
    return "" if data is None else data.decode()
