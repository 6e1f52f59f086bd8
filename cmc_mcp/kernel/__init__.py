"""The bitemporal map: records, intervals and their algebra, transactions, undo. Pure; no I/O."""
