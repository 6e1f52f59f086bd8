"""Objects as files in a folder beside the store: written once, synced, checked on every read (`envelope.py`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cmc_mcp.errors import StoreError
from cmc_mcp.ids import PayloadHash, Ws
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.folders import make_folder, sync_folder
from cmc_mcp.store.objects.envelope import Envelopes, damaged

_PART: Final = ".part"


class FileObjects:
    """Objects under `folder/workspace/ab/hash`, encrypted if the store has a key."""

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self._folder = folder
        self._seal = Envelopes(key)

    def put(self, workspace: Ws, hash_: PayloadHash, data: bytes) -> None:
        """Write an object durably; an existing object stays.

        Raises:
            StoreError: the object cannot be written.
        """
        path = self._path(workspace, hash_)
        try:
            if path.exists():
                # the process that wrote the file may have ended before the file's name was durable
                for depth in range(4):
                    sync_folder(path.parents[depth])
            else:
                write_file(path, self._seal.close(workspace, hash_, data))
        except OSError as error:
            raise StoreError(
                f"an object cannot be written ({error.strerror}); nothing was changed. Check the folder {self._folder} and "
                "the space on its disk"
            ) from error

    def get(self, workspace: Ws, hash_: PayloadHash) -> bytes:
        """Read an object and check it against its hash.

        Raises:
            IntegrityError: the object is missing or damaged.
            StoreError: the object cannot be read.
        """
        try:
            envelope = self._path(workspace, hash_).read_bytes()
        except FileNotFoundError as error:
            raise damaged("an object is missing", hash_) from error
        except OSError as error:
            raise StoreError(f"an object cannot be read ({error.strerror}); check the folder {self._folder}") from error
        return self._seal.open(workspace, hash_, envelope)

    def delete(self, workspace: Ws, hash_: PayloadHash) -> None:
        """Remove an object durably if it exists, with any parts that a killed writer left.

        Raises:
            StoreError: the object cannot be removed.
        """
        path = self._path(workspace, hash_)
        try:
            for found in path.parent.glob(f"{path.name}*"):
                found.unlink(missing_ok=True)
            if path.parent.exists():
                sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"an object cannot be removed ({error.strerror}): {path}") from error

    def copy_to(self, folder: Path) -> None:
        """Copy every object to another folder, for a backup. Content is immutable, so existing objects stay.

        Raises:
            StoreError: an object cannot be read or written.
        """
        try:
            for path in sorted(self._folder.glob("*/*/*")):
                target = folder / path.relative_to(self._folder)
                if path.suffix != _PART and not target.exists():
                    with suppress(FileNotFoundError):  # erased meanwhile
                        write_file(target, path.read_bytes())
        except OSError as error:
            raise StoreError(f"the objects cannot be copied ({error.strerror})") from error

    def reseal_to(self, folder: Path, key: bytes | None, progress: Progress | None = None) -> None:
        """Write every object into another folder under another key, or without a key.

        Raises:
            IntegrityError: an object is damaged.
            StoreError: an object cannot be read or written.
        """
        target = FileObjects(folder, key)
        paths = [path for path in sorted(self._folder.glob("*/*/*")) if path.suffix != _PART]
        for number, path in enumerate(paths, 1):
            workspace, hash_ = Ws(int(path.parts[-3])), PayloadHash(bytes.fromhex(path.name))
            target.put(workspace, hash_, self.get(workspace, hash_))
            if progress:
                progress(number, len(paths))

    def hashes(self, workspace: Ws) -> Iterator[PayloadHash]:
        """Yield the hash of every object of a workspace, sorted."""
        for path in sorted((self._folder / str(workspace)).glob("*/*")):
            if path.suffix != _PART:
                yield PayloadHash(bytes.fromhex(path.name))

    def _path(self, workspace: Ws, hash_: PayloadHash) -> Path:
        name = hash_.hex()
        return self._folder / str(workspace) / name[:2] / name


def write_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 durably; the file appears whole or not at all."""
    make_folder(path.parent)
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{_PART}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        part.rename(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()
