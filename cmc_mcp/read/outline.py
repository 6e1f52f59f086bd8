"""Zoom: one place in the hierarchy of a source, what it stands under, what stands in it, and beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cmc_mcp.atoms.identity import parts_of, prove
from cmc_mcp.canon import digest, payload_hash
from cmc_mcp.documents.loading import load
from cmc_mcp.documents.manifest import Manifest
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import Node, cut, nodes_in, text_of
from cmc_mcp.errors import NotFound
from cmc_mcp.history.references import resolve_origin
from cmc_mcp.ids import NO_RECORD, Pid, Rid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.results import HistoryResult, NodeModel
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import format_time
from cmc_mcp.read.source import turns
from cmc_mcp.store.ports import LedgerView, Objects
from cmc_mcp.store.rows import AtomRow, checked

WINDOW: Final = 3
"""Siblings that are shown on each side."""
_SHOWN_BYTES: Final = 240  # of what stands around; the place itself is shown whole
_SPEAKERS_MAX: Final = 8
_SESSION, _ATOM = 2, 3


@dataclass(frozen=True, slots=True)
class OutlineNode:
    """One place of a source; parents come before their children, which stand in order."""

    path: str
    parent: str | None
    level: int
    title: str
    dependency_hash: str
    atom: Rid | None = None  # record number
    said: str = ""  # what a session says of itself


def outline(
    view: LedgerView, objects: Objects, manifests: Manifests, source: str, path: str, *, seq: Seq, limit: int
) -> HistoryResult:
    """Return a place of a source as it was after a transaction: out (parent), in (children, at most `limit`), sideways.

    `path` is that of a node ("Deploy/CI", "" for the whole source) or of an atom ("Deploy/CI#2"), as `history` gives
    it.

    Raises:
        NotFound: the source does not exist, or lacks the place.
    """
    origin = resolve_origin(view, source)
    found = manifests.of_origin(view, origin, seq)
    places = turns_in(view, origin, seq) if found is None else _document(view, found[1])
    if not places:
        raise NotFound(f"no source {origin!r} exists in this workspace; a bare note has no places", source=origin)
    here = next((place for place in places if place.path == path), None)
    if here is None:
        some = ", ".join(repr(place.path) for place in places[1:6])
        raise NotFound(f"{origin!r} has no place {path!r}; history of the source lists them: {some} …", source=origin)
    beside = [place for place in places if place.parent == here.parent and here.parent is not None]
    number = beside.index(here) if beside else 0
    siblings = [*beside[max(0, number - WINDOW) : number], *beside[number + 1 : number + 1 + WINDOW]]
    children = [place for place in places if place.parent == path][:limit]
    parent = next((place for place in places if place.path == here.parent), None)
    write = _Writer(view, objects, None if found is None else found[1], places, seq)
    return HistoryResult(
        node=write.one(here, None),
        parent=None if parent is None else write.one(parent, _SHOWN_BYTES),
        children=[write.one(place, _SHOWN_BYTES) for place in children],
        siblings=[write.one(place, _SHOWN_BYTES) for place in siblings],
    )


def _document(view: LedgerView, manifest: Manifest) -> list[OutlineNode]:
    atoms = {part.place: view.rid(atom_record(part.atom)) for part in manifest.parts}
    return [
        OutlineNode(n.path, _parent(n.path), n.level, n.title, n.dependency_hash, atoms.get(n.path))
        for n in manifest.nodes
    ]


def _parent(path: str) -> str | None:
    if not path:
        return None
    above, mark, _ = path.rpartition("#")
    return above if mark else path.rpartition("/")[0]


# ---------------------------------------------------------------------- conversations
def _turns(view: LedgerView, origin: Pid, seq: Seq) -> list[tuple[int, AtomRow, Mapping[str, object]]]:
    """Return the turns of a conversation after a transaction as (position, atom, who said it when in which session)."""
    found = turns(view, origin, seq)
    payloads = view.payload_rows({pid for _, row in found for pid in parts_of(row)})
    out: list[tuple[int, AtomRow, Mapping[str, object]]] = []
    for position, row in found:
        said = payloads.get(row.discriminator)
        prove(row, payloads)
        out.append((position, row, json.loads((said and checked(said)) or b"{}")))
    return out


def turns_in(view: LedgerView, origin: str, seq: Seq) -> list[OutlineNode]:
    """Return the places of a conversation: itself, its sessions, their turns; empty if it does not exist."""
    pid = view.pid(payload_hash(origin.encode()))
    told = [] if pid is None else _turns(view, pid, seq)
    sessions: dict[str, list[tuple[int, AtomRow, Mapping[str, object]]]] = {}
    for turn in told:
        sessions.setdefault(str(turn[2].get("session", "")), []).append(turn)
    out: list[OutlineNode] = []
    hashes: list[bytes] = []
    for session, said in sessions.items():
        leaves = [digest("cmc/hhni/1", view.payload_row(row.content).hash) for _, row, _ in said]
        hashes.append(digest("cmc/hhni/1", payload_hash(session.encode()), *leaves))
        about = _about(session, [words for _, _, words in said])
        out.append(OutlineNode(session, "", _SESSION, session, hashes[-1].hex(), said=about))
        out += [
            OutlineNode(f"{session}#{position + 1}", session, _ATOM, "", leaf.hex(), row.rid)
            for (position, row, _), leaf in zip(said, leaves, strict=True)
        ]
    if not out:
        return []
    return [whole(origin, hashes), *out]


def whole(origin: str, sessions: Sequence[bytes]) -> OutlineNode:
    """Return the place of a conversation itself, from the hashes of its sessions."""
    return OutlineNode("", None, 1, origin, digest("cmc/hhni/1", payload_hash(origin.encode()), *sessions).hex())


def _about(session: str, said: Sequence[Mapping[str, object]]) -> str:
    """Describe a session: its name, its dates, its speakers."""
    times = [int(str(words["occurred_at"])) for words in said if words.get("occurred_at") is not None]
    dates = [(format_time(time) or "")[:10] for time in ((min(times), max(times)) if times else ())]
    speakers = list(dict.fromkeys(str(words["speaker"]) for words in said if words.get("speaker")))
    more = ["…"] if len(speakers) > _SPEAKERS_MAX else []
    return " · ".join(
        word
        for word in (session, " to ".join(dict.fromkeys(dates)), ", ".join([*speakers[:_SPEAKERS_MAX], *more]))
        if word
    )


# ---------------------------------------------------------------------- texts
class _Writer:
    """Writes nodes as a reader sees them, with the texts that still exist at a transaction."""

    def __init__(
        self, view: LedgerView, objects: Objects, manifest: Manifest | None, places: Sequence[OutlineNode], seq: Seq
    ) -> None:
        self._view, self._objects, self._manifest, self._seq = view, objects, manifest, seq
        self._atoms = {} if manifest is None else {place.path: place.atom for place in places if place.atom}
        self._nodes: dict[str, Node] = {} if manifest is None else {node.path: node for node in nodes_in(manifest)}

    def one(self, place: OutlineNode, size: int | None) -> NodeModel:
        """Return one place; its text is cut to a size (bytes), unless that is None."""
        text = self._text(place)
        return NodeModel(
            path=place.path,
            level=place.level,
            title=place.title,
            dependency_hash=place.dependency_hash,
            id=None if place.atom is None else atom_name(self._view.record(place.atom).key),
            text=text if text is None or size is None else cut(text, size),
        )

    def _text(self, place: OutlineNode) -> str | None:
        """Return the text of a place; for a node, without forgotten memories."""
        if place.atom is not None:
            return self._words([place.atom]).get(place.atom)
        node = self._nodes.get(place.path)
        if self._manifest is None or node is None:
            return place.said or None
        parts = self._manifest.parts[node.first : node.end]
        words = self._words([rid for part in parts if (rid := self._atoms.get(part.place)) is not None])
        under = [(part.kind, words.get(self._atoms.get(part.place) or NO_RECORD, "")) for part in parts]
        return text_of(node, self._manifest.modality, under, ERASED)

    def _words(self, rids: Sequence[Rid]) -> dict[Rid, str]:
        """Return the texts of atoms that were believed then and are not erased."""
        found = load(self._view, self._objects, rids, self._seq, None)
        return {rid: item.text for rid, item in found.items() if item.data is not None}
