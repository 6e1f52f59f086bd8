"""Numbers and hashes as types of their own, so that a swapped argument fails the type checker.

They cost nothing at run time: each is its base type under another name.
"""

from __future__ import annotations

from typing import Final, NewType

Ws = NewType("Ws", int)
"""The number of a workspace in its store; 0 names none."""
Seq = NewType("Seq", int)
"""The number of a transaction in its workspace, from 1; 0 is the empty state before the first."""
Rid = NewType("Rid", int)
"""The number of a record: the workspace in the high bits, then an ordinal."""
Pid = NewType("Pid", int)
"""The number of a payload, built as a record's number is; 0 names none."""
Vid = NewType("Vid", int)
"""The number of a vector, built as a record's number is."""
ModelNumber = NewType("ModelNumber", int)
"""The number of an embedding model in its store; 0 names none."""
PayloadHash = NewType("PayloadHash", bytes)
"""The SHA-256 of a payload in its domain (32 bytes)."""
NodeKey = NewType("NodeKey", bytes)
"""The key of a section's text (16 bytes)."""

START: Final = Seq(0)
"""The empty state before the first transaction."""
END: Final = Seq((1 << 62) - 1)
"""Past every transaction: what still holds ends here (`kernel.transaction.OPEN`)."""
NO_WORKSPACE: Final = Ws(0)
"""The number of no workspace."""
NO_RECORD: Final = Rid(0)
"""The number of no record, below every one."""
NO_PAYLOAD: Final = Pid(0)
"""The number of no payload."""
NO_MODEL_NUMBER: Final = ModelNumber(0)
"""The number of no embedding model."""
