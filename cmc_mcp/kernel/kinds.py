"""The identities of all kinds of record and of payload: what a hash covers, and nothing about what they mean.

A kind is one line here and one file in its product's room (`store/registry.py`); this module is complete without them, so
that roots can be computed by whoever has the records alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from cmc_mcp.canon import digest, facts_hash, payload_hash
from cmc_mcp.ids import PayloadHash

KEY_BYTES: Final = 16


class Record(NamedTuple):
    """The identity of one thing that has facts over time."""

    kind: int
    key: bytes


class Kind(NamedTuple):
    """What the kernel knows of a kind of record.

    Memory kinds form the state root and roll back; the others, control kinds, form the control root and never do. Of an
    `assigned` kind the replay of a change sets its after-state, whatever stood before; of the others it sets what the change
    set, field by field. A record that `may_be_empty` can be numbered without ever being asserted.
    """

    code: int
    name: str
    memory: bool
    assigned: bool = False
    may_be_empty: bool = False

    def record(self, *parts: bytes) -> Record:
        """Return the record of this kind that `parts` identify."""
        return Record(self.code, digest(f"cmc/key/{self.name}/1", *parts)[:KEY_BYTES])

    def tree_key(self, record: Record) -> bytes:
        """Return the key under which the state tree holds a record of this kind (16 bytes)."""
        return digest("cmc/record/1", self.name.encode(), record.key)[:KEY_BYTES]


class Domain(NamedTuple):
    """One kind of payload: how its bytes are hashed, and how they may be kept.

    `revives`: bytes that were erased and are put again are there again. `inline_only`: they are never an object. `refers`
    gives the hashes of the payloads that bytes name, each of which must have a row.
    """

    number: int
    hash: Callable[[bytes], PayloadHash]
    revives: bool = True
    inline_only: bool = False
    refers: Callable[[bytes], Iterable[PayloadHash]] = lambda _: ()


Kinds = Mapping[int, Kind]
Domains = Mapping[int, Domain]

ATOM: Final = Kind(1, "atom", memory=True)  # the assertion of an atom; its key is the atom's id
EDGE: Final = Kind(2, "edge", memory=True)  # a typed link; parts: source atom id, type, target atom id
SOURCE: Final = Kind(3, "source", memory=True, assigned=True)  # the head of a document; parts: origin hash
ITEM: Final = Kind(4, "item", memory=True)  # a place in a conversation; parts: origin hash, position as eight bytes
LABEL: Final = Kind(64, "label", memory=False)  # a name of a transaction; parts: the label
POLICY: Final = Kind(65, "policy", memory=False, may_be_empty=True)  # a setting of the workspace; parts: its name
GATE: Final = Kind(66, "gate", memory=False)  # a decision about a request; parts: the request's hash
ERASURE: Final = Kind(67, "erasure", memory=False)  # of one payload; parts: the erased payload's hash
EMBEDDING: Final = Kind(68, "embedding", memory=False)  # vectors made after their atoms; parts: model, transaction

KINDS: Final[Kinds] = {kind.code: kind for kind in (ATOM, EDGE, SOURCE, ITEM, LABEL, POLICY, GATE, ERASURE, EMBEDDING)}

CONTENT: Final = Domain(0, payload_hash)  # whatever a caller gave, and plans of documents
FACTS: Final = Domain(1, facts_hash, inline_only=True)  # bodies of facts

DOMAINS: Final[Domains] = {domain.number: domain for domain in (CONTENT, FACTS)}


def atom_record(atom_id: bytes) -> Record:
    """Return the record of the assertion of an atom (id of 16 bytes)."""
    return Record(ATOM.code, atom_id)
