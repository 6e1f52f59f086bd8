"""Superseded: what was ever replaced by a revision, found by its words, so that it is known when it is told again."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, cast

from cmc_mcp.atoms.edges import EDGES
from cmc_mcp.ids import START, Pid, Rid, Seq
from cmc_mcp.model.equality import equality_key
from cmc_mcp.model.facts import Claim, claim_of
from cmc_mcp.model.names import name_key
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import BINARY, MODALITIES, AtomRow, PayloadRow, checked

_CHUNK: Final = 1_000
_STEPS_MAX: Final = 1_000  # transactions that are followed by what they changed; of more, all links are read


class TextKey(NamedTuple):
    """What is equal for two texts that say the same: in the same words as typed, and whatever their case."""

    exact: bytes
    folded: bytes


class Superseded:
    """The memories of one workspace that a link `supersedes` ever led to, by their normalised texts. Thread-safe.

    It may know of links that a read point does not see, since it follows the newest state that was read: what it finds is
    to be looked up there. An erasure begins a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seq = START
        self._by_key: dict[bytes, tuple[Rid, ...]] = {}
        self._contents: dict[Pid, TextKey] = {}  # keys by number of content
        self._known: set[Rid] = set()

    def follow(self, view: LedgerView, head: Seq) -> bool:
        """Take in the links that a view has up to a transaction; return whether there are any."""
        if self._seq < head:
            with self._lock:
                if self._seq < head:
                    self._take(view, self._linked(view, head))
                    self._seq = head
        return bool(self._known)

    def __contains__(self, rid: Rid) -> bool:
        """Return whether a link ever led to a memory."""
        return rid in self._known

    def key_of(self, row: AtomRow, text: str) -> TextKey:
        """Return the key of a text: equal for two texts that say the same in the same words."""
        return self._contents.get(row.content) or _key(row, text)

    def told(self, key: TextKey) -> tuple[Rid, ...]:
        """Return the superseded memories whose text has a key, whatever their case."""
        return self._by_key.get(key.folded, ())

    def tells(self, view: LedgerView, rids: Sequence[Rid], key: TextKey, older: Rid) -> bool:
        """Return whether the text of one of some memories, which stand in place of an older one, has a key.

        Case counts where the older text has the very key: what stands may differ from it in case alone.
        """
        rows = view.atoms([*rids, older])
        payloads = view.payload_rows({row.content for row in rows.values()})
        keys = {rid: _key_of(row, payloads.get(row.content)) for rid, row in rows.items()}
        was = keys.get(older)
        is_exact = was is not None and was.exact == key.exact
        found = [keys[rid] for rid in rids if rid in keys]
        return any(one and (one.exact == key.exact if is_exact else one.folded == key.folded) for one in found)

    def _linked(self, view: LedgerView, head: Seq) -> set[Rid]:
        if self._seq == START or head - self._seq > _STEPS_MAX:
            return {cast("Rid", row[3]) for row in view.index_rows(EDGES.table, type="supersedes")}
        changed = view.changed(self._seq, head)
        parts = (changed[start : start + _CHUNK] for start in range(0, len(changed), _CHUNK))
        return {edge.target for part in parts for edge in view.edges(part) if edge.type == "supersedes"}

    def _take(self, view: LedgerView, found: Iterable[Rid]) -> None:
        new = sorted(set(found) - self._known)
        for start in range(0, len(new), _CHUNK):
            self._take_part(view, new[start : start + _CHUNK])
        self._known.update(new)

    def _take_part(self, view: LedgerView, rids: Sequence[Rid]) -> None:
        rows = view.atoms(rids)
        payloads = view.payload_rows({row.content for row in rows.values()})
        for rid, row in rows.items():
            key = _key_of(row, payloads.get(row.content))
            if key is not None:
                self._contents[row.content] = key
                self._by_key[key.folded] = (*self._by_key.get(key.folded, ()), rid)


def superseded_claims(view: LedgerView, claim: Claim) -> list[Rid]:
    """Return the memories that ever made a claim, however it is spelled, and to which a link `supersedes` leads."""
    holders: set[Rid] = set()
    for pid in view.facts_with_claim(claim.topic):
        theirs = claim_of(view.facts(pid).fields)
        same = theirs is not None and (theirs.about, theirs.value) == (claim.about, claim.value)
        if theirs is not None and same and theirs.many == claim.many:
            holders.update(view.facts_used(pid))
    if not holders:
        return []
    return sorted({edge.target for edge in view.edges(sorted(holders), incoming=True) if edge.type == "supersedes"})


def _key_of(row: AtomRow, payload: PayloadRow | None) -> TextKey | None:
    """Return the key of a stored text; None of what is binary, erased, or in the object store."""
    body = None if payload is None or payload.object else checked(payload)
    if body is None or MODALITIES[row.modality] in BINARY:
        return None
    return _key(row, body.decode())


def text_key(text: str, *, code: bool) -> TextKey:
    """Return the key of a text, short enough to keep many. The case of code always counts."""
    exact = equality_key(text, code=code)
    return TextKey(_digest(exact), _digest(exact if code else name_key(exact)))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _key(row: AtomRow, text: str) -> TextKey:
    return text_key(text, code=MODALITIES[row.modality] == "code")
