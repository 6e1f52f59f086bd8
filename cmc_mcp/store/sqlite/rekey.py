"""Another key: a copy under it is made beside the store, and takes the store's place.

1. The write lock, and SQLite's exclusive one: nobody else has the store open, so nobody can go on with the old file.
2. The copy, database and objects, is written into `PATH.rekeying`, synced, and checked. Ended here, all is as it was, and
   the next opening removes the folder.
3. The folder is renamed to `PATH.rekeyed`: from this instant the new key is the store's, and the old one opens nothing.
4. Its files change places with the old ones, which are removed. Ended here, the next opening finishes: it renames and
   removes, and needs no key for that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from cmc_mcp import errors
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.folders import make_folder, sync_folder
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite.connection import (
    CIPHER,
    Location,
    connect,
    create_file,
    exchanged,
    has_log,
    translated,
    vfs_of,
)
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.migrate import drop_backups, is_current

_OTHERS_WAIT_MS: Final = 1_000
_STEPS_A_REPORT: Final = 100_000
_STORE, _OBJECTS, _OLD_OBJECTS = "store", "objects", "old-objects"
_OLD: Final = "the key was not changed, and the store opens with the old one as before"
_NEW: Final = "the new key is the store's, and the next opening puts in place what is not there yet"


def rekey(location: Location, key: bytes | None, progress: Progress | None = None) -> None:
    """Encrypt a store, its objects included, with another key; None for no encryption.

    Raises:
        Busy: somebody has the store open.
        StoreError: the disk refused, and the message says which key opens the store.
    """
    path = location.path
    if path.is_symlink():
        raise errors.StoreError(f"{path} is a link; give the path of the file itself")
    if key == location.key:
        raise errors.InvalidInput.at("new_key", "is the key that the store has already; nothing was changed")
    target = Location(path, key, vfs=location.vfs)  # refuses a key that is too short
    with WriteLock(Path(f"{path}.lock")).held():
        finish(path)
        if not is_current(location):
            raise errors.StoreError("an older version wrote the store: open it once for writing, then change its key")
        connection = connect(location)
        try:
            with _saying(_OLD):
                _shut_out(connection)
                _build(connection, location, target, progress)
                _beside(path).rename(exchanged(path))
            with _saying(_NEW):
                _exchange(path)
        finally:
            with suppress(apsw.Error):
                connection.close()


def settle(path: Path, *, read_only: bool) -> None:
    """Finish a change of the key that was cut short; or remove, unless `read_only`, what one left that came to nothing.

    Raises:
        StoreError: the change of the key cannot be finished.
    """
    if exchanged(path).exists():
        with WriteLock(Path(f"{path}.lock")).held():
            finish(path)
    elif not read_only and _beside(path).exists():
        with suppress(errors.Busy), WriteLock(Path(f"{path}.lock"), wait_ms=0).held():
            finish(path)  # whoever is at it holds the lock


def finish(path: Path) -> None:
    """Do what `settle` says, under the write lock."""
    if exchanged(path).exists():
        with _saying(_NEW):
            _exchange(path)
    with _saying(_OLD):
        _remove(_beside(path))


# ---------------------------------------------------------------------- the copy
def _beside(path: Path) -> Path:
    return Path(f"{path}.rekeying")


def _shut_out(connection: apsw.Connection) -> None:
    """Hold the file so that no other connection, of any process, is open on it or can be opened."""
    connection.set_busy_timeout(_OTHERS_WAIT_MS)
    try:
        connection.pragma("locking_mode", "exclusive")
        connection.pragma("journal_mode", "delete")  # writes the log into the file and removes it
        connection.execute("BEGIN EXCLUSIVE")  # and the mode keeps what it locks
        connection.execute("COMMIT")
    except apsw.BusyError as error:
        raise errors.Busy(
            "somebody has the store open; end the servers and the programs that use it, then try again"
        ) from error


def _build(connection: apsw.Connection, location: Location, target: Location, progress: Progress | None) -> None:
    folder = _beside(location.path)
    try:
        make_folder(folder)
        copy = Location(folder / _STORE, target.key, vfs=location.vfs)
        create_file(copy.path)
        _copy(connection, copy, progress)
        objects = Path(f"{location.path}.objects")
        if objects.exists():
            make_folder(folder / _OBJECTS)
            FileObjects(objects, location.key).reseal_to(folder / _OBJECTS, target.key, progress)
        sync_folder(folder)
    except BaseException:
        with suppress(OSError):
            _remove(folder)
        raise


def _copy(source: apsw.Connection, copy: Location, progress: Progress | None) -> None:
    size = source.pragma("page_count") * source.pragma("page_size")

    def report() -> bool:
        if progress:
            progress(min(copy.path.stat().st_size, size), size)
        return False

    source.set_progress_handler(report, _STEPS_A_REPORT)
    key = "" if copy.key is None else copy.key.hex()
    query = f"cipher={CIPHER}&hexkey={key}" if key else "key="
    if (vfs := vfs_of(copy)) is not None:
        query += f"&vfs={vfs}"
    try:
        source.execute("VACUUM INTO ?", (f"file:{quote(str(copy.path))}?{query}",))
    except apsw.Error as error:
        if key and key in str(error):  # the name in the message has the key in it
            raise errors.StoreError(f"the file {copy.path} cannot be written; check the folder and the disk") from None
        raise
    finally:
        source.set_progress_handler(None)
    descriptor = os.open(copy.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    made = connect(copy)
    try:
        if found := [str(row[0]) for row in made.execute("PRAGMA quick_check(5)") if row[0] != "ok"]:
            raise errors.IntegrityError(f"the copy under the new key is damaged ({found[0]}); run `cmc verify`")
    finally:
        made.close()
    if has_log(copy.path):
        raise errors.StoreError("the copy could not be written whole; check the disk, then try again")


# ---------------------------------------------------------------------- the exchange
def _exchange(path: Path) -> None:
    """Put the new files in the place of the old, and remove these; may be begun again wherever it ended."""
    folder = exchanged(path)
    sync_folder(path.parent)
    if (folder / _STORE).exists():
        for end in ("-wal", "-shm", "-journal"):  # of the old file: the new one must not take them for its own
            Path(f"{path}{end}").unlink(missing_ok=True)
        sync_folder(path.parent)
        _rename(folder / _STORE, path)
    objects = Path(f"{path}.objects")
    if (folder / _OBJECTS).exists():
        if objects.exists():
            _rename(objects, folder / _OLD_OBJECTS)
        _rename(folder / _OBJECTS, objects)
    drop_backups(path)
    _remove(folder)


def _rename(old: Path, new: Path) -> None:
    old.rename(new)
    sync_folder(old.parent)
    sync_folder(new.parent)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)


@contextmanager
def _saying(which: str) -> Iterator[None]:
    """Add to every failure which key opens the store."""
    try:
        with translated():
            yield
    except OSError as error:
        raise errors.StoreError(f"the disk reported an error ({error.strerror}); {which}") from error
    except (errors.StoreError, errors.IntegrityError) as error:
        raise type(error)(f"{error.message}; {which}", **error.fields) from error
