"""Lets a watcher see, and fail, what the product's own code does to files: objects, new files, renames, folders."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol
from unittest.mock import patch


class Event(NamedTuple):
    """One thing that happened: what, to which file, where, with which bytes. A rename's `data` is the new name."""

    what: Literal["create", "folder", "write", "truncate", "sync", "sync folder", "unlink", "rename", "begin", "ack"]
    path: str
    number: int = 0
    data: bytes = b""


class Watcher(Protocol):
    """What is asked before each operation, and told after it."""

    def before(self, event: Event) -> OSError | None:
        """Return the error it is to fail with, if it is to fail; of a write the first half is done nevertheless."""
        ...

    def after(self, event: Event) -> None:
        """Hear that it was done."""
        ...


@contextmanager
def watched(root: Path, watcher: Watcher) -> Iterator[None]:
    """Watch the file operations of Python's own below a folder. SQLite's go through its VFS instead."""
    names: dict[int, str] = {}
    real = {name: getattr(os, name) for name in ("open", "fdopen", "fsync", "rename", "unlink", "mkdir")}

    def ask(event: Event) -> None:
        if (failure := watcher.before(event)) is not None:
            raise failure

    def is_ours(path: object) -> bool:
        return f"{path}/".startswith(f"{root}/") and not str(path).endswith(".lock")

    def open_(path: Any, flags: int, *more: Any, **named: Any) -> int:
        new = is_ours(path) and bool(flags & os.O_CREAT) and not os.path.lexists(path)
        if new:
            ask(Event("create", str(path)))
        descriptor = real["open"](path, flags, *more, **named)
        names.pop(descriptor, None)
        if is_ours(path):
            names[descriptor] = str(path)
        if new:
            watcher.after(Event("create", str(path)))
        return int(descriptor)

    def fdopen(descriptor: int, mode: str = "r", *more: Any, **named: Any) -> Any:
        if descriptor in names and mode == "wb":
            return io.BufferedWriter(_Raw(descriptor, names[descriptor], watcher))
        return real["fdopen"](descriptor, mode, *more, **named)

    def fsync(descriptor: int) -> None:
        path = names.get(descriptor)
        event = None if path is None else Event("sync folder" if Path(path).is_dir() else "sync", path, 1)
        if event is not None:
            ask(event)
        real["fsync"](descriptor)
        if event is not None:
            watcher.after(event)

    def one(name: str, what: Literal["unlink", "rename", "folder"]) -> Callable[..., None]:
        def call(path: Any, *more: Any, **named: Any) -> None:
            event = Event(what, str(path), 0, str(more[0]).encode() if what == "rename" else b"")
            if is_ours(path) and (what != "unlink" or os.path.lexists(path)):
                ask(event)
            real[name](path, *more, **named)
            if is_ours(path):
                watcher.after(event)

        return call

    with patch.multiple(
        os, open=open_, fdopen=fdopen, fsync=fsync, unlink=one("unlink", "unlink"), rename=one("rename", "rename"),
        mkdir=one("mkdir", "folder"),
    ):  # fmt: skip
        yield


class _Raw(io.FileIO):
    """A file of our own whose writes are watched."""

    def __init__(self, descriptor: int, path: str, watcher: Watcher) -> None:
        super().__init__(descriptor, "wb")
        self._path, self._watcher = path, watcher

    def write(self, data: Any, /) -> int:
        event = Event("write", self._path, self.tell(), bytes(data))
        if (failure := self._watcher.before(event)) is not None:
            super().write(event.data[: len(event.data) // 2])
            raise failure
        done = super().write(data)
        self._watcher.after(event)
        return done
