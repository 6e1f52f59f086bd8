"""LangChain's filters: maps in the manner of MongoDB, read into the one tree of filters.

`_OPERATORS` says what each operator says of a missing key, a null and a value of another type. A key is looked up whole
before its dots are read as steps down; `\\.` and `\\$` are a dot and a dollar of the key itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, cast

from cmc_mcp import limits
from cmc_mcp.adapters._langchain_errors import BadFilter
from cmc_mcp.collection import Collection
from cmc_mcp.errors import InvalidInput
from cmc_mcp.model.entries import coerced
from cmc_mcp.model.filters import (
    MISSING,
    VIF,
    Compare,
    Either,
    Every,
    Field,
    Negation,
    Operator,
    Where,
    found_by_key,
    frozen,
)


def _same(field: object, value: object) -> bool:
    """Return whether two JSON values are equal: true is not 1; 1 is 1.0; a list equals a list of equal values."""
    if isinstance(field, list | tuple) and isinstance(value, list | tuple):
        return len(field) == len(value) and all(map(_same, field, value))
    if isinstance(field, bool) or isinstance(value, bool):
        return field is value
    return field == value


def _comparable(field: object, value: object) -> tuple[Any, Any]:
    """Return two values by which a field and an operand are ordered: a date orders times, a decimal orders numbers."""
    if isinstance(value, datetime):
        return _moment(field), value
    if isinstance(value, Decimal) and not isinstance(field, bool):
        return _decimal(field), value
    return field, value


def _moment(field: object) -> datetime | None:
    """Read the time of a field; without a zone it is UTC."""
    if not isinstance(field, str):
        return None
    try:
        made = datetime.fromisoformat(field)
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _decimal(field: object) -> Decimal | None:
    try:
        made = Decimal(str(field)) if isinstance(field, int | float | str) else None
    except ArithmeticError:
        return None
    return made if made is not None and made.is_finite() else None


def _ordered(field: object, value: object) -> bool:
    """Return whether two values have an order: both numbers, or both text. A boolean does not count as a number."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (field, value))
    texts = isinstance(field, str) and isinstance(value, str)
    return numbers or texts or (isinstance(value, datetime | Decimal) and type(field) is type(value))


def _eq(field: Field, value: object) -> bool:
    if isinstance(value, datetime | Decimal):
        known, asked = _comparable(field, value)
        return type(known) is type(asked) and known == asked
    return _same(None if field is MISSING else field, value)


def _ne(field: Field, value: object) -> bool:
    return not _eq(field, value)


def _gt(field: Any, value: Any) -> bool:
    field, value = _comparable(field, value)
    return _ordered(field, value) and field > value


def _gte(field: Any, value: Any) -> bool:
    field, value = _comparable(field, value)
    return _ordered(field, value) and field >= value


def _lt(field: Any, value: Any) -> bool:
    field, value = _comparable(field, value)
    return _ordered(field, value) and field < value


def _lte(field: Any, value: Any) -> bool:
    field, value = _comparable(field, value)
    return _ordered(field, value) and field <= value


def _in(field: Field, values: Any) -> bool:
    return any(_eq(field, value) for value in values)


def _nin(field: Field, values: Any) -> bool:
    return not _in(field, values)


def _between(field: Any, ends: Any) -> bool:
    return _gte(field, ends[0]) and _lte(field, ends[1])


def _exists(field: Field, wanted: object) -> bool:
    return (field is not MISSING) is wanted


def _contains(field: Field, value: object) -> bool:
    if isinstance(field, list):
        return any(_same(item, value) for item in field)
    return isinstance(field, str) and isinstance(value, str) and value in field


def _any(field: Field, values: Any) -> bool:
    return any(_contains(field, value) for value in values)


def _all(field: Field, values: Any) -> bool:
    return all(_contains(field, value) for value in values)


def _like(field: Field, pattern: Any) -> bool:
    return isinstance(field, str) and _fits(field, _segments(pattern, False))


def _ilike(field: Field, pattern: Any) -> bool:
    return isinstance(field, str) and _fits(field, _segments(pattern, True))


