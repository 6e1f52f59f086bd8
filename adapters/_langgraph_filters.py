"""LangGraph's filters, as its own store in memory understands them, read into the one tree of filters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._langgraph_errors import BadOperation
from cmc_mcp.adapters._langgraph_items import NAMESPACE, OTHERS, PART, VALUE
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.model.entries import coerced
from cmc_mcp.model.filters import MISSING, VIF, Compare, Either, Every, Field, Negation, Where, found_by_key

_JOINS: Final = ("$and", "$or", "$nor", "$not")
_LONG_CHARS: Final = 1_024  # of a large value that an earlier version put, longer texts stand as their hashes


def _brief(value: JsonValue) -> JsonValue:
    """Make a value as an earlier version kept a large one beside itself: long texts stand as their hashes."""
    if isinstance(value, str):
        return "sha256:" + sha256(value.encode()).hexdigest() if len(value) > _LONG_CHARS else value
    if isinstance(value, list):
        return [_brief(item) for item in value]
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items()}
    return value


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
    if key.startswith("\\$") and key not in value:
        key = key[1:]  # the name of what joins filters elsewhere
    below = found_by_key(value, key, tuple(key.split(".")))
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


def filter_text(filter: object) -> str:
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
        if key in _JOINS:
            raise BadOperation.at(
                f"filter.{key}", "does not join filters here; for a field of that name put a backslash before it"
            )
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


def where_of(prefix: tuple[str, ...], filter: object, *, parts: bool) -> Where:
    """Make the filter of the entries below a namespace; without `parts`, of items alone."""
    text = filter_text(filter)
    own: list[Where] = [Compare((NAMESPACE,), _within, prefix)]
    if text != "{}":
        own.append(Compare((VALUE,), _passes, text))
    if not parts:
        own.append(Compare((PART,), _absent, True))
    asked = _conditions(text)
    if OTHERS[: len(prefix)] != prefix or "" in asked or VIF in asked:  # what no metadata of others have
        return Every(tuple(own))
    keys = [Compare(_path(key), _one, json.dumps({key: part}), key) for key, part in asked.items()]
    others = Every((Negation(Compare((NAMESPACE,), _within, ())), *keys))
    return Either((Every(tuple(own)), others))


def _path(key: str) -> tuple[str, ...]:
    """Return the steps of a key; no virtual column is asked for by one."""
    return (key,) if key.partition(".")[0] == VIF else tuple(key.split("."))
