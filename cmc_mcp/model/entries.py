"""Entries: a caller's own records in a named collection, each under the caller's id, with metadata as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Final, cast
from uuid import UUID

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.model.facts import FactFields
from cmc_mcp.model.filters import VIF, VIRTUAL
from cmc_mcp.model.time import TimeLike

METADATA: Final = "metadata"
EXTRA: Final = "extra"
"""The names of fields that hold JSON as text, since hashed values cannot hold floats."""
_DEPTH_MAX: Final = 64
_OF_WITNESSES: Final = {*VIRTUAL, "v", "snapshot_id", "content_hash", "embedding_model"}
_EPOCH: Final = datetime(1970, 1, 1)  # shown in UTC
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as a caller passes it.

    Search reads `text`, and `vector` is its embedding. Filters read `metadata`, which is returned too; `extra` is only
    returned. If `searchable` is false, the text is neither searched nor embedded, and the entry is found by id alone.
    """

    id: str
    text: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    vector: Sequence[float] | None = None
    extra: object = None
    searchable: bool = True
    valid_from: TimeLike | None = None
    valid_to: TimeLike | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One record as a reader sees it. `vif` is the witness; `score` is the search score, or None outside a search."""

    id: str
    text: str
    metadata: dict[str, JsonValue]
    extra: JsonValue
    vif: dict[str, JsonValue]
    recorded_us: int  # when this wording was first recorded
    changed_us: int  # when its facts last changed
    valid_from_us: int
    valid_to_us: int
    score: float | None = None


def metadata_text(metadata: Mapping[str, object], path: str = "metadata", *, large: bool = False) -> str | None:
    """Return metadata as canonical JSON text, or None for empty metadata.

    Times become RFC 3339 text, decimals numbers where they are the same, tuples and sets become lists, enumerations
    become their values, NaN and infinities become null, and ids and paths become text. The coercion happens once, on
    writing; readers get its result. A witness under the reserved key `vif`, which a reader got there, is left out.

    Raises:
        InvalidInput: the metadata is not a map, holds a value that JSON cannot hold, or something else under `vif`.
        LimitExceeded: the text is over METADATA_BYTES_MAX, or with `large` over CONTENT_BYTES_MAX.

    >>> metadata_text({"b": 0.5, "a": (1, None)})
    '{"a":[1,null],"b":0.5}'
    """
    if not isinstance(metadata, Mapping):
        raise InvalidInput.at(path, f"is a {type(metadata).__name__}; pass a map of names to values")
    if not metadata:
        return None
    if VIF in metadata and not is_witness(metadata[VIF]):
        raise InvalidInput.at(f"{path}.{VIF}", "is where the witness stands; give this field another name")
    given = {key: value for key, value in metadata.items() if key != VIF} if VIF in metadata else metadata
    if not given:
        return None
    if large:
        return json_text(given, path, "CONTENT_BYTES_MAX", limits.CONTENT_BYTES_MAX + limits.METADATA_BYTES_MAX)
    return json_text(given, path, "METADATA_BYTES_MAX", limits.METADATA_BYTES_MAX)


def is_witness(value: object) -> bool:
    """Return whether a value is a witness, as it was handed out or forged: a reader's copy is put again without it."""
    return isinstance(value, Mapping) and bool(value) and value.keys() <= _OF_WITNESSES


def json_text(value: object, path: str, limit: str, maximum: int) -> str:
    """Return a value as canonical JSON text after one coercion; see `metadata_text`."""
    try:
        text = _encoder.encode(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError):  # plain values, which are most, need no coercion
        text = _encoder.encode(coerced(value, path))
        _check_unicode(text, path)
    if len(text) * 4 > maximum and len(text.encode()) > maximum:
        raise LimitExceeded.over(path, limit, len(text.encode()), maximum)
    return text


def _check_unicode(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput.at(
            path, "holds a lone surrogate, which is not valid Unicode; encode the text properly"
        ) from error


def coerced(value: object, path: str, depth: int = 0) -> JsonValue:
    """Return a value as plain JSON."""
    if depth > _DEPTH_MAX:
        raise InvalidInput.at(path, f"is nested more than {_DEPTH_MAX} levels deep, or within itself")
    if isinstance(value, Enum):
        return coerced(value.value, path, depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key, path): coerced(item, f"{path}.{key!s:.80}", depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((coerced(item, path, depth + 1) for item in value), key=_encoder.encode)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [coerced(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, UUID | PurePath):
        return str(value)
    plain = getattr(value, "tolist", None)  # numpy's arrays and scalars
    if callable(plain):
        return coerced(plain(), path, depth + 1)
    raise InvalidInput.at(path, f"is a {type(value).__name__}, which JSON cannot hold; pass plain values")


def _decimal(value: Decimal) -> JsonValue:
    """Return a decimal as a number where a number is the same, so that it has an order among numbers; else as text.

    >>> _decimal(Decimal("10.50")), _decimal(Decimal("0.1000000000000000000001")), _decimal(Decimal("7"))
    (10.5, '0.1000000000000000000001', 7)
    """
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    near = float(value)
    return near if math.isfinite(near) and Decimal(repr(near)) == value else str(value)


def _key(key: object, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool | int | float):
        return str(json.dumps(key))
    raise InvalidInput.at(path, f"has a key of type {type(key).__name__}; use text for keys")


def metadata_of(fields: FactFields) -> dict[str, JsonValue]:
    """Read the metadata from the facts of an entry; every call returns a new value.

    >>> metadata_of({"metadata": '{"a":0.5}'}), metadata_of({})
    ({'a': 0.5}, {})
    """
    text = fields.get(METADATA)
    return cast("dict[str, JsonValue]", json.loads(str(text))) if text is not None else {}


def extra_of(fields: FactFields) -> JsonValue:
    """Read the extra value of an entry; every call returns a new value."""
    text = fields.get(EXTRA)
    return cast(JsonValue, json.loads(str(text))) if text is not None else None


def stamp(value_us: int) -> str | None:
    """Format a time as RFC 3339 in UTC at fixed width, so that text sorts by time; an open end is None.

    >>> stamp(0)
    '1970-01-01T00:00:00.000000Z'
    """
    if not limits.TIME_US_MIN <= value_us <= limits.TIME_US_MAX:
        return None
    return (_EPOCH + timedelta(microseconds=value_us)).isoformat(timespec="microseconds") + "Z"


def flatten_witness(vif: Mapping[str, JsonValue], prefix: str = "vif_") -> dict[str, JsonValue]:
    """Flatten a witness into scalars under one prefix, for stores that cannot hold objects.

    >>> flatten_witness({"writer": "maya", "confidence": {"lo": 0.9, "hi": 0.9}})
    {'vif_writer': 'maya', 'vif_confidence_lo': 0.9, 'vif_confidence_hi': 0.9}
    """
    out: dict[str, JsonValue] = {}
    for key, value in vif.items():
        if isinstance(value, Mapping):
            out.update(flatten_witness(value, f"{prefix}{key}_"))
        else:
            out[prefix + key] = value
    return out
