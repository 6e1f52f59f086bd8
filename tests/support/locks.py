"""The write lock of a store, as another process would find it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_free(path: str | Path, *, create: bool = False) -> bool:
    """Return whether anybody else could take the lock of this file now."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
