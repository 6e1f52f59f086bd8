"""What an audit read of the committed tables of a workspace, and what follows from them: read once, for every check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

from cmc_mcp.errors import CmcError
from cmc_mcp.ids import PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.kernel.kinds import ERASURE, Kind, Record
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.model.facts import FactFields, Facts
from cmc_mcp.store.indexes import Index, Row
from cmc_mcp.store.ports import AuditView, Objects
from cmc_mcp.store.rows import AtomRow, PayloadRow, TransactionRow
from cmc_mcp.store.tables import WORKSPACE_SHIFT

T = TypeVar("T")
Report = Callable[[str, object, str], None]
"""What a fault is reported to: its table, the key of the row, the reason."""
_KEPT_BYTES_MAX: Final = 1024
"""Longer contents are read again where they are needed: a store may be larger than memory."""


@dataclass(slots=True)
class Audit:
    """The committed tables as the replay read them, and what it found on the way."""

    view: AuditView
    objects: Objects
    records: dict[Rid, Record]
    atoms: list[AtomRow]
    rows: list[TransactionRow]
    payloads: dict[Pid, PayloadRow] = field(default_factory=dict)  # without the bytes of long contents: `body` has them
    inline: set[Pid] = field(default_factory=set)  # the payloads whose bytes are in their row
    first: dict[Rid, tuple[Seq, list[Pid]]] = field(default_factory=dict)  # rid → its first transaction, facts in it
    held: set[Pid] = field(default_factory=set)  # every payload that is facts of a piece
    trees: tuple[dict[int, bytes], dict[int, bytes]] = field(default_factory=lambda: ({}, {}))
    log: dict[tuple[int, int], bytes] = field(default_factory=dict)
    erased: frozenset[PayloadHash] = frozenset()  # hashes of what is erased now, and of what ever was
    ever_erased: frozenset[PayloadHash] = frozenset()
    _wanted: dict[str, set[Row]] = field(default_factory=dict)
    _made: dict[Callable[[Audit], object], object] = field(default_factory=dict)

    @classmethod
    def of(cls, view: AuditView, objects: Objects) -> Audit:
        """Read the committed tables of a workspace; the payloads are kept one by one, as they are checked."""
        rows = sorted(view.transactions(), key=lambda row: row.seq)
        return cls(view, objects, view.all_records(), list(view.all_atoms()), rows)

    def keep(self, row: PayloadRow) -> None:
        """Keep a payload, but not the bytes of a long content."""
        if row.body is not None:
            self.inline.add(row.pid)
            if not row.domain and len(row.body) > _KEPT_BYTES_MAX:
                row = row._replace(body=None)
        self.payloads[row.pid] = row

    # ------------------------------------------------------------------ what follows
    def wanted(self, index: Index) -> set[Row]:
        """Return the rows that an index should have; the committed tables are sound."""
        name = index.table.name
        if name not in self._wanted:
            self._wanted[name] = set(index.whole(self))
        return self._wanted[name]

    def stored(self, index: Index) -> set[Row]:
        """Return the rows that an index has."""
        return set(self.view.index_rows(index.table))

    def once(self, make: Callable[[Audit], T]) -> T:
        """Return what a function makes of the audit, made once for all who ask."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast(T, self._made[make])

    # ------------------------------------------------------------------ payloads and records
    def fields(self, pid: Pid) -> FactFields:
        """Return the facts of a payload; none when they were erased."""
        row = self.payloads[pid]
        return Facts(row.hash, row.body).fields

    def body(self, pid: Pid) -> bytes | None:
        """Return inline bytes."""
        if pid not in self.inline:
            return None
        held = self.payloads[pid].body
        return self.view.payload(pid) if held is None else held

    def content(self, pid: Pid) -> bytes:
        """Return the bytes of a content as they were put, from the table or the object store; none when they are gone."""
        row = self.payloads[pid]
        try:
            body = self.objects.get(self.view.ws, row.hash) if row.object else self.body(pid)
        except CmcError:
            return b""  # named by the check of objects
        return body or b""

    def text(self, pid: Pid) -> bytes | None:
        """Return the bytes of a content, from the table or the object store; None when they are gone or damaged."""
        row = self.payloads[pid]
        if not row.object:
            body = self.body(pid)
            return None if body is None else text_of(body)
        try:
            return text_of(self.objects.get(self.view.ws, row.hash))
        except CmcError:
            return None  # named by the check of objects

    def bodies(self, domain: int) -> Iterator[tuple[Pid, bytes]]:
        """Yield the payloads of a domain that are there, as (number, bytes)."""
        return ((pid, row.body) for pid, row in self.payloads.items() if row.domain == domain and row.body is not None)

    def of_kind(self, *kinds: Kind) -> Iterator[tuple[Rid, Record]]:
        """Yield the records of some kinds, in order of first recording."""
        codes = {kind.code for kind in kinds}
        return ((rid, record) for rid, record in sorted(self.records.items()) if record.kind in codes)

    def was_erased(self, atom: AtomRow) -> bool:
        """Return whether the content of an atom was ever erased."""
        content = self.payloads.get(atom.content)
        return content is not None and content.hash in self.ever_erased

    def all_erased(self) -> frozenset[PayloadHash]:
        """Return the hashes of all that was ever erased, what was let in again since included."""
        facts = {pid for rid, _ in self.of_kind(ERASURE) for *_, pid in self.view.interval_rows(rid)}
        return frozenset(PayloadHash(bytes.fromhex(str(self.fields(pid)["hash"]))) for pid in facts)

    def lifting(self) -> frozenset[Seq]:
        """Return the transactions that let in again what was erased."""
        erasures = (row for rid, _ in self.of_kind(ERASURE) for row in self.view.interval_rows(rid))
        return frozenset(row.tx_to for row in erasures if row.tx_to != OPEN)


def numbered_whole(
    name: str, view: AuditView, numbers: Iterable[int], last: int, report: Report, *, gaps: bool = False
) -> None:
    """Check that rows were numbered one after the other, up to the number that the last transaction says."""
    low, there = view.ws << WORKSPACE_SHIFT, set(numbers)
    last = max(last, low)
    inside = {number for number in there if low < number <= last}
    for number in sorted(there - inside):
        report(name, number, "no transaction made this row")
    if max(there, default=low) > last or (max(inside, default=low) < last and not gaps):
        report(
            "transactions", view.head().seq, f"the transaction counts {name} up to {last}, which is not the last one"
        )
    if gaps:
        return
    for number in range(low + 1, min(max(inside, default=low), low + 2 * len(inside)) + 1):
        if number not in inside:
            report(name, number, "is missing")
