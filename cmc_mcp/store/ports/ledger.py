"""The port for reading the ledger of one workspace, inside one transaction.

Every answer of a view belongs to one committed state. A read takes no lock and never waits for a writer. Times are
microseconds since 1970 UTC, intervals are half-open, hashes are 32 bytes. A stored value that does not match its hash
raises `IntegrityError`; a database that fails raises `StoreError`; a method names only what it raises beside these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from cmc_mcp.ids import END, START, PayloadHash, Pid, Rid, Seq, Ws
from cmc_mcp.kernel.intervals import Intervals
from cmc_mcp.kernel.kinds import Record
from cmc_mcp.kernel.transaction import Change
from cmc_mcp.model.facts import Facts
from cmc_mcp.store.rows import (
    AtomRow,
    EdgeRow,
    GateEntry,
    Head,
    Holder,
    IntervalRow,
    ItemPlace,
    ItemRow,
    KeyUse,
    PayloadRow,
    RecordKey,
    RootSpan,
    TransactionRow,
)

if TYPE_CHECKING:
    from cmc_mcp.store.registry import Registry
    from cmc_mcp.store.tables import Row, Table


class Transactions(Protocol):
    """The ledger's entries, their states and the nodes of both Merkle structures."""

    ws: Ws
    registry: Registry
    """The kinds, indexes and tables that the store was opened with."""

    def erasure_count(self) -> int:
        """Return the number of erasures so far. Whatever was cached under a lower number must be dropped."""
        ...

    def unfinished(self) -> bool:
        """Return whether an erasure of this workspace may have left bytes that are still to be destroyed."""
        ...

    def head(self) -> Head:
        """Return the state after the last transaction; the empty state (`seq` 0) before the first."""
        ...

    def head_at(self, seq: Seq) -> Head:
        """Return the state that a transaction left; 0 is the empty state.

        Raises:
            IntegrityError: The ledger lacks the transaction.
        """
        ...

    def times_of(self, seqs: Iterable[Seq]) -> dict[Seq, int]:
        """Return when some transactions were recorded. Unknown numbers are left out."""
        ...

    def transaction(self, seq: Seq) -> TransactionRow | None:
        """Return one entry of the ledger, or None."""
        ...

    def transactions(self, *, before: Seq = END, after: Seq = START, limit: int = -1) -> Iterator[TransactionRow]:
        """Yield the entries with after < seq < before, newest first; all of them by default."""
        ...

    def rollbacks(self, after: Seq = START) -> list[TransactionRow]:
        """Return every rollback and undo past a transaction, oldest first."""
        ...

    def transactions_by(self, principal: Pid, after: Seq) -> list[Seq]:
        """Return the transactions of a principal past a transaction, oldest first. Scans the ledger."""
        ...

    def seq_at(self, time_us: int) -> Seq:
        """Return the last transaction recorded at or before a time; 0 if there was none yet."""
        ...

    def roots(self, low: bytes, high: bytes) -> list[RootSpan]:
        """Return at most three state roots in [low, high], for references by prefix."""
        ...

    def log_node(self, level: int, position: int) -> bytes:
        """Return one node of the RFC 9162 log.

        Raises:
            IntegrityError: The node is missing.
        """
        ...

    def state_node(self, tree: int, path: int) -> bytes | None:
        """Return the body of one node of the memory tree (0) or the control tree (1), or None."""
        ...


