"""Many writers on one file, readers beside them, and a checker of what they saw (strict serializability).

The ledger is an append-only list whose order every client can see, so a linear check suffices: every acknowledged write
is in it once; what returned before something else was invoked comes before it; a read sees a prefix that holds all that
returned before it was invoked, and nothing invoked after it returned. Of a client that was killed one write may be there
that nobody was told of. Every workspace is a ledger of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from cmc_mcp.errors import CmcError
from tests.crash import bare
from tests.crash.subject import Subject, opened
from tests.soak import Job, Outcome, Soak

WORKSPACES: Final = ("default", "other")
HOUR_US: Final = 3_600_000_000


class Call(NamedTuple):
    """One call of a client: when it was invoked and returned (s), and its place in the ledger or the prefix it saw."""

    invoked: float
    returned: float
    seq: int
    client: str
    workspace: str = WORKSPACES[0]


@dataclass
class Part:
    """What came of one way to write together; times in milliseconds, of writes alone."""

    acknowledged: int = 0
    reads: int = 0
    killed: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0
    total_s: float = 0.0


@dataclass
class Writing(Outcome):
    """What came of every part."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)


# ---------------------------------------------------------------------- the checker
def check_history(writes: Sequence[Call], reads: Sequence[Call], length: int, untold: int = 0) -> list[str]:
    """Check what clients saw against a ledger of `length` transactions, `untold` of which may have had no answer."""
    wrong: list[str] = []
    seqs = sorted(call.seq for call in writes)
    missing = sorted(set(range(1, length + 1)) - set(seqs))
    twice = sorted({seq for seq, following in pairwise(seqs) if seq == following})
    if len(missing) > untold or twice or seqs[-1:] > [length]:
        wrong.append(
            f"{len(seqs)} acknowledged writes do not make a ledger of {length}: missing {missing[:5]}, twice {twice[:5]}"
        )
    wrong += _out_of_order(writes, writes, strict=True)
    wrong += _out_of_order(writes, reads, strict=False)
    begun = {call.seq: call for call in writes}
    for read in reads:
        if read.seq > length or (read.seq in begun and begun[read.seq].invoked > read.returned):
            wrong.append(f"{read.client} saw transaction {read.seq} before it was written")
    return wrong


def _out_of_order(first: Iterable[Call], then: Iterable[Call], *, strict: bool) -> list[str]:
    """What was invoked after something had returned must come after it, or (for reads) see it."""
    wrong: list[str] = []
    finished = sorted(first, key=lambda call: call.returned)
    done, latest = 0, 0
    for call in sorted(then, key=lambda call: call.invoked):
        while done < len(finished) and finished[done].returned < call.invoked:
            latest = max(latest, finished[done].seq)
            done += 1
        if call.seq < latest or (strict and call.seq == latest):
            wrong.append(f"{call.client} has {call.seq}, though {latest} had returned before")
    return wrong


def check_store(path: Path, writes: Sequence[Call], reads: Sequence[Call], killed: int = 0) -> list[str]:
    """Check every workspace: what was seen of it, that it verifies, and that its time never goes back."""
    wrong = bare.faults(path, Path(f"{path}.objects"))
    for workspace in WORKSPACES:
        with opened(path, workspace=workspace) as subject:
            length = subject.head()[0]
            found = check_history(
                [c for c in writes if c.workspace == workspace],
                [c for c in reads if c.workspace == workspace],
                length,
                killed,
            )
            found += [f"{f.table} {f.key}: {f.reason}" for f in subject.memory.verify().faults]
            with subject.store.reader(subject.ws) as view:
                times = [row.recorded_us for row in sorted(view.transactions(), key=lambda row: row.seq)]
            found += [f"time went from {a} to {b}" for a, b in pairwise(times) if a >= b]
            wrong += [f"{workspace}: {line}" for line in found]
    return wrong


# ---------------------------------------------------------------------- the clients
def _forked(work: Callable[..., None], *arguments: object) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work(*arguments)
    finally:
        os._exit(0)


