"""Every point at which a change of the key touches the disk, and what happens there: nothing, a kill, or an error."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import apsw

Act = Literal["count", "kill", "fail"]
_EVENTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.listdir", "shutil.rmtree", "os.scandir"}
)


class Points:
    """Counts the points, names each, and acts at one of them. Bulk writes of pages are points too, of their own kind."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = str(folder), list[str]()
        self.at, self.act = 0, "count"
        self._armed = False
        sys.addaudithook(self._audited)  # for good, but it does nothing unless armed

    def arm(self, at: int, act: Act) -> None:
        """Count anew, and act at point `at` (from 1; 0 is never)."""
        self.names, self.at, self.act, self._armed = [], at, act, True

    def disarm(self) -> None:
        """Let everything be."""
        self._armed = False

    def step(self, name: str, error: Callable[[], BaseException]) -> None:
        """Be at a point."""
        if not self._armed:
            return
        self.names.append(name)
        if len(self.names) == self.at:
            if self.act == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.act == "fail":
                raise error()

    def _audited(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._armed or not arguments:
            return
        written = event in _EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)
        if written and str(arguments[0]).startswith(self.folder):
            self.step(event, lambda: OSError(errno.EIO, os.strerror(errno.EIO)))


class PointsVFS(apsw.VFS):
    """Goes between SQLite, its encryption included, and the disk."""

    def __init__(self, name: str, points: Points) -> None:
        self.points, self.name = points, name
        super().__init__(name, "unix")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self.points, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.points.step("sqlite delete", _broken)
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, points: Points, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._points = points
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._points.step("sqlite write", _broken)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._points.step("sqlite truncate", _broken)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._points.step("sqlite sync", _broken)
        super().xSync(flags)


def _broken() -> BaseException:
    error = apsw.IOError("an error of the disk that the test broke")
    error.extendedresult = apsw.SQLITE_IOERR_WRITE
    return error


def structural(names: list[str]) -> list[int]:
    """Return the points other than writes of pages, and of these the first and the last in a row."""
    bulk = "sqlite write"
    out = []
    for number, name in enumerate(names, 1):
        around = (names[number - 2] if number > 1 else "", names[number] if number < len(names) else "")
        if name != bulk or around != (bulk, bulk):
            out.append(number)
    return out
