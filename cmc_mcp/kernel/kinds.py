"""The kinds of record. A new kind of thing is a new class here, not a new path through the system.

Memory kinds form the state root and roll back; control kinds form the control root and never do.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from cmc_mcp.canon import digest

KEY_BYTES: Final = 16


class Record(NamedTuple):
    """The identity of one thing that has facts over time."""

    kind: int
    key: bytes

    @property
    def tree_key(self) -> bytes:
        """The key under which the state tree holds this record (16 bytes)."""
        return digest("cmc/record/1", KINDS[self.kind].name.encode(), self.key)[:KEY_BYTES]

    @property
    def is_memory(self) -> bool:
        """Whether the record belongs to the state that rolls back."""
        return KINDS[self.kind].memory


class Kind:
    """What every kind says of itself: its stable code and name, and whether it rolls back."""

    code: ClassVar[int]
    name: ClassVar[str]
    memory: ClassVar[bool]

    @classmethod
    def record(cls, *parts: bytes) -> Record:
        """Give the record of this kind that `parts` identify."""
        return Record(cls.code, digest(f"cmc/key/{cls.name}/1", *parts)[:KEY_BYTES])


class AtomKind(Kind):
    """The assertion of an atom; its key is the atom's id (`Record(AtomKind.code, id)`)."""

    code, name, memory = 1, "atom", True


class EdgeKind(Kind):
    """A typed link; parts: source atom id, type, target atom id."""

    code, name, memory = 2, "edge", True


class SourceKind(Kind):
    """The head of a document: which manifest is current; parts: origin hash."""

    code, name, memory = 3, "source", True


class ItemKind(Kind):
    """One position of a conversation; parts: origin hash, position as eight bytes."""

    code, name, memory = 4, "item", True


class LabelKind(Kind):
    """A name of a transaction; parts: the label."""

    code, name, memory = 64, "label", False


class PolicyKind(Kind):
    """A setting of the workspace; parts: its name."""

    code, name, memory = 65, "policy", False


class GateKind(Kind):
    """A gate decision: something kept in quarantine, or released; parts: the request's hash."""

    code, name, memory = 66, "gate", False


class ErasureKind(Kind):
    """An erasure, naming the hashes of what was destroyed; parts: the erased payload's hash."""

    code, name, memory = 67, "erasure", False


class EmbeddingKind(Kind):
    """Vectors that were made after their atoms; parts: model, payload hash."""

    code, name, memory = 68, "embedding", False


KINDS: Final[dict[int, type[Kind]]] = {
    kind.code: kind
    for kind in (AtomKind, EdgeKind, SourceKind, ItemKind, LabelKind, PolicyKind, GateKind, ErasureKind, EmbeddingKind)
}


def atom_record(atom_id: bytes) -> Record:
    """Give the record of the assertion of an atom (id of 16 bytes)."""
    return Record(AtomKind.code, atom_id)
