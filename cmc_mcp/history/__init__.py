"""History: the log, snapshots, diffs and rollbacks; verify and rebuild; moving to another store; and the proofs."""
