"""The real Memory under test, what a client of it was told, and what must hold after a crash."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cmc_mcp.clock import Clock, FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.embed.tokens import load_token_counter
from cmc_mcp.errors import CmcError
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.memory import Memory
from cmc_mcp.merkle.checkpoint import public_key
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.crash import bare
from tests.support import reach
from tests.support.embedders import HashVectors
from tests.support.load import Stopwatch

INLINE_BYTES = 256
SIGNING_KEY = bytes(range(32))
VERIFYING_KEY = public_key(SIGNING_KEY).hex()
_counter = functools.cache(load_token_counter)  # its vocabulary takes longer to read than a small store to judge


@dataclass
class Subject:
    """A memory and the store beneath it."""

    memory: Memory
    store: SqliteStore
    ws: int

    def head(self) -> tuple[int, str]:
        """The last transaction and its state root."""
        head = self.store.head(self.ws)
        return head.seq, head.state_root.hex()

    def ledger(self) -> dict[int, str]:
        """Every transaction with its state root."""
        with self.store.reader(self.ws) as view:
            return {row.seq: row.state_root.hex() for row in view.transactions()}

    def live(self) -> list[str]:
        """The ids of live memories, oldest first."""
        with self.store.reader(self.ws) as view:
            return [atom_name(row.key) for row in view.all_atoms() if view.intervals(row.rid)]


@contextmanager
def opened(
    path: Path, *, workspace: str = "default", start_us: int = 1_700_000_000_000_000, clock: Clock | None = None
) -> Iterator[Subject]:
    """Open the real thing on a path, through whatever file system is the default one, with small real vectors."""
    with Memory.open(
        path,
        workspace=workspace,
        principal="tester",
        embedder=HashVectors(8),
        clock=clock or FixedClock(start_us, step_us=1),
        settings=Settings(inline_bytes=INLINE_BYTES),
    ) as memory:
        reach.kept(memory).tokens = _counter()
        store = cast("SqliteStore", reach.store(memory))
        yield Subject(memory, store, store.workspace(workspace, create=False))


@dataclass
class Told:
    """What a client was told, and what was in flight when it was cut off."""

    roots: dict[int, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Words that an erase destroyed."""
    note: str = ""
    """The last signed head."""
    most: int = 1
    """How many transactions may be there that nobody was told of."""
    asked: dict[str, Any] | None = None
    """What was being remembered under an idempotency key."""

    def hear(self, answer: Answer | None) -> None:
        """Take in what an operation answered; None where it was refused."""
        if answer is not None:
            self.roots[answer.seq] = answer.root
            self.gone += answer.gone
            self.note = answer.note or self.note
        self.begin(0, None)

    def begin(self, most: int, asked: dict[str, Any] | None) -> None:
        """Note what is in flight from now on."""
        self.most, self.asked = most, asked


@dataclass(frozen=True)
class Answer:
    """What an operation answered: the head after it, the words it destroyed, the head it signed."""

    seq: int
    root: str
    gone: Sequence[str] = ()
    note: str = ""


@dataclass
class Judgement:
    """What was found after a crash: every fault, the ledger, and how long it took to be at work again (s)."""

    faults: list[str]
    ledger: dict[int, str] = field(default_factory=dict)
    length: int = 0
    """How many transactions there were at reopening."""
    reopen_s: float = 0.0


def judge(path: Path, told: Told, sound: set[bytes] | None = None) -> Judgement:
    """Look with bare eyes, reopen, and say what is wrong: acknowledged writes lost, half a write seen, no sound store.

    `sound` are the hashes of backups that were looked at before.
    """
    found = Judgement(look_aside(path, set() if sound is None else sound))
    try:
        _judge(path, told, found)
    except CmcError as error:
        found.faults.append(f"{type(error).__name__}: {error.message}")
    if not found.faults:
        found.faults += _remains(path, told.gone)
    return found


def look_aside(path: Path, sound: set[bytes]) -> list[str]:
    """Look at copies, before the product mends anything; the objects are only read."""
    aside = path.with_name("aside")
    aside.mkdir()
    try:
        wrong = []
        for file in path.parent.glob(f"{path.name}*"):
            if file.is_file():
                shutil.copyfile(file, aside / file.name)
        if path.exists():
            wrong += bare.faults(aside / path.name, Path(f"{path}.objects"))
        for backup in aside.glob("*.backup"):
            hash_ = hashlib.sha256(backup.read_bytes()).digest()
            if hash_ not in sound and not (found := bare.faults(backup, None)):
                sound.add(hash_)
            elif hash_ not in sound:
                wrong += [f"{backup.name}: {line}" for line in found]
        return wrong
    finally:
        shutil.rmtree(aside)


def _judge(path: Path, told: Told, found: Judgement) -> None:
    watch = Stopwatch(os.getpid())
    with opened(path) as subject:
        ledger = found.ledger = subject.ledger()
        found.reopen_s = watch.seconds()
        for seq, root in told.roots.items():
            if ledger.get(seq) != root:
                lost = "lost" if seq not in ledger else "another"
                found.faults.append(f"transaction {seq} was acknowledged and is {lost}")
        last, found.length = max(told.roots, default=0), len(ledger)
        if len(ledger) > last + told.most:
            found.faults.append(f"{len(ledger)} transactions, of which {last} were acknowledged, {told.most} in flight")
        note = {"checkpoint": told.note, "public_key": VERIFYING_KEY} if told.note else {}
        answer = subject.memory.verify(deep=True, **note)
        found.faults += [f"{fault.table} {fault.key}: {fault.reason}" for fault in answer.faults]
        if not found.faults:
            found.faults += _goes_on(subject, told.asked, found.ledger)
            found.ledger = subject.ledger()


def _goes_on(subject: Subject, asked: dict[str, Any] | None, ledger: dict[int, str]) -> list[str]:
    """Ask again what was in flight, then write and read: an outcome that nobody knows is resolved by its key."""
    wrong: list[str] = []
    if asked is not None:
        with subject.store.reader(subject.ws) as view:
            kept = view.idempotency(asked["idempotency_key"]) is not None
        first, second = subject.memory.remember(**asked), subject.memory.remember(**asked)
        if (first.transaction <= len(ledger)) != kept or first.transaction != second.transaction:
            wrong.append(f"asked again: {first.transaction}, then {second.transaction}, kept {kept}")
        if len(first.added) != 1 or first.added != second.added or subject.live().count(first.added[0]) != 1:
            wrong.append(f"asked again, there is not exactly one record: {first.added}, {second.added}")
    text = f"written after the crash, when there were {len(ledger)} transactions"
    subject.memory.remember(text)
    if text not in [item.text for item in subject.memory.recall(text, limit=1).items]:
        wrong.append("what was written after the crash is not recalled")
    return wrong


def _remains(path: Path, gone: Sequence[str]) -> list[str]:
    """Words that were destroyed are in no file any more; backups made before are the caller's to keep or not."""
    if not gone:
        return []
    files = [path, *Path(f"{path}.objects").rglob("*"), Path(f"{path}-wal")]
    bodies = [file.read_bytes() for file in files if file.is_file()]
    return [f"{word} was erased and remains" for word in gone if any(word.encode() in body for body in bodies)]
