"""Handed over: the vectors that come with entries. A text that comes with another vector than it has is another content.

Vectors stand by content, so that a text is embedded once. A caller may give two entries of one text two vectors, though:
of two models, or of two headings that are embedded with it. Both must be found by their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.ids import ModelNumber, PayloadHash
from cmc_mcp.kernel.identity import with_own_vector
from cmc_mcp.store.ports import ReadView, WriteUnit
from cmc_mcp.write.draft import Draft

View = ReadView | WriteUnit
_SAME: Final = 1.0 - 1e-5
"""The cosine from which two vectors are one: endpoints do not give the same digits twice."""


@dataclass(frozen=True, slots=True)
class CheckedEntries:
    """Entries, checked: drafts in order, and the vector of each that came with one (fp32 bytes, empty: all zero)."""

    drafts: tuple[Draft, ...]
    vectors: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """Drafts whose contents are those that their vectors stand by, these vectors, and what stays without one."""

    drafts: tuple[Draft, ...]
    by_hash: dict[PayloadHash, bytes]
    bare: frozenset[PayloadHash]


def settled(view: View, model: ModelNumber, staged: CheckedEntries) -> Settled:
    """Give each draft that came with a vector the content that has this vector: its text, unless that has another.

    The first vector of a text stands by the text itself; in a batch, that of a draft that is still to be embedded.
    """
    pairs = list(zip(staged.drafts, staged.vectors, strict=True))
    if all(vector is None for _, vector in pairs):
        return Settled(staged.drafts, {}, frozenset())
    known = _known(view, model, [draft.whole for draft, vector in pairs if vector is not None])
    embedded = {draft.whole for draft, vector in pairs if vector is None and draft.searchable}
    drafts: list[Draft] = []
    given: dict[PayloadHash, bytes] = {}
    bare: set[PayloadHash] = set()
    for draft, vector in pairs:
        if vector is not None and draft.searchable:
            held = known.get(draft.whole, given.get(draft.whole))
            first = held is None and draft.whole not in embedded
            if not vector or not (first or (held is not None and _same(held, vector))):
                draft = _apart(draft, vector)
            if not vector:
                bare.add(draft.whole)
            elif draft.whole not in known:
                given.setdefault(draft.whole, vector)
        drafts.append(draft)
    return Settled(tuple(drafts), given, frozenset(bare))


def without_vectors(drafts: Sequence[Draft], zeros: Collection[PayloadHash]) -> tuple[Draft, ...]:
    """Give the texts that were embedded to zeros contents that have no vector."""
    return tuple(_apart(draft, b"") if draft.whole in zeros else draft for draft in drafts)


def _known(view: View, model: ModelNumber, hashes: Sequence[PayloadHash]) -> Mapping[PayloadHash, bytes]:
    """Return the vectors that contents have under a model."""
    if not model:
        return {}
    pids = view.pids(list(dict.fromkeys(hashes)))
    vectors = view.content_vectors(model, list(pids.values())) if pids else {}
    return {hash_: vectors[pid] for hash_, pid in pids.items() if pid in vectors}


def _same(held: bytes, vector: bytes) -> bool:
    if held == vector:
        return True
    import numpy as np

    a, b = np.frombuffer(held, np.float32), np.frombuffer(vector, np.float32)
    return len(a) == len(b) and float(a.astype(np.float64) @ b.astype(np.float64)) >= _SAME


def _apart(draft: Draft, vector: bytes) -> Draft:
    data = with_own_vector(draft.request.data, vector)
    hash_ = payload_hash(data)
    (part,) = draft.parts
    return replace(draft, whole=hash_, parts=(replace(part, data=data, hash=hash_),))
