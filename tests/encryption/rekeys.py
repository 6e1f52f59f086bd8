"""A change of the key that is killed, or that the disk fails, at every point: one key opens everything, the other nothing."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cmc_mcp.clock import FixedClock
from cmc_mcp.config import Settings
from cmc_mcp.errors import CmcError, WrongKey
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.sqlite import migrate
from cmc_mcp.store.sqlite.connection import Location, make_folder
from cmc_mcp.store.sqlite.rekey import rekey
from tests.encryption.points import Act, Points, PointsVFS, structural
from tests.soak import Job, Outcome, Soak
from tests.support.memories import live

ONE, TWO = bytes(range(32)), bytes(range(100, 132))
CHANGES: tuple[tuple[bytes | None, bytes | None], ...] = ((ONE, TWO), (None, ONE), (ONE, None))
CANARY = "cAnAry7f3eThatNobodyElseWrites41"
PAGE = 4096


@dataclass
class Rekeys(Outcome):
    """What came of it: how often the old key, and how often the new one, was the store's afterwards; points by kind."""

    old: int = 0
    new: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


def made(path: Path, key: bytes | None) -> str:
    """Make a store with notes and objects; return its state root."""
    with _opened(path, key) as memory:
        for number in range(3):
            memory.remember(f"note {number} {CANARY}", tags={"n": str(number)})
        memory.remember(f"{CANARY} " * 40, modality="event", source="big")
        memory.remember(f"{CANARY}! " * 40, modality="event", source="bigger")
        return memory.snapshot("start").root


def _opened(path: Path, key: bytes | None) -> Memory:
    return live(path, key=key, settings=Settings(inline_bytes=128))


def judge(folder: Path, old: bytes | None, new: bytes | None, root: str, before: bytes) -> tuple[str, list[str]]:
    """Return which key opens the store after all that happened, and all that is wrong with it."""
    path, opens, wrong = folder / "memory.db", list[str](), list[str]()
    for name, key in (("old", old), ("new", new)):
        try:
            with _opened(path, key) as memory:
                opens.append(name)
                wrong += [f"{fault.table}: {fault.reason}" for fault in memory.verify().faults]
                if memory.snapshot().root != root or memory.read_source("big").decode() != f"{CANARY} " * 40:
                    wrong.append("something is lost")
        except WrongKey:
            continue
        except CmcError as error:
            wrong.append(f"{name} key: {type(error).__name__}: {error.message}")
    if len(opens) != 1:
        return "none", [*wrong, f"the store opens with {opens}"]
    key = old if opens == ["old"] else new
    left = sorted(found.name for found in folder.iterdir())
    if opens == ["old"] and "memory.db-journal" in left:  # of the first step; it goes with the next change, or an erase
        left.remove("memory.db-journal")
    if left != ["memory.db", "memory.db.lock", "memory.db.objects"]:
        wrong.append(f"{left} are left")
    pages = {before[start : start + PAGE] for start in range(0, len(before), PAGE)}
    for found in folder.rglob("*"):
        body = found.read_bytes() if found.is_file() else b""
        if key is not None and CANARY.encode() in body:
            wrong.append(f"{found.name} is in the clear")
        if opens == ["new"] and any(body[start : start + PAGE] in pages for start in range(0, len(body), PAGE)):
            wrong.append(f"{found.name} holds a page under the old key")
    return opens[0], wrong


def attempt(folder: Path, points: Points, change: tuple[bytes | None, bytes | None], at: int, act: Act) -> str | None:
    """Change the key once, with something happening at a point; return the error that it ended with."""
    points.arm(at, act)
    try:
        rekey(Location(folder / "memory.db", change[0], vfs="points"), change[1])
    except CmcError as error:
        return error.message
    finally:
        points.disarm()
    return None


def run(job: Job) -> Rekeys:
    """Go through the points of every change in turn, with a kill and with an error at each; then draw them at random."""
    result = job.begun(Rekeys)
    folder = job.folder / "run"
    points = Points(folder)
    vfs = PointsVFS("points", points)
    try:
        worlds = [_World(job.folder / f"template-{number}", change, points) for number, change in enumerate(CHANGES)]
        trials = [(w, at, act) for w in worlds for at in structural(w.names) for act in ("kill", "fail")]
        for number in job.trials(result):
            rng = random.Random(f"{job.seed}/{number}")
            if number < len(trials):
                world, at, act = trials[(number * 7919) % len(trials)]  # a short run has some of each
            else:
                world = rng.choice(worlds)
                at, act = rng.randint(1, len(world.names)), rng.choice(("kill", "fail"))
            opens, wrong = _trial(folder, world, points, at, "kill" if act == "kill" else "fail")
            kind = world.names[at - 1]
            result.kinds[kind] = result.kinds.get(kind, 0) + 1
            result.old, result.new = result.old + (opens == "old"), result.new + (opens == "new")
            what = f"trial {number}, {act} at point {at} ({kind}) of change {worlds.index(world)}"
            result.failures += [f"{what}: {line}" for line in wrong]
    finally:
        vfs.unregister()
        shutil.rmtree(folder, ignore_errors=True)
    return result


class _World:
    """A store to begin with, and the points of one undisturbed change."""

    def __init__(self, template: Path, change: tuple[bytes | None, bytes | None], points: Points) -> None:
        self.template, self.change = template, change
        shutil.rmtree(template, ignore_errors=True)
        make_folder(template)
        # without checksums of pages, which the VFS of the points would not keep
        migrate.run(Location(template / "memory.db", change[0], vfs="unix"), FixedClock(1, step_us=1), REGISTRY)
        self.root = made(template / "memory.db", change[0])
        self.before = (template / "memory.db").read_bytes()
        folder = Path(points.folder)
        _copy(template, folder)
        assert attempt(folder, points, change, 0, "count") is None
        self.names = list(points.names)


def _copy(template: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)


def _trial(folder: Path, world: _World, points: Points, at: int, act: Act) -> tuple[str, list[str]]:
    _copy(world.template, folder)
    old, new = world.change
    told = _told(folder, world, points, at) if act == "kill" else attempt(folder, points, world.change, at, act)
    opens, wrong = judge(folder, old, new, world.root, world.before)
    if told is not None:
        said = "new" if "the new key is the store's" in told else "old"
        if said != opens:
            wrong.append(f"it said {told!r}, and the {opens} key opens it")
    if opens == "old":  # the same command again does it
        again = attempt(folder, points, world.change, 0, "count")
        second, more = judge(folder, old, new, world.root, world.before)
        wrong += more + ([f"a second attempt ended with {again}, {second}"] if again or second != "new" else [])
    return opens, wrong


def _told(folder: Path, world: _World, points: Points, at: int) -> None:
    """Change the key in a child that is killed at a point."""
    child = os.fork()
    if child == 0:
        try:
            attempt(folder, points, world.change, at, "kill")
        finally:
            os._exit(0)
    os.waitpid(child, 0)


SOAK = Soak("SIGKILL or fail a change of the key at every point where it touches the disk", "trials", 1000, run)
