"""The index of witnesses by their writer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from cmc_mcp.ids import Pid
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import WITNESS, Index, Row
from cmc_mcp.store.tables import IGNORE, Table, columns, key


class _Witnesses(Index):
    """Rows (writer, witness)."""

    table = Table(
        "witnesses", columns("ws writer witness:pid"), key("writer witness"), "derived",
        write_rank=110, move_rank=120, conflict=IGNORE,
    )  # fmt: skip
    feed = WITNESS

    def of_payload(self, pid: Pid, body: bytes) -> Iterable[Row]:
        return ((str(json.loads(body).get("writer")), pid),)

    def whole(self, audit: Audit) -> Iterator[Row]:
        for pid in {atom.witness for atom in audit.atoms}:
            body = audit.body(pid)
            if body is not None:
                yield from self.of_payload(pid, body)


WITNESSES: Final = _Witnesses()
