"""Indexes: tables whose rows follow from the ledger. Each says how rows follow a change, and what all of them should be.

The law, which a property test holds: applying what `step` gives for each change leaves the rows that `whole` gives for the
history. (One function for both would cost the whole history at each write.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.ids import Pid, Rid
from cmc_mcp.kernel.intervals import Intervals
from cmc_mcp.kernel.kinds import Kind, Record
from cmc_mcp.store.tables import Row as Row
from cmc_mcp.store.tables import Table

if TYPE_CHECKING:
    from cmc_mcp.store.audit import Audit
    from cmc_mcp.store.ports import LedgerView, WriteUnit

WITNESS: Final = -1
"""The feed of witnesses, which are contents among others in the tables; the feed of any other payload is its domain."""


class Changed(NamedTuple):
    """A record that a unit of work changed, net; `new` when nobody had ever named it before."""

    rid: Rid
    record: Record
    before: Intervals
    after: Intervals
    new: bool


class Delta(NamedTuple):
    """Rows that an index loses, and rows that it gains."""

    gone: Iterable[Row] = ()
    made: Iterable[Row] = ()


UNCHANGED: Final = Delta()


def difference(stored: Iterable[Row], wanted: Iterable[Row]) -> Delta:
    """Return what leads from some rows to others, in a fixed order."""
    old, new = set(stored), set(wanted)
    return Delta(sorted(old - new, key=repr), sorted(new - old, key=repr))


class Index(ABC):
    """One derived table. What it is not fed with it is not asked about.

    Rows follow from the facts of changed records (`kinds`, `step`), from payloads (`feed`, `of_payload`), or are told where
    facts do not say them (`WriteUnit.tell`), as the ends of an edge, whose key is a hash of them.
    """

    table: Table
    kinds: tuple[Kind, ...] = ()
    feed: int | None = None

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        """Return how the rows follow the changes of one unit of work, whose own rows are written: O(changes)."""
        return UNCHANGED

    def of_payload(self, pid: Pid, body: bytes) -> Iterable[Row]:
        """Return the rows of a payload that is new, or back."""
        return ()

    @abstractmethod
    def whole(self, audit: Audit) -> Iterable[Row]:
        """Return every row that there should be; what only stored rows can tell is taken from them once it was checked."""

    def erased(self, unit: WriteUnit) -> Delta:
        """Return how the rows follow an erase of this unit, whose bytes and columns are gone."""
        return UNCHANGED

    def of_record(self, view: LedgerView, rid: Rid) -> Iterable[Row]:
        """Return every row of one record, for `WriteUnit.renew`."""
        raise NotImplementedError(f"{self.table.name} is not renewed record by record")


class PayloadIndex(Index):
    """An index over the payloads of a domain, its `feed`."""

    def whole(self, audit: Audit) -> Iterable[Row]:
        """Return the rows of every payload that is there."""
        assert self.feed is not None, "an index over payloads says of which domain"
        return (row for pid, body in audit.bodies(self.feed) for row in self.of_payload(pid, body))
