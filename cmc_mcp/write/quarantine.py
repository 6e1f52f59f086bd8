"""Quarantine: the requests that are kept back now, of all that a gate ever decided about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from cmc_mcp.ids import NO_PAYLOAD, PayloadHash, Pid, Rid
from cmc_mcp.kernel.intervals import Interval, Intervals
from cmc_mcp.kernel.kinds import GATE
from cmc_mcp.model.facts import FactFields, facts_of
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.behaviours import Behaviour, Gone, Ref
from cmc_mcp.store.indexes import Changed, Delta, Index
from cmc_mcp.store.ports import LedgerView, WriteUnit
from cmc_mcp.store.tables import Table, columns, key
from cmc_mcp.write.draft import draft
from cmc_mcp.write.gate import decode_request


class Kept(NamedTuple):
    """A row: the gate's record, and the payload of the request."""

    rid: Rid
    request: Pid


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
            yield from _kept(audit.view, rid, audit.view.intervals(rid))


def _kept(view: LedgerView, rid: Rid, intervals: Intervals) -> Iterator[Kept]:
    for interval in intervals:
        fields = interval.facts.fields
        if fields.get("decision") == "quarantined":
            yield Kept(rid, view.pid(PayloadHash(bytes.fromhex(str(fields["request"])))) or NO_PAYLOAD)


class _Gates(Behaviour):
    """A gate names the request that it decided about."""

    kind = GATE

    def refers(self, fields: FactFields) -> Iterable[Ref]:
        said = fields.get("request")
        return (Ref("request", str(said)),) if said else ()

    def redact(self, unit: WriteUnit, gone: Gone) -> Collection[Pid]:
        """Take requests that hold an erased content out of quarantine; return their payloads, released ones' included."""
        hashes = {row.hash for row in unit.payload_rows(gone.contents).values()}
        out: set[Pid] = set()
        for rid, _ in unit.records(GATE.code):
            for interval in unit.intervals(rid):
                pid = unit.pid(PayloadHash(bytes.fromhex(str(interval.facts.fields["request"]))))
                body = None if pid is None else unit.payload(pid)
                if pid is None or body is None:
                    continue
                if any(part.hash in hashes for part in draft(decode_request(body)[0]).parts):
                    out.add(pid)
                    facts = facts_of({**interval.facts.fields, "decision": "erased"})
                    unit.set_intervals(rid, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts),))
        return out


QUARANTINE: Final = _Quarantine()
GATES: Final = _Gates()