class Records(Protocol):
    """Records, the intervals they held over both clocks, and the payloads they refer to."""

    def rid(self, record: Record) -> Rid | None:
        """Return the number of a record, or None if the workspace never saw it."""
        ...

    def record(self, rid: Rid) -> Record:
        """Return the record with a number.

        Raises:
            IntegrityError: The record is missing.
        """
        ...

    def records(self, kind: int) -> list[RecordKey]:
        """Return every record of a kind, in order of first recording."""
        ...

    def keys_between(self, kind: int, low: bytes, high: bytes, limit: int = 3) -> list[RecordKey]:
        """Return the first records of a kind whose key lies in [low, high], by key, for references by prefix."""
        ...

    def keys_beginning(self, kind: int, beginnings: Sequence[bytes], upto: Rid) -> list[bytes]:
        """Return the keys of 16 bytes of a kind that begin with any of some bytes, of records numbered up to `upto`."""
        ...

    def intervals(self, rid: Rid, seq: Seq | None = None) -> Intervals:
        """Return the live intervals of a record, or those that were live after a transaction, by valid time."""
        ...

    def intervals_of(self, rids: Sequence[Rid], seq: Seq) -> dict[Rid, Intervals]:
        """Return the intervals of several records after a transaction. Records without any are left out."""
        ...

    def interval_rows(self, rid: Rid) -> list[IntervalRow]:
        """Return every interval that a record ever had, by transaction and valid time."""
        ...

    def changed(self, after: Seq, upto: Seq) -> list[Rid]:
        """Return the records with an interval opened or closed in (after, upto], ascending."""
        ...

    def change_seqs(self, rid: Rid) -> list[Seq]:
        """Return the transactions that changed a record, oldest first."""
        ...

    def changes_of(self, seq: Seq) -> list[Change]:
        """Return the changes of a transaction, rebuilt from the intervals, by record number."""
        ...

    def facts(self, pid: Pid) -> Facts:
        """Return a body of facts, checked against its hash; its bytes are None once erased."""
        ...

    def payload_row(self, pid: Pid) -> PayloadRow:
        """Return a payload as stored, unchecked.

        Raises:
            IntegrityError: The payload is missing.
        """
        ...

    def payload_rows(self, pids: Iterable[Pid]) -> dict[Pid, PayloadRow]:
        """Return several payloads as stored, unchecked. Missing ones are left out."""
        ...

    def payload(self, pid: Pid) -> bytes | None:
        """Return inline bytes, checked against their hash; None when erased or kept as an object."""
        ...

    def pid(self, hash_: PayloadHash) -> Pid | None:
        """Return the number of the payload with a hash, or None."""
        ...

    def all_payloads(self) -> Iterator[PayloadRow]:
        """Yield every payload as stored, by number."""
        ...

    def facts_used(self, pid: Pid) -> list[Rid]:
        """Return the records that ever held a body of facts, in no particular order."""
        ...


