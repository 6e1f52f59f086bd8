"""Memories and documents as they lie in the ledger: decoded from rows, checked against their hashes, and placed."""
