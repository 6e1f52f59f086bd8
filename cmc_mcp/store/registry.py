"""The registry: everything that a store, the verifier and a move are told about the products above them.

It is a value, made once where everything is put together (`products.py`) and handed down, so that nothing here names a
product, and a test can hand in kinds of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cmc_mcp.kernel.kinds import Domains, Kind, Kinds, Record
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.schema import Migration
from cmc_mcp.store.sql.statements import statements
from cmc_mcp.store.tables import Table

Fill = Callable[[Connection], None]


@dataclass(frozen=True, eq=False)
class Registry:
    """The kinds of record and payload, and the tables with what fills them where SQL alone cannot (by migration title)."""

    kinds: Kinds
    domains: Domains
    tables: tuple[Table, ...]
    migrations: tuple[Migration, ...]
    fills: Mapping[str, Fill]

    def kind(self, record: Record) -> Kind:
        """Return the kind of a record."""
        return self.kinds[record.kind]

    def tree_key(self, record: Record) -> bytes:
        """Return the key under which a state tree holds a record (16 bytes)."""
        return self.kinds[record.kind].tree_key(record)

    @cached_property
    def by_name(self) -> Mapping[str, Table]:
        """The tables by their names."""
        return {table.name: table for table in self.tables}

    @cached_property
    def statements(self) -> Mapping[str, str]:
        """The statements that rows are written with to a file."""
        return statements(self.tables, server=False)

    @cached_property
    def server_statements(self) -> Mapping[str, str]:
        """The statements that rows are written with to a server, before its dialect."""
        return statements(self.tables, server=True)

    @cached_property
    def erased_by_payload(self) -> tuple[tuple[str, str], ...]:
        """The (table, column) pairs of rows that go with the erasure of a payload."""
        return tuple((table.name, table.erased_by) for table in self.tables if table.erased_by)

    @cached_property
    def whole(self) -> frozenset[str]:
        """The tables that a divided database keeps in one part."""
        return frozenset(table.name for table in self.tables if table.whole)
