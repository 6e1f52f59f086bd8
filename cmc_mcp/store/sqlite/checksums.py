"""Checksums of pages: eight bytes at the end of each, which SQLite's `cksumvfs` writes, and checks whenever it reads one.

They find what the disk did to a file; who edits it on purpose writes them too. An encrypted file needs none: its cipher
authenticates each page. Every connection of a process that opens one file must keep them, or none may.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

RESERVED_BYTES: Final = 8
CIPHER_BYTES: Final = 32
"""What each page of an encrypted file reserves. SQLite never gives it back, so a file that was decrypted has no checksums."""
VFS: Final = "cksmvfs"
_MAGIC: Final = b"SQLite format 3\0"
_RESERVED_AT: Final = 20  # https://sqlite.org/fileformat.html: in the header, after the size of a page
_PAGE_SIZE_AT: Final = slice(16, 18)
_LOOKS: Final = 3
_LOOK_AGAIN_S: Final = 0.01


def available() -> bool:
    """Return whether this installation can keep them; the extension that the driver ships is loaded the first time."""
    if VFS not in apsw.vfs_names():
        library = Path(apsw.__file__).with_name("sqlite_extra_binaries") / "cksumvfs"
        connection = apsw.Connection(":memory:")
        try:
            connection.enable_load_extension(True)
            connection.load_extension(str(library))
        except apsw.Error:
            return False
        finally:
            connection.close()
    return VFS in apsw.vfs_names()


def are_on(connection: apsw.Connection) -> bool:
    """Return whether the pages of an open file have checksums, and this connection keeps them."""
    vfs = getattr(connection, "open_vfs", "")  # the driver has no name for a cipher over a VFS of Python
    return vfs == VFS and connection.reserve_bytes("main") == RESERVED_BYTES


def damaged_pages(connection: apsw.Connection, path: Path) -> Iterator[int]:
    """Yield the numbers of pages of the file that do not match their checksums, free ones too.

    Others may be writing pages back from the log meanwhile: a page is looked at again before it is called damaged.
    """
    with path.open("rb") as file:
        header = file.read(100)
        if header[: len(_MAGIC)] != _MAGIC:
            return
        size = int.from_bytes(header[_PAGE_SIZE_AT], "big") or 1 << 16
        if header[_RESERVED_AT] != RESERVED_BYTES:
            if _lost_its_mark(connection, path, size):
                yield 1
            return
        file.seek(0)
        number = 0
        while page := file.read(size):
            number += 1
            if (len(page) < size or not _matches(connection, page)) and not _matches_later(
                connection, path, number, size
            ):
                yield number


def _lost_its_mark(connection: apsw.Connection, path: Path, size: int) -> bool:
    """Return whether the header denies checksums while the first page has one."""
    with path.open("rb") as file:
        page = bytearray(file.read(size))
    page[_RESERVED_AT] = RESERVED_BYTES
    return any(page[-RESERVED_BYTES:]) and _matches(connection, bytes(page))


def _matches_later(connection: apsw.Connection, path: Path, number: int, size: int) -> bool:
    for _ in range(_LOOKS):
        time.sleep(_LOOK_AGAIN_S)
        with path.open("rb") as file:
            file.seek((number - 1) * size)
            page = file.read(size)
            if len(page) == size and _matches(connection, page):
                return True
    return False


def _matches(connection: apsw.Connection, page: bytes) -> bool:
    return bool(connection.execute("SELECT verify_checksum(?)", (page,)).fetchall()[0][0])
