"""Merkle structures as pure functions over bytes: they read through a `get` they are handed and return what to write.

::

    log          the RFC 9162 log: append, root, inclusion and consistency proofs
    proof        the verifiers of those proofs
    state        the radix tree over live records: update, build, prove, verify
    checkpoint   a signed statement of all roots, as a C2SP signed note

Every `verify_*` returns what it verified or None, and raises `ProofError` otherwise, also for malformed input.
"""
