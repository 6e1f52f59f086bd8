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
* Reads write nothing, unless the store was given `ttl={"refresh_on_read": True}` and the call does not say otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, Self

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)
from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._opening import Opening
from cmc_mcp.embed.external import ExternalEmbedder, model_name
from cmc_mcp.errors import CmcError, Conflict, EmbedderError, InvalidInput, LimitExceeded, brief
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found, coerced, json_text
from cmc_mcp.model.filters import MISSING, VIF, Compare, Either, Every, Field, Negation, Where, found
from cmc_mcp.model.time import TimeLike

COLLECTION: Final = "langgraph"
OTHERS: Final = ("langgraph", "entries")
"""The namespace of what something else wrote into the collection; its root cannot be put into, so nothing collides.

Its value is the metadata, which filters see, and the text, which they do not.
"""
_NAMESPACE: Final = "namespace"
_KEY: Final = "key"
_VALUE: Final = "value"
_PART: Final = "part"
_WHOLE: Final = "$"
_LONG_CHARS: Final = 1_024  # of a value that is too large to be filtered whole, longer texts stand as their hashes
_MINUTE_US: Final = 60_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Name = tuple[tuple[str, ...], str]
"""A namespace and a key in it."""


class BadOperation(InvalidInput, ValueError):
    """Raised when an operation, or a value in it, is unknown to this store."""


# ---------------------------------------------------------------------- names and values
def entry_id(namespace: Sequence[str], key: str, part: int = 0) -> str:
    """Return the id of the entry that holds an item, or one of its further texts.

    >>> entry_id(("users", "a"), "b"), entry_id(("users",), "a", 2)
    ('["users","a","b"]', '["users","a"]#2')
    """
    if tuple(namespace) == OTHERS:
        return key
    name = json.dumps([*namespace, key], ensure_ascii=False, separators=(",", ":"))
    return f"{name}#{part}" if part else name


def _labels(metadata: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """Return the namespace that metadata name."""
    namespace = metadata.get(_NAMESPACE)
    return tuple(str(label) for label in namespace) if isinstance(namespace, list) else None


def _place(entry: Found) -> tuple[Name, int]:
    """Return the item that an entry belongs to, and the number of its text."""
    labels, key, part = _labels(entry.metadata), entry.metadata.get(_KEY), entry.metadata.get(_PART)
    if labels is not None and isinstance(key, str):
        number = part if isinstance(part, int) else 0
        if entry_id(labels, key, number) == entry.id:
            return (labels, key), number
    return (OTHERS, entry.id), 0


def _kept(entry: Found) -> dict[str, Any]:
    """Return the values kept beside an item: `created` and `updated` (microseconds), `ttl` (minutes), `parts`, a large value."""
    return entry.extra if isinstance(entry.extra, dict) and _place(entry)[0][0] != OTHERS else {}


def _value_of(entry: Found) -> dict[str, Any]:
    (namespace, _), _ = _place(entry)
    if namespace == OTHERS:
        return {**entry.metadata, "text": entry.text}
    kept = _kept(entry).get(_VALUE)
    value: Any = entry.metadata[_VALUE] if kept is None else kept
    return dict(value)


def _fields_of(entry: Found) -> dict[str, Any]:
    """Return the fields of an Item."""
    namespace, key = _place(entry)[0]
    kept = _kept(entry)
    return {
        "value": _value_of(entry),
        "key": key,
        "namespace": namespace,
        "created_at": _time(kept.get("created", entry.recorded_us)),
        "updated_at": _time(kept.get("updated", entry.changed_us)),
    }


def _time(value_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value_us)


def _brief(value: JsonValue) -> JsonValue:
    """Make a large value filterable: its long texts stand as their hashes, which is enough to compare them by."""
    if isinstance(value, str):
        return "sha256:" + sha256(value.encode()).hexdigest() if len(value) > _LONG_CHARS else value
    if isinstance(value, list):
        return [_brief(item) for item in value]
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items()}
    return value


