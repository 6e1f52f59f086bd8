"""Random histories, random erasures, a kill in the middle of some: done, or not begun, or finished by the next opening."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import CmcError, InvalidInput
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location
from tests.encryption.points import Points, PointsVFS
from tests.erase import scan
from tests.erase.plants import PLANTS
from tests.erase.world import SEED, erase, world
from tests.soak import Job, Outcome, Soak
from tests.support import reach
from tests.support.memories import START_US

ERASURES_A_STORE = 12
POINTS = 150  # where an erase in a store of this size touches the disk, and some more


@dataclass
class Erasures(Outcome):
    """What came of it; of those killed, how many were found done, not done, and how many had bytes for the opening."""

    killed: int = 0
    found_done: int = 0
    found_undone: int = 0
    finished_later: int = 0


def run(job: Job) -> Erasures:
    """Erase `count` times, in stores that live for a dozen erasures; every third one is killed somewhere."""
    result = job.begun(Erasures)
    folder = job.folder / "store"
    gone: list[str] = []
    for number in job.trials(result):
        if number % ERASURES_A_STORE == 0 or not folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            # without checksums of pages, which the VFS of the points would not keep
            migrate.run(Location(folder / "memory.db", vfs="unix"), FixedClock(START_US), REGISTRY)
            gone = []
        rng = random.Random(f"{job.seed}/{number}")
        try:
            wrong = _one(folder, rng, gone, result)
        except CmcError as error:
            wrong = [f"{type(error).__name__}: {error.message}"]
        result.failures += [f"erasure {number}: {line}" for line in wrong]
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _one(folder: Path, rng: random.Random, gone: list[str], result: Erasures) -> list[str]:
    word = scan.canary(rng)
    what = rng.choice(sorted(PLANTS))
    with world(folder) as memory:
        history(memory, rng)
        try:
            ids = [*dict.fromkeys(PLANTS[what](memory, word))]
            for entry in memory.quarantine() if not ids else ():  # a neighbour of it was erased before
                let_in = memory.release(entry.id)
                ids += [*let_in.added, *let_in.restored, *let_in.reaffirmed]
        except InvalidInput as error:
            if "was erased" not in error.message:
                raise
            return []  # words beside it were erased before, and are not let in again: nothing was planted
        history(memory, rng)
        ids += [id for id in _atoms(memory) if id not in ids and _tells(memory, id, word)]  # what took its facts over
        checkpoint = memory.checkpoint(SEED)
        before = memory.snapshot().transaction
    if not scan.in_folder(folder, word):
        return [f"{what}: it was never there"]
    killed = rng.random() < 1 / 3
    if killed:
        reported = _killed(folder, ids, rng.randint(1, POINTS))
        result.killed += 1
        result.finished_later += bool(scan.in_folder(folder, word))
        if reported and (left := scan.in_folder(folder, word)):
            return [f"{what}: reported done, and left in {left}"]
    else:
        with world(folder) as memory:
            receipt = erase(memory, ids).receipt
            if receipt is None or receipt.pages_pending:
                return [f"{what}: pages are pending though nobody reads"]
            if left := scan.in_folder(folder, word):
                return [f"{what}: left while it is open in {left}"]
    with world(folder) as memory:
        done = any(row.verb == "erase" for row in memory.history(limit=20).transactions if row.transaction > before)
        if killed:
            result.found_done, result.found_undone = result.found_done + done, result.found_undone + (not done)
            if not done:
                erase(memory, ids)
        wrong = [f"{fault.table} {fault.key}: {fault.reason}" for fault in memory.verify(
            checkpoint=checkpoint.checkpoint, public_key=checkpoint.public_key
        ).faults]  # fmt: skip
        wrong += [f"{what}: told again" for answer in (memory.recall(word, as_of=before), memory.history(ids[0]))
                  if word in answer.model_dump_json().replace(f'"{word}"', "")]  # fmt: skip
    gone.append(word)
    return wrong + [f"{what}: {earlier} is in {left}" for earlier in gone if (left := scan.in_folder(folder, earlier))]


def _atoms(memory: Memory) -> list[str]:
    with reach.store(memory).reader(1) as view:
        return [atom_name(row.key) for row in view.all_atoms()]


def _tells(memory: Memory, id: str, word: str) -> bool:
    found = memory.history(id).memory
    return found is not None and word in found.model_dump_json()


def history(memory: Memory, rng: random.Random) -> None:
    """Do a few things of every kind that an erase has to live with."""
    for _ in range(rng.randint(1, 4)):
        try:
            _step(memory, rng)
        except CmcError as error:  # rolled back or erased before
            if error.code not in ("not_found", "invalid_input", "conflict"):
                raise


def _step(memory: Memory, rng: random.Random) -> None:
    live = [item.id for item in memory.recall("words note topic", limit=5).items]
    head = memory.snapshot().transaction
    tag, number = {"topic": rng.choice("abc")}, rng.randrange(10**6)
    steps: list[Callable[[], object]] = [
        lambda: memory.remember(f"a note with words {number}", tags=tag),
        lambda: memory.remember(f"# T {number}\n\nwords {number}\n\nmore words\n", source=f"doc-{number % 3}.md"),
        lambda: memory.remember(f"turn with words {number}", session="s", speaker=rng.choice("xy")),
        lambda: memory.remember(f"large words {number} " * 90, modality="event"),
        lambda: memory.rollback(max(0, head - rng.randint(0, 3))),
        lambda: memory.rollback(since=max(0, head - 3), tags=tag),
    ]
    if live:
        steps += [
            lambda: memory.revise(rng.choice(live), tags={**tag, "n": str(number)}),
            lambda: memory.revise(rng.choice(live), content=f"revised words {number}"),
            lambda: memory.forget(rng.choice(live), reason="no longer"),
        ]
    rng.choice(steps)()


def _killed(folder: Path, ids: list[str], at: int) -> bool:
    """Erase in a child that is killed where it touches the disk; say whether it had reported the erase done."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            points = Points(folder)
            vfs = PointsVFS("points", points)
            memory = world(folder, vfs=vfs.name)
            plan = memory.forget(ids, erase=True, dry_run=True)
            points.arm(at, "kill")
            receipt = memory.forget(ids, erase=True, digest=plan.digest).receipt
            assert receipt is not None
            os.write(write, b"w" if receipt.pages_pending else b"d")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    told = os.read(read, 1)
    os.close(read)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, f"the child ended with {status}"
    return b"d" in told


SOAK = Soak(
    "random histories and erasures, every third one killed; no form of what was erased is left", "erasures", 1000, run
)
