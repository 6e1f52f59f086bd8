"""Quarantine: the requests that are kept back now, of all that a gate ever decided about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cmc_mcp.kernel.kinds import GATE
from cmc_mcp.kernel.pieces import Pieces
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Changed, Delta, Index
from cmc_mcp.store.protocol import LedgerView, WriteUnit
from cmc_mcp.store.tables import Table, columns, key


class Kept(NamedTuple):
    """A row: the gate's record, and the payload of the request."""

    rid: int
    request: int


class _Quarantine(Index):
    """A row while the decision says so."""

    table = Table(
        "quarantine", columns("rid:rid ws request:pid"), key("rid"), "derived",
        write_rank=160, move_rank=150, erasable=True,
    )  # fmt: skip
    kinds = (GATE,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        found = [(set(_kept(unit, c.rid, c.before)), set(_kept(unit, c.rid, c.after))) for c in changes]
        return Delta(
            [row for before, after in found for row in before - after],
            [row for before, after in found for row in after - before],
        )

    def whole(self, audit: Audit) -> Iterator[Kept]:
        for rid, _ in audit.of_kind(GATE):
            yield from _kept(audit.view, rid, audit.view.pieces(rid))


def _kept(view: LedgerView, rid: int, pieces: Pieces) -> Iterator[Kept]:
    for piece in pieces:
        registers = piece.facts.registers
        if registers.get("decision") == "quarantined":
            yield Kept(rid, view.pid(bytes.fromhex(str(registers["request"]))) or 0)


QUARANTINE: Final = _Quarantine()
