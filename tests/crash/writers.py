"""Many writers on one file, readers beside them, and a checker of what they saw (strict serializability).

The ledger is an append-only list whose order every client can see, so a linear check suffices: every acknowledged write
is in it once; what returned before something else was invoked comes before it; a read sees a prefix that holds all that
returned before it was invoked, and nothing invoked after it returned.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cmc_mcp.errors import CmcError
from tests.crash.subject import opened
from tests.soak import Job, Outcome, Soak


class Call(NamedTuple):
    """One call of a client: when it was invoked and returned (s), and its place in the ledger or the prefix it saw."""

    invoked: float
    returned: float
    seq: int
    client: str


@dataclass
class Writing(Outcome):
    """What came of it; times in milliseconds."""

    acknowledged: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0
    total_s: float = 0.0
    reads: int = 0


def check_history(writes: Sequence[Call], reads: Sequence[Call], length: int) -> list[str]:
    """Check what clients saw against a ledger of `length` transactions; gives every violation."""
    wrong: list[str] = []
    seqs = sorted(call.seq for call in writes)
    if seqs != list(range(1, length + 1)):
        wrong.append(f"{len(seqs)} acknowledged writes do not make a ledger of {length}: {_odd(seqs, length)}")
    wrong += _out_of_order(writes, writes, strict=True)
    wrong += _out_of_order(writes, reads, strict=False)
    begun = sorted(writes, key=lambda call: call.seq)
    for read in reads:
        if read.seq > len(begun) or (read.seq and begun[read.seq - 1].invoked > read.returned):
            wrong.append(f"{read.client} saw transaction {read.seq} before it was written")
    return wrong


def _odd(seqs: Sequence[int], length: int) -> str:
    missing = sorted(set(range(1, length + 1)) - set(seqs))[:5]
    twice = sorted({seq for seq, following in pairwise(seqs) if seq == following})[:5]
    return f"missing {missing}, twice {twice}"


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


def run_writers(folder: Path, *, writers: int, each: int, readers: int = 0) -> Writing:
    """Let processes write to one file, and others read beside them; then check what all of them saw."""
    path = folder / "shared.db"
    with opened(path):
        pass
    start = time.monotonic()
    stop = folder / "stop"
    pids = [_forked(_write, path, folder / f"writer-{n}.json", n, each) for n in range(writers)]
    watchers = [_forked(_read, path, folder / f"reader-{n}.json", n, stop) for n in range(readers)]
    for pid in pids:
        os.waitpid(pid, 0)
    outcome = Writing(seed=0, done=writers * each, total_s=round(time.monotonic() - start, 3))
    stop.touch()
    for pid in watchers:
        os.waitpid(pid, 0)
    writes, reads = _calls(folder, "writer", outcome), _calls(folder, "reader", outcome)
    waits = sorted((call.returned - call.invoked) * 1000 for call in writes)
    outcome.acknowledged, outcome.reads = len(writes), len(reads)
    outcome.p50_ms, outcome.p99_ms, outcome.worst_ms = (
        round(waits[min(len(waits) - 1, int(len(waits) * part))], 3) for part in (0.5, 0.99, 1.0)
    )
    with opened(path) as subject:
        outcome.failures += check_history(writes, reads, subject.head()[0])
        outcome.failures += [f"{f.table} {f.key}: {f.reason}" for f in subject.memory.verify().faults]
    return outcome


def _forked(work: object, *arguments: object) -> int:
    child = os.fork()
    if child:
        return child
    try:
        assert callable(work)
        work(*arguments)
    finally:
        os._exit(0)


def _write(path: Path, out: Path, number: int, each: int) -> None:
    calls, failed = [], []
    with opened(path, start_us=time.time_ns() // 1000) as subject:
        for n in range(each):
            invoked = time.monotonic()
            try:
                receipt = subject.memory.remember(f"writer {number} says {n}", tags={"writer": str(number)})
            except CmcError as error:
                failed.append(f"writer {number}, {n}: {error.code}: {error.message}")
                continue
            calls.append((invoked, time.monotonic(), receipt.transaction, f"writer {number}"))
    out.write_text(json.dumps({"calls": calls, "errors": failed}))


def _read(path: Path, out: Path, number: int, stop: Path) -> None:
    calls, failed = [], []
    with opened(path) as subject:
        while not stop.exists():
            invoked = time.monotonic()
            with subject.store.reader(subject.ws) as view:
                seq = view.head().seq
                seen = [row.seq for row in view.transactions()]
                atoms = sum(1 for _ in view.all_atoms())
            calls.append((invoked, time.monotonic(), seq, f"reader {number}"))
            if seen != list(range(seq, 0, -1)) or atoms != seq:
                failed.append(f"reader {number} saw no prefix: head {seq}, {len(seen)} transactions, {atoms} atoms")
    out.write_text(json.dumps({"calls": calls, "errors": failed}))


def _calls(folder: Path, who: str, outcome: Writing) -> list[Call]:
    found: list[Call] = []
    for path in sorted(folder.glob(f"{who}-*.json")):
        told = json.loads(path.read_text())
        found += [Call(*call) for call in told["calls"]]
        outcome.failures += told["errors"]
    return found


def run(job: Job) -> Writing:
    """Eight writers, and two readers beside them."""
    outcome = run_writers(job.folder, writers=8, each=job.count, readers=2)
    job.keep(outcome)
    return outcome


SOAK = Soak("eight processes write to one file, two read beside them, and a checker judges", "writes each", 1000, run)