# ---------------------------------------------------------------------- filters
def _number(value: object) -> float | int | None:
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _order(given: object, asked: object) -> int | None:
    """Compare two values: -1, 0, 1, or None where they have no order.

    Two texts compare as texts; otherwise both must be numbers, or texts that are written like numbers.
    """
    if isinstance(given, str) and isinstance(asked, str):
        return (given > asked) - (given < asked)
    a, b = _number(given), _number(asked)
    if a is None or b is None or a != a or b != b:
        return None
    return (a > b) - (a < b)


def _equal(given: object, asked: JsonValue) -> bool:
    return given == asked or given == _brief(asked)


_OPERATORS: Final[Mapping[str, Callable[[object, JsonValue], bool]]] = {
    # a missing key is null, as in LangGraph's own stores; true equals 1 there too
    "$eq": _equal,
    "$ne": lambda given, asked: not _equal(given, asked),
    "$gt": lambda given, asked: _order(given, asked) == 1,
    "$gte": lambda given, asked: _order(given, asked) in (0, 1),
    "$lt": lambda given, asked: _order(given, asked) == -1,
    "$lte": lambda given, asked: _order(given, asked) in (0, -1),
}


def _matches(given: object, asked: JsonValue) -> bool:
    """Return whether a value is what a filter asks for: operators, a map whose keys match, a list of what matches, or equal."""
    if isinstance(asked, dict):
        if any(name.startswith("$") for name in asked):
            return all(_OPERATORS[name](given, operand) for name, operand in asked.items())
        return isinstance(given, dict) and all(_matches(given.get(key), part) for key, part in asked.items())
    if isinstance(asked, list):
        return isinstance(given, list) and len(given) == len(asked) and all(map(_matches, given, asked))
    return _equal(given, asked)


def _at(value: Mapping[str, JsonValue], key: str) -> JsonValue:
    """Look up a key as it is; if it is missing, read its dots as steps down."""
    if key in value or "." not in key:
        return value.get(key)
    below = found(value, tuple(key.split(".")))
    return None if below is MISSING else below


@lru_cache(maxsize=256)
def _conditions(text: str) -> dict[str, JsonValue]:
    made: dict[str, JsonValue] = json.loads(text)
    return made


# What follows are operators of `Compare`: pure functions of a field and a hashable value.
def _passes(field: Field, text: Any) -> bool:
    return isinstance(field, dict) and all(_matches(_at(field, key), asked) for key, asked in _conditions(text).items())


def _one(field: Field, text: Any) -> bool:
    return all(_matches(None if field is MISSING else field, asked) for asked in _conditions(text).values())


def _within(field: Field, prefix: Any) -> bool:
    return isinstance(field, list) and tuple(field[: len(prefix)]) == prefix


def _absent(field: Field, _: object) -> bool:
    return field is MISSING


def _filter_text(filter: object) -> str:
    """Check a filter and write it as JSON, which is how it is kept hashable.

    Raises:
        BadOperation: the filter is not a map, an operator is unknown, or a value cannot be compared.
    """
    if filter is None:
        return "{}"
    if not isinstance(filter, Mapping):
        raise BadOperation.at("filter", f"is a {type(filter).__name__}; pass a map of keys to values or operators")
    try:
        text = json.dumps(filter, default=lambda value: coerced(value, "filter"), sort_keys=True)
    except InvalidInput as error:
        raise BadOperation.of(error.problems) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BadOperation.at("filter", f"holds what no value can: {error}") from error
    for key, asked in _conditions(text).items():
        if key.startswith("$"):
            raise BadOperation.at(f"filter.{key:.80}", "is not a key of a value; put operators below a key")
        _check(asked, f"filter.{key:.80}", 1)
    return text


