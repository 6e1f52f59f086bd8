"""LangChain's record manager in the file of the store itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.indexing import RecordManager
from langchain_core.runnables.config import run_in_executor

from cmc_mcp.adapters._langchain_documents import CollectionStore
from cmc_mcp.adapters._langchain_errors import BadArgument
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.model.filters import MISSING, Compare, Every, Field, Where


def _before(field: Field, time: Any) -> bool:
    return isinstance(field, int | float) and field < time


def _after(field: Field, time: Any) -> bool:
    return isinstance(field, int | float) and field > time


def _among(field: Field, groups: Any) -> bool:
    return field in groups or (field is MISSING and None in groups)


class CMCRecordManager(RecordManager):
    """What `index()` has indexed, kept in the file of the store itself, so that the two cannot drift apart.

    A key exists when it is recorded and its document is there: whatever a crash, a rollback or a delete took away is
    indexed again by the next run. Without a store, over a memory alone, it is a record manager and nothing more.
    """

    def __init__(self, namespace: str, *, store: CollectionStore | None = None, memory: Memory | None = None) -> None:
        """Open the records of a namespace beside a store, or in a memory.

        Raises:
            BadArgument: both or neither of store and memory are given.
        """
        super().__init__(namespace)
        if (store is None) == (memory is None):
            raise BadArgument.at("store", "pass the vector store that is indexed into, or a memory")
        self._memory = memory if store is None else store.memory
        assert self._memory is not None
        self._documents = None if store is None else store.collection
        self._records = self._memory.collection(f"records:{namespace}")

    def create_schema(self) -> None:
        """Do nothing: the store makes its own tables."""

    async def acreate_schema(self) -> None:
        """Do nothing: the store makes its own tables."""

    def get_time(self) -> float:
        """Return the store's time in seconds: it never steps back behind what was recorded."""
        assert self._memory is not None
        return self._memory.now_us() / 1_000_000

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Record keys as indexed now, in one transaction.

        Raises:
            BadArgument: groups of another number, or `time_at_least` is in the future.
        """
        if group_ids is not None and len(keys) != len(group_ids):
            raise BadArgument.at("group_ids", f"are {len(group_ids)}; one for each of the {len(keys)} keys")
        now = self.get_time()
        if time_at_least is not None and time_at_least > now:
            raise BadArgument.at("time_at_least", "is in the future of the store; one of the clocks is wrong")
        groups = group_ids or [None] * len(keys)
        self._records.put(
            [
                Entry(key, "", {"group": group, "at": now}, searchable=False)
                for key, group in zip(keys, groups, strict=True)
            ]
        )

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Return, for each key, whether it is recorded."""
        recorded = {found.id for found in self._records.get(keys)}
        if self._documents is not None:
            recorded &= {found.id for found in self._documents.get(keys)}
        return [key in recorded for key in keys]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Return keys recorded before and after some times, of some groups, in order of first recording."""
        parts: list[Where] = []
        if before is not None:
            parts.append(Compare(("at",), _before, before))
        if after is not None:
            parts.append(Compare(("at",), _after, after))
        if group_ids is not None:
            parts.append(Compare(("group",), _among, tuple(group_ids)))
        found = self._records.entries(where=Every(tuple(parts)) if parts else None, limit=limit)
        return [record.id for record in found]

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Delete keys in one transaction."""
        self._records.delete(keys)

    async def aget_time(self) -> float:
        """As `get_time`, off the event loop."""
        return await run_in_executor(None, self.get_time)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`, off the event loop."""
        await run_in_executor(None, self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`, off the event loop."""
        return await run_in_executor(None, self.exists, keys)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`, off the event loop."""
        return await run_in_executor(
            None, self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit
        )  # fmt: skip

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`, off the event loop."""
        await run_in_executor(None, self.delete_keys, keys)
