"""What the LangGraph adapter checks of a configuration and of operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ListNamespacesOp, MatchCondition, SearchOp, TTLConfig, tokenize_path
from pydantic import JsonValue

from cmc_mcp import limits
from cmc_mcp.adapters._langgraph_errors import BadOperation
from cmc_mcp.adapters._langgraph_filters import filter_text
from cmc_mcp.adapters._langgraph_items import MINUTE_US, VALUE
from cmc_mcp.embed.external import model_name
from cmc_mcp.errors import InvalidInput, LimitExceeded
from cmc_mcp.model.entries import coerced, json_text

WHOLE: Final = "$"


def fits(condition: MatchCondition, name: tuple[str, ...]) -> bool:
    """Return whether a namespace begins, or ends, with a path, label by label; `*` stands for any one label."""
    path = tuple(condition.path)
    part = name[: len(path)] if condition.match_type == "prefix" else name[max(0, len(name) - len(path)) :]
    return len(part) == len(path) and all(asked in ("*", label) for asked, label in zip(path, part, strict=True))


def plain(value: Mapping[str, object]) -> tuple[dict[str, JsonValue], str]:
    """Return a value as JSON holds it, and its text."""
    try:
        made: Any = coerced(value, VALUE)
        return made, json_text(made, VALUE, "CONTENT_BYTES_MAX", limits.CONTENT_BYTES_MAX)
    except LimitExceeded:
        raise
    except InvalidInput as error:
        raise BadOperation.of(error.problems) from error


def tokens_of(path: object, where: str) -> str | list[str]:
    if not isinstance(path, str) or not path:
        raise BadOperation.at(
            where, f"{path!r:.40} is not a path; pass text such as 'text', 'a.b' or 'messages[*].text'"
        )
    return path if path == WHOLE else tokenize_path(path)


def checked_index(index: IndexConfig | None) -> IndexConfig | None:
    if index is None:
        return None
    if not isinstance(index, Mapping):
        raise BadOperation.at("index", f"is a {type(index).__name__}; pass a map with dims, embed and fields")
    made: Any = dict(index)
    dims = made.get("dims", 0)
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 0:
        raise BadOperation.at("index.dims", f"{dims!r:.40} is not a number of dimensions; pass a whole number above 0")
    fields = made.get("fields")
    if fields is not None and (isinstance(fields, str) or not isinstance(fields, Sequence)):
        raise BadOperation.at("index.fields", "is a list of paths, or nothing for the whole value")
    config: IndexConfig = made
    return config


def checked_ttl(ttl: TTLConfig | None) -> TTLConfig | None:
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
        check_minutes(ttl.get("default_ttl"), "ttl.default_ttl")
    return ttl


def check_minutes(ttl: object, path: str) -> None:
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < limits.TIME_US_MAX / MINUTE_US:
        raise BadOperation.at(path, f"{ttl!r:.40} is not a number of minutes above 0; pass one, or None for no limit")


def check_page(op: SearchOp | ListNamespacesOp) -> None:
    _check_whole("limit", op.limit, 0)
    _check_whole("offset", op.offset, 0)
    if isinstance(op, SearchOp):
        query: object = op.query
        if query is not None and not isinstance(query, str):
            raise BadOperation.at("query", f"is a {type(query).__name__}; pass text")
        filter_text(op.filter)
        return
    if op.max_depth is not None:
        _check_whole("max_depth", op.max_depth, 1)
    for condition in op.match_conditions or ():
        kind: str = condition.match_type
        if kind not in ("prefix", "suffix"):
            raise BadOperation.at("match_conditions", f"{kind!r:.40} is not a valid match; use prefix or suffix")


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadOperation.at(name, f"{value!r:.40} is not a whole number of at least {least}")


def model_of(embed: object, embeddings: Embeddings) -> str:
    """Name what makes the vectors: a class and its model, or a function by its name."""
    if isinstance(embed, Embeddings | str):
        return model_name(embeddings)
    return str(getattr(embed, "__qualname__", None) or model_name(embed))[: limits.MODEL_ID_CHARS_MAX]


def searchable(text: str) -> str:
    """Return the text that an item is found by: with a space for each NUL, and no more of it than one text may be."""
    text = text.replace("\0", " ")
    if len(text) * 4 <= limits.CONTENT_BYTES_MAX:
        return text
    return text.encode("utf-8", "replace")[: limits.CONTENT_BYTES_MAX].decode("utf-8", "ignore")
