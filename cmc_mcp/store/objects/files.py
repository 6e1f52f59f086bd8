"""Objects as files in a folder beside the store: written once, synced, checked on every read."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError, StoreError
from cmc_mcp.store.sqlite.connection import make_folder, sync_folder

_NONCE_BYTES: Final = 12
_PART: Final = ".part"


class FileObjects:
    """Objects under `folder/workspace/ab/hash`; with a key, each encrypted by AES-256-GCM, its hash authenticated."""

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self._folder = folder
        self._key = None if key is None else hashlib.sha256(b"cmc/objects/1\0" + key).digest()

    def put(self, workspace: int, hash_: bytes, data: bytes) -> None:
        """Write an object durably; one that is there already stays.

        Raises:
            StoreError: it cannot be written.
        """
        path = self._path(workspace, hash_)
        try:
            if path.exists():
                # whoever put it may have ended, or failed, before its name was durable
                for depth in range(4):
                    sync_folder(path.parents[depth])
            else:
                _write(path, self._sealed(hash_, data))
        except OSError as error:
            raise StoreError(
                f"an object cannot be written ({error.strerror}); nothing was changed. Check the folder {self._folder} and "
                "the space on its disk"
            ) from error

    def get(self, workspace: int, hash_: bytes) -> bytes:
        """Read an object, checked against its hash.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        try:
            data = self._opened(hash_, self._path(workspace, hash_).read_bytes())
        except FileNotFoundError as error:
            raise IntegrityError(
                "an object is missing; bring it back from a backup", table="objects", key=hash_.hex()
            ) from error
        except OSError as error:
            raise StoreError(f"an object cannot be read ({error.strerror}); check the folder {self._folder}") from error
        if payload_hash(data) != hash_:
            raise IntegrityError(
                "an object does not match its hash; bring it back from a backup", table="objects", key=hash_.hex()
            )
        return data

    def delete(self, workspace: int, hash_: bytes) -> None:
        """Remove an object durably, if it is there.

        Raises:
            StoreError: it cannot be removed.
        """
        path = self._path(workspace, hash_)
        try:
            for part in path.parent.glob(f"{path.name}.*{_PART}"):  # of a process that ended while it wrote
                part.unlink(missing_ok=True)
            path.unlink()
            sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"an object cannot be removed ({error.strerror}): {path}") from error

    def copy_to(self, folder: Path) -> None:
        """Copy every object to another folder, for a backup. Content is immutable, so what is there already stays.

        Raises:
            StoreError: one cannot be read or written.
        """
        try:
            for path in sorted(self._folder.glob("*/*/*")):
                target = folder / path.relative_to(self._folder)
                if path.suffix != _PART and not target.exists():
                    with suppress(FileNotFoundError):  # erased meanwhile
                        _write(target, path.read_bytes())
        except OSError as error:
            raise StoreError(f"the objects cannot be copied ({error.strerror})") from error

    def hashes(self, workspace: int) -> Iterator[bytes]:
        """Give the hash of every object of a workspace, sorted."""
        for path in sorted((self._folder / str(workspace)).glob("*/*")):
            if path.suffix != _PART:
                yield bytes.fromhex(path.name)

    def _path(self, workspace: int, hash_: bytes) -> Path:
        name = hash_.hex()
        return self._folder / str(workspace) / name[:2] / name

    def _sealed(self, hash_: bytes, data: bytes) -> bytes:
        if self._key is None:
            return data
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, data, hash_)

    def _opened(self, hash_: bytes, data: bytes) -> bytes:
        if self._key is None:
            return data
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], hash_)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError("an object cannot be decrypted", table="objects", key=hash_.hex()) from error


def _write(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 durably; it appears whole or not at all."""
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