def _check(asked: JsonValue, path: str, depth: int) -> None:
    if depth > limits.FILTER_DEPTH_MAX:
        raise LimitExceeded.over("filter", "FILTER_DEPTH_MAX", depth, limits.FILTER_DEPTH_MAX)
    if isinstance(asked, list):
        for part in asked:
            _check(part, path, depth + 1)
    if not isinstance(asked, dict):
        return
    operators = any(name.startswith("$") for name in asked)
    for name, operand in asked.items():
        here = f"{path}.{name:.40}"
        if not operators:
            _check(operand, here, depth + 1)
        elif name not in _OPERATORS:
            raise BadOperation.at(here, f"is an unknown operator; use one of {', '.join(_OPERATORS)}")
        elif name not in ("$eq", "$ne") and (isinstance(operand, bool) or not isinstance(operand, int | float | str)):
            raise BadOperation.at(here, "takes a number or text; nothing else has an order")


def _where(prefix: tuple[str, ...], filter: object, *, parts: bool) -> Where:
    """Make the filter of the entries below a namespace; without `parts`, of items alone."""
    text = _filter_text(filter)
    own: list[Where] = [Compare((_NAMESPACE,), _within, prefix)]
    if text != "{}":
        own.append(Compare((_VALUE,), _passes, text))
    if not parts:
        own.append(Compare((_PART,), _absent, True))
    asked = _conditions(text)
    if OTHERS[: len(prefix)] != prefix or "" in asked or VIF in asked:  # what no metadata of others have
        return Every(tuple(own))
    keys = [Compare((key,), _one, json.dumps({key: part})) for key, part in asked.items()]
    others = Every((Negation(Compare((_NAMESPACE,), _within, ())), *keys))
    return Either((Every(tuple(own)), others))


