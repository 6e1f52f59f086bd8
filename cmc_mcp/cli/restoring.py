"""Restore: a backup is copied beside its place, verified there, and switched in; the old store is kept aside."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cmc_mcp.clock import SystemClock
from cmc_mcp.config import Configuration
from cmc_mcp.errors import Busy, CmcError, Conflict, NotFound, StoreError
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Fault
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, connect, has_log, look, prepare_folder, sync_folder
from cmc_mcp.store.sqlite.lock import WriteLock
from cmc_mcp.store.sqlite.store import SqliteStore

Progress = Callable[[int, int], None]
_PATIENCE_MS: Final = 1_000
_SQLITE_LOCKS: Final = (0x40000000, 512)
"""Where SQLite locks a file (https://sqlite.org/fileformat.html#the_lock_byte_page): whoever has it open holds some of it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did; with faults, nothing was changed."""

    path: Path
    aside: Path | None
    transactions: dict[str, int]
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class Head:
    """A signed checkpoint that the backup must hold, and of which workspace."""

    workspace: str
    checkpoint: str
    public_key: str | None = None


def restore(
    backup: Path,
    target: Path,
    asked: Configuration,
    *,
    head: Head | None = None,
    replace: bool,
    progress: Progress | None = None,
) -> Restored:
    """Restore a backup to a path; with `replace`, a store that is there is kept aside under a name of its own.

    Raises:
        NotFound: there is no backup; Conflict: something is at the new place; Busy: somebody has the store open;
        WrongKey, FutureStore, IntegrityError: of the backup; StoreError: the disk.
    """
    backup, target = backup.expanduser().absolute(), target.expanduser().absolute()
    if not backup.is_file():
        raise NotFound(f"there is no backup at {backup}")
    if target.exists() and (not replace or backup.samefile(target)):
        raise Conflict(f"{target} exists; give --to a new name, or leave it out to replace the configured store")
    prepare_folder(target)
    staged = Path(f"{target}.restoring")
    try:
        with WriteLock(Path(f"{target}.lock"), wait_ms=_PATIENCE_MS).held():
            _discard(staged)
            try:
                _copy(backup, staged, asked.key, progress)
                transactions, faults = _verified(staged, asked, head, progress)
                if faults:
                    return Restored(target, None, transactions, faults)
                aside = None
                if target.exists():
                    aside = _free_name(target)
                    _settle(target, asked.key)
                with _nobody_else(target):
                    _switch(staged, target, aside)
                return Restored(target, aside, transactions, [])
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


def _verified(
    staged: Path, asked: Configuration, head: Head | None, progress: Progress | None
) -> tuple[dict[str, int], list[Fault]]:
    """Bring the copy to the present format, and verify every workspace of it."""
    store = SqliteStore.open(Location(staged, asked.key), clock=SystemClock(), registry=REGISTRY)
    try:
        names = [name for _, name in store.workspaces()]
    finally:
        store.close()
    if head is not None and head.workspace not in names:
        raise NotFound(f"the backup has no workspace {head.workspace}; it has {', '.join(names) or 'none'}")
    transactions: dict[str, int] = {}
    faults: list[Fault] = []
    for name in names:
        with Memory.open(staged, workspace=name, embedder=None, settings=asked.settings, key=asked.key) as memory:
            mine = head if head is not None and head.workspace == name else None
            result = memory.verify(
                checkpoint=mine.checkpoint if mine else None,
                public_key=mine.public_key if mine else None,
                progress=progress,
            )
        transactions[name] = result.transaction
        faults += result.faults
    return transactions, faults


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
