"""LlamaIndex's filters, read into the one tree of filters, as `SimpleVectorStore` understands them.

`OPERATORS` says what each operator says of a missing key, a null and a value of another type.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from cmc_mcp import limits
from cmc_mcp.adapters._llamaindex_errors import BadArgument
from cmc_mcp.errors import LimitExceeded
from cmc_mcp.model.filters import MISSING, VIF, Compare, Either, Every, Field, Negation, Operator, Where, frozen

REF_DOC: Final = "_ref_doc_id"
"""The reserved metadata key that holds the id of a node's source document."""
_REF_DOC_NAMES: Final = ("ref_doc_id", "doc_id", "document_id")


def _in(field: Any, value: Any) -> bool:
    return field in value


def _nin(field: Any, value: Any) -> bool:
    return field not in value


def _any(field: Any, values: Any) -> bool:
    return any(value in field for value in values)


def _all(field: Any, values: Any) -> bool:
    return all(value in field for value in values)


def _text_match(field: Any, value: Any) -> bool:
    return isinstance(field, str) and value in field


def _text_match_insensitive(field: Any, value: Any) -> bool:
    return isinstance(field, str) and value.lower() in field.lower()


def _present(test: Callable[[Any, Any], bool]) -> Operator:
    """Make an operator that says no of a missing key, a null, and a value it cannot be asked of."""

    def asked(field: Field, value: object) -> bool:
        if field is MISSING or field is None:
            return False
        try:
            return test(field, list(value) if isinstance(value, tuple) else value)
        except TypeError:
            return False

    return asked


def _absent(test: Callable[[Any, Any], bool]) -> Operator:
    """Make an operator that says yes of a missing key and a null, and no of a value it cannot be asked of."""
    present = _present(test)
    return lambda field, value: field is MISSING or field is None or present(field, value)


def _is_empty(field: Field, _: object) -> bool:
    return field is MISSING or field is None or field in ("", [])


def _is_there(field: Field, _: object) -> bool:
    return field is not MISSING


OPERATORS: Final[Mapping[FilterOperator, Operator]] = MappingProxyType(
    {
        # Python's own comparison, as in SimpleVectorStore: 1 is 1.0 and true; texts and lists have an order; numbers and
        # texts have none, and then it is no match where SimpleVectorStore fails
        FilterOperator.EQ: _present(operator.eq),
        FilterOperator.GT: _present(operator.gt),
        FilterOperator.GTE: _present(operator.ge),
        FilterOperator.LT: _present(operator.lt),
        FilterOperator.LTE: _present(operator.le),
        FilterOperator.IN: _present(_in),  # in a list; in a text it is a part of it
        FilterOperator.CONTAINS: _present(
            operator.contains
        ),  # an element of a list, a part of a text, a key of an object
        FilterOperator.ANY: _present(_any),
        FilterOperator.ALL: _present(_all),
        FilterOperator.TEXT_MATCH: _present(_text_match),
        FilterOperator.TEXT_MATCH_INSENSITIVE: _present(_text_match_insensitive),
        # the only ones that hold of a missing key and of null
        FilterOperator.NE: _absent(operator.ne),
        FilterOperator.NIN: _absent(_nin),
        FilterOperator.IS_EMPTY: _is_empty,
    }
)
_SEQUENCES: Final = frozenset({FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL})
_TEXTS: Final = frozenset({FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE})
_ORDERS: Final = frozenset({FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE})


def parsed(filters: MetadataFilters | None) -> Where | None:
    """Read filters; None where they say nothing.

    Raises:
        BadArgument: a key, an operator or a value is invalid; the error names its place.
        LimitExceeded: the filters are nested too deep.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise BadArgument.at("filters", f"is a {type(filters).__name__}; pass MetadataFilters")
    return _joined(filters, "filters", 1) if filters.filters else None


def _joined(filters: MetadataFilters, path: str, depth: int) -> Where:
    if depth > limits.FILTER_DEPTH_MAX:
        raise LimitExceeded.over("filters", "FILTER_DEPTH_MAX", depth, limits.FILTER_DEPTH_MAX)
    parts = tuple(
        _joined(part, f"{path}[{place}]", depth + 1)
        if isinstance(part, MetadataFilters)
        else _compared(part, f"{path}[{place}]")
        for place, part in enumerate(filters.filters)
    )
    condition = filters.condition or FilterCondition.AND
    if condition == FilterCondition.AND or not parts:
        return Every(parts)
    return Either(parts) if condition == FilterCondition.OR else Negation(Either(parts))


def _compared(given: MetadataFilter, path: str) -> Where:
    if not given.key:
        raise BadArgument.at(f"{path}.key", "is empty; pass the name of a metadata field")
    test = OPERATORS.get(given.operator)
    if test is None:
        raise BadArgument.at(f"{path}.operator", f"{given.operator!s:.40} is an unknown operator here")
    value = _value(given, f"{path}.value")
    if given.key == VIF or given.key.startswith(f"{VIF}."):
        return Compare(tuple(given.key.split(".")), test, value)
    own = Compare((given.key,), test, value)
    if given.key not in _REF_DOC_NAMES:
        return own
    theirs = Compare((given.key,), _is_there, None)  # a caller's own field of that name comes first
    return Either((Every((theirs, own)), Every((Negation(theirs), Compare((REF_DOC,), test, value)))))


def _value(given: MetadataFilter, path: str) -> Any:
    """Check that a value can be right for its operator, of whatever field."""
    value = given.value
    if given.operator in _SEQUENCES and not isinstance(value, str | list):
        raise BadArgument.at(path, f"of {given.operator.name} is a {type(value).__name__}; pass a list")
    if given.operator in _TEXTS and not isinstance(value, str):
        raise BadArgument.at(path, f"of {given.operator.name} is a {type(value).__name__}; pass text")
    if given.operator in _ORDERS and value is None:
        raise BadArgument.at(path, f"of {given.operator.name} is None; pass a number or text")
    return frozen(value, path)
