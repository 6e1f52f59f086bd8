"""The real Memory under test, a workload over every kind of write, and what must hold after a crash."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError, Conflict
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.memory import Memory
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sqlite.connection import Location
from cmc_mcp.store.sqlite.store import SqliteStore

INLINE_BYTES = 256
PHASES = ("open", "remember", "object", "revise", "snapshot", "rollback", "undo", "forget", "erase")
_WORDS = ("deploy", "region", "backup", "budget", "invoice", "retry", "queue", "metric", "owner", "policy")


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
            return [atom_name(row.key) for row in view.all_atoms() if view.pieces(row.rid)]


@contextmanager
def opened(path: Path, *, vfs: str | None = None, start_us: int = 1_700_000_000_000_000) -> Iterator[Subject]:
    """Open the real thing on a path, through a VFS of the test's own if one is given."""
    clock = FixedClock(start_us, step_us=1)
    store = SqliteStore.open(Location(path, vfs=vfs), clock=clock)
    memory: Memory | None = None
    try:
        memory = Memory(
            store,
            FileObjects(Path(f"{path}.objects")),
            workspace="default",
            principal="tester",
            embedder=None,
            clock=clock,
            settings=Settings(inline_bytes=INLINE_BYTES),
        )
        yield Subject(memory, store, store.workspace("default", create=False))
    finally:
        (memory or store).close()


@dataclass
class Workload:
    """Operations drawn from a seed. Each is named by its phase, and safe to repeat under its number."""

    rng: random.Random
    tag: str
    erases_objects: bool = True
    number: int = 0
    labels: list[str] = field(default_factory=list)

    def next(self, subject: Subject) -> tuple[str, Callable[[], object]]:
        """Draw the next operation as (phase, call)."""
        self.number += 1
        phase = self.rng.choice(PHASES[1:])
        return phase, getattr(self, f"_{phase}")(subject)

    def text(self, words: int) -> str:
        """A text that occurs once."""
        return f"{self.tag} note {self.number}: " + " ".join(self.rng.choice(_WORDS) for _ in range(words))

    def _remember(self, subject: Subject) -> Callable[[], object]:
        text, topic, key = self.text(8), self.rng.choice(_WORDS), f"{self.tag}-{self.number}"
        return lambda: subject.memory.remember(text, tags={"topic": topic}, idempotency_key=key)

    def _object(self, subject: Subject) -> Callable[[], object]:
        text = self.text(120)
        return lambda: subject.memory.remember(text, source=f"doc:{self.number % 5}")

    def _revise(self, subject: Subject) -> Callable[[], object]:
        target, topic = self._target(subject), self.rng.choice(_WORDS)
        if target is None:
            return self._remember(subject)
        return lambda: subject.memory.revise(target, tags={"topic": topic, "n": str(self.number)})

    def _snapshot(self, subject: Subject) -> Callable[[], object]:
        label = f"{self.tag}-label-{self.number}"
        self.labels.append(label)
        return lambda: subject.memory.snapshot(label)

    def _rollback(self, subject: Subject) -> Callable[[], object]:
        seq, _ = subject.head()
        target = self.rng.randint(max(0, seq - 12), seq)
        return lambda: subject.memory.rollback(target)

    def _undo(self, subject: Subject) -> Callable[[], object]:
        seq, _ = subject.head()
        since, topic = max(0, seq - 8), self.rng.choice(_WORDS)
        return lambda: subject.memory.rollback(since=since, tags={"topic": topic})

    def _forget(self, subject: Subject) -> Callable[[], object]:
        target = self._target(subject)
        if target is None:
            return self._remember(subject)
        return lambda: subject.memory.forget(target, reason="no longer so")

    def _erase(self, subject: Subject) -> Callable[[], object]:
        target = self._target(subject)
        if target is None or not self.erases_objects:
            return self._forget(subject)

        def erase() -> None:
            plan = subject.memory.forget(target, erase=True, dry_run=True)
            subject.memory.forget(target, erase=True, digest=plan.digest)

        return erase

    def _target(self, subject: Subject) -> str | None:
        live = subject.live()[-30:]
        return self.rng.choice(live) if live else None


def work_through(subject: Subject, work: Workload, steps: int, acknowledged: Callable[[int, str], None]) -> None:
    """Do some operations, acknowledging each after it returned, as any client would see it."""
    for _ in range(steps):
        _, call = work.next(subject)
        try:
            call()
        except Conflict:  # rolled back to where the plan no longer holds: an answer, not a failure
            continue
        acknowledged(*subject.head())


def judge(path: Path, acknowledged: Mapping[int, str], in_flight: int = 1) -> list[str]:
    """Reopen after a crash and say what is wrong: acknowledged writes lost, or a store that does not verify."""
    try:
        return _judged(path, acknowledged, in_flight)
    except CmcError as error:
        return [f"{type(error).__name__}: {error.message}"]


def _judged(path: Path, acknowledged: Mapping[int, str], in_flight: int) -> list[str]:
    wrong: list[str] = []
    with opened(path) as subject:
        ledger = subject.ledger()
        for seq, root in acknowledged.items():
            if ledger.get(seq) != root:
                wrong.append(f"transaction {seq} was acknowledged and is {'lost' if seq not in ledger else 'another'}")
        if len(ledger) > max(acknowledged, default=0) + in_flight:
            wrong.append(f"{len(ledger)} transactions, of which {max(acknowledged, default=0)} were acknowledged")
        answer = subject.memory.verify()
        wrong += [f"{fault.table} {fault.key}: {fault.reason}" for fault in answer.faults]
        if not wrong:
            subject.memory.remember("written after the crash")
            subject.memory.recall("crash")
    return wrong
