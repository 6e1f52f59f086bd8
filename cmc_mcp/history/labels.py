"""Labels: names of transactions, found by their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cmc_mcp.ids import Rid
from cmc_mcp.kernel.kinds import LABEL
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Changed, Delta, Index
from cmc_mcp.store.ports import WriteUnit
from cmc_mcp.store.tables import Table, columns, key


class Label(NamedTuple):
    """A row: the record of a label, and its words."""

    rid: Rid
    label: str


class _Labels(Index):
    """A label keeps its words, whatever it names."""

    table = Table("labels", columns("rid:rid ws label"), key("rid"), "derived", write_rank=150, move_rank=140)
    kinds = (LABEL,)

    def step(self, unit: WriteUnit, changes: Sequence[Changed]) -> Delta:
        return Delta(made=[Label(c.rid, str(c.after[0].facts.fields["label"])) for c in changes if c.new])

    def whole(self, audit: Audit) -> Iterator[Label]:
        for rid, _ in audit.of_kind(LABEL):
            yield from (Label(rid, str(audit.fields(facts)["label"])) for facts in audit.first[rid][1])


LABELS: Final = _Labels()
