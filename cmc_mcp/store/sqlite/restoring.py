"""Restore: a backup is copied beside its place, verified there, and switched in; the old store is kept aside."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from cmc_mcp.clock import SystemClock
from cmc_mcp.errors import Busy, CmcError, Conflict, IntegrityError, NotFound, StoreError, WrongKey
from cmc_mcp.model.calls import Progress
from cmc_mcp.model.results import RestoreResult, VerifyResult
from cmc_mcp.store.folders import sync_folder
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, check_regular, connect, has_log, look, prepare_folder, translated
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.store import SqliteStore, is_open_here

_PATIENCE_MS: Final = 1_000
_BESIDE: Final = re.compile(r"(\.v[0-9]+\.backup)?(\.part)?(-wal|-shm|-journal|\.lock|\.objects|\.part)?")
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
        Busy: somebody has the store open.
        WrongKey: the backup is no store, or has another key.
        FutureStore: a newer version wrote the backup.
        IntegrityError: the backup is damaged.
        StoreError: the disk refused.
    """
    backup, target = backup.expanduser().absolute(), target.expanduser().absolute()
    staged = Path(f"{target}.restoring")
    try:
        _check_places(backup, target, staged, replace=replace)
        _check_store(Location(backup, key), registry)  # before anything is made beside the target
        with _claimed(target) as kept:
            _discard(staged)
            try:
                with _reading(backup):
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
                    kept.append(target)
                    _switch(staged, target, aside)
                return RestoreResult(
                    path=str(target), aside=None if aside is None else str(aside), transactions=transactions
                )
            finally:
                _discard(staged)
    except OSError as error:
        raise StoreError(
            f"the backup cannot be restored ({error.strerror}: {error.filename or target}); nothing was changed. Check the "
            "disk and the folder, then try again"
        ) from error


def _check_places(backup: Path, target: Path, staged: Path, *, replace: bool) -> None:
    if not backup.is_file():
        raise NotFound(f"no backup exists at {backup}; name the file that `cmc backup` wrote")
    if target.is_symlink():
        raise Conflict(f"{target} is a link; name the file that it leads to, {target.resolve()}")
    if target.exists() and (not replace or backup.samefile(target)):
        raise Conflict(
            f"{target} exists; name a new place (--to), or replace the store there (leave --to out; in Python, replace=True)"
        )
    check_regular(target)
    if _is_staged(backup, staged):
        raise Conflict(f"{backup} has a name that a restore to {target} uses for itself; rename the backup")
    if target.exists() and is_open_here(target):
        raise _open_here(target)


def _check_store(backup: Location, registry: Registry) -> None:
    with _reading(backup.path):
        version = migrate.version_of(backup, registry.migrations) if backup.path.stat().st_size else 0
        if version:
            _check_size(backup)
    if not version:
        raise WrongKey(
            f"{backup.path} is empty, and no CMC store; nothing was changed. Name the file that `cmc backup` wrote"
        )


def _check_size(backup: Location) -> None:
    """Refuse a file that was cut or has grown: SQLite fills the last page up with zeros, and reads past no last page.

    With a log beside it a file is as long as its last checkpoint left it, but in whole pages still.
    """
    source = look(backup)
    try:
        pages, page_bytes = int(source.pragma("page_count")), int(source.pragma("page_size"))
    finally:
        source.close()
    size, whole = backup.path.stat().st_size, pages * page_bytes
    if size % page_bytes or (size != whole and not has_log(backup.path)):
        raise IntegrityError(f"the file has {size:,} bytes, and {pages:,} pages of {page_bytes:,} bytes are {whole:,}")


@contextmanager
def _claimed(target: Path) -> Iterator[list[Path]]:
    """Hold the write lock of a place, made if need be; what was made for it goes again unless something is kept there."""
    made = [folder for folder in target.parents if not folder.exists()]
    lock_file = Path(f"{target}.lock")
    fresh = not lock_file.exists()
    kept: list[Path] = []
    try:
        prepare_folder(target)
        lock = WriteLock(lock_file, wait_ms=_PATIENCE_MS)
        try:
            with lock.held():
                try:
                    yield kept
                finally:
                    if fresh and not kept:
                        lock.remove()
        finally:
            lock.close()
    finally:
        if not kept:
            with suppress(OSError):  # somebody else may have put something there
                for folder in made:
                    folder.rmdir()


@contextmanager
def _reading(backup: Path) -> Iterator[None]:
    """Say of what goes wrong with a backup, or with its copy, that it is the backup's."""
    try:
        with translated():
            yield
    except WrongKey as error:
        raise WrongKey(
            f"{backup} is not a CMC store, or is encrypted with another key; nothing was changed. Name the file that "
            "`cmc backup` wrote, and the key that the store had then (CMC_KEY; in Python, key=)"
        ) from error
    except IntegrityError as error:
        raise _damaged(backup, error) from error
    except StoreError as error:
        if isinstance(error.__cause__, apsw.SQLError):  # tables that are not as a store has them
            raise _damaged(backup, error) from error
        raise


def _damaged(backup: Path, error: CmcError) -> IntegrityError:
    return IntegrityError(
        f"the backup {backup} is damaged ({error.__cause__ or error}); nothing was changed. Take another backup",
        table="file",
    )


def _open_here(target: Path) -> Busy:
    return Busy(f"a memory of this process has {target} open; nothing was changed. Close it, then restore again")


def _copy(backup: Path, staged: Path, key: bytes | None, progress: Progress | None) -> None:
    source = look(Location(backup, key))
    try:
        migrate.copy_to(source, staged, key, progress)
    finally:
        source.close()
    objects = Path(f"{backup}.objects")
    if not objects.exists():  # of a backup that is reached by a link
        objects = Path(f"{backup.resolve()}.objects")
    FileObjects(objects).copy_to(Path(f"{staged}.objects"))


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
    if is_open_here(target):
        raise _open_here(target)
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
    for path in list(staged.parent.iterdir()):
        if not _is_staged(path, staged):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_staged(path: Path, staged: Path) -> bool:
    """Return whether a path is one that a restore makes beside its target: the copy, and what a store has beside it."""
    name = path.name
    return (
        path.parent == staged.parent
        and name.startswith(staged.name)
        and _BESIDE.fullmatch(name.removeprefix(staged.name)) is not None
    )
