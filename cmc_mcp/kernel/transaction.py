"""Transactions: what one accepted write hashes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from cmc_mcp.canon import digest
from cmc_mcp.ids import Seq
from cmc_mcp.kernel.kinds import Record

GENESIS: Final = bytes(32)
"""The hash before the first transaction of a workspace."""

OPEN: Final = (1 << 62) - 1
"""`tx_to` of an interval that is live."""

ROLLBACK: Final = "rollback"
UNDO: Final = "undo"


class Change(NamedTuple):
    """One record that a transaction changed: its leaf before and after (32 bytes; empty for none)."""

    record: Record
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What the hash of a transaction covers besides the changes."""

    previous: bytes
    seq: Seq
    recorded_us: int
    principal: bytes  # payload hash
    verb: str
    arguments: bytes  # payload hash
    state_root: bytes
    control_root: bytes


def transaction_hash(header: Header, changes: Iterable[Change]) -> bytes:
    """Hash a transaction (32 bytes): its header, and the net changes sorted by record."""
    body = b"".join(
        bytes([c.record.kind]) + c.record.key + (c.before or GENESIS) + (c.after or GENESIS) for c in sorted(changes)
    )
    return digest(
        "cmc/tx/1",
        header.previous,
        header.seq.to_bytes(8, "big"),
        header.recorded_us.to_bytes(8, "big", signed=True),
        header.principal,
        header.verb.encode(),
        header.arguments,
        digest("cmc/changes/1", body),
        header.state_root,
        header.control_root,
    )


def next_time(clock_us: int, last_us: int) -> int:
    """Return the transaction time: the clock, but always after the last one.

    >>> next_time(5, 9), next_time(20, 9)
    (10, 20)
    """
    return max(clock_us, last_us + 1)
