"""Restore: a backup is copied beside its place, verified there, and switched in; the old store is kept aside."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cmc_mcp.clock import SystemClock
from cmc_mcp.errors import Busy, CmcError, Conflict, NotFound, StoreError
from cmc_mcp.model.calls import Progress
from cmc_mcp.model.results import RestoreResult, VerifyResult
from cmc_mcp.store.folders import sync_folder
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, connect, has_log, look, prepare_folder
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.store import SqliteStore

_PATIENCE_MS: Final = 1_000
_SQLITE_LOCKS: Final = (0x40000000, 512)
"""Where SQLite locks a file (https://sqlite.org/fileformat.html#the_lock_byte_page): whoever has it open holds some of it."""


def restore(
    backup: Path,
    target: Path,
    verify: Callable[[Path, Sequence[str]], Iterable[tuple[str, VerifyResult]]],
    *,
    key: bytes | None,
    replace: bool,
    registry: Registry,
    progress: Progress | None = None,
) -> RestoreResult:
    """Restore a backup to a path; with `replace`, a store that is there is kept aside under a name of its own.

    `verify` checks the workspaces of the copy, a path and their names, before anything is switched.

    Raises:
        NotFound: the backup does not exist.
        Conflict: the new place is occupied.
        Busy: another process has the store open.
        WrongKey: the backup has another key.
        FutureStore: a newer version wrote the backup.
        IntegrityError: the backup is damaged.
        StoreError: the disk refused.
    """
    backup, target = backup.expanduser().absolute(), target.expanduser().absolute()
    if not backup.is_file():
        raise NotFound(f"no backup exists at {backup}; name the file that `cmc backup` wrote")
    if target.exists() and (not replace or backup.samefile(target)):
        raise Conflict(
            f"{target} exists; name a new place (--to), or replace the store there (leave --to out; in Python, replace=True)"
        )
    prepare_folder(target)
    staged = Path(f"{target}.restoring")
    try:
        with WriteLock(Path(f"{target}.lock"), wait_ms=_PATIENCE_MS).held():
            _discard(staged)
            try:
                _copy(backup, staged, key, progress)
                verified = dict(verify(staged, _workspaces(staged, key, registry)))
                transactions = {name: result.transaction for name, result in verified.items()}
                if faults := [fault for result in verified.values() for fault in result.faults]:
                    return RestoreResult(path=str(target), transactions=transactions, faults=faults)
                aside = None
                if target.exists():
                    aside = _free_name(target)
                    _settle(target, key)
                with _nobody_else(target):
                    _switch(staged, target, aside)
                return RestoreResult(
                    path=str(target), aside=None if aside is None else str(aside), transactions=transactions
                )
            finally:
                _discard(staged)
    except OSError as error:
        raise StoreError(f"the backup cannot be restored ({error.strerror}: {error.filename})") from error


def _copy(backup: Path, staged: Path, key: bytes | None, progress: Progress | None) -> None:
    source = look(Location(backup, key))
    try:
        migrate.copy_to(source, staged, key, progress)
    finally:
        source.close()
    FileObjects(Path(f"{backup}.objects")).copy_to(Path(f"{staged}.objects"))


def _workspaces(staged: Path, key: bytes | None, registry: Registry) -> list[str]:
    """Bring the copy to the present format, and return the names of its workspaces."""
    store = SqliteStore.open(Location(staged, key), clock=SystemClock(), registry=registry)
    try:
        return [name for _, name in store.workspaces()]
    finally:
        store.close()


def _settle(target: Path, key: bytes | None) -> None:
    """Bring the log of the old store into its file, where it still can be read; then the file alone is all of it."""
    with suppress(CmcError):
        if has_log(target):
            connect(Location(target, key)).close()


@contextmanager
def _nobody_else(target: Path) -> Iterator[None]:
    """Hold SQLite's locks on a file, so that nobody has it open nor can open it; who closes it later would delete logs."""
    if not target.exists():
        yield
        return
    start, length = _SQLITE_LOCKS
    with target.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError as error:
            raise Busy(f"another process has {target} open; stop servers and commands on it, then try again") from error
        yield


def _switch(staged: Path, target: Path, aside: Path | None) -> None:
    """Put the copy in its place. Whenever this is cut off, the place holds the old store or the new one, whole."""
    new, objects = Path(f"{staged}.objects"), Path(f"{target}.objects")
    if aside is not None:
        _link(objects, Path(f"{aside}.objects"))
        for end in ("-wal", "-journal", ""):
            with suppress(FileNotFoundError):
                os.link(f"{target}{end}", f"{aside}{end}")
        sync_folder(target.parent)
    _link(new, objects)  # one more object does no harm to the old store
    for end in ("-wal", "-shm", "-journal"):  # what is left of them belongs to a file that could not be read
        Path(f"{target}{end}").unlink(missing_ok=True)
    staged.rename(target)
    sync_folder(target.parent)
    for path in objects.glob("*/*/*"):
        if not (new / path.relative_to(objects)).exists():
            path.unlink()


def _link(source: Path, target: Path) -> None:
    """Give every object of a folder a second name; objects never change."""
    for path in sorted(source.glob("*/*/*")):
        name = target / path.relative_to(source)
        name.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(path, name)
        sync_folder(name.parent)


def _free_name(target: Path) -> Path:
    number = 1
    while os.path.lexists(name := f"{target}.before-restore-{number}") or os.path.lexists(f"{name}.objects"):
        number += 1
    return Path(name)


def _discard(staged: Path) -> None:
    for path in staged.parent.glob(f"{staged.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
