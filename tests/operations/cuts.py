"""Cuts: a restore or a backup is killed at each change it makes to the file system, in a forked child; then one looks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmc_mcp.memory import Memory
from tests.support.memories import live

CALLS = ("link", "rename", "unlink", "mkdir", "fsync")


def kill_at(number: int) -> None:
    """Have this process killed before the n-th change."""
    left = number

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def restore(store: Path) -> None:
    Memory.restore(store.parent / "backup.db", store, replace=True)


def clumsy(store: Path) -> None:
    """What a restore must not be: the old store goes before the new one comes."""
    store.unlink()
    shutil.copy(store.parent / "backup.db", store.parent / "copy.db")
    (store.parent / "copy.db").rename(store)


def backup(store: Path) -> None:
    with live(store) as memory:
        memory.backup(store.parent / "taken.db")


JOBS = {"restore": restore, "backup": backup, "clumsy": clumsy}


def look(store: Path, job: str) -> str:
    """What the place holds, or what is wrong with it."""
    for path in (store, *store.parent.glob("memory.db.before-restore-?"), *store.parent.glob("taken.db")):
        if not path.exists():
            return f"wrong: {path.name} is not there"
        with live(path) as memory:
            if faults := memory.verify().faults:
                return f"wrong: {path.name}: {faults[0].table} {faults[0].reason}"
            if path == store:
                held = memory.read_source("news").decode()
    if job == "restore" or (job == "backup" and not store.with_name("taken.db").exists()):
        JOBS[job](store)  # done again, it comes to its end
        if left := [*store.parent.glob("*.restoring*"), *store.parent.glob("*.part*")]:
            return f"wrong: left {left}"
    return held


def forked(work: Callable[[], str]) -> tuple[int, str]:
    """Do something in a child; its wait status and what it said."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            said = work()
        except BaseException as error:
            said = f"wrong: {type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitpid(child, 0)[1], said


def main(job: str, store: Path) -> None:
    """Cut it everywhere."""
    wrong: list[str] = []
    ended: Counter[str] = Counter()
    number = 0
    while True:
        number += 1
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "place") / store.name
            shutil.copytree(store.parent, copy.parent)

            def work(number: int = number, copy: Path = copy) -> str:
                kill_at(number)
                JOBS[job](copy)
                return "done"

            status, said = forked(work)
            if os.WIFEXITED(status) and said != "done":
                wrong.append(f"point {number}: {said}")
            if said == "done" and job == "backup":
                break
            _, held = forked(lambda copy=copy: look(copy, job))  # type: ignore[misc]
            if held.startswith("wrong"):
                wrong.append(f"point {number}: {held}")
            ended[held] += 1
            if said == "done" or len(wrong) >= 100:
                break
    print(json.dumps({"points": number - 1, "wrong": wrong, "ended_with": ended}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
