"""Connections: how the file is opened, with which settings, and what its failures become."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw
import sqlite_vec

from cmc_mcp import errors
from cmc_mcp.limits import LOCK_WAIT_MS_MAX

APPLICATION_ID: Final = 0x434D4331  # "CMC1"
CACHE_KIB: Final = 64 * 1024
MMAP_BYTES: Final = 1 << 31

# https://sqlite.org/pragma.html: each line of this table is a promise of DESIGN §4
_SETTINGS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL loses acknowledged writes on power loss
    "PRAGMA fullfsync=ON",  # only macOS listens
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA secure_delete=ON",
    "PRAGMA cell_size_check=ON",
    "PRAGMA temp_store=MEMORY",  # no plaintext beside an encrypted file
    f"PRAGMA cache_size=-{CACHE_KIB}",
    f"PRAGMA busy_timeout={LOCK_WAIT_MS_MAX}",
)
_NETWORK_FILESYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "ceph"})


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """Where a store is and how it is opened. The key never shows in a repr."""

    path: Path
    key: bytes | None = None
    read_only: bool = False
    vfs: str | None = None

    def __repr__(self) -> str:
        return f"Location({str(self.path)!r}, encrypted={self.key is not None})"


def connect(location: Location, *, create: bool = False) -> apsw.Connection:
    """Open the file with every setting of DESIGN §4, checked.

    Raises:
        NotFound: there is no such file and `create` is false.
        StoreError: it cannot be opened; WrongKey: it is not a store, or another key encrypts it.
    """
    if not create and not location.path.exists():
        raise errors.NotFound(f"there is no store at {location.path}; open it for writing to create one")
    flags = apsw.SQLITE_OPEN_READONLY if location.read_only else apsw.SQLITE_OPEN_READWRITE
    if create:
        flags |= apsw.SQLITE_OPEN_CREATE
    with translated():
        connection = apsw.Connection(str(location.path), flags=flags, vfs=location.vfs)
        try:
            _configure(connection, location)
        except BaseException:
            connection.close()
            raise
    return connection


def _configure(connection: apsw.Connection, location: Location) -> None:
    if location.key is not None:
        connection.pragma("hexkey", location.key.hex())
    connection.set_busy_timeout(LOCK_WAIT_MS_MAX)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # fails here when the key is wrong
    for statement in _SETTINGS:
        if location.read_only and "journal_mode" in statement:
            continue
        connection.execute(statement).fetchall()
    if location.key is None:  # an encrypted file is not read through a memory map
        connection.pragma("mmap_size", MMAP_BYTES)
    if connection.pragma("synchronous") != 2:
        raise errors.StoreError("the file cannot be opened with synchronous=FULL; writes would not be durable")
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's failures into ours; each message says what to do."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if isinstance(error, apsw.NotADBError):
            raise errors.WrongKey(
                "the file is no CMC store, or it is encrypted with another key; check CMC_STORE and CMC_KEY"
            ) from error
        raise errors.IntegrityError(
            f"the file is damaged ({error}); run `cmc doctor`, then restore the last backup"
        ) from error
    except apsw.BusyError as error:
        raise errors.Busy("another process holds the store; nothing was changed, try again") from error
    except apsw.FullError as error:
        raise errors.StoreError("the disk is full; nothing was changed. Free some space and try again") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise errors.StoreError(
            f"the store cannot be opened or written ({error}); check that its folder exists and is writable"
        ) from error
    except apsw.IOError as error:
        raise errors.StoreError(f"the disk reported an error ({error}); nothing was acknowledged") from error
    except UnicodeDecodeError as error:
        raise errors.IntegrityError("stored text is not valid UTF-8: the file is damaged; run `cmc verify`") from error
    except apsw.Error as error:
        raise errors.StoreError(f"the database refused: {error}") from error


def prepare_folder(path: Path) -> None:
    """Make the data folder (mode 0700), refusing network file systems, where locks do not hold.

    Raises:
        StoreError: the folder cannot be made or written, or is on a network file system.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise errors.StoreError(f"the folder {folder} cannot be made ({error.strerror})") from error
    kind = _filesystem(folder)
    if kind in _NETWORK_FILESYSTEMS:
        raise errors.StoreError(f"{folder} is on a network file system ({kind}), where SQLite's locks do not hold")
    if path.is_symlink() and not path.exists():
        raise errors.StoreError(f"{path} is a broken link")


def protect(path: Path) -> None:
    """Give the file mode 0600 and make its directory entry durable."""
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _filesystem(folder: Path) -> str:
    if not sys.platform.startswith("linux"):
        return "unknown"
    resolved, best, kind = str(folder.resolve()), "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return kind
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and len(fields[1]) > len(best) and (resolved + "/").startswith(fields[1].rstrip("/") + "/"):
            best, kind = fields[1], fields[2]
    return kind
