"""`verify`: prove that memory is what was recorded, or name every fault."""

from __future__ import annotations

from cmc_mcp.errors import Cancelled
from cmc_mcp.model.results import VerifyResult
from cmc_mcp.model.shown import value
from cmc_mcp.tools.tool import Call, Hints, ToolSpec
from cmc_mcp.verbs.models import Verify

DESCRIPTION = """Check that memory is exactly what was recorded: re-hash all content, replay the ledger, rebuild the \
indexes; the answer is "holds", or every fault.
Use it after a crash or a restore, and when tampering is feared. It reads everything, so not on every turn.
checkpoint (a signed head kept elsewhere) also finds rewrites and rewinds; id adds the proof that one memory is \
included; deep embeds every text again.
Example: {}"""


def handle(call: Call, asked: Verify) -> VerifyResult:
    """Verify. A cancelled call stops at the next step."""

    def step(done: int, total: int) -> None:
        if call.cancelled():
            raise Cancelled("the call was cancelled; verifying changes nothing")
        call.progress(done, total)

    return asked.on(call.memory, progress=step)


def write(result: VerifyResult, asked: Verify) -> list[str]:
    """Write the answer."""
    verdict = "Holds" if result.holds else f"DOES NOT HOLD: {len(result.faults)} faults"
    checked = ", ".join(f"{count:,} {name}" for name, count in result.checked.items())
    lines = [f"{verdict}. Checked: {checked or 'an empty ledger'}"]
    lines += [f"fault in {value(fault.table)}, {value(fault.key)}: {value(fault.reason)}" for fault in result.faults]
    lines += [f"note: {value(note)}" for note in result.notes]
    lines.append(f"state {result.snapshot}, transaction {result.transaction}, log root {result.log_root}")
    lines.append(f"transaction hash {result.transaction_hash}, state root {result.state_root}")
    if (proof := result.proof) is not None:
        lines.append(f"proof of {proof.id}: transaction {proof.transaction} with hash {proof.transaction_hash}")
        lines.append(f"log of {proof.log_size}, root {proof.log_root}, path {' '.join(proof.log_proof) or 'empty'}")
        leaf = proof.leaf or "none"
        lines.append(f"state root {proof.state_root}, leaf {leaf}, path {' '.join(proof.state_proof) or 'empty'}")
    return lines


TOOL = ToolSpec(
    title="Verify",
    description=DESCRIPTION,
    verb=Verify,
    result=VerifyResult,
    hints=Hints(read_only=True, destructive=False, idempotent=True),
    handle=handle,
    write=write,
    always=("faults",),
    long=True,
)
