"""Behaviours: what history, verify and erase ask of a kind of record, answered in its product's room.

A kind without one is a record like any other: it is about itself, named by its key, and an erase finds nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cmc_mcp.ids import Pid, Rid, Seq
from cmc_mcp.kernel.kinds import Kind, Record
from cmc_mcp.model.facts import FactFields
from cmc_mcp.store.rows import AtomRow

if TYPE_CHECKING:
    from cmc_mcp.store.ports import LedgerView, Objects, WriteUnit


class Ref(NamedTuple):
    """A payload that facts name by its hash (hex) in a field; its row must exist, erased or not."""

    register: str
    hash: str


class Named(NamedTuple):
    """A record as people know it: an id, and what it says, where that can be shown."""

    id: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The memories that an erase destroys."""

    rows: Mapping[Rid, AtomRow]
    objects: Objects

    @property
    def contents(self) -> frozenset[Pid]:
        """The payloads of their contents."""
        return frozenset(row.content for row in self.rows.values())

    @property
    def keys(self) -> frozenset[bytes]:
        """Their ids."""
        return frozenset(row.key for row in self.rows.values())

    @property
    def origins(self) -> list[Pid]:
        """The payloads of their origins, in order."""
        return sorted({row.origin for row in self.rows.values() if row.origin})


class Behaviour:
    """One kind of record; each method has the answer of a kind about which there is nothing to say."""

    kind: Kind

    def refers(self, fields: FactFields) -> Iterable[Ref]:
        """Return the payloads that facts name."""
        return ()

    def origin(self, view: LedgerView, rid: Rid) -> Pid | None:
        """Return the payload of the source that a record belongs to."""
        return None

    def subjects(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        """Return the records whose tags say whether a selective undo matches the change of a transaction to a record."""
        return [rid]

    def bound(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        """Return the records whose tags say so for a change to a record of any kind, which this kind is undone with."""
        return []

    def describe(self, view: LedgerView, rid: Rid) -> Named:
        """Name a record."""
        origin = self.origin(view, rid)
        body = None if origin is None else view.payload(origin)
        return Named(f"{self.kind.name}_{view.record(rid).key.hex()}", None if body is None else body.decode())

    def listed(self, record: Record) -> str | None:
        """Return the id under which an undo tells of a record beside its diff; None for a kind of which it does not."""
        return None

    def gone(self, view: LedgerView, since: Seq) -> Collection[Rid]:
        """Return the records whose words were erased after a transaction, not told again: no undo brings them back."""
        return ()

    def resting(self, view: LedgerView, taken: Collection[Rid], stays: Callable[[Rid], bool]) -> Collection[Rid]:
        """Return the live records that rest, by records of this kind, on what an undo takes away.

        `stays` says of any record whether the undo leaves it in force.
        """
        return ()

    def redact(self, unit: WriteUnit, gone: Gone) -> Collection[Pid]:
        """Take the words of erased memories out of this kind's records; return the payloads that held them."""
        return ()


def plain(kind: Kind) -> Behaviour:
    """Return the behaviour of a kind about which there is nothing to say."""
    behaviour = Behaviour()
    behaviour.kind = kind
    return behaviour
