"""Items: the places of a conversation, one record a turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from cmc_mcp.ids import Pid, Rid, Seq
from cmc_mcp.kernel.kinds import ITEM, atom_record
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.behaviours import Behaviour
from cmc_mcp.store.indexes import Index
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.tables import IGNORE, Table, columns, key


class Item(NamedTuple):
    """A row: what stood, at some time, at a position of a conversation."""

    origin: Pid
    position: int
    rid: Rid
    atom: Rid


class _Items(Index):
    """Origin and position are told when a turn is staged: the key is a hash of them."""

    table = Table(
        "items", columns("ws origin:pid position rid:rid atom:rid"), key("origin position atom"), "derived",
        write_rank=130, move_rank=80, conflict=IGNORE,
    )  # fmt: skip

    def whole(self, audit: Audit) -> Iterator[Item]:
        """Yield the places of conversations: they are numbered from 0 without a gap."""
        by_record = {record: rid for rid, record in audit.records.items()}
        for origin in {atom.origin for atom in audit.atoms if atom.origin and atom.discriminator}:
            position = 0
            while rid := by_record.get(ITEM.record(audit.payloads[origin].hash, position.to_bytes(8, "big"))):
                for *_, facts in audit.view.interval_rows(rid):
                    atom = bytes.fromhex(str(audit.fields(facts)["atom"]))
                    yield Item(origin, position, rid, by_record[atom_record(atom)])
                position += 1


class _Turns(Behaviour):
    """A place is about what stood there."""

    kind = ITEM

    def origin(self, view: LedgerView, rid: Rid) -> Pid | None:
        return view.origin_of(rid)

    def subjects(self, view: LedgerView, rid: Rid, seq: Seq) -> list[Rid]:
        intervals = (*view.intervals(rid, Seq(seq - 1)), *view.intervals(rid, seq))
        keys = {bytes.fromhex(str(interval.facts.fields["atom"])) for interval in intervals}
        return [atom for key in sorted(keys) if (atom := view.rid(atom_record(key))) is not None]


TURNS: Final = _Turns()
ITEMS: Final = _Items()
