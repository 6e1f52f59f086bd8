"""A disk to distrust: everything that reaches it is recorded, and it keeps for certain only what was synced."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from unittest.mock import patch

import apsw

from cmc_mcp.store.sqlite import checksums
from tests.crash.files import Event, watched

SECTOR_BYTES = 512
REAL = next(name for name in apsw.vfs_names() if name != checksums.VFS)
"""The VFS that does what the others watch."""


@contextmanager
def lying_under_all(vfs: apsw.VFS) -> Iterator[None]:
    """Have every file opened through a VFS that is the default one."""
    try:
        with without_checksums():
            yield
    finally:
        vfs.unregister()


@contextmanager
def without_checksums() -> Iterator[None]:
    """Make no checksums of pages: they would lie below what watches, and be none of what it sees."""
    with patch.object(checksums, "available", lambda: False):
        yield


class _Trace:
    """What happened, in order; nothing fails."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def before(self, event: Event) -> OSError | None:
        return None

    def after(self, event: Event) -> None:
        self.events.append(event)


@contextmanager
def recorded(folder: Path) -> Iterator[list[Event]]:
    """Record every operation that changes the disk below a folder, SQLite's and our own; gives the growing list."""
    trace = _Trace()
    with lying_under_all(_LossyVFS(trace.events)), watched(folder, trace):
        yield trace.events


class _LossyVFS(apsw.VFS):
    """The default VFS for as long as it lives; nothing is hidden from the running process."""

    def __init__(self, trace: list[Event]) -> None:
        self._trace = trace
        super().__init__("lossy", REAL, makedefault=True)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _LossyFile(self._trace, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._trace.append(Event("unlink", filename, int(syncdir)))


class _LossyFile(apsw.VFSFile):
    def __init__(self, trace: list[Event], name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._trace = trace
        self._path = (name.filename() if isinstance(name, apsw.URIFilename) else name) or ""
        if self._path and flags[0] & apsw.SQLITE_OPEN_CREATE and not Path(self._path).exists():
            trace.append(Event("create", self._path))
        super().__init__(REAL, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._trace.append(Event("write", self._path, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._trace.append(Event("truncate", self._path, newsize))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._trace.append(Event("sync", self._path))


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)
    is_new: bool = True
    is_folder: bool = False


_Change = tuple[tuple[str, _File | None], ...]
"""What happens to the entries of a folder at once."""


class Disk:
    """What a disk holds for certain, and what it may hold.

    Of what was not synced each operation may be dropped, kept or torn at sectors, and each change of a folder done or
    undone; a rename is one change. SQLite's first sync of a file that it made syncs the folder too; our own does not.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._now: dict[str, _File] = {}
        self._entries: dict[str, _File | None] = {}  # what the folders hold for certain
        self._changes: list[tuple[str, _Change]] = []  # what they may hold

    def feed(self, event: Event) -> None:
        """Let one more thing happen."""
        path, now = event.path, self._now
        if event.what in ("create", "folder"):
            now[path] = _File(is_folder=event.what == "folder")
            self._change(path, (path, now[path]))
        elif event.what == "unlink":
            now.pop(path, None)
            self._change(path, (path, None))
            if event.number:
                self._sync_folder(str(PurePath(path).parent))
        elif event.what == "rename":
            target = event.data.decode()
            now[target] = now.pop(path)
            self._change(path, (path, None), (target, now[target]))
        elif event.what == "sync folder":
            self._sync_folder(path)
        elif event.what in ("write", "truncate"):
            now[path].pending.append(event)
        elif event.what == "sync":
            self._sync(now[path], path, alone=bool(event.number))

    def image(self, rng: random.Random) -> dict[str, bytes]:
        """Return the files as a power loss may leave them now, by their paths below the root."""
        entries = dict(self._entries)
        for _, change in self._changes:
            if rng.random() < 0.5:
                entries.update(change)
        there = {path: file for path, file in entries.items() if file is not None and not path.endswith("-shm")}
        return {
            path.removeprefix(f"{self._root}/"): _torn(file, rng)
            for path, file in there.items()
            if not file.is_folder and self._is_reached(path, there)
        }

    def _is_reached(self, path: str, there: dict[str, _File]) -> bool:
        """Return whether every folder above a file is there too."""
        parent = str(PurePath(path).parent)
        return parent == self._root or (parent in there and self._is_reached(parent, there))

    def _change(self, path: str, *change: tuple[str, _File | None]) -> None:
        self._changes.append((str(PurePath(path).parent), change))

    def _sync(self, file: _File, path: str, *, alone: bool) -> None:
        for pending in file.pending:
            _apply(file.durable, pending)
        file.pending.clear()
        if file.is_new and not alone:
            file.is_new = False
            self._sync_folder(str(PurePath(path).parent))

    def _sync_folder(self, folder: str) -> None:
        for parent, change in self._changes:
            if parent == folder:
                self._entries.update(change)
        self._changes = [(parent, change) for parent, change in self._changes if parent != folder]


def crash_image(events: Iterable[Event], rng: random.Random, root: str = "") -> dict[str, bytes]:
    """Return the files as a power loss may leave them after these events."""
    disk = Disk(root)
    for event in events:
        disk.feed(event)
    return disk.image(rng)


def _apply(content: bytearray, event: Event) -> None:
    if event.what == "truncate":
        del content[event.number :]
        return
    end = event.number + len(event.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[event.number : end] = event.data


def _torn(file: _File, rng: random.Random) -> bytes:
    content = bytearray(file.durable)
    for event in file.pending:
        fate = rng.random()
        if fate < 0.4:
            continue
        if fate < 0.7 and event.what == "write":
            for start in range(0, len(event.data), SECTOR_BYTES):
                if rng.random() < 0.5:
                    _apply(content, Event("write", "", event.number + start, event.data[start : start + SECTOR_BYTES]))
        else:
            _apply(content, event)
    return bytes(content)
