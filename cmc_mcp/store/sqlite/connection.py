"""Connections: how the file is opened, with which settings, and what its failures become."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from cmc_mcp import errors
from cmc_mcp.limits import LOCK_WAIT_MS_MAX
from cmc_mcp.store.folders import make_folder, sync_folder
from cmc_mcp.store.sqlite import checksums as page_checksums

APPLICATION_ID: Final = 0x434D4331  # "CMC1"
SYNCHRONOUS_FULL: Final = 2
KEY_BYTES_MIN: Final = 16
CIPHER: Final = "chacha20"  # ChaCha20-Poly1305: every page has a nonce and a tag of its own
CACHE_KIB: Final = 64 * 1024
MMAP_BYTES: Final = 1 << 31

# https://sqlite.org/pragma.html: each line of this table is a promise of docs/design/backends.md §2
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
_CIPHER: Final = "multipleciphers-"
_DAMAGED: Final = "the file is damaged{}; keep it aside, and open the last backup in its place"
_MISSING: Final = re.compile(r"no such table: (?:main\.)?(\S+)")
_NETWORK_FILESYSTEMS: Final = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "davfs", "fuse.sshfs", "fuse.davfs2", "fuse.s3fs",
        "fuse.rclone", "fuse.glusterfs",
    }
)  # fmt: skip
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """Where a store is and how it is opened. The key never shows in a repr."""

    path: Path
    key: bytes | None = None
    read_only: bool = False
    vfs: str | None = None  # with a key, what lies beneath the encryption
    immutable: bool = False  # nobody can be writing: neither locks nor side files are needed

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) < KEY_BYTES_MIN:
            raise errors.InvalidInput.at(
                "key",
                f"has {len(self.key)} bytes; give 32 random ones, at least {KEY_BYTES_MIN}, or None for no encryption",
            )

    def __repr__(self) -> str:
        return f"Location({str(self.path)!r}, encrypted={self.key is not None})"


def connect(location: Location, *, create: bool = False, checksums: bool = True) -> apsw.Connection:
    """Open the file with every setting of `docs/design/backends.md` §2, checked. A new one gets checksums of pages if it can.

    Raises:
        NotFound: the file does not exist and `create` is false.
        StoreError: it cannot be opened.
        WrongKey: the file is not a store, or is encrypted with another key.
    """
    if create:
        create_file(location.path)
    connection = _unlocked(location)
    try:
        with translated():
            if create and checksums and vfs_of(location) == page_checksums.VFS and not location.path.stat().st_size:
                connection.reserve_bytes("main", page_checksums.RESERVED_BYTES)
            _configure(connection, location)
    except BaseException:
        close(connection)
        raise
    return connection


def close(connection: apsw.Connection) -> None:
    """Close a connection. A failed clean-up is not reported: the next opening repeats it."""
    with suppress(apsw.Error):
        connection.close()


def look(location: Location) -> apsw.Connection:
    """Open the file to look what it is, changing no byte of it: no settings, no checkpoint when it is closed.

    Raises:
        NotFound: the file does not exist.
        StoreError: the file cannot be opened.
        WrongKey: the file is not a store, or is encrypted with another key.
    """
    if Path(f"{location.path}-journal").exists():  # a change that was cut off: only a writer may take it back
        return _unlocked(location)
    return _unlocked(replace(location, read_only=True, immutable=not has_log(location.path)))


def vfs_of(location: Location) -> str | None:
    """Name what lies between SQLite and the disk: the cipher, or the checksums of pages; the two do not stack.

    The cipher must lie on top of a VFS that was given, or the log would be written in the clear.
    """
    if location.vfs is not None:
        return location.vfs if location.key is None else f"{_CIPHER}{location.vfs}"
    if location.key is not None:
        return f"{_CIPHER}unix"
    return page_checksums.VFS if page_checksums.available() else None


def exchanged(path: Path) -> Path:
    """Name the folder whose being there says that the store has a new key, and that files are still to change places."""
    return Path(f"{path}.rekeyed")


def has_log(path: Path) -> bool:
    """Return whether a journal beside the file holds what the file may not: a writer is at work, or died at it."""
    wal, journal = Path(f"{path}-wal"), Path(f"{path}-journal")
    return journal.exists() or (wal.exists() and wal.stat().st_size > 0)


def _unlocked(location: Location) -> apsw.Connection:
    """Open the file and return it its key; fail if the key is wrong or the file is not a database."""
    path = location.path
    if not path.exists():
        raise errors.NotFound(f"no store exists at {path}; open it for writing to create one")
    flags = apsw.SQLITE_OPEN_READONLY if location.read_only else apsw.SQLITE_OPEN_READWRITE
    flags |= apsw.SQLITE_OPEN_URI  # a plain path stays one; `rekey` names a file together with its key
    name = f"file:{quote(str(path))}?immutable=1" if location.immutable else str(path)
    was = path.stat().st_ino
    with translated():
        connection = apsw.Connection(name, flags=flags, vfs=vfs_of(location))
        try:
            connection.set_busy_timeout(LOCK_WAIT_MS_MAX)
            if location.key is not None:
                connection.pragma("cipher", CIPHER)
                connection.pragma("hexkey", location.key.hex())
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            if path.stat().st_ino != was or exchanged(path).exists():
                raise errors.Busy("the key of the store was changed while it was being opened; open it again")
        except BaseException:
            close(connection)
            raise
    return connection


def _configure(connection: apsw.Connection, location: Location) -> None:
    reserved = connection.reserve_bytes("main")
    known = (0, page_checksums.RESERVED_BYTES, page_checksums.CIPHER_BYTES)
    if location.key is None and reserved not in known:
        raise errors.IntegrityError(_DAMAGED.format(" (its header reserves what no store does)"), table="file")
    ours = location.vfs is None and location.key is None and not location.read_only
    if ours and reserved == page_checksums.RESERVED_BYTES and not page_checksums.are_on(connection):
        raise errors.StoreError(
            "the pages of this store have checksums, and this installation cannot keep them: the driver came without "
            "its extension cksumvfs. Install apsw-sqlite3mc again from its wheel, or open the store read-only"
        )
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    for statement in _SETTINGS:
        if location.read_only and "journal_mode" in statement:
            continue
        connection.execute(statement).fetchall()
    if location.key is None:  # an encrypted file is not read through a memory map
        connection.pragma("mmap_size", MMAP_BYTES)
    if connection.pragma("synchronous") != SYNCHRONOUS_FULL or not (
        location.read_only or connection.pragma("journal_mode") == "wal"
    ):
        raise errors.StoreError(
            "the file cannot be opened with journal_mode=WAL and synchronous=FULL, so writes would not be durable; "
            "keep the store on a local file system"
        )
    connection.enable_load_extension(True)
    connection.load_extension(_vector_extension())
    connection.enable_load_extension(False)


def _vector_extension() -> str:
    """Find sqlite-vec's library without importing its module, which would import NumPy."""
    spec = find_spec("sqlite_vec")
    if spec is None or spec.origin is None:
        raise errors.StoreError("sqlite-vec is not installed; install cmc-mcp again")
    return str(Path(spec.origin).with_name("vec0"))


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's failures into ours; each message says what to do."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if isinstance(error, apsw.NotADBError):
            raise errors.WrongKey(
                "the file is not a CMC store, or is encrypted with another key; check CMC_STORE and CMC_KEY"
            ) from error
        raise errors.IntegrityError(_DAMAGED.format(""), table="file", detail=str(error)) from error
    except apsw.BusyError as error:
        raise errors.Busy("another process holds the store; nothing was changed, try again") from error
    except apsw.FullError as error:
        raise errors.StoreError("the disk is full; nothing was changed. Free some space and try again") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        raise errors.StoreError(
            "the store cannot be opened or written; check that its folder exists and is writable", detail=str(error)
        ) from error
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA:
            raise errors.IntegrityError(
                _DAMAGED.format(" (a page does not match its checksum)"), table="file"
            ) from error
        raise errors.StoreError(
            "the disk reported an error; nothing was changed. Check the disk, then try again", detail=str(error)
        ) from error
    except UnicodeDecodeError as error:
        raise errors.IntegrityError("stored text is not valid UTF-8: the file is damaged; run `cmc verify`") from error
    except apsw.Error as error:
        found = _MISSING.search(str(error))
        missing = "" if found is None else f"table {found[1]}"
        raise errors.StoreError.refused(
            str(error), "`cmc restore BACKUP` puts a backup in its place", missing
        ) from error


