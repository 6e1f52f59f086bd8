"""History: snapshots, diffs, rollbacks, the log, and the proofs over them."""
