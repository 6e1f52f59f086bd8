"""The bitemporal map: records, pieces and their algebra, transactions, undo. Pure; no I/O."""