def prepare_folder(path: Path) -> None:
    """Make the data folder (mode 0700), refusing network file systems, where locks do not hold.

    Raises:
        StoreError: the folder cannot be made or written, or is on a network file system.
    """
    folder = path.parent
    try:
        make_folder(folder)
    except OSError as error:
        raise errors.StoreError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another place with CMC_STORE"
        ) from error
    kind = filesystem(folder)
    if kind in _NETWORK_FILESYSTEMS:
        raise errors.StoreError(
            f"{folder} is on a network file system ({kind}), where SQLite's locks do not hold; keep the store on a local "
            "disk, and copy it with `cmc backup`"
        )
    if path.is_symlink() and not path.exists():
        raise errors.StoreError(f"{path} is a broken link")
    check_regular(path)


def check_regular(path: Path) -> None:
    """Refuse an existing path that is not a file: a folder; a pipe or a device, which opening would wait for.

    Raises:
        StoreError: the path is not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.StoreError(f"{path} cannot be opened ({error.strerror}); choose another with CMC_STORE") from error
    if stat.S_ISDIR(mode):
        raise errors.StoreError(f"{path} is a folder; give the path of a file in it")
    if not stat.S_ISREG(mode):
        raise errors.StoreError(f"{path} is not a regular file; choose another with CMC_STORE")


def create_file(path: Path) -> None:
    """Make an empty file of mode 0600 whatever the umask, durably, unless one is there.

    SQLite gives its side files the mode of the database, so they are private from their first byte too.

    Raises:
        StoreError: the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size == 0:
                os.fchmod(descriptor, 0o600)
                os.fsync(descriptor)
                sync_folder(path.parent)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise errors.StoreError(
            f"the store {path} cannot be made or written ({error.strerror}); check that its folder is writable, "
            "or open it read-only"
        ) from error


def filesystem(folder: Path) -> str:
    """Name the kind of file system a folder is on; "unknown" where the system does not say."""
    if not sys.platform.startswith("linux"):
        return "unknown"
    resolved, best, kind = str(folder.resolve()), "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return kind
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[1])  # a space in a mount point is \040
        if len(place) >= len(best) and (resolved + "/").startswith(place.rstrip("/") + "/"):
            best, kind = place, fields[2]
    return kind
