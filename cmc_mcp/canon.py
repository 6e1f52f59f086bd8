"""Canonical bytes and domain-separated hashing: the only module that computes a content id.

Every hashed value passes through this module, so no float, locale, clock or dictionary order can reach a hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import TypeAlias

from cmc_mcp.errors import InvalidInput
from cmc_mcp.ids import PayloadHash

Json: TypeAlias = "str | int | bool | None | Sequence[Json] | Mapping[str, Json]"

HASH_BYTES = 32
INTEGER_MAX = 2**53 - 1
"""The largest integer that RFC 8785 (JSON Canonicalization Scheme) reproduces exactly."""

_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> bytes:
    """Encode a value as canonical JSON: the subset of RFC 8785 with ASCII keys and no floats.

    Raises:
        InvalidInput: the value holds a float, an integer past 2**53 - 1, a key that is not an ASCII string, or a lone
            surrogate.

    >>> canonical({"b": 1, "a": ["x", None, True]})
    b'{"a":["x",null,true],"b":1}'
    """
    _check(value, "$")
    try:
        return _encoder.encode(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput.at("$", "holds a lone surrogate, which is not valid Unicode text") from error


def _check(value: object, path: str) -> None:
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise InvalidInput.at(path, "is an integer past 2**53 - 1; pass it as a string")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise InvalidInput.at(path, f"has the key {key!r}; keys must be ASCII strings")
            _check(item, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]")
    else:
        raise InvalidInput.at(
            path,
            f"is a {type(value).__name__}, which a hashed value cannot hold; "
            "use text, an integer, a boolean, null, a list or a map",
        )


def digest(domain: str, *fields: bytes) -> bytes:
    """Hash length-prefixed fields under a domain tag (SHA-256, 32 bytes).

    A zero byte ends the tag, and eight bytes with its length precede every field, so no two lists of fields share an
    encoding.

    >>> digest("cmc/test/1", b"ab", b"c") == digest("cmc/test/1", b"a", b"bc")
    False
    """
    h = _started(domain).copy()
    h.update(b"".join([part for field in fields for part in (len(field).to_bytes(8, "big"), field)]))
    return h.digest()


@lru_cache(maxsize=64)
def _started(domain: str) -> hashlib._Hash:
    """Hash a domain tag once; callers hash the fields into a copy."""
    return hashlib.sha256(domain.encode("ascii") + b"\0")


def payload_hash(data: bytes) -> PayloadHash:
    """Hash the bytes of a payload: content, or a canonical body (32 bytes).

    >>> payload_hash(b"").hex()[:8]
    '2a5c65f1'
    """
    return PayloadHash(digest("cmc/payload/1", data))


def facts_hash(body: bytes) -> PayloadHash:
    """Hash the canonical body of facts (32 bytes) in a domain of its own, so that facts never equal content."""
    return PayloadHash(digest("cmc/facts/1", body))


def instant(us: int) -> int | str:
    """Return a time as canonical JSON: past 2**53 (before 1685 and after 2255) a number is none, its digits are."""
    return us if abs(us) < 1 << 53 else str(us)


def fixed(number: float | str | Decimal) -> str:
    """Format a number as fixed-point text with six decimal places, the form in hashed values.

    >>> fixed(0.9), fixed(1), fixed(0.123456789)
    ('0.900000', '1.000000', '0.123457')
    """
    return str(Decimal(str(number)).quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN))
