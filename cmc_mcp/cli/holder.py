"""Who holds a file lock: tried, then looked up in the kernel's table."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

_PATIENCE_S: Final = 1.0  # a writer holds the lock for milliseconds
_PAUSE_S: Final = 0.02


class Held(NamedTuple):
    """Whether a lock is free; else who holds it, or why that cannot be tried."""

    free: bool
    holder: str | None = None
    error: str | None = None


def holder_of(lock: Path, patience_s: float = _PATIENCE_S) -> Held:
    """Try a lock for a while, and release the lock at once."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Held(True)
    except OSError as error:
        return Held(False, error=f"cannot be opened ({error.strerror})")
    try:
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Held(True)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return Held(False, _named(os.fstat(descriptor)))
                time.sleep(_PAUSE_S)
    finally:
        os.close(descriptor)


def _named(status: os.stat_result) -> str | None:
    """Find the holder in /proc/locks: `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`."""
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place:
            return _process(fields[4])
    return None


def _process(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({b' '.join(words).decode('utf-8', 'replace').strip()[:120]})"
