"""Outcomes: the judgements of the memories believed now, with their writers and stated confidence."""

from __future__ import annotations

import json

from cmc_mcp.model.calibration import Outcome
from cmc_mcp.model.facts import MARK, judgements_of, number_of
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.store.ports import LedgerView


def outcomes(view: LedgerView) -> list[Outcome]:
    """Return one outcome for each judgement in force at the head, in order of first recording of the memories.

    The confidence is the one that the memory has now. Costs a scan of the bodies of facts, then what was judged.
    """
    held = {rid: pid for rid, _, _, pid in view.holders(view.facts_naming(MARK), view.head().seq)}  # the latest piece
    rows = view.atoms(sorted(held))
    witnesses = {
        pid: {} if row.body is None else json.loads(row.body)
        for pid, row in view.payload_rows({row.witness for row in rows.values()}).items()
    }
    out: list[Outcome] = []
    for rid, row in sorted(rows.items()):
        fields, witness = view.facts(held[rid]).fields, witnesses[row.witness]
        writer, model_id = str(witness.get("writer", ERASED)), str(witness.get("model_id", NO_MODEL))
        confidence = number_of(fields, "confidence")
        out += [Outcome(writer, model_id, confidence, right) for right in judgements_of(fields).values()]
    return out
