"""Prove: an answer under `trust="proved"` is of the state and the log that lead to a head which the caller kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from cmc_mcp.errors import InvalidInput, ProofError, brief
from cmc_mcp.history.proof import origin_of
from cmc_mcp.history.verify import Verifier
from cmc_mcp.ids import Seq
from cmc_mcp.merkle import log
from cmc_mcp.model.results import Fault, RecallProof
from cmc_mcp.store.ports import AuditView, Objects

PROVED: Final = "proved"
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
_FAULTS_NAMED: Final = 3


class Wanted(NamedTuple):
    """The head that an answer is to be proved against: a signed checkpoint, or a hash of 64 hex digits.

    `key` returns the public key that a checkpoint must be signed by.
    """

    head: str
    workspace: str
    key: Callable[[], bytes]


def wanted(trust: str | None, head: str | None, workspace: str, key: Callable[[], bytes]) -> Wanted | None:
    """Check the arguments `trust` and `head`; None where nothing is to be proved.

    Raises:
        InvalidInput: one is given without the other, or malformed.
    """
    if trust is None:
        if head is not None:
            raise InvalidInput.at("head", "is what an answer is proved against; pass trust='proved' with it")
        return None
    if trust != PROVED:
        raise InvalidInput.at("trust", f"{brief(trust)} is not a degree of trust; pass 'proved', or leave it out")
    if not isinstance(head, str) or not head.strip():
        raise InvalidInput.at(
            "head", "is missing: pass a signed checkpoint, or log_root or transaction_hash of verify's answer"
        )
    text = head.strip()
    if not _HASH.fullmatch(text) and "\n" not in text:
        raise InvalidInput.at(
            "head",
            f"{brief(text)} is neither a checkpoint nor a hash of 64 hex digits; verify's answer has both hashes",
        )
    return Wanted(text.lower() if _HASH.fullmatch(text) else head, workspace, key)


def prove(view: AuditView, objects: Objects, seq: Seq, asked: Wanted) -> RecallProof:
    """Make the checks of `verify` in the view that answers, and compare with the head; the state read must be the last.

    Whatever an answer is found by is checked, the derived tables too: a filter by writer reads an index of writers.
    Not made are the checks that need the model (`deep`) or the write lock (full text), and those of the file.

    Raises:
        InvalidInput: the state that is read is not the head.
        ProofError: the tables do not hold, or lead to another head.
    """
    head = view.head()
    if seq != head.seq:
        raise InvalidInput.at(
            "as_of",
            f"names transaction {seq}, and only the last one, {head.seq}, can be proved against a head;"
            " leave as_of and cursor out, or trust",
        )
    verifier = Verifier(view, objects)
    verifier.run()
    if verifier.faults:
        raise _refused(verifier.faults)
    _compare(verifier, asked, head.seq)
    return RecallProof(
        verdict=PROVED, root=verifier.log_root.hex(), transaction=head.seq, checked=dict(verifier.checked)
    )


def _compare(verifier: Verifier, asked: Wanted, last: Seq) -> None:
    if not _HASH.fullmatch(asked.head):
        checkpoint = verifier.against(asked.head, asked.key(), origin_of(asked.workspace))
        if verifier.faults:
            raise ProofError(
                f"the head is not proved: {verifier.faults[0].reason}; `cmc verify --checkpoint` checks it"
            )
        if checkpoint is not None and checkpoint.size != last:
            raise _moved(checkpoint.size, last)
        return
    rows = verifier.audit.rows
    hashes = {rows[-1].hash.hex(), verifier.log_root.hex()} if rows else {verifier.log_root.hex()}
    if asked.head in hashes:
        return
    for row in rows:
        root = log.root(row.seq, lambda a, b: verifier.audit.log[a, b])
        if asked.head in (row.hash.hex(), root.hex()):
            raise _moved(row.seq, last)
    raise ProofError(
        f"the ledger does not lead to the head {asked.head[:16]}…: it was rewritten or cut, is an older copy, or the"
        " head is another store's; run `cmc verify` with a checkpoint",
        expected=asked.head,
        computed=verifier.log_root.hex(),
    )


def _moved(given: int, last: Seq) -> ProofError:
    return ProofError(
        f"the head is that of transaction {given}, and the state is that of {last}: run verify with a checkpoint to see"
        " that the one follows from the other, and pass the hash that it answers",
        head=given,
        transaction=last,
    )


def _refused(faults: list[Fault]) -> ProofError:
    named = "; ".join(f"{fault.table} {fault.key}: {fault.reason}" for fault in faults[:_FAULTS_NAMED])
    more = f" and {len(faults) - _FAULTS_NAMED} more" if len(faults) > _FAULTS_NAMED else ""
    return ProofError(
        f"memory is not what was recorded, so nothing of it is shown: {named}{more}; `cmc verify` names every fault",
        faults=len(faults),
    )
