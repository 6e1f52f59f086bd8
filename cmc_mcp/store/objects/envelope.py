"""The envelope of an object, identical in every place, and the check that its content is unchanged.

Without a key, the envelope is the content itself. With a key, the envelope is

    b"cmcobj\\0\\2" · nonce, 12 random bytes · AES-256-GCM ciphertext · tag, 16 bytes

and authenticates `cmc/object/2\\0`, the workspace's number (8 bytes, big-endian) and the hash, so that an envelope opens
only under its own name and in its own workspace. HKDF-SHA-256 with a label derives the key of objects from the store's key,
so no key serves both the database and the objects. Files of the first format lack a header and authenticate the hash
alone; their key is SHA-256 over a label and the store's key. They are still readable.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import PayloadHash, Ws

_HEADER: Final = b"cmcobj\0\2"
_NONCE_BYTES: Final = 12


class Envelopes:
    """Seal and open the envelopes of one store."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = None if key is None else _derived(key)
        self._first_key = None if key is None else hashlib.sha256(b"cmc/objects/1\0" + key).digest()

    def close(self, workspace: Ws, hash_: PayloadHash, data: bytes) -> bytes:
        """Return the envelope of a content."""
        if self._key is None:
            return data
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return _HEADER + nonce + AESGCM(self._key).encrypt(nonce, data, _bound(workspace, hash_))

    def open(self, workspace: Ws, hash_: PayloadHash, envelope: bytes) -> bytes:
        """Return the content of an envelope.

        Raises:
            IntegrityError: the content does not match its hash, or cannot be decrypted.
        """
        data = self._decrypted(workspace, hash_, envelope)
        if payload_hash(data) != hash_:
            raise damaged("an object does not match its hash", hash_)
        return data

    def _decrypted(self, workspace: Ws, hash_: PayloadHash, envelope: bytes) -> bytes:
        if self._key is None or self._first_key is None:
            return envelope
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if envelope.startswith(_HEADER):
            key, bound, envelope = self._key, _bound(workspace, hash_), envelope[len(_HEADER) :]
        else:
            key, bound = self._first_key, hash_
        try:
            return AESGCM(key).decrypt(envelope[:_NONCE_BYTES], envelope[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise damaged("an object cannot be decrypted: it is damaged, or another key encrypts it", hash_) from error


def damaged(what: str, hash_: PayloadHash) -> IntegrityError:
    """Return the error for an object that is missing or changed."""
    return IntegrityError(f"{what}; bring it back from a backup", table="objects", key=hash_.hex())


def _derived(key: bytes) -> bytes:
    """Derive the key of objects from the store's key (RFC 5869, without a salt)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length=32, salt=None, info=b"cmc/objects/2").derive(key)


def _bound(workspace: Ws, hash_: PayloadHash) -> bytes:
    return b"cmc/object/2\0" + workspace.to_bytes(8, "big") + hash_
