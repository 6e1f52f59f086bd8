"""What a store in SQL is on every database: the workspaces' numbers, and what is kept between calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from cmc_mcp import errors
from cmc_mcp.clock import Clock
from cmc_mcp.ids import NO_WORKSPACE, Ws
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.rate_limit import CallCounter
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import Head
from cmc_mcp.store.sql.collected import Kept
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.passages import passages_of
from cmc_mcp.store.sql.postings import Checking, Fault
from cmc_mcp.store.sql.search import SearchView
from cmc_mcp.store.sql.unit import TreeCache


class SqlStore(ABC):
    """Many readers, one writer of a workspace at a time."""

    def __init__(self, clock: Clock, registry: Registry) -> None:
        self.registry = registry
        self._clock = clock
        self._call_counter = CallCounter()
        self._facts: dict[Ws, FactsCache] = {}
        self._trees: dict[Ws, TreeCache] = {}
        self._kept: dict[Ws, Kept] = {}

    @property
    @abstractmethod
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""

    @abstractmethod
    def reader(self, ws: Ws) -> AbstractContextManager[SearchView]:
        """Open a read transaction on a workspace: everything in it belongs to one state."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[Connection]:
        """Yield a connection that may write, without a transaction, for maintenance."""

    def check_writable(self) -> None:
        """Refuse to write to a store that was opened for reading.

        Raises:
            StoreError: the store was opened read-only.
        """
        if self.read_only:
            raise errors.StoreError("this store was opened read-only; open it for writing to change it")

    def workspace(self, name: str, *, create: bool) -> Ws:
        """Return the number of a workspace; 0 when it does not exist and is not to be created.

        Raises:
            NotFound: the workspace does not exist, and the store was opened read-only.
        """
        with self.reader(NO_WORKSPACE) as view:
            number = view.workspace_number(name)
        if number or not create:
            return number
        if self.read_only:
            raise errors.NotFound(
                f"the workspace {name} does not exist in this store, opened read-only; `workspaces` lists those that do"
            )
        with self.exclusive() as connection:
            connection.execute("INSERT INTO workspaces(name) VALUES(?) ON CONFLICT DO NOTHING", (name,))
            row = connection.execute("SELECT ws FROM workspaces WHERE name = ?", (name,)).fetchone()
            assert row is not None
            return Ws(int(row[0]))

    def workspaces(self) -> list[tuple[Ws, str]]:
        """Return every workspace as (number, name), by name."""
        with self.reader(NO_WORKSPACE) as view:
            return view.workspace_names()

    def head(self, ws: Ws) -> Head:
        """Return the last transaction of a workspace."""
        with self.reader(ws) as view:
            return view.head()

    def text_faults(self, ws: Ws, objects: Objects) -> list[Fault]:
        """Compare full text with what the passages of a workspace make."""
        with self.reader(ws) as view:
            checking = Checking(view.postings, view.connection, ws, view.head().last_rid)
            return checking.faults(passages_of(view, objects.get))

    def pages_pending(self) -> bool:
        """Return whether an erase still has bytes to destroy: a reader, or the end of its process, came between."""
        with self.reader(NO_WORKSPACE) as view:
            return not self.read_only and view.pages_pending()