class Atoms(Protocol):
    """Atoms, where they stand, what links them, and the indexes over their facts."""

    def atom(self, rid: Rid) -> AtomRow | None:
        """Return the immutable part of an atom, or None if the record is not an atom."""
        ...

    def atoms(self, rids: Sequence[Rid]) -> dict[Rid, AtomRow]:
        """Return the immutable parts of several atoms. Records that are not atoms are left out."""
        ...

    def all_atoms(self) -> Iterator[AtomRow]:
        """Yield every atom ever recorded, in order of first recording."""
        ...

    def atoms_with_content(self, content: Pid) -> list[AtomRow]:
        """Return the atoms of a content, in order of first recording."""
        ...

    def atoms_with_origin(self, origin: Pid) -> list[AtomRow]:
        """Return the atoms of an origin, in order of first recording. Bare notes have no stored origin."""
        ...

    def entries(self, origin: Pid, discriminators: Sequence[Pid]) -> list[AtomRow]:
        """Return the atoms of an origin with one of some discriminators, in order of first recording."""
        ...

    def used_elsewhere(self, pids: Sequence[Pid], rids: Sequence[Rid]) -> set[Pid]:
        """Return those payloads that atoms outside `rids` use in any role, or that name a principal. Scans atoms."""
        ...

    def heading(self, rid: Rid) -> str:
        """Return what full text shows beside the content of an atom; "" for nothing."""
        ...

    def origins(self) -> list[Pid]:
        """Return the origins of documents and conversations, in order of first recording."""
        ...

    def origins_like(self, key: str) -> list[Pid]:
        """Return the origins of documents and conversations that may have a key (`name_key`), in order of first recording.

        They are those that are it in ASCII letters of any case, and all that are not ASCII, so that few are looked at.
        """
        ...

    def origin_of(self, rid: Rid) -> Pid | None:
        """Return the origin of an atom, a source head or a conversation item; None for other records."""
        ...

    def items(self, origin: Pid) -> list[ItemRow]:
        """Return the positions of a conversation in order, retracted ones included."""
        ...

    def items_between(self, origin: Pid, low: int, high: int) -> list[ItemRow]:
        """Return the positions `low` to `high` of a conversation in order, retracted ones included."""
        ...

    def items_of(self, atoms: Sequence[Rid]) -> list[ItemPlace]:
        """Return the places that atoms ever had in conversations as (atom, position, item), by atom and item."""
        ...

    def item_of(self, atom: Rid) -> list[ItemRow]:
        """Return the places that an atom ever had in conversations, by item."""
        ...

    def last_item(self, origin: Pid) -> ItemRow | None:
        """Return the last live position of a conversation, or None."""
        ...

    def edges(self, rids: Sequence[Rid], *, incoming: bool = False) -> list[EdgeRow]:
        """Return the edges from (or to) some atoms, retracted ones included, in order of first recording."""
        ...

    def edge(self, rid: Rid) -> EdgeRow | None:
        """Return an edge by its record number, or None."""
        ...

    def labels(self) -> list[tuple[str, Rid]]:
        """Return every label with its record, sorted by label; removed ones included."""
        ...

    def label(self, name: str) -> Rid | None:
        """Return the record of a label, or None."""
        ...

    def idempotency(self, key: str) -> KeyUse | None:
        """Return what an idempotency key was used for, or None."""
        ...

    def index_rows(self, table: Table, **equal: int | str) -> list[Row]:
        """Return the rows of a derived table, those whose columns equal what is given, in no particular order.

        A row holds the columns that `Table.shown` names. The names in `equal` must be columns of the table.
        """
        ...

    def first_spoken(self) -> list[tuple[int, Rid]]:
        """Return the first atom of every speaker as (speaker, rid), in no particular order."""
        ...

    def quarantined(self) -> list[GateEntry]:
        """Return what is in quarantine as (gate record, payload of the request), in order."""
        ...

    def writers(self) -> list[str]:
        """Return the writers there are, in order; reads the index of witnesses."""
        ...

    def tag_names(self) -> list[str]:
        """Return the names of tags there are, in order; reads the index of tags."""
        ...

    def tag_values_like(self, name: str, key: str) -> list[str]:
        """Return the values of a tag that may have a key, as `origins_like` does, in order; reads its part of the index."""
        ...

    def witnesses_of(self, writer: str) -> list[Pid]:
        """Return the witness payloads of a writer, in no particular order."""
        ...

    def facts_with_tag(self, name: str, value: str) -> list[Pid]:
        """Return the bodies of facts that carry a tag, in no particular order."""
        ...

    def facts_with_confidence(self, minimum: int) -> list[Pid]:
        """Return the bodies of facts whose confidence is at least `minimum` millionths, in no particular order."""
        ...

    def facts_with_claim(self, topic: int) -> list[Pid]:
        """Return the bodies of facts with a claim about a topic (`Claim.topic`), in no particular order."""
        ...

    def facts_naming(self, prefix: str) -> list[Pid]:
        """Return the bodies of facts with a register whose name begins with a prefix, ascending. Scans payloads.

        `prefix` holds ASCII letters and colons only.
        """
        ...

    def holders(self, facts: Sequence[Pid], seq: Seq, valid_at: int | None = None) -> list[Holder]:
        """Return the records that hold one of some bodies of facts after a transaction, by record and valid time.

        With `valid_at`, only intervals that cover this instant.
        """
        ...


class LedgerView(Transactions, Records, Atoms, Protocol):
    """Everything that can be read of one workspace without searching."""