# ---------------------------------------------------------------------- one batch
@dataclass(frozen=True, slots=True)
class _Put:
    """One item to be written: its value as JSON holds it, and the texts it is found by (none: it is only looked up)."""

    op: PutOp
    value: dict[str, JsonValue]
    whole: str  # the value as JSON text
    texts: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    """The operations of a batch, checked: what is written under which name, and the vectors that were made beforehand."""

    ops: list[Op]
    puts: dict[Name, _Put | None] = field(default_factory=dict)  # None: a delete
    vectors: dict[str, Sequence[float]] = field(default_factory=dict)
    queries: dict[str | None, Sequence[float]] = field(default_factory=dict)


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
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        `index` says which `fields` are searched by meaning and what makes the vectors: `embed`, or else the model of
        the memory, which for a path is the bundled one. Without `index` nothing is embedded, and a query ranks by
        words.

        Raises:
            BadOperation: both or neither of path and memory are given, or a configuration is invalid.
            StoreError: the file cannot be opened.
        """
        super().__init__()
        opening = Opening(path, memory, workspace, principal, key).checked(BadOperation)
        self.index_config = _index(index)
        self.ttl_config = _ttl_config(ttl)
        embed = None if self.index_config is None else self.index_config.get("embed")
        self.embeddings: Embeddings | None = None if embed is None else ensure_embeddings(embed)
        given = None
        if self.index_config is not None and self.embeddings is not None:
            given = ExternalEmbedder(
                _model(embed, self.embeddings),
                self.embeddings.embed_documents,
                self.embeddings.embed_query,
                dimension=self.index_config.get("dims", 0),
            )
        fields = (None if self.index_config is None else self.index_config.get("fields")) or [_WHOLE]
        self._fields = [_tokens(field, "index.fields") for field in fields]
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

    async def _embed(self, plan: _Plan, embeddings: Embeddings) -> None:
        """Make the vectors of a plan without blocking the loop."""
        texts = list(dict.fromkeys(text for put in plan.puts.values() if put is not None for text in put.texts))
        queries = list(dict.fromkeys(op.query for op in plan.ops if isinstance(op, SearchOp) and _asks(op)))
        try:
            rows = await embeddings.aembed_documents(texts) if texts else []
            made = await asyncio.gather(*(embeddings.aembed_query(query) for query in queries if query))
        except CmcError:
            raise
        except Exception as error:
            raise EmbedderError(f"the embedding of the index failed: {type(error).__name__}: {error}") from error
        if len(rows) != len(texts):
            raise EmbedderError(f"the embedding of the index gave {len(rows)} vectors for {len(texts)} texts")
        plan.vectors = dict(zip(texts, rows, strict=True))
        plan.queries = dict(zip(queries, made, strict=True))

    # ------------------------------------------------------------------ planning
    def _planned(self, ops: Iterable[object]) -> _Plan:
        """Check operations, touching nothing."""
        plan = _Plan([])
        for op in ops:
            if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
                raise BadOperation.at("ops", f"{type(op).__name__} is not an operation of a store")
            validate_op_namespace(op)
            plan.ops.append(op)
            if isinstance(op, SearchOp | ListNamespacesOp):
                _check_page(op)
            if isinstance(op, PutOp):
                plan.puts[tuple(op.namespace), op.key] = None if op.value is None else self._laid(op)
        if plan.puts and self._pinned:
            raise Conflict("this is the store as it was, which cannot be written; write to the store it was made from")
        return plan

    def _laid(self, op: PutOp) -> _Put:
        if not op.namespace or op.namespace[0] == OTHERS[0]:
            raise InvalidNamespaceError(f"a namespace has a label, and not {OTHERS[0]!r} for its first: {op.namespace}")
        if not isinstance(op.value, Mapping):
            raise BadOperation.at("value", f"is a {type(op.value).__name__}; pass a map with text for keys")
        if op.ttl is not None:
            _check_minutes(op.ttl, "ttl")
        value, whole = _plain(op.value)
        index: object = op.index
        if index is False:
            return _Put(op, value, whole, ())
        if index is not None and (isinstance(index, str) or not isinstance(index, Sequence)):
            raise BadOperation.at("index", "is false, a list of paths, or nothing")
        ours = not isinstance(index, Sequence) or self.index_config is None
        fields = self._fields if ours else [_tokens(path, "index") for path in op.index or ()]
        texts = [text for tokens in fields for text in get_text_at_path(value, tokens)]
        return _Put(op, value, whole, tuple(dict.fromkeys(text for text in texts if text.strip())))

    # ------------------------------------------------------------------ doing
    def _done(self, plan: _Plan) -> list[Result]:
        results: list[Result] = [None] * len(plan.ops)
        touched: list[Found] = []
        held = self._held([(tuple(op.namespace), op.key) for op in plan.ops if isinstance(op, GetOp)])
        for n, op in enumerate(plan.ops):
            entries: list[Found] = []
            if isinstance(op, GetOp) and (tuple(op.namespace), op.key) in held:
                entries = [held[tuple(op.namespace), op.key]]
                results[n] = Item(**_fields_of(entries[0]))
            elif isinstance(op, SearchOp):
                entries = self._searched(op, plan.queries.get(op.query))
                results[n] = [SearchItem(**_fields_of(entry), score=entry.score) for entry in entries]
            elif isinstance(op, ListNamespacesOp):
                results[n] = self._namespaces(op)
            if isinstance(op, GetOp | SearchOp) and op.refresh_ttl:
                touched += entries
        if self.ttl_config is not None and self.ttl_config.get("refresh_on_read", False) and not self._pinned:
            self._refresh([entry for entry in touched if _place(entry)[0] not in plan.puts])
        if plan.puts:
            self._write(plan)
        return results

    def _held(self, names: Sequence[Name]) -> dict[Name, Found]:
        """Return items by their names."""
        ids = {entry_id(*name): name for name in names}
        entries = self.collection.get(list(ids), as_of=self._point.as_of, valid_at=self._point.valid_at)
        return {_place(entry)[0]: entry for entry in entries if _place(entry)[0] == ids[entry.id]}

    def _write(self, plan: _Plan) -> None:
        before, now_us = self._held(list(plan.puts)), self.memory.now_us()
        entries, gone = [], []
        for name, put in plan.puts.items():
            old = before.get(name)
            made = [] if put is None else _entries(put, old, now_us, plan.vectors)
            parts = 0 if old is None else _kept(old).get("parts", 1)
            entries += made
            gone += [entry_id(*name, part) for part in range(len(made), parts)]
        self.collection.put(entries, gone=gone, lapse=True)

    def _refresh(self, entries: Sequence[Found]) -> None:
        """Restart the TTL of items."""
        now_us, ends = self.memory.now_us(), {}
        for entry in entries:
            kept, name = _kept(entry), _place(entry)[0]
            if (minutes := kept.get("ttl")) is not None:
                end = now_us + round(minutes * _MINUTE_US)
                ends.update({entry_id(*name, part): end for part in range(kept.get("parts", 1))})
        self.collection.prolong(ends)

    # ------------------------------------------------------------------ searching
    def _searched(self, op: SearchOp, vector: Sequence[float] | None) -> list[Found]:
        prefix, wanted = tuple(op.namespace_prefix), op.offset + op.limit
        where = _where(prefix, op.filter, parts=False)
        if not op.limit:
            return []
        if not _asks(op):
            return self._listed(where, op.limit, op.offset)
        best = self._scored(str(op.query), _where(prefix, op.filter, parts=True), wanted, vector)
        if len(best) < wanted:  # what has no vector follows, as in LangGraph's own store
            rest = {_place(entry)[0]: entry for entry in self._listed(where, wanted, 0)}
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
                best.setdefault(_place(entry)[0], entry)
            if len(best) >= wanted or len(hits) < k:
                return best
            if k == limits.ENTRIES_K_MAX:
                raise LimitExceeded.over("limit", "ENTRIES_K_MAX", k + 1, k)
            k = min(2 * k, limits.ENTRIES_K_MAX)

    def _sound(self, hits: Sequence[Found]) -> list[Found]:
        """Leave out parts that their item no longer has: two writers at once can leave some behind."""
        names = {_place(entry)[0] for entry in hits if _place(entry)[1]}
        if not names:
            return list(hits)
        snapshot = str(hits[0].vif["snapshot_id"])
        valid_at = self._point.valid_at
        wholes = self.collection.get([entry_id(*name) for name in names], as_of=snapshot, valid_at=valid_at)
        extras = {_place(whole)[0]: whole.extra for whole in wholes}
        return [hit for hit in hits if not _place(hit)[1] or extras.get(_place(hit)[0]) == hit.extra]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        held = self.collection.metadata(as_of=self._point.as_of, valid_at=self._point.valid_at)
        names = {_labels(metadata) or OTHERS for metadata in held}
        names = {name for name in names if all(_fits(condition, name) for condition in op.match_conditions or ())}
        return sorted({name[: op.max_depth] for name in names})[op.offset : op.offset + op.limit]


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a store is read: now, unless said otherwise."""

    as_of: str | int | None = None
    valid_at: TimeLike | None = None


