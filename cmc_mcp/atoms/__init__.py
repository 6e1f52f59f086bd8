"""Memories as the ledger keeps them: what their facts, witnesses, links and texts are found by, and checked against."""
