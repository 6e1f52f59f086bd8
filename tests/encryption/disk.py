"""Every byte that SQLite hands to the disk, recorded below the encryption; and a writer to be killed in the middle."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.tokens import UpperBound
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite.connection import Location
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.support import reach
from tests.support.memories import over

KEY = bytes(range(32))
CANARY = "cAnAry3f9ac1d2thatNobodyElseWrites7"
CLOCK = FixedClock(1_780_000_000_000_000, step_us=1)


class RecordingVFS(apsw.VFS):
    """Keeps whatever is written to any file."""

    def __init__(self, name: str) -> None:
        self.written: list[bytes] = []
        super().__init__(name, "unix")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self.written, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, written: list[bytes], name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._written = written
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._written.append(bytes(data))
        super().xWrite(data, offset)


@contextmanager
def opened(path: Path, key: bytes | None, vfs: str | None = None) -> Iterator[Memory]:
    """Open the real thing, through a VFS of the test's own if one is given."""
    store = SqliteStore.open(Location(path, key, vfs=vfs), clock=CLOCK, registry=REGISTRY)
    try:
        memory = over(
            store,
            FileObjects(Path(f"{path}.objects"), key),
            clock=CLOCK,
            principal="tester",
            settings=Settings(inline_bytes=512),
        )
        reach.kept(memory).tokens = UpperBound()  # the exact counter takes longer to load than the rest
        yield memory
    finally:
        store.close()


def work(memory: Memory, number: int, backups: Path) -> None:
    """Write the canary in every way."""
    note = f"{CANARY} {number}"
    ids = memory.remember(note, tags={"topic": note}, title=note, source=f"doc:{number}").added
    memory.remember(f"{note} " * 40, modality="event", metadata={"where": note})
    memory.remember(note, session=f"s {CANARY}", speaker=CANARY, idempotency_key=note)
    memory.revise(ids[0], tags={"topic": f"{note}!"}, reason=note)
    memory.snapshot(note, note=CANARY)
    memory.recall(CANARY)
    memory.forget(ids, reason=note)
    if number % 3 == 0:
        memory.backup(backups / f"copy-{number}.db")


def main(folder: Path, key: bytes | None) -> None:
    """Write until killed, saying so."""
    with opened(folder / "memory.db", key) as memory:
        for number in itertools.count():
            work(memory, number, folder)
            print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), KEY if sys.argv[2] == "key" else None)
