"""The registry: everything that a store, the verifier and a move are told about the products above them.

It is a value, made once where everything is put together (`products.py`) and handed down, so that nothing here names a
product, and a test can hand in kinds of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cmc_mcp.kernel.kinds import Domains, Kind, Kinds, Record
from cmc_mcp.store.behaviours import Behaviour, plain
from cmc_mcp.store.checks import Check, DeepCheck
from cmc_mcp.store.indexes import Index
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.statements import Keyed, statements
from cmc_mcp.store.tables import Table

if TYPE_CHECKING:
    from cmc_mcp.store.ports import RebuildView

Fill = Callable[["RebuildView"], None]
"""What fills new tables of one workspace where SQL alone cannot."""


@dataclass(frozen=True, eq=False)
class Registry:
    """Kinds of record and payload, what they are, the indexes over them, the tables; fills by the title of a migration."""

    kinds: Kinds
    domains: Domains
    behaviours: tuple[Behaviour, ...]  # in the order in which an erase asks them
    indexes: tuple[Index, ...]  # in the order in which `verify` compares them
    checks: tuple[Check, ...]  # in order, of each role
    deep: tuple[DeepCheck, ...]
    plain: tuple[Table, ...]  # tables that no index fills
    migrations: tuple[Migration, ...]
    fills: Mapping[str, Fill]

    def kind(self, record: Record) -> Kind:
        """Return the kind of a record."""
        return self.kinds[record.kind]

    def tree_key(self, record: Record) -> bytes:
        """Return the key under which a state tree holds a record (16 bytes)."""
        return self.kinds[record.kind].tree_key(record)

    @cached_property
    def behaviour(self) -> Mapping[int, Behaviour]:
        """The behaviour of every kind, by its code."""
        said = {behaviour.kind.code: behaviour for behaviour in self.behaviours}
        return {code: said.get(code) or plain(kind) for code, kind in self.kinds.items()}

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Every table, once; columns that are audited as a table of their own left out."""
        indexed = {index.table.name: index.table for index in self.indexes if not index.table.part_of}
        return tuple({table.name: table for table in (*self.plain, *indexed.values())}.values())

    @cached_property
    def fed(self) -> Mapping[int, tuple[Index, ...]]:
        """The indexes by the payloads that they are fed with."""
        feeds = {index.feed for index in self.indexes} - {None}
        return {
            feed: tuple(index for index in self.indexes if index.feed == feed) for feed in feeds if feed is not None
        }

    @cached_property
    def stepping(self) -> tuple[Index, ...]:
        """The indexes that follow the facts of changed records."""
        return tuple(index for index in self.indexes if index.kinds)

    @cached_property
    def followed(self) -> frozenset[int]:
        """The kinds of record whose changes some index follows."""
        return frozenset(kind.code for index in self.stepping for kind in index.kinds)

    @cached_property
    def by_name(self) -> Mapping[str, Table]:
        """The tables, and what is audited as one, by their names."""
        return {table.name: table for table in (*self.tables, *(index.table for index in self.indexes))}

    @cached_property
    def statements(self) -> Mapping[str, str]:
        """The statements that rows are written with to a file."""
        return statements(self.tables, server=False)

    @cached_property
    def server_statements(self) -> Mapping[str, str]:
        """The statements that rows are written with to a server, before its dialect."""
        return statements(self.tables, server=True)

    @cached_property
    def keyed(self) -> Mapping[str, Keyed]:
        """How the rows of each index are found, by its table's name."""
        return {index.table.name: Keyed.of(index.table) for index in self.indexes}

    @cached_property
    def erased_by_payload(self) -> tuple[tuple[str, str], ...]:
        """The (table, column) pairs of rows that go with the erasure of a payload."""
        return tuple((table.name, table.erased_by) for table in self.tables if table.erased_by)

    @cached_property
    def whole(self) -> frozenset[str]:
        """The tables that a divided database keeps in one part."""
        return frozenset(table.name for table in self.tables if table.whole)