@lru_cache(maxsize=256)
def _segments(like: str, ignore_case: bool) -> tuple[re.Pattern[str], ...]:
    """Split an SQL pattern at its %, which are any text; _ is any character, `\\%` and `\\_` are themselves.

    A segment has no repetition in it, so that no pattern takes longer than its length times that of the text.
    """
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    parts = [""]
    for token in re.findall(r"\\[%_\\]|.", like, re.DOTALL):
        if token == "%":
            parts.append("")
        else:
            parts[-1] += "." if token == "_" else re.escape(token[-1])
    return tuple(re.compile(part, flags) for part in parts)


def _fits(text: str, segments: Sequence[re.Pattern[str]]) -> bool:
    """Match the first segment at the start, the last at the end, and those between one after the other, each leftmost."""
    first, *rest = segments
    if not rest:
        return first.fullmatch(text) is not None
    start = first.match(text)
    if start is None:
        return False
    at = start.end()
    for segment in rest[:-1]:
        found = segment.search(text, at)
        if found is None:
            return False
        at = found.end()
    return any(rest[-1].fullmatch(text, place) for place in range(len(text), at - 1, -1))


_OPERATORS: Final[Mapping[str, Operator]] = {
    # a missing key equals null; lists equal lists; true is not 1
    "$eq": _eq,
    "$ne": _ne,  # so it holds of a missing key, as $nin does
    "$in": _in,
    "$nin": _nin,
    # between numbers, or between texts; all else, a missing key and null included, is no match
    "$gt": _gt,
    "$gte": _gte,
    "$lt": _lt,
    "$lte": _lte,
    "$between": _between,  # both ends included
    "$exists": _exists,  # a null is there
    "$contains": _contains,  # an element of a list, or a part of a text
    "$any": _any,
    "$all": _all,
    "$like": _like,
    "$ilike": _ilike,
}
_LISTS: Final = frozenset({"$in", "$nin", "$any", "$all", "$between"})
_TEXTS: Final = frozenset({"$like", "$ilike"})
_SCALARS: Final = frozenset({"$gt", "$gte", "$lt", "$lte", "$contains"})
_ORDERED: Final = frozenset({"$gt", "$gte", "$lt", "$lte"})
_JOINS: Final = ("$and", "$or", "$nor")


def parsed(filter: object, path: str = "filter", depth: int = 1) -> Where:
    """Read a filter.

    Raises:
        BadFilter: an operator or a value is invalid; the error names its place.
        LimitExceeded: the filter is too large or too deep.
    """
    if not isinstance(filter, Mapping):
        raise BadFilter.at(
            path, f"is a {type(filter).__name__}; pass a map such as {{'page': {{'$gt': 1}}}}, or a function"
        )
    if depth > limits.FILTER_DEPTH_MAX:
        raise BadFilter.at(path, f"is nested more than {limits.FILTER_DEPTH_MAX} levels deep")
    parts: list[Where] = []
    for key, value in filter.items():
        here = f"{path}.{key!s:.80}"
        if not isinstance(key, str) or not key:
            raise BadFilter.at(here, "is not a key; use text for keys")
        if key in _JOINS:
            parts.append(_joined(key, value, here, depth))
        elif key == "$not":
            parts.append(Negation(parsed(value, here, depth + 1)))
        elif key in _OPERATORS:
            raise BadFilter.at(
                here,
                f"is not a valid operator here; use one of {', '.join((*_JOINS, '$not'))}, or \\\\{key} for a field",
            )
        else:
            parts.append(_field(key, value, here, depth))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _joined(key: str, value: object, path: str, depth: int) -> Where:
    if not isinstance(value, list | tuple) or not value:
        raise BadFilter.at(path, "takes a list of filters, not an empty one")
    inner = tuple(parsed(part, f"{path}[{place}]", depth + 1) for place, part in enumerate(value))
    if key == "$and":
        return Every(inner)
    return Either(inner) if key == "$or" else Negation(Either(inner))