class JumpingClock:
    """A clock that is set an hour forth or back, or stands still, at every look."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self._rng.choice([-HOUR_US, 0, HOUR_US, -1_000_000, 1_000_000])


def _say(out: int, *told: object) -> None:
    os.write(out, json.dumps(told).encode() + b"\n")


def _write(path: Path, folder: Path, number: int, each: int, jumps: bool) -> None:
    """Write, and put every answer down at once, since one may be killed."""
    out = os.open(folder / f"writer-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    workspace = WORKSPACES[number % 2]
    clock = JumpingClock(number) if jumps else None
    with opened(path, workspace=workspace, start_us=time.time_ns() // 1000, clock=clock) as subject:
        for n in range(each):
            invoked = time.monotonic()
            try:
                receipt = subject.memory.remember(f"writer {number} says {n}", tags={"writer": str(number)})
            except CmcError as error:
                _say(out, f"writer {number}, {n}: {error.code}: {error.message}")
                continue
            _say(out, invoked, time.monotonic(), receipt.transaction, f"writer {number}", workspace)


def _read(path: Path, folder: Path, number: int) -> None:
    out = os.open(folder / f"reader-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    workspace = WORKSPACES[number % 2]
    with opened(path, workspace=workspace) as subject:
        while not (folder / "stop").exists():
            invoked = time.monotonic()
            seq, seen, atoms = _prefix(subject)
            _say(out, invoked, time.monotonic(), seq, f"reader {number}", workspace)
            if (seen, atoms) != ((seq, min(seq, 1), seq), seq):
                _say(out, f"reader {number} saw no prefix: head {seq}, {seen} transactions, {atoms} atoms")
            time.sleep(0.05)  # readers that do nothing else would only measure the scheduler


def _prefix(subject: Subject) -> tuple[int, tuple[int, ...], int]:
    """What a reader sees: the head; count, first and last of the transactions; how many atoms."""
    with subject.store.reader(subject.ws) as view:
        seq = view.head().seq
        seen = view.connection.execute(
            "SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM transactions WHERE ws = ?",
            (subject.ws,),
        ).fetchone()
        atoms = view.connection.execute("SELECT count(*) FROM atoms WHERE ws = ?", (subject.ws,)).fetchone()
    assert seen is not None and atoms is not None
    return seq, tuple(int(str(part)) for part in seen), int(str(atoms[0]))


def _calls(folder: Path, who: str, wrong: list[str]) -> list[Call]:
    found: list[Call] = []
    for path in sorted(folder.glob(f"{who}-*")):
        for line in path.read_text().splitlines():
            told = json.loads(line)
            if len(told) == 1:
                wrong += told
            else:
                found.append(Call(*told))
    return found


def _part(writes: Sequence[Call], reads: Sequence[Call], start: float, killed: int = 0) -> Part:
    waits = sorted((call.returned - call.invoked) * 1000 for call in writes)
    at = [round(waits[min(len(waits) - 1, int(len(waits) * part))], 3) for part in (0.5, 0.99, 1.0)]
    return Part(len(writes), len(reads), killed, *at, total_s=round(time.monotonic() - start, 3))


# ---------------------------------------------------------------------- the ways to write together
def processes(
    folder: Path, *, writers: int, each: int, readers: int = 0, kills: int = 0, jumps: bool = False
) -> tuple[Part, list[str]]:
    """Let processes write to two workspaces of one file, others read beside them, and some be killed at it."""
    folder.mkdir()
    path, wrong = folder / "shared.db", []
    for workspace in WORKSPACES:
        with opened(path, workspace=workspace):
            pass
    start = time.monotonic()
    watchers = [_forked(_read, path, folder, n) for n in range(readers)]
    pids = [_forked(_write, path, folder, n, each, jumps) for n in range(writers)]
    doomed = [_forked(_write, path, folder, writers + n, 1_000_000, jumps) for n in range(kills)]
    for number, pid in enumerate(doomed):
        out = folder / f"writer-{writers + number}"
        while not out.exists() or out.stat().st_size < 400 * (number + 1) or _holder(path) != pid:
            time.sleep(0.0005)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for pid in pids:
        os.waitpid(pid, 0)
    (folder / "stop").touch()
    for pid in watchers:
        os.waitpid(pid, 0)
    writes, reads = _calls(folder, "writer", wrong), _calls(folder, "reader", wrong)
    part = _part(writes, reads, start, kills)
    finished = [call for call in writes if int(call.client.split()[1]) < writers]
    if len(finished) + len(wrong) != writers * each:
        wrong.append(f"{len(finished)} writes of {writers * each} have an answer")
    return part, wrong + check_store(path, writes, reads, kills)


def _holder(path: Path) -> int:
    """Who took the write lock last, and most likely holds it."""
    return int(Path(f"{path}.lock").read_bytes() or b"0")


def threads(folder: Path, *, count: int, each: int) -> tuple[Part, list[str]]:
    """Let threads of one process write to one file, and one read beside them."""
    folder.mkdir()
    writes: list[Call] = []
    reads: list[Call] = []
    wrong: list[str] = []
    start, stop = time.monotonic(), threading.Event()
    with opened(folder / "shared.db") as subject:

        def write(number: int) -> None:
            for n in range(each):
                invoked = time.monotonic()
                try:
                    receipt = subject.memory.remember(f"thread {number} says {n}")
                except CmcError as error:
                    wrong.append(f"thread {number}, {n}: {error.code}: {error.message}")
                    continue
                writes.append(Call(invoked, time.monotonic(), receipt.transaction, f"thread {number}"))

        def read() -> None:
            while not stop.wait(0.01):
                invoked = time.monotonic()
                seq, seen, atoms = _prefix(subject)
                reads.append(Call(invoked, time.monotonic(), seq, "reader"))
                if (seen, atoms) != ((seq, min(seq, 1), seq), seq):
                    wrong.append(f"the reader saw no prefix: head {seq}, {seen} transactions, {atoms} atoms")

        workers = [threading.Thread(target=write, args=(n,)) for n in range(count)]
        watcher = threading.Thread(target=read)
        for thread in (*workers, watcher):
            thread.start()
        for thread in workers:
            thread.join()
        stop.set()
        watcher.join()
    return _part(writes, reads, start), wrong + check_store(folder / "shared.db", writes, reads)


def repeats(folder: Path, *, writers: int, times: int) -> tuple[Part, list[str]]:
    """Let processes ask for the same thing under the same key, over and over: one record, and one same receipt."""
    folder.mkdir()
    path, start = folder / "shared.db", time.monotonic()
    with opened(path):
        pass

    def ask(number: int, times: int) -> None:
        out = os.open(folder / f"asker-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with opened(path) as subject:
            for _ in range(times):
                receipt = subject.memory.remember("said once", idempotency_key="once")
                _say(out, receipt.model_dump_json(exclude={"timings_ms"}))

    for pid in [_forked(ask, n, times // writers) for n in range(writers)]:
        os.waitpid(pid, 0)
    told = [json.loads(line)[0] for file in folder.glob("asker-*") for line in file.read_text().splitlines()]
    wrong = [] if len(told) == times // writers * writers else [f"{len(told)} answers to {times} calls"]
    if len(set(told)) != 1:
        wrong.append(f"{len(set(told))} different receipts: {sorted(set(told))[:2]}")
    with opened(path) as subject:
        if (subject.head()[0], len(subject.live())) != (1, 1):
            wrong.append(f"{subject.head()[0]} transactions and {len(subject.live())} records of one key")
    return Part(acknowledged=len(told), total_s=round(time.monotonic() - start, 3)), wrong


def run(job: Job) -> Writing:
    """Every way to write together, `count` writes a process; a part that is done is not done again."""
    result = job.begun(Writing)
    each, parts = job.count, dict[str, Callable[[Path], tuple[Part, list[str]]]]()
    parts["processes"] = lambda to: processes(to, writers=8, each=each, readers=16, kills=2)
    parts["clocks"] = lambda to: processes(to, writers=4, each=each * 5 // 2, jumps=True)
    parts["repeats"] = lambda to: repeats(to, writers=8, times=each)
    parts["threads"] = lambda to: threads(to, count=32, each=each // 4)
    for name, part in parts.items():
        if name not in result.parts:
            figures, wrong = part(job.folder / name)
            result.parts[name] = asdict(figures)
            result.failures += [f"{name}: {line}" for line in wrong][:100]
            result.done += figures.acknowledged
            job.keep(result)
    return result


SOAK = Soak(
    "processes and threads write to one file, others read, some are killed; a checker judges", "writes each", 1000, run
)
