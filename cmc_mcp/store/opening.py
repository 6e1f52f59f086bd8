"""The door of the stores: which backend a place names, and where its objects are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cmc_mcp.clock import Clock
from cmc_mcp.errors import InvalidInput, StoreError
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.objects import open_objects
from cmc_mcp.store.ports import Objects, Store
from cmc_mcp.store.registry import Registry

if TYPE_CHECKING:
    from cmc_mcp.model.results import RestoreResult, VerifyResult

_SERVERS: Final = ("postgresql", "postgres")


def open_store(
    place: str | Path,
    *,
    clock: Clock,
    registry: Registry,
    key: bytes | None = None,
    read_only: bool = False,
    objects: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[Store, Objects]:
    """Open the store that a place names, a path or `postgresql://…`, and its objects.

    Without `objects` they are in a folder beside the file, or in a table of the database. `progress` is told how far the
    migration of a store of an older format is.

    Raises:
        InvalidInput: a URL of an unknown kind.
        StoreError: the store cannot be opened.
    """
    text, scheme = str(place), _scheme(place)
    if is_database(place):
        if key is not None:
            raise _no_key()
        return _on_server(text, clock, registry, read_only, objects, progress)
    if scheme != "file":
        raise InvalidInput.at("store", f"{scheme}:// is an unknown kind of store; use a file path, or postgresql://…")
    from cmc_mcp.store.sqlite.connection import Location
    from cmc_mcp.store.sqlite.store import SqliteStore

    path = file_of(text)
    kept = open_objects(objects or f"{path}.objects", key)  # first: without them no store is to be made
    location = Location(path, key, read_only)
    return SqliteStore.open(location, clock=clock, registry=registry, objects=kept, progress=progress), kept


def rekey(place: str | Path, key: bytes | None, new_key: bytes | None, progress: Progress | None) -> None:
    """Encrypt a file, and the objects beside it, with another key; see `sqlite.rekey`.

    Raises:
        InvalidInput: the place names no file.
    """
    path = file_of(place)
    from cmc_mcp.store.sqlite.connection import Location
    from cmc_mcp.store.sqlite.rekey import rekey

    rekey(Location(path, key), new_key, progress)


def restore(
    backup: str | Path,
    place: str | Path,
    verify: Callable[[Path, Sequence[str]], Iterable[tuple[str, VerifyResult]]],
    *,
    key: bytes | None,
    replace: bool,
    progress: Progress | None,
    registry: Registry,
) -> RestoreResult:
    """Restore a backup to the file that a place names; see `sqlite.restoring`.

    Raises:
        InvalidInput: the place names a database.
    """
    path = file_of(place)
    from cmc_mcp.store.sqlite.restoring import restore

    return restore(Path(backup), path, verify, key=key, replace=replace, progress=progress, registry=registry)


def partition(place: str, parts: int, *, clock: Clock, registry: Registry) -> None:
    """Make the tables of an empty database, each in so many parts by a hash of the workspace.

    Raises:
        InvalidInput: the place names a file, or the number is outside 2 to 256.
        Conflict: the database has tables already.
        StoreError: the database cannot be reached, or refuses.
    """
    if _scheme(place) not in _SERVERS:
        raise InvalidInput.at("store", "is not a PostgreSQL store; only a PostgreSQL store's tables can be divided")
    from cmc_mcp.store.postgres import migrate
    from cmc_mcp.store.postgres.connection import Address
    from cmc_mcp.store.postgres.partitions import PARTITIONS_MAX

    if not 2 <= parts <= PARTITIONS_MAX:
        raise InvalidInput.at("partitions", f"{parts} is not from 2 to {PARTITIONS_MAX}")
    migrate.run(Address.of(place), clock, registry, parts=parts)


def is_database(place: str | Path) -> bool:
    """Return whether a place names a database, which many servers may share.

    >>> is_database("postgresql://cmc@db.internal/memory"), is_database("memory.db")
    (True, False)
    """
    return _scheme(place) in _SERVERS


def file_of(place: str | Path) -> Path:
    """Return the file that a place names.

    Raises:
        InvalidInput: the place names a database.
    """
    if _scheme(place) != "file":
        raise InvalidInput.at(
            "store", "is a database, and this works on a file; keys, dumps and copies of a database are its server's"
        )
    return Path(str(place).removeprefix("file://")).expanduser().absolute()


def _scheme(place: str | Path) -> str:
    scheme, found, _ = str(place).partition("://")
    return scheme.lower() if found else "file"


def _no_key() -> InvalidInput:
    return InvalidInput.at(
        "key",
        "encrypts a file, and this store is a database: have its server encrypt its disk, and unset CMC_KEY here",
    )


def _on_server(
    url: str, clock: Clock, registry: Registry, read_only: bool, objects: str | Path | None, progress: Progress | None
) -> tuple[Store, Objects]:
    try:
        from cmc_mcp.store.postgres.objects import TableObjects
        from cmc_mcp.store.postgres.store import PostgresStore
    except ImportError as error:
        raise StoreError(
            f"a PostgreSQL store needs its driver ({error.name} is missing): install `cmc-mcp[postgres]`"
        ) from error
    kept = None if objects is None else open_objects(objects)  # first: without them no tables are to be made
    store = PostgresStore.open(
        url, clock=clock, registry=registry, read_only=read_only, objects=kept, progress=progress
    )
    return store, kept or TableObjects(store)