def _field(key: str, value: object, here: str, depth: int) -> Where:
    if not isinstance(value, Mapping):
        return _compare(key, _eq, _value("$eq", value, here))
    if not value:
        raise BadFilter.at(here, "is empty; pass an operator such as {'$gt': 1}")
    parts: list[Where] = []
    for name, operand in value.items():
        place = f"{here}.{name!s:.40}"
        if name == "$not":
            if depth > limits.FILTER_DEPTH_MAX:
                raise BadFilter.at(place, f"is nested more than {limits.FILTER_DEPTH_MAX} levels deep")
            parts.append(Negation(_field(key, operand, place, depth + 1)))
            continue
        operator = _OPERATORS.get(name) if isinstance(name, str) else None
        if operator is None:
            raise BadFilter.at(
                place,
                f"is an unknown operator; use one of {', '.join((*_OPERATORS, '$not'))}. Nested keys are joined by dots: 'a.b'",
            )
        parts.append(_compare(key, operator, _value(name, operand, place)))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _compare(key: str, operator: Operator, value: Any) -> Where:
    r"""Make a test of a key; `\.` and `\$` in it are a dot and a dollar of the key itself."""
    steps = re.split(r"(?<!\\)\.", key)
    path = tuple(part.replace("\\.", ".").replace("\\$", "$") for part in steps)
    if path[0] == VIF and key.partition(".")[0] == VIF:
        return Compare(path, operator, value)
    return Compare(path, operator, value, key)


def _exact(value: object, path: str) -> datetime | Decimal:
    """Return a date as the moment at which it begins, in UTC where it names no zone; a decimal as it is."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise BadFilter.at(path, "is not a finite number, which nothing equals")
        return value
    assert isinstance(value, date)
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _value(name: str, value: object, path: str) -> Any:
    """Check the operand of an operator, and coerce it as metadata is coerced, so that a filter equals what is given back."""
    if isinstance(value, date | Decimal) and (name in _ORDERED or name in ("$eq", "$ne")):
        return _exact(value, path)
    if isinstance(value, float) and value != value:
        raise BadFilter.at(path, "is NaN, which nothing equals")
    if name in _LISTS and (isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)):
        raise BadFilter.at(path, "takes a list")
    try:
        ends = list(cast("Iterable[object]", value)) if name == "$between" else []
        if len(ends) == 2 and all(isinstance(end, date | Decimal) for end in ends):
            return tuple(_exact(end, path) for end in ends)
        made = frozen(coerced(list(value) if name in _LISTS else value, path), path)  # type: ignore[call-overload]
    except InvalidInput as error:
        raise BadFilter.of(error.problems) from error
    if name == "$between" and (not isinstance(made, tuple) or len(made) != 2 or not _ordered(*made)):
        raise BadFilter.at(path, "takes two ends, both numbers or both text")
    if name in _TEXTS and not isinstance(made, str):
        raise BadFilter.at(path, "takes text, in which % is any text and _ any character")
    if name in _SCALARS and (made is None or isinstance(made, tuple)):
        raise BadFilter.at(path, "takes text or a number; for nothing and for lists there are $exists, $any and $all")
    if name in _ORDERED and isinstance(made, bool):
        raise BadFilter.at(path, "takes text or a number; true and false have no order")
    if name == "$exists" and not isinstance(made, bool):
        raise BadFilter.at(path, "is true or false")
    return made


def check_lists(where: Where | None, collection: Collection, times: Mapping[str, Any]) -> None:
    """Say what to use where `$in` asked, in vain, for a field that is a list wherever it is there.

    Raises:
        BadFilter: it did.
    """
    asked = [part for part in _leaves(where) if part.operator is _in and part.path[0] != VIF]
    if not asked:
        return
    held = collection.metadata(as_of=times.get("as_of"), valid_at=times.get("valid_at"))
    for part in asked:
        key = part.key if part.key is not None else ".".join(part.path)
        fields = [found_by_key(metadata, key, part.path) for metadata in held]
        known = [field for field in fields if field is not MISSING and field is not None]
        if known and all(isinstance(field, list) for field in known) and any(_any(f, part.value) for f in known):
            raise BadFilter.at(
                f"filter.{key:.80}.$in",
                "asks which of some values the field is, and the field is a list; use $any (one of them is in it) or $all"
                " (all of them are)",
            )


def _leaves(where: Where | None) -> list[Compare]:
    if where is None or isinstance(where, Negation):
        return []  # what is negated holds of a list
    if isinstance(where, Compare):
        return [where]
    return [leaf for part in where.parts for leaf in _leaves(part)]
