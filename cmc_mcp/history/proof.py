"""Proofs one can take away: a signed checkpoint, and that one memory is in the ledger and in the state."""

from __future__ import annotations

from cmc_mcp.errors import NotFound
from cmc_mcp.history.references import resolve_atom
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.intervals import leaf
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.merkle import checkpoint as notes
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.model.results import CheckpointResult, InclusionProof
from cmc_mcp.store.ports import LedgerView


def origin_of(workspace: str) -> str:
    """Name the log of a workspace, as it stands on a checkpoint's first line."""
    return f"cmc/{workspace}"


def checkpoint(view: LedgerView, workspace: str, seed: bytes) -> CheckpointResult:
    """Sign the present head with an Ed25519 key (32-byte seed).

    Raises:
        NotFound: the workspace is empty, so nothing can be signed.
    """
    head = view.head()
    if not head.seq:
        raise NotFound("the workspace is empty: there is nothing to sign yet; remember something first")
    body = notes.Checkpoint(
        origin_of(workspace),
        head.seq,
        log.root(head.seq, view.log_node),
        head.state_root,
        head.control_root,
        head.recorded_us,
    )
    return CheckpointResult(
        checkpoint=notes.sign(body, seed, workspace),
        public_key=notes.public_key(seed).hex(),
        transaction=head.seq,
    )


def inclusion(view: LedgerView, reference: str) -> InclusionProof:
    """Prove that the transaction which first recorded a memory is in the log, and that it is in the state, or not.

    Raises:
        NotFound: the reference names nothing.
        Ambiguous: it could name several things.
        InvalidInput: the reference is malformed.
    """
    rid = resolve_atom(view, reference)
    row = view.atom(rid)
    transaction = None if row is None else view.transaction(row.seq)
    if row is None or transaction is None:
        raise NotFound(f"the memory {reference} has no transaction; run verify without an id", id=reference)
    head = view.head()
    intervals = view.intervals(rid)
    record = atom_record(row.key)
    # of a memory that is not live it proves the absence
    state = [
        node.hex() for node in tree.prove(lambda path: view.state_node(0, path), view.registry.tree_key(record)).nodes
    ]
    return InclusionProof(
        id=atom_name(row.key),
        transaction=row.seq,
        transaction_hash=transaction.hash.hex(),
        log_size=head.seq,
        log_root=log.root(head.seq, view.log_node).hex(),
        log_proof=[node.hex() for node in log.inclusion_proof(row.seq - 1, head.seq, view.log_node)],
        state_root=head.state_root.hex(),
        leaf=leaf(record, intervals).hex() if intervals else None,
        state_proof=state,
    )
