"""The registry: everything that a store, the verifier and a move are told about the products above them.

It is a value, made once where everything is put together (`products.py`) and handed down, so that nothing here names a
product, and a test can hand in kinds of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from cmc_mcp.kernel.kinds import Domains, Kind, Kinds, Record
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.schema import Migration

Fill = Callable[[Connection], None]


class Registry(NamedTuple):
    """The kinds of record and payload, and the tables with what fills them where SQL alone cannot (by migration title)."""

    kinds: Kinds
    domains: Domains
    migrations: tuple[Migration, ...]
    fills: Mapping[str, Fill]

    def kind(self, record: Record) -> Kind:
        """Return the kind of a record."""
        return self.kinds[record.kind]

    def tree_key(self, record: Record) -> bytes:
        """Return the key under which a state tree holds a record (16 bytes)."""
        return self.kinds[record.kind].tree_key(record)
