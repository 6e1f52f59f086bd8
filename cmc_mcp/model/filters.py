"""Filters over the metadata of entries: one small tree of pure values, whatever language a caller wrote it in.

No part of a filter ever becomes SQL, so neither a path nor a value can be taken for code. Each operator decides how it
treats a missing key, a null or a value of another type. Each front end has a table of operators, which are pure functions
`(field, value) -> bool`; `field` is MISSING if the entry lacks the key.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, cast

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.errors import InvalidInput, LimitExceeded


class Missing(Enum):
    """The value of an absent field, which differs from null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
VIF: Final = "vif"
"""The reserved key above the virtual columns of the witness; a caller's own metadata never stands there."""
VIRTUAL: Final = (
    "atom_id", "writer", "model_id", "confidence", "valid_from", "valid_to", "recorded_at", "transaction",
)  # fmt: skip
_BOUNDS: Final = ("lo", "hi")

Field = JsonValue | Missing
Path = tuple[str, ...]
Operator = Callable[[Field, Hashable], bool]
Fields = Mapping[str, JsonValue]
Predicate = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True)
class Compare:
    """A test of the field at a path. Values are hashable: lists become tuples.

    `key` is the path as it was written: a field of that very name comes before the path, and keys with dots in them are
    found along it.
    """

    path: Path
    operator: Operator
    value: Hashable
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; without parts, every entry passes."""

    parts: tuple[Where, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds; without parts, no entry passes."""

    parts: tuple[Where, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The part does not hold."""

    part: Where


Where = Compare | Every | Either | Negation


def found(fields: Fields, path: Path) -> Field:
    """Return the field at a path of object keys and list positions (as digits), or MISSING.

    >>> found({"a": {"b": [1, 2]}}, ("a", "b", "1")), found({"a": 1}, ("a", "b"))
    (2, <Missing.MISSING: 'missing'>)
    """
    at: Any = fields
    for key in path:
        if isinstance(at, dict):
            if key not in at:
                return MISSING
            at = at[key]
        elif isinstance(at, list) and len(key) < 10 and key.isdecimal() and int(key) < len(at):
            at = at[int(key)]
        else:
            return MISSING
    known: Field = at
    return known


def found_by_key(fields: Fields, key: str, path: Path) -> Field:
    """Return the field of a key: the one of that very name, else the one at the path, else at a path of keys with dots.

    >>> found_by_key({"a.b": 1, "a": {"b": 2}}, "a.b", ("a", "b")), found_by_key({"a": {"b.c": 3}}, "a.b.c", ("a", "b", "c"))
    (1, 3)
    """
    if key in fields:
        return fields[key]
    at = found(fields, path)
    return _stepped(fields, path) if at is MISSING and len(path) > 2 else at


def _stepped(at: object, path: Path) -> Field:
    """Look a path up where keys of objects may be several of its parts, joined by dots: the longest first."""
    if not path:
        known: Any = at
        return cast("Field", known)
    if isinstance(at, dict):
        for size in range(len(path), 0, -1):
            name = ".".join(path[:size])
            if name in at and (below := _stepped(at[name], path[size:])) is not MISSING:
                return below
        return MISSING
    return _stepped(found({"": at}, ("", path[0])), path[1:]) if isinstance(at, list) else MISSING


def compiled(where: Where) -> Predicate:
    """Compile a filter into one function.

    >>> equal = lambda field, value: field == value
    >>> compiled(Every((Compare(("a",), equal, 1), Negation(Compare(("b",), equal, 2)))))({"a": 1})
    True
    """
    if isinstance(where, Compare):
        return _compared(where)
    if isinstance(where, Negation):
        inner = compiled(where.part)
        return lambda fields: not inner(fields)
    parts = [compiled(part) for part in where.parts]
    if len(parts) == 1:
        return parts[0]
    if isinstance(where, Every):
        return lambda fields: all(part(fields) for part in parts)
    return lambda fields: any(part(fields) for part in parts)


def _compared(where: Compare) -> Predicate:
    path, test, value, name = where.path, where.operator, where.value, where.key
    if name is not None:
        return lambda fields: test(found_by_key(fields, name, path), value)
    if len(path) == 1:
        key = path[0]
        return lambda fields: test(fields.get(key, MISSING), value)
    return lambda fields: test(found(fields, path), value)


def checked(where: Where) -> Where:
    """Return a filter after checking its size, its depth and its virtual columns.

    Raises:
        LimitExceeded: the filter passes FILTER_NODES_MAX or FILTER_DEPTH_MAX.
        InvalidInput: a path is empty, or names an unknown virtual column below `vif`.
    """
    nodes = 0
    for depth, part in _walk(where, 1):
        if depth > limits.FILTER_DEPTH_MAX:
            raise LimitExceeded.over("filter", "FILTER_DEPTH_MAX", depth, limits.FILTER_DEPTH_MAX)
        nodes += 1
        if isinstance(part, Compare):
            nodes += len(part.value) if isinstance(part.value, tuple) else 0
            _check_path(part.path)
        if nodes > limits.FILTER_NODES_MAX:
            raise LimitExceeded.over("filter", "FILTER_NODES_MAX", nodes, limits.FILTER_NODES_MAX)
    return where


def _check_path(path: Path) -> None:
    if not path:
        raise InvalidInput.at("filter", f"{'.'.join(path)!r:.80} is not a path; write keys joined by dots")
    if path[0] == VIF:
        name, rest = path[1] if len(path) > 1 else "", path[2:]
        if name not in VIRTUAL or (rest and not (name == "confidence" and len(rest) == 1 and rest[0] in _BOUNDS)):
            raise InvalidInput.at(
                "filter." + ".".join(path)[:80],
                f"is an unknown virtual column; use one of {', '.join(f'{VIF}.{column}' for column in VIRTUAL)}, or .lo and .hi"
                " of the confidence",
            )


def signature(where: Where) -> Hashable:
    """Return a value that equal filters share; it includes the types of values, since 1 == True.

    >>> signature(Compare(("a",), min, 1)) == signature(Compare(("a",), min, True))
    False
    """
    if isinstance(where, Compare):
        return where.path, where.operator, _typed(where.value), where.key
    if isinstance(where, Negation):
        return Negation, signature(where.part)
    return type(where), tuple(signature(part) for part in where.parts)


def _typed(value: Hashable) -> Hashable:
    return tuple(_typed(item) for item in value) if isinstance(value, tuple) else (type(value), value)


def paths(where: Where) -> set[Path]:
    """Return the paths that a filter tests."""
    return {part.path for _, part in _walk(where, 1) if isinstance(part, Compare)}


def conjuncts(where: Where) -> tuple[Where, ...]:
    """Split a filter into parts that must all hold.

    >>> conjuncts(Every((Every(()), Every((Negation(Either(())),)))))
    (Negation(part=Either(parts=())),)
    """
    return tuple(inner for part in where.parts for inner in conjuncts(part)) if isinstance(where, Every) else (where,)


def _walk(where: Where, depth: int) -> Iterator[tuple[int, Where]]:
    waiting: list[tuple[int, Where]] = [(depth, where)]
    while waiting:
        depth, part = waiting.pop()
        yield depth, part
        if isinstance(part, Negation):
            waiting.append((depth + 1, part.part))
        elif isinstance(part, Every | Either) and depth <= limits.FILTER_DEPTH_MAX:
            waiting.extend((depth + 1, inner) for inner in part.parts)


def frozen(value: object, path: str = "filter") -> Hashable:
    """Return a filter's value as a hashable value; lists become tuples.

    Raises:
        InvalidInput: the value is an object, or of another type that a field cannot be compared with.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        return tuple(frozen(item, path) for item in value)
    raise InvalidInput.at(
        path, f"is a {type(value).__name__}; compare with text, a number, true, false, null or a list of them"
    )
