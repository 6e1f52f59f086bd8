"""Merkle structures as pure functions over bytes.

They read stored nodes through the `get` that the caller passes, and return the nodes to write.

::

    log          the RFC 9162 log: append, root, inclusion and consistency proofs
    proof        the verifiers of those proofs
    state        the radix tree over live records: update, build, prove, verify
    checkpoint   a signed statement of all roots, as a C2SP signed note

Every `verify_*` function raises `ProofError` when a proof fails or an argument is malformed.
"""
