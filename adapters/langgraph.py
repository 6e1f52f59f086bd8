"""LangGraph: the long-term store of an agent (`BaseStore`) over one collection of a memory.

>>> store = CMCStore("memory.db", index={"embed": embeddings, "dims": 384, "fields": ["text"]})   # doctest: +SKIP
>>> store.put(("users", "ana"), "food", {"text": "Ana likes figs"})                               # doctest: +SKIP
>>> graph = builder.compile(store=store)                                                          # doctest: +SKIP

An item is an entry; each further text that its index names is an entry of its own (a part), with the same value, so
that the best of its vectors finds it. The value is what filters see. Nothing of a namespace, a key or a filter ever
becomes SQL or a pattern: namespaces are lists of labels, compared label by label.

What other stores do differently from each other, here:

* In one batch reads come before writes, of several puts under one key the last one counts, and all writes are one
  transaction (one for each thousand entries).
* `created_at` stays when an item is overwritten, `updated_at` moves with every put.
* Without a query items come last changed first. With one, items without a vector follow those found, without a score.
* An item with a TTL is gone at the very time it expires, whatever `omit_expired` says, so nothing needs sweeping.
* A read restarts the TTL of the items it returns, unless the store was given `ttl={"refresh_on_read": False}`; a call can
  say otherwise (`refresh_ttl`). Of items without a TTL a read writes nothing.
* A value may hold a NUL, and so may a key; in what is searched by meaning it stands as a space.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._awaiting import awaited, rows_of, tried
from cmc_mcp.adapters._extra import missing
from cmc_mcp.adapters._opening import Opening, checked_model_id
from cmc_mcp.embed.external import ExternalEmbedder
from cmc_mcp.errors import Conflict, LimitExceeded
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Found
from cmc_mcp.model.filters import Where
from cmc_mcp.model.time import TimeLike

try:
    from langchain_core.embeddings import Embeddings
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        InvalidNamespaceError,
        Item,
        ListNamespacesOp,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        ensure_embeddings,
        get_text_at_path,
        validate_op_namespace,
    )

    from cmc_mcp.adapters._langgraph_checks import (
        WHOLE,
        check_minutes,
        check_page,
        checked_index,
        checked_ttl,
        fits,
        model_of,
        plain,
        searchable,
        tokens_of,
    )  # fmt: skip
    from cmc_mcp.adapters._langgraph_errors import BadOperation
    from cmc_mcp.adapters._langgraph_filters import where_of
    from cmc_mcp.adapters._langgraph_items import (
        MINUTE_US,
        OTHERS,
        Name,
        Plan,
        Put,
        entries_of,
        entry_id,
        fields_of,
        kept_of,
        labels_of,
        place_of,
    )  # fmt: skip
except ImportError as error:
    raise missing("langgraph", error) from error

COLLECTION: Final = "langgraph"
__all__ = ("COLLECTION", "OTHERS", "BadOperation", "CMCStore", "entry_id")


class CMCStore(BaseStore):
    """A collection of a memory as a LangGraph store. Safe to call from several threads, event loops and processes.

    Overwriting supersedes and deleting ends belief, so `memory.history`, `snapshot`, `rollback` and `cmc` see all of
    it; `at()` reads an earlier state and `witness()` says where an item comes from. Values are what JSON makes of them.
    """

    supports_ttl = True

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        memory: Memory | None = None,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        collection: str = COLLECTION,
        workspace: str = "default",
        principal: str | None = None,
        key: bytes | None = None,
        model_id: str | None = None,
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        `index` says which `fields` are searched by meaning and what makes the vectors: `embed`, or else the model of
        the memory, which for a path is the bundled one. Without `index` nothing is embedded, and a query ranks by
        words. `model_id` names the model of `embed`, by default its class and the attribute that names its model.

        Raises:
            BadOperation: both or neither of path and memory are given, or a configuration is invalid.
            StoreError: the file cannot be opened.
        """
        super().__init__()
        opening = Opening(path, memory, workspace, principal, key).checked(BadOperation)
        self.index_config = checked_index(index)
        self.ttl_config = checked_ttl(ttl)
        embed = None if self.index_config is None else self.index_config.get("embed")
        self.embeddings: Embeddings | None = None if embed is None else ensure_embeddings(embed)
        given = None
        if self.index_config is not None and self.embeddings is not None:
            given = ExternalEmbedder(
                model_of(embed, self.embeddings) if model_id is None else checked_model_id(model_id, BadOperation),
                self.embeddings.embed_documents,
                self.embeddings.embed_query,
                dimension=self.index_config.get("dims", 0),
            )
        elif model_id is not None:
            raise BadOperation.at("model_id", "names the model of an embedding; pass that as index={'embed': …}")
        fields = (None if self.index_config is None else self.index_config.get("fields")) or [WHOLE]
        self._fields = [tokens_of(field, "index.fields") for field in fields]
        self._owned, self._pinned, self._point = opening.owned, False, _Point()
        otherwise: Literal["bundled"] | None = None if self.index_config is None else "bundled"
        self.memory, self.collection = opening.open(collection, given, otherwise)

    # ------------------------------------------------------------------ life
    def close(self) -> None:
        """Close the file, unless the memory was given. Closing twice is allowed."""
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # ------------------------------------------------------------------ what LangGraph has no word for
    def at(self, as_of: str | int | None = None, valid_at: TimeLike | None = None) -> Self:
        """Return the same store as it was: at a snapshot, label, transaction or time. That store refuses writes.

        `valid_at` asks for another instant of valid time than that state's own: an item with a TTL ends there.
        """
        other = copy(self)
        other._owned, other._pinned, other._point = False, True, _Point(as_of, valid_at)
        return other

    def witness(self, namespace: tuple[str, ...], key: str) -> dict[str, JsonValue] | None:
        """Return the provenance of an item; None when it is not there.

        The provenance is kept out of values: `atom_id`, `writer`, `recorded_at`, `content_hash`, `snapshot_id` and so on.
        """
        entry = self._held([(namespace, key)]).get((namespace, key))
        return None if entry is None else entry.vif

    def versions(self, namespace: tuple[str, ...], key: str) -> list[str]:
        """Return the memory ids of every wording an item ever had, in order of first recording: see `memory.history`."""
        return self.collection.wordings(entry_id(namespace, key))

    # ------------------------------------------------------------------ the two methods of a store
    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations, reads before writes; return the results in the order of the operations.

        Raises:
            BadOperation: an operation is invalid; nothing is written.
            InvalidNamespaceError: a namespace is invalid; nothing is written.
            EmbedderError: the model could not make a vector.
            DimensionMismatch: the length of a vector differs.
            StoreError: the store refused.
        """
        return self._done(self._planned(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations as `batch` does, in a thread; the embedding's own asynchronous methods are awaited here."""
        plan = await asyncio.to_thread(self._planned, list(ops))
        if self.embeddings is not None:
            await self._embed(plan, self.embeddings)
        return await asyncio.to_thread(self._done, plan)

    async def _embed(self, plan: Plan, embeddings: Embeddings) -> None:
        """Make the vectors of a plan without blocking the loop."""
        texts = list(dict.fromkeys(text for put in plan.puts.values() if put is not None for text in put.texts))
        queries = list(dict.fromkeys(op.query for op in plan.ops if isinstance(op, SearchOp) and asks(op)))
        if not texts and not queries:
            return
        await tried(self.collection, embeddings.aembed_documents)
        fresh = await asyncio.to_thread(self.collection.unembedded, texts)
        rows = await rows_of(fresh, embeddings.aembed_documents)
        made = await asyncio.gather(*(awaited(embeddings.aembed_query(query)) for query in queries if query))
        plan.vectors = dict(zip(fresh, rows, strict=True))
        plan.queries = dict(zip(queries, made, strict=True))

    # ------------------------------------------------------------------ planning
    def _planned(self, ops: Iterable[object]) -> Plan:
        """Check operations, touching nothing."""
        plan = Plan([])
        for op in ops:
            if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
                raise BadOperation.at("ops", f"{type(op).__name__} is not an operation of a store")
            validate_op_namespace(op)
            plan.ops.append(op)
            if isinstance(op, SearchOp | ListNamespacesOp):
                check_page(op)
            if isinstance(op, PutOp):
                plan.puts[tuple(op.namespace), op.key] = None if op.value is None else self._laid(op)
        if plan.puts and self._pinned:
            raise Conflict("this is the store as it was, which cannot be written; write to the store it was made from")
        return plan

    def _laid(self, op: PutOp) -> Put:
        if not op.namespace or op.namespace[0] == OTHERS[0]:
            raise InvalidNamespaceError(f"a namespace has a label, and not {OTHERS[0]!r} for its first: {op.namespace}")
        if not isinstance(op.value, Mapping):
            raise BadOperation.at("value", f"is a {type(op.value).__name__}; pass a map with text for keys")
        if op.ttl is not None:
            check_minutes(op.ttl, "ttl")
        value, whole = plain(op.value)
        index: object = op.index
        if index is False:
            return Put(op, value, whole, ())
        if index is not None and (isinstance(index, str) or not isinstance(index, Sequence)):
            raise BadOperation.at("index", "is false, a list of paths, or nothing")
        ours = not isinstance(index, Sequence) or self.index_config is None
        fields = self._fields if ours else [tokens_of(path, "index") for path in op.index or ()]
        texts = [text for tokens in fields for text in get_text_at_path(value, tokens)]
        said = (searchable(text) for text in texts)
        return Put(op, value, whole, tuple(dict.fromkeys(text for text in said if text.strip())))

    # ------------------------------------------------------------------ doing
    def _done(self, plan: Plan) -> list[Result]:
        results: list[Result] = [None] * len(plan.ops)
        touched: list[Found] = []
        held = self._held([(tuple(op.namespace), op.key) for op in plan.ops if isinstance(op, GetOp)])
        for n, op in enumerate(plan.ops):
            entries: list[Found] = []
            if isinstance(op, GetOp) and (tuple(op.namespace), op.key) in held:
                entries = [held[tuple(op.namespace), op.key]]
                results[n] = Item(**fields_of(entries[0]))
            elif isinstance(op, SearchOp):
                entries = self._searched(op, plan.queries.get(op.query))
                results[n] = [SearchItem(**fields_of(entry), score=entry.score) for entry in entries]
            elif isinstance(op, ListNamespacesOp):
                results[n] = self._namespaces(op)
            if isinstance(op, GetOp | SearchOp) and op.refresh_ttl:
                touched += entries
        if touched and not self._pinned:
            self._refresh([entry for entry in touched if place_of(entry)[0] not in plan.puts])
        if plan.puts:
            self._write(plan)
        return results

    def _held(self, names: Sequence[Name]) -> dict[Name, Found]:
        """Return items by their names."""
        ids = {entry_id(*name): name for name in names}
        entries = self.collection.get(list(ids), as_of=self._point.as_of, valid_at=self._point.valid_at)
        return {place_of(entry)[0]: entry for entry in entries if place_of(entry)[0] == ids[entry.id]}

    def _write(self, plan: Plan) -> None:
        before, now_us = self._held(list(plan.puts)), self.memory.now_us()
        entries, gone = [], []
        for name, put in plan.puts.items():
            old = before.get(name)
            made = [] if put is None else entries_of(put, old, now_us, plan.vectors)
            parts = 0 if old is None else kept_of(old).get("parts", 1)
            entries += made
            gone += [entry_id(*name, part) for part in range(len(made), parts)]
        self.collection.put(entries, gone=gone, lapse=True, large=True)

    def _refresh(self, entries: Sequence[Found]) -> None:
        """Restart the TTL of items."""
        now_us, ends = self.memory.now_us(), {}
        for entry in entries:
            kept, name = kept_of(entry), place_of(entry)[0]
            if (minutes := kept.get("ttl")) is not None:
                end = now_us + round(minutes * MINUTE_US)
                ends.update({entry_id(*name, part): end for part in range(kept.get("parts", 1))})
        self.collection.prolong(ends)

    # ------------------------------------------------------------------ searching
    def _searched(self, op: SearchOp, vector: Sequence[float] | None) -> list[Found]:
        prefix, wanted = tuple(op.namespace_prefix), op.offset + op.limit
        where = where_of(prefix, op.filter, parts=False)
        if not op.limit:
            return []
        if not asks(op):
            return self._listed(where, op.limit, op.offset)
        best = self._scored(str(op.query), where_of(prefix, op.filter, parts=True), wanted, vector)
        if len(best) < wanted:  # what has no vector follows, as in LangGraph's own store
            rest = {place_of(entry)[0]: entry for entry in self._listed(where, wanted, 0)}
            best |= {name: entry for name, entry in rest.items() if name not in best}
        return list(best.values())[op.offset : wanted]

    def _listed(self, where: Where, limit: int | None, offset: int) -> list[Found]:
        return self.collection.entries(
            where=where, limit=limit, offset=offset, newest=True, as_of=self._point.as_of, valid_at=self._point.valid_at
        )

    def _scored(self, query: str, where: Where, wanted: int, vector: Sequence[float] | None) -> dict[Name, Found]:
        """Find items by the best of their texts, best first: at least `wanted` of them if there are so many."""
        asked: dict[str, Any] = {"text": query}
        if self.index_config is not None:
            asked = {"vector": self.collection.embed_query(query) if vector is None else vector}
        k = wanted
        while True:
            hits = self.collection.search(
                **asked, k=k, where=where, as_of=self._point.as_of, valid_at=self._point.valid_at
            )
            best: dict[Name, Found] = {}
            for entry in self._sound(hits):
                best.setdefault(place_of(entry)[0], entry)
            if len(best) >= wanted or len(hits) < k:
                return best
            if k == limits.ENTRIES_K_MAX:
                raise LimitExceeded.over("limit", "ENTRIES_K_MAX", k + 1, k)
            k = min(2 * k, limits.ENTRIES_K_MAX)

    def _sound(self, hits: Sequence[Found]) -> list[Found]:
        """Leave out parts that their item no longer has: two writers at once can leave some behind."""
        names = {place_of(entry)[0] for entry in hits if place_of(entry)[1]}
        if not names:
            return list(hits)
        snapshot = str(hits[0].vif["snapshot_id"])
        valid_at = self._point.valid_at
        wholes = self.collection.get([entry_id(*name) for name in names], as_of=snapshot, valid_at=valid_at)
        extras = {place_of(whole)[0]: whole.extra for whole in wholes}
        return [hit for hit in hits if not place_of(hit)[1] or extras.get(place_of(hit)[0]) == hit.extra]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        held = self.collection.metadata(as_of=self._point.as_of, valid_at=self._point.valid_at)
        names = {labels_of(metadata) or OTHERS for metadata in held}
        names = {name for name in names if all(fits(condition, name) for condition in op.match_conditions or ())}
        return sorted({name[: op.max_depth] for name in names})[op.offset : op.offset + op.limit]


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a store is read: now, unless said otherwise."""

    as_of: str | int | None = None
    valid_at: TimeLike | None = None


def asks(op: SearchOp) -> bool:
    return bool(op.query and op.query.strip())
