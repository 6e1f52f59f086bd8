"""Two file systems to distrust: one that records what reached the disk, one that fails at a chosen operation."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import apsw

SECTOR_BYTES = 512


class Event(NamedTuple):
    """One thing that happened: what, to which file, where, with which bytes."""

    what: Literal["create", "write", "truncate", "sync", "unlink", "ack"]
    path: str
    number: int = 0
    data: bytes = b""


class LossyVFS(apsw.VFS):
    """Records every operation that changes the disk, in order; nothing is hidden from the running process."""

    def __init__(self, name: str) -> None:
        self.trace: list[Event] = []
        super().__init__(name, "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _LossyFile(self.trace, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.trace.append(Event("unlink", filename, int(syncdir)))


class _LossyFile(apsw.VFSFile):
    def __init__(self, trace: list[Event], name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._trace = trace
        self._path = (name.filename() if isinstance(name, apsw.URIFilename) else name) or ""
        if self._path and flags[0] & apsw.SQLITE_OPEN_CREATE and not Path(self._path).exists():
            trace.append(Event("create", self._path))
        super().__init__("", name, flags)

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
    is_new: bool = True  # its directory entry was never synced


def crash_image(events: Iterable[Event], rng: random.Random) -> dict[str, bytes]:
    """Give the files as a power loss may leave them after these events.

    What was synced is kept. Of the rest each operation is dropped, kept or torn at sectors, and each change of the
    folder that no later sync of it covers is done or undone. The first sync of a new file also syncs its folder.
    """
    entries: dict[str, _File | None] = {}  # what the folder holds for certain
    changes: list[tuple[str, _File | None]] = []  # what it may hold
    now: dict[str, _File] = {}

    def folder_synced() -> None:
        entries.update(changes)
        changes.clear()

    for event in events:
        if event.what == "create":
            now[event.path] = _File()
            changes.append((event.path, now[event.path]))
        elif event.what == "unlink":
            now.pop(event.path, None)
            changes.append((event.path, None))
            if event.number:
                folder_synced()
        elif event.what == "sync":
            file = _file(now, entries, event.path)
            for pending in file.pending:
                _apply(file.durable, pending)
            file.pending.clear()
            if file.is_new:
                file.is_new = False
                folder_synced()
        elif event.what in ("write", "truncate"):
            _file(now, entries, event.path).pending.append(event)
    for path, file_or_none in changes:
        if rng.random() < 0.5:
            entries[path] = file_or_none
    return {path: _torn(file, rng) for path, file in entries.items() if file is not None and not path.endswith("-shm")}


def _file(now: dict[str, _File], entries: dict[str, _File | None], path: str) -> _File:
    if path not in now:  # the database itself: our own code made and synced it before SQLite saw it
        now[path] = entries[path] = _File(is_new=False)
    return now[path]


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


class FaultyVFS(apsw.VFS):
    """Fails the operation number `fail_at` that would change the disk, once or from then on."""

    def __init__(self, name: str) -> None:
        self.count = 0
        self.fail_at: int | None = None
        self.for_ever = False
        self.full = False
        super().__init__(name, "")

    def arm(self, fail_at: int | None, *, full: bool, for_ever: bool) -> None:
        """Begin to count anew."""
        self.count, self.fail_at, self.full, self.for_ever = 0, fail_at, full, for_ever

    def step(self, extended: int) -> None:
        """Count an operation, and fail it if it is the one."""
        self.count += 1
        if self.fail_at is None or self.count < self.fail_at or (self.count > self.fail_at and not self.for_ever):
            return
        if self.full:
            if extended == apsw.SQLITE_IOERR_WRITE:  # what takes no space goes well
                raise apsw.FullError("no space left on the disk that the test made full")
            return
        error = apsw.IOError("an error of the disk that the test broke")
        error.extendedresult = extended
        raise error

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.step(apsw.SQLITE_IOERR_DELETE)
        super().xDelete(filename, syncdir)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.step(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._vfs.step(apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._vfs.step(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
