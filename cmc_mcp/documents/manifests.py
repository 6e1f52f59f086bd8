"""Manifests as they are read: decoded by hash, the last few kept, and found by the document they are a version of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from cmc_mcp.canon import payload_hash
from cmc_mcp.documents.manifest import Manifest, decode_manifest
from cmc_mcp.ids import PayloadHash, Rid, Seq
from cmc_mcp.kernel.kinds import SOURCE
from cmc_mcp.store.ports import LedgerView

_MANIFESTS_MAX: Final = 256


class _Known(NamedTuple):
    manifest: Manifest
    places: Mapping[bytes, str]
    hashes: Mapping[str, str]


class Manifests:
    """Decoded manifests by hash, the last few of them. An erasure starts a new one."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Known | None] = OrderedDict()

    def get(self, view: LedgerView, hash_: PayloadHash) -> Manifest | None:
        """Return a manifest; None when it was erased."""
        known = self._get(view, hash_)
        return None if known is None else known.manifest

    def place(self, view: LedgerView, hash_: PayloadHash, atom: bytes) -> tuple[str | None, str | None]:
        """Return the place of an atom in a version, and the dependency hash of the node it stands under."""
        known = self._get(view, hash_)
        place = None if known is None else known.places.get(atom)
        if known is None or place is None:
            return None, None
        return place, known.hashes.get(place.rpartition("#")[0])

    def _get(self, view: LedgerView, hash_: PayloadHash) -> _Known | None:
        if hash_ not in self._known:
            pid = view.pid(hash_)
            body = None if pid is None else view.payload(pid)
            known = None
            if body is not None:
                manifest = decode_manifest(body)
                places: dict[bytes, str] = {}
                for part in manifest.parts:
                    places.setdefault(part.atom, part.place)
                known = _Known(manifest, places, {node.path: node.dependency_hash for node in manifest.nodes})
            self._known[hash_] = known
            while len(self._known) > _MANIFESTS_MAX:
                self._known.popitem(last=False)
            return known
        return self._known[hash_]

    def of_origin(self, view: LedgerView, origin: str, seq: Seq) -> tuple[PayloadHash, Manifest] | None:
        """Return the version of a document that was current after a transaction, and its hash."""
        hash_ = self.current(view, origin, seq)
        manifest = None if hash_ is None else self.get(view, hash_)
        return None if hash_ is None or manifest is None else (hash_, manifest)

    def of_record(self, view: LedgerView, rid: Rid, seq: Seq) -> Manifest | None:
        """Return the version that the head of a document named after a transaction, or None if the version is gone."""
        intervals = view.intervals(rid, seq)
        return (
            self.get(view, PayloadHash(bytes.fromhex(str(intervals[0].facts.fields["manifest"]))))
            if intervals
            else None
        )

    def current(self, view: LedgerView, origin: str, seq: Seq) -> PayloadHash | None:
        """Return the hash of the version of a document that was current after a transaction."""
        rid = view.rid(SOURCE.record(payload_hash(origin.encode())))
        intervals = () if rid is None else view.intervals(rid, seq)
        return PayloadHash(bytes.fromhex(str(intervals[0].facts.fields["manifest"]))) if intervals else None
