"""A disk that fails: the operation of a given number, once or from then on, in SQLite's file or in our own."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import apsw

from tests.crash.files import Event, watched
from tests.crash.lossy import REAL, lying_under_all

Fault = Literal["error", "full", "short"]
FAULTS: Final[tuple[Fault, ...]] = ("error", "full", "short")
"""EIO; ENOSPC, which meets only what takes space; half of a write and then EIO."""


class Faulty:
    """Counts operations, and fails those that it was told to. `reads` counts reads in place of changes."""

    def __init__(self) -> None:
        self.arm(None)

    def arm(self, fail_at: int | None, fault: Fault = "error", *, for_ever: bool = False, reads: bool = False) -> None:
        """Begin to count anew."""
        self.count, self.fail_at, self.fault, self.for_ever, self.reads = 0, fail_at, fault, for_ever, reads
        self.failed = False

    def fails(self, what: str) -> bool:
        """Count an operation and say whether it is to fail."""
        if (what == "read") != self.reads:
            return False
        if self.fault != "error" and what not in ("write", "create", "folder"):
            return False  # a full disk removes, renames and syncs what it has
        if self.fault == "short" and what != "write":
            return False
        self.count += 1
        hit = self.fail_at is not None and (self.count == self.fail_at or (self.for_ever and self.count > self.fail_at))
        self.failed |= hit
        return hit

    # ------------------------------------------------------------------ our own files
    def before(self, event: Event) -> OSError | None:
        """Fail an operation of Python's own."""
        if not self.fails(event.what):
            return None
        number = errno.ENOSPC if self.fault == "full" else errno.EIO
        return OSError(number, "the disk that the test broke")

    def after(self, event: Event) -> None:
        """Hear of nothing."""

    # ------------------------------------------------------------------ SQLite's
    def step(self, what: str, extended: int) -> None:
        """Fail an operation of SQLite's."""
        if self.fails(what):
            raise self.error(extended)

    def error(self, extended: int) -> Exception:
        """What SQLite is told."""
        if self.fault == "full":
            return apsw.FullError("no space left on the disk that the test made full")
        error = apsw.IOError("an error of the disk that the test broke")
        error.extendedresult = extended
        return error


@contextmanager
def faulty(folder: Path) -> Iterator[Faulty]:
    """Put a disk that can fail under everything below a folder."""
    faults = Faulty()
    with lying_under_all(_FaultyVFS(faults)), watched(folder, faults):
        yield faults


class _FaultyVFS(apsw.VFS):
    def __init__(self, faults: Faulty) -> None:
        self._faults = faults
        super().__init__("faulty", REAL, makedefault=True)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self._faults, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._faults.step("unlink", apsw.SQLITE_IOERR_DELETE)
        super().xDelete(filename, syncdir)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, faults: Faulty, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._faults = faults
        super().__init__(REAL, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._faults.step("read", apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._faults.fails("write"):
            if self._faults.fault == "short":
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise self._faults.error(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._faults.step("truncate", apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._faults.step("sync", apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