def _entries(put: _Put, old: Found | None, now_us: int, vectors: Mapping[str, Sequence[float]]) -> list[Entry]:
    """Make the entries of one item: the first holds the item, the others make it found by its further texts."""
    op, value = put.op, put.value
    kept: dict[str, object] = {"created": now_us if old is None else _kept(old).get("created", old.recorded_us)}
    kept["updated"] = now_us
    texts = put.texts or (put.whole,)
    if len(put.whole.encode()) > limits.METADATA_BYTES_MAX // 2:
        kept[_VALUE] = value
    if op.ttl is not None:
        kept["ttl"] = op.ttl
    if len(texts) > 1:
        kept["parts"] = len(texts)
    names: dict[str, object] = {
        _NAMESPACE: list(op.namespace),
        _KEY: op.key,
        _VALUE: _brief(value) if _VALUE in kept else value,
    }
    end = None if op.ttl is None else now_us + round(op.ttl * _MINUTE_US)
    return [
        Entry(
            entry_id(op.namespace, op.key, part),
            text,
            {**names, _PART: part} if part else names,
            vector=vectors.get(text),
            extra=kept,
            searchable=bool(put.texts),
            valid_to=end,
        )
        for part, text in enumerate(texts)
    ]


def _asks(op: SearchOp) -> bool:
    return bool(op.query and op.query.strip())


