"""A store that several histories share, each in a workspace of its own, and ways for it to stop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp import Memory
from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed import load_token_counter
from cmc_mcp.errors import StoreError
from cmc_mcp.ids import Rid
from cmc_mcp.store.ports import Store
from cmc_mcp.store.rows import Head
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.support import reach

START_US = 1_780_000_000_000_000
SHM = Path("/dev/shm")
_TOKENS = load_token_counter()


class Pulled(Exception):
    """The plug was pulled inside a write."""


class Place:
    """One file, in memory where there is such a folder: what is tested here is not what a disk keeps."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cmc-kernel-", dir=SHM if SHM.is_dir() else None))
        self.clock = FixedClock(START_US)
        self.generation = 0
        self.left: dict[str, tuple[bytes, list[Rid]]] = {}
        self.root = self._open()

    @property
    def path(self) -> Path:
        return self.folder / str(self.generation) / "memory.db"

    @property
    def store(self) -> Store:
        return reach.store(self.root)

    @property
    def file(self) -> SqliteStore | None:
        """The store, where it is a file; on a server nothing can be copied as it lies there."""
        return self.store if isinstance(self.store, SqliteStore) else None

    def _open(self) -> Memory:
        memory = Memory.open(self.path, embedder=None, clock=self.clock, settings=Settings(inline_bytes=64))
        reach.kept(memory).tokens = _TOKENS  # loading it takes longer than a whole history
        return memory

    def at(self, workspace: str) -> Memory:
        memory = self.root.as_principal("local", workspace)
        reach.kept(memory).tokens = _TOKENS
        return memory

    def leave(self, workspace: str) -> None:
        """Note how a workspace is left: nobody who comes later may change it, as nobody changed those before."""
        self._check()
        self.left[workspace] = self._state(workspace)

    def _state(self, workspace: str) -> tuple[bytes, list[Rid]]:
        with self.store.reader(self.store.workspace(workspace, create=False)) as view:
            return view.head().hash, view.erased()

    def _check(self) -> None:
        for workspace, left in self.left.items():
            assert self._state(workspace) == left, f"the workspace {workspace} was changed from another one"

    def close(self) -> None:
        try:
            self._check()
        finally:
            self.root.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ------------------------------------------------------------------ stopping
    def reopen(self) -> None:
        self.root.close()
        self.root = self._open()

    def image(self) -> int:
        """Copy the files as they lie there, with the log and without its index, as a kill would leave them."""
        if self.file is None:
            return self.generation
        taken = self.generation + 1
        target = self.folder / str(taken)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name in ("memory.db", "memory.db-wal"):
            if (source := self.path.with_name(name)).exists():
                shutil.copyfile(source, target / name)
        if (objects := self.path.with_name("memory.db.objects")).exists():
            shutil.copytree(objects, target / objects.name)
        return taken

    def boot(self, image: int) -> None:
        """Go on from an image; what was going on is gone, and so is whatever its closing writes."""
        file = self.file
        self.root.close()
        if file is not None:
            shutil.rmtree(self.path.parent)
        self.generation = image
        self.root = self._open()

    @contextmanager
    def pulled(self, moment: int) -> Iterator[list[int]]:
        """Stop what is written within before its statement of that number; 0 is a COMMIT that the database refuses.

        Gives the image of that moment, or none when so many statements were not needed.
        """
        images: list[int] = []
        left = moment

        def refuse() -> bool:
            images.append(self.image())
            return True

        def trace(*_: object) -> bool:
            nonlocal left
            left -= 1
            if left == 0:
                images.append(self.image())
                raise Pulled
            return True

        with _of_file(self.file, moment, trace, refuse) if self.file else _of_server(moment, trace, refuse):
            yield images


@contextmanager
def _of_file(store: SqliteStore, moment: int, trace: Callable[..., bool], refuse: Callable[[], bool]) -> Iterator[None]:
    writer = store._write_connection()
    if moment:
        writer.exec_trace = trace
    else:
        writer.set_commit_hook(refuse)
    try:
        yield
    finally:
        if store._writer is writer:
            writer.exec_trace = None
            writer.set_commit_hook(None)


@contextmanager
def _of_server(moment: int, trace: Callable[..., bool], refuse: Callable[[], bool]) -> Iterator[None]:
    from cmc_mcp.store.postgres import store

    class Cut(store.Writing):
        def execute(self, statement: str, bindings: Any = None) -> Any:
            trace()
            return super().execute(statement, bindings)

        def executemany(self, statement: str, rows: Iterable[Any]) -> None:
            trace()
            super().executemany(statement, rows)

        def commit(self, after: Head | None) -> None:
            if not moment and after is not None:
                refuse()
                raise StoreError("the database refuses")
            super().commit(after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "Writing", Cut)
        yield
