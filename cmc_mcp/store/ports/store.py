"""A store: readers and one writer over its workspaces, and the objects beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.store.ports.audit import AuditView, RebuildView
from cmc_mcp.store.ports.unit import WriteUnit
from cmc_mcp.store.rate_limit import CallCount
from cmc_mcp.store.rows import IndexSize

if TYPE_CHECKING:
    from cmc_mcp.store.registry import Registry


class Objects(Protocol):
    """Large bytes under their hash, per workspace. Written before the commit, so an orphan is harmless."""

    def put(self, workspace: Ws, hash_: PayloadHash, data: bytes) -> None:
        """Write an object durably; one that is there already stays.

        Raises:
            StoreError: The object cannot be written.
        """
        ...

    def get(self, workspace: Ws, hash_: PayloadHash) -> bytes:
        """Read an object, checked against its hash.

        Raises:
            IntegrityError: The object is missing or damaged.
            StoreError: The object cannot be read.
        """
        ...

    def delete(self, workspace: Ws, hash_: PayloadHash) -> None:
        """Remove an object durably, and what an interrupted writer left of it. One that is not there is not an error.

        Raises:
            StoreError: The object cannot be removed.
        """
        ...

    def copy_to(self, folder: Path) -> None:
        """Copy every object to another folder, for a backup. What is there already stays.

        Raises:
            StoreError: An object cannot be read or written.
        """
        ...

    def hashes(self, workspace: Ws) -> Iterator[PayloadHash]:
        """Yield the hashes of a workspace's objects, in no particular order."""
        ...


class Store(Protocol):
    """One store. Readers never wait for the writer; writers of one workspace wait for each other."""

    backend: str
    """`sqlite` or `postgres`."""
    registry: Registry
    """The kinds, indexes and tables that the store was opened with."""

    def reader(self, ws: Ws) -> AbstractContextManager[AuditView]:
        """Open a read transaction on a workspace: everything in it belongs to one committed state.

        Raises:
            StoreError: The store cannot be reached, or another process changed its tables.
        """
        ...

    def writer(self, ws: Ws) -> AbstractContextManager[WriteUnit]:
        """Take the write lock of a workspace and open a unit of work; commit it at the end, unless an error ends it.

        Raises:
            Busy: Another writer held the lock for too long.
            StoreError: The store is read-only, cannot be reached, or refused the commit; then nothing was changed.
            OutcomeUnknown: The disk failed while committing; look the idempotency key up.
        """
        ...

    def workspace(self, name: str, *, create: bool) -> Ws:
        """Return the number of a workspace; 0 if it does not exist and is not to be created.

        Raises:
            NotFound: The workspace is to be created in a store that was opened read-only.
        """
        ...

    def workspaces(self) -> list[tuple[Ws, str]]:
        """Return every workspace with its name, by name."""
        ...

    def backup(
        self, target: Path, beside: Callable[[], None], progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Copy the store to a new file, as of one state; `beside` is called in between, to copy the objects.

        Raises:
            Conflict: The target exists.
            StoreError: The target cannot be written, or the store is a database, which has tools of its own.
        """
        ...

    def pages_pending(self) -> bool:
        """Return whether an erasure still has bytes to destroy, because a reader or a crash came between."""
        ...

    def scrub(self, ws: Ws, erasure_count: int) -> bool:
        """Destroy the bytes that erasures of a workspace up to a number left; False while a reader holds them.

        Raises:
            StoreError: An old copy of what was erased cannot be removed.
        """
        ...

    def text_faults(self, ws: Ws, objects: Objects) -> list[tuple[str, str, str]]:
        """Return where full text differs from the contents it was made of, as (table, key, reason)."""
        ...

    def file_faults(self) -> list[tuple[str, str, str]]:
        """Return the faults of the file or database itself, as (table, key, reason)."""
        ...

    def rebuilding(self, ws: Ws, objects: Objects) -> AbstractContextManager[RebuildView]:
        """Take the write lock and open a view that can replace derived tables; commit at the end.

        Raises:
            StoreError: As `writer`.
        """
        ...

    def index(
        self, ws: Ws, *, drop: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> list[IndexSize]:
        """Make (or drop) the approximate indexes of a workspace's vectors; return (dimension, bytes) of each.

        Raises:
            InvalidInput: The store is a file, which is searched exactly.
        """
        ...

    def count_call(self, ws: Ws, principal: str) -> CallCount:
        """Count a call; return the principal's calls in this minute, and the seconds left of the minute."""
        ...

    def inspect(self) -> dict[str, str]:
        """Return the settings and versions that `doctor` reports, by name."""
        ...

    def close(self) -> None:
        """Close the store. Closing it twice is allowed; using it afterwards raises `StoreError`."""
        ...