def _fits(condition: MatchCondition, name: tuple[str, ...]) -> bool:
    """Return whether a namespace begins, or ends, with a path, label by label; `*` stands for any one label."""
    path = tuple(condition.path)
    part = name[: len(path)] if condition.match_type == "prefix" else name[max(0, len(name) - len(path)) :]
    return len(part) == len(path) and all(asked in ("*", label) for asked, label in zip(path, part, strict=True))


# ---------------------------------------------------------------------- checks
def _plain(value: Mapping[str, object]) -> tuple[dict[str, JsonValue], str]:
    """Return a value as JSON holds it, and its text."""
    try:
        made: Any = coerced(value, _VALUE)
        return made, json_text(made, _VALUE, "CONTENT_BYTES_MAX", limits.CONTENT_BYTES_MAX)
    except LimitExceeded:
        raise
    except InvalidInput as error:
        raise BadOperation.of(error.problems) from error


def _tokens(path: object, where: str) -> str | list[str]:
    if not isinstance(path, str) or not path:
        raise BadOperation.at(
            where, f"{brief(path)} is not a path; pass text such as 'text', 'a.b' or 'messages[*].text'"
        )
    return path if path == _WHOLE else tokenize_path(path)


def _index(index: IndexConfig | None) -> IndexConfig | None:
    if index is None:
        return None
    if not isinstance(index, Mapping):
        raise BadOperation.at("index", f"is a {type(index).__name__}; pass a map with dims, embed and fields")
    made: Any = dict(index)
    dims = made.get("dims", 0)
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 0:
        raise BadOperation.at("index.dims", f"{brief(dims)} is not a number of dimensions; pass a whole number above 0")
    fields = made.get("fields")
    if fields is not None and (isinstance(fields, str) or not isinstance(fields, Sequence)):
        raise BadOperation.at("index.fields", "is a list of paths, or nothing for the whole value")
    config: IndexConfig = made
    return config


def _ttl_config(ttl: TTLConfig | None) -> TTLConfig | None:
    if ttl is None:
        return None
    if not isinstance(ttl, Mapping):
        raise BadOperation.at("ttl", f"is a {type(ttl).__name__}; pass a map such as {{'default_ttl': 60}}")
    unknown = set(ttl) - set(TTLConfig.__annotations__)
    if unknown:
        raise BadOperation.at(
            f"ttl.{min(unknown)}", f"is an unknown setting; use one of {', '.join(sorted(TTLConfig.__annotations__))}"
        )
    if ttl.get("default_ttl") is not None:
        _check_minutes(ttl.get("default_ttl"), "ttl.default_ttl")
    return ttl


def _check_minutes(ttl: object, path: str) -> None:
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < limits.TIME_US_MAX / _MINUTE_US:
        raise BadOperation.at(path, f"{brief(ttl)} is not a number of minutes above 0; pass one, or None for no limit")


def _check_page(op: SearchOp | ListNamespacesOp) -> None:
    _check_whole("limit", op.limit, 0)
    _check_whole("offset", op.offset, 0)
    if isinstance(op, SearchOp):
        query: object = op.query
        if query is not None and not isinstance(query, str):
            raise BadOperation.at("query", f"is a {type(query).__name__}; pass text")
        _filter_text(op.filter)
        return
    if op.max_depth is not None:
        _check_whole("max_depth", op.max_depth, 1)
    for condition in op.match_conditions or ():
        kind: str = condition.match_type
        if kind not in ("prefix", "suffix"):
            raise BadOperation.at("match_conditions", f"{brief(kind)} is not a valid match; use prefix or suffix")


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadOperation.at(name, f"{brief(value)} is not a whole number of at least {least}")


def _model(embed: object, embeddings: Embeddings) -> str:
    """Name what makes the vectors: a class and its model, or a function by its name."""
    if isinstance(embed, Embeddings | str):
        return model_name(embeddings)
    return str(getattr(embed, "__qualname__", None) or model_name(embed))[: limits.MODEL_ID_CHARS_MAX]
