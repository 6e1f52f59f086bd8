"""Checks of `verify` beside the ledger: reasons that an erase took, and receipts that idempotency keys keep."""

from __future__ import annotations

import json
from typing import Final

from pydantic import ValidationError

from cmc_mcp.canon import payload_hash
from cmc_mcp.ids import Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.model.results import Receipt
from cmc_mcp.store.audit import Audit, Report

REASONED: Final = frozenset({"revise", "mark", "forget", "erase"})
"""Verbs that take a reason, which an erase of what they changed takes along."""
_UNREADABLE: Final = (ValidationError, KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


def reasons(audit: Audit, report: Report) -> None:
    """Check that arguments are missing only where an erase took the reason that was given for what it destroyed."""
    atoms = {atom.rid: atom for atom in audit.atoms}
    for row in audit.rows:
        if row.arguments is None:
            changed = [atoms[rid] for rid in audit.view.changed(Seq(row.seq - 1), row.seq) if rid in atoms]
            if row.verb not in REASONED or not all(audit.was_erased(atom) for atom in changed):
                report("transactions", row.seq, "its arguments are missing, and no erasure says why")


def receipts(audit: Audit, report: Report) -> None:
    """Check idempotency keys for damage: each must be what a transaction left."""
    rows = {row.seq: row for row in audit.rows}
    names = {atom_name(atom.key) for atom in audit.atoms}
    taken: dict[int, str] = {}
    for key, request, seq, receipt in audit.view.all_keys():
        try:
            said = Receipt.model_validate({**json.loads(receipt), "snapshot": {"before": "", "after": ""}})
            asked = json.loads(rows[seq].arguments or b"{}")["requests"]
        except _UNREADABLE:
            report("idempotency_keys", key, "its receipt cannot be read, or its transaction is missing")
            continue
        if payload_hash(request).hex() != asked or said.transaction != seq or seq in taken:
            report("idempotency_keys", key, f"transaction {seq} did not answer this request")
        if not names.issuperset((*said.added, *said.reaffirmed, *said.restored, *said.retired)):
            report("idempotency_keys", key, "its receipt names memories that do not exist")
        taken[seq] = key
