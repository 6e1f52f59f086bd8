"""LangGraph's items as entries of a collection, and entries as items."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph.store.base import Op, PutOp
from pydantic import JsonValue

from cmc_mcp.model.entries import Entry, Found

OTHERS: Final = ("langgraph", "entries")
"""The namespace of what something else wrote into the collection; its root cannot be put into, so nothing collides.

Its value is the metadata, which filters see, and the text, which they do not.
"""
NAMESPACE: Final = "namespace"
KEY: Final = "key"
VALUE: Final = "value"
PART: Final = "part"
MINUTE_US: Final = 60_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Name = tuple[tuple[str, ...], str]
"""A namespace and a key in it."""


def entry_id(namespace: Sequence[str], key: str, part: int = 0) -> str:
    """Return the id of the entry that holds an item, or one of its further texts.

    >>> entry_id(("users", "a"), "b"), entry_id(("users",), "a", 2)
    ('["users","a","b"]', '["users","a"]#2')
    """
    if tuple(namespace) == OTHERS:
        return key
    name = json.dumps([*namespace, key], ensure_ascii=False, separators=(",", ":"))
    return f"{name}#{part}" if part else name


def labels_of(metadata: Mapping[str, JsonValue]) -> tuple[str, ...] | None:
    """Return the namespace that metadata name."""
    namespace = metadata.get(NAMESPACE)
    return tuple(str(label) for label in namespace) if isinstance(namespace, list) else None


def place_of(entry: Found) -> tuple[Name, int]:
    """Return the item that an entry belongs to, and the number of its text."""
    labels, key, part = labels_of(entry.metadata), entry.metadata.get(KEY), entry.metadata.get(PART)
    if labels is not None and isinstance(key, str):
        number = part if isinstance(part, int) else 0
        if entry_id(labels, key, number) == entry.id:
            return (labels, key), number
    return (OTHERS, entry.id), 0


def kept_of(entry: Found) -> dict[str, Any]:
    """Return the values kept beside an item: `created` and `updated` (microseconds), `ttl` (minutes), `parts`, a large value."""
    return entry.extra if isinstance(entry.extra, dict) and place_of(entry)[0][0] != OTHERS else {}


def value_of(entry: Found) -> dict[str, Any]:
    (namespace, _), _ = place_of(entry)
    if namespace == OTHERS:
        return {**entry.metadata, "text": entry.text}
    kept = kept_of(entry).get(VALUE)
    value: Any = entry.metadata[VALUE] if kept is None else kept
    return dict(value)


def fields_of(entry: Found) -> dict[str, Any]:
    """Return the fields of an Item."""
    namespace, key = place_of(entry)[0]
    kept = kept_of(entry)
    return {
        "value": value_of(entry),
        "key": key,
        "namespace": namespace,
        "created_at": _time(kept.get("created", entry.recorded_us)),
        "updated_at": _time(kept.get("updated", entry.changed_us)),
    }


def _time(value_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value_us)


@dataclass(frozen=True, slots=True)
class Put:
    """One item to be written: its value as JSON holds it, and the texts it is found by (none: it is only looked up)."""

    op: PutOp
    value: dict[str, JsonValue]
    whole: str  # the value as JSON text
    texts: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """The operations of a batch, checked: what is written under which name, and the vectors that were made beforehand."""

    ops: list[Op]
    puts: dict[Name, Put | None] = field(default_factory=dict)  # None: a delete
    vectors: dict[str, Sequence[float]] = field(default_factory=dict)
    queries: dict[str | None, Sequence[float]] = field(default_factory=dict)


def entries_of(put: Put, old: Found | None, now_us: int, vectors: Mapping[str, Sequence[float]]) -> list[Entry]:
    """Make the entries of one item: the first holds the item, the others make it found by its further texts."""
    op, value = put.op, put.value
    kept: dict[str, object] = {"created": now_us if old is None else kept_of(old).get("created", old.recorded_us)}
    kept["updated"] = now_us
    texts = put.texts or (put.whole,)
    if op.ttl is not None:
        kept["ttl"] = op.ttl
    if len(texts) > 1:
        kept["parts"] = len(texts)
    names: dict[str, object] = {
        NAMESPACE: list(op.namespace),
        KEY: op.key,
        VALUE: value,
    }
    end = None if op.ttl is None else now_us + round(op.ttl * MINUTE_US)
    return [
        Entry(
            entry_id(op.namespace, op.key, part),
            text,
            {**names, PART: part} if part else names,
            vector=vectors.get(text),
            extra=kept,
            searchable=bool(put.texts),
            valid_to=end,
        )
        for part, text in enumerate(texts)
    ]
