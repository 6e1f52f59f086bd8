"""LlamaIndex's documents and indices in a memory: a key-value store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from cmc_mcp.adapters._llamaindex_errors import BadArgument
from cmc_mcp.adapters._nul import holds_nul
from cmc_mcp.collection import Collection
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found, coerced

COLLECTION: Final = "llamaindex"


class CMCKVStore(BaseKVStore):
    """A key-value store in a memory: each of its collections is one there, with values that are never searched.

    A value that is put again is revised, and a deleted value is no longer believed: the history of both is kept.
    """

    def __init__(self, memory: Memory, name: str = COLLECTION) -> None:
        """Keep values in a memory, under a name that sets them apart from those of other stores."""
        self._memory, self._name = memory, name

    def _of(self, collection: str) -> Collection:
        return self._memory.collection(f"{self._name}/{collection}")

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Put a value under a key.

        Raises:
            InvalidInput: the key, or a value that JSON cannot hold.
        """
        self.put_all([(key, val)], collection)

    def put_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = DEFAULT_COLLECTION, batch_size: int = 1
    ) -> None:
        """Put values under keys, a transaction for each thousand, whatever the size of a batch."""
        self._of(collection).put([_kept(key, val, place) for place, (key, val) in enumerate(kv_pairs)])

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value under a key."""
        return next((_value_of(found) for found in self._of(collection).get([key])), None)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values, in order of first recording."""
        return {found.id: _value_of(found) for found in self._of(collection).entries()}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; say whether there was one."""
        return self._of(collection).delete([key]) > 0

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`, in a thread."""
        await asyncio.to_thread(self.put, key, val, collection)

    async def aput_all(
        self, kv_pairs: list[tuple[str, dict[str, Any]]], collection: str = DEFAULT_COLLECTION, batch_size: int = 1
    ) -> None:
        """As `put_all`, in a thread."""
        await asyncio.to_thread(self.put_all, kv_pairs, collection, batch_size)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As `get`, in a thread."""
        return await asyncio.to_thread(self.get, key, collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`, in a thread."""
        return await asyncio.to_thread(self.get_all, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`, in a thread."""
        return await asyncio.to_thread(self.delete, key, collection)


def _kept(key: str, value: Mapping[str, Any], place: int) -> Entry:
    if not isinstance(value, Mapping):
        raise BadArgument.at(f"kv_pairs[{place}]", f"has a {type(value).__name__} under it; pass a map")
    if holds_nul(value):
        raise BadArgument.at(
            f"kv_pairs[{place}]", f"of {key!r:.80} holds a NUL character, which text cannot carry; remove it"
        )
    body = json.dumps(coerced(value, f"kv_pairs[{place}]"), ensure_ascii=False)  # as text: it keeps the order of keys
    return Entry(key, "", extra=body, searchable=False)


def _value_of(found: Found) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(str(found.extra))
    return value
