"""Arguments and schemas: strict reading of what an agent sends, and lean JSON Schema of what a tool takes and gives."""

from __future__ import annotations

import json
from collections.abc import Container, Hashable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError, WithJsonSchema, create_model

from cmc_mcp import limits
from cmc_mcp.errors import InvalidInput, LimitExceeded, Problem, brief
from cmc_mcp.limits import MESSAGE_ELEMENTS_MAX, PROBLEMS_MAX
from cmc_mcp.verbs.argument import FORMS, About, Form, Verb

Schema = dict[str, JsonValue]


class Arguments(BaseModel):
    """Base of what is read from the wire: unknown arguments are refused, and absent is the same as null."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


V = TypeVar("V", bound=Verb[Any])

Reference = Annotated[Annotated[int, Strict()] | str, WithJsonSchema({"type": "string"})]
"""A snapshot id, a label, a transaction number or a time. A bare number is a transaction, so it is kept as one."""

Tags = Annotated[dict[str, str | None], WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}})]
"""Names to values; where tags are merged, a null removes one."""


class Claim(Arguments):
    """A statement in three parts, so that contradictions can be seen."""

    subject: str
    predicate: str
    object: str
    many: bool = Field(default=False, description="several objects may hold at once")


_TAGGED: Final = ("tags", "tag set", "matching")
_NAME_CHARS: Final = 80
_TOLD_MAX: Final = 4 * PROBLEMS_MAX  # of what pydantic tells; some tell the same

# What pydantic calls an expectation, in the words of our messages.
_EXPECTED: Final[Mapping[str, str]] = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "an object",
    "model": "an object",
    "list": "a list",
}


TYPES: Final[Mapping[Form, object]] = {
    **dict.fromkeys(FORMS, str), "number": float, "seconds": int, "count": int, "flag": bool, "texts": list[str],
    "tags": Tags, "tag set": Tags, "matching": Tags, "claim": Claim, "map": dict[str, JsonValue], "point": Reference,
}  # fmt: skip
"""What each form is on the wire; text unless it says otherwise."""


def published(verb: type[Verb[Any]]) -> type[Arguments]:
    """Return the model of what a tool takes: the verb's arguments but those that are left to the library."""
    return _published(cast("Hashable", verb))


@cache
def _published(verb: Hashable) -> type[Arguments]:
    named = cast("type[Verb[Any]]", verb)
    taken: dict[str, Any] = {
        name: _field(about) for name, about in named.abouts.items() if about.argument.tool is not None
    }
    return create_model(f"{named.__name__}Arguments", __base__=Arguments, **taken)


def _field(about: About) -> tuple[object, object]:
    argument = about.argument
    type_: Any = cast("Any", Literal)[argument.options] if argument.form == "choice" else TYPES[argument.form]
    default = argument.tool_default or about.default
    if default is None and not about.required:
        type_ = type_ | None
    alias = about.name.rstrip("_")  # `from` is a word of Python's own
    return type_, Field(
        ... if about.required else default,
        description=argument.tool or None,
        alias=None if alias == about.name else alias,
    )


def parse(verb: type[V], raw: Mapping[str, object]) -> V:
    """Read a tool's arguments as the verb's.

    Some clients send objects and lists as JSON text; where neither the field takes text nor the text is anything else,
    it is read as what it holds.

    Raises:
        InvalidInput: every problem, each with its path; unknown arguments by name, with the valid ones.
        LimitExceeded: an argument has more values than its limit.
    """
    model = published(verb)
    known = cast("Mapping[str, object]", input_schema(model)["properties"])
    unknown = [name for name in raw if name not in known]
    left_out = frozenset(unknown[PROBLEMS_MAX:])
    try:
        asked = model.model_validate(_opened(verb, known, raw, left_out))
    except ValidationError as error:
        told = error.errors(include_url=False)
        problems = [_problem(model, verb.verb, cast("Mapping[str, object]", found)) for found in told[:_TOLD_MAX]]
        more = len(told[_TOLD_MAX:]) + len(left_out)
    else:
        return verb(**{name: _plain(verb.abouts[name], getattr(asked, name)) for name in model.model_fields})
    raise InvalidInput.of(list(dict.fromkeys(problems)), more)


def _plain(about: About, value: object) -> object:
    """Write a value as the library takes it."""
    if isinstance(value, Claim):
        return value.model_dump()
    if isinstance(value, dict) and about.argument.form == "matching":
        return {name: part or "" for name, part in value.items()}
    if isinstance(value, dict) and about.argument.form == "tag set":
        return {name: part for name, part in value.items() if part is not None}
    return value


def _opened(
    verb: type[Verb[Any]], known: Mapping[str, object], raw: Mapping[str, object], left_out: Container[str]
) -> dict[str, object]:
    out: dict[str, object] = {}
    for name, value in raw.items():
        if name in left_out:
            continue
        schema = cast("Mapping[str, object]", known.get(name, {}))
        if isinstance(value, str) and schema.get("type") in ("object", "array"):
            value = _read(value)
        about = verb.abouts.get(name)
        if about is not None and isinstance(value, dict | list):
            named, maximum = elements_max(about, type(value))
            if len(value) > maximum:
                raise LimitExceeded.over(name, named, len(value), maximum)  # before it is copied
        if value is not None:
            out[name] = value
    return out


def elements_max(about: About, given: type) -> tuple[str, int]:
    """Return the name of the limit on how many values an argument of this type may have, and the limit."""
    named = "MESSAGE_ELEMENTS_MAX"
    if about.argument.form == "texts" and given is list:
        named = about.argument.limit
    elif about.argument.form in _TAGGED and given is dict:
        named = "TAGS_MAX"
    return named, int(getattr(limits, named))


def _read(text: str) -> object:
    """Return the list or object that a text holds as JSON; the text itself where it holds anything else, or too much."""
    if sum(map(text.count, ",[{")) > MESSAGE_ELEMENTS_MAX:
        return text
    try:
        opened: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return opened if isinstance(opened, dict | list) else text


def _problem(model: type[Arguments], tool: str, found: Mapping[str, object]) -> Problem:
    location = [str(part) for part in cast("tuple[int | str, ...]", found["loc"]) if part not in ("int", "str")]
    path, kind = ".".join(location), str(found["type"])
    if kind == "extra_forbidden":
        inner = model if len(location) == 1 else Claim
        known = list(cast("Mapping[str, object]", input_schema(inner)["properties"]))
        near = get_close_matches(location[-1][:_NAME_CHARS], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        what = tool if len(location) == 1 else location[0]
        return Problem(path[:_NAME_CHARS], f"is an unknown argument of {what}; {hint}use one of {', '.join(known)}")
    if kind == "missing":
        return Problem(path, "is required")
    given = _kind_of(found.get("input"))
    if kind == "literal_error":
        options = cast("Mapping[str, object]", found.get("ctx", {})).get("expected", "")
        return Problem(path, f"is {given}; pass {options}")
    expected = _EXPECTED.get(kind.split("_", maxsplit=1)[0])
    return Problem(path, f"is {given}; pass {expected}" if expected else f"is {given}, which does not fit here")


def _kind_of(value: object) -> str:
    if isinstance(value, str):
        return f"{brief(value, 60)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return f"the number {brief(value)}"
    return "a list" if isinstance(value, list | tuple) else "an object"


# ---------------------------------------------------------------------- schemas
@cache
def input_schema(model: type[BaseModel]) -> Schema:
    """Return the lean JSON Schema of a tool's arguments; it is made once for each model."""
    made = cast(Schema, model.model_json_schema(by_alias=True))
    return cast(Schema, _lean(_inlined(made, made.get("$defs", {}))))


def output_schema(model: type[BaseModel], depth: int) -> Schema:
    """Return the lean JSON Schema of a result, objects deeper than `depth` left open: what is published with the tool."""
    made = cast(Schema, model.model_json_schema(by_alias=True, mode="validation"))
    return cast(Schema, _shallow(_lean(_inlined(made, made.get("$defs", {}))), depth))


def _inlined(node: JsonValue, definitions: JsonValue) -> JsonValue:
    """Put each definition where it is referred to; ours are never recursive."""
    if isinstance(node, list):
        return [_inlined(part, definitions) for part in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        target = cast("dict[str, JsonValue]", definitions)[reference.rpartition("/")[2]]
        siblings = {name: part for name, part in node.items() if name != "$ref"}
        return _inlined({**cast("dict[str, JsonValue]", target), **siblings}, definitions)
    return {name: _inlined(part, definitions) for name, part in node.items() if name != "$defs"}


def _lean(node: JsonValue, *, names: bool = False) -> JsonValue:
    """Drop what costs tokens and says nothing: titles, docstrings of models, nulls, defaults that are null or empty."""
    if isinstance(node, list):
        return [_lean(part) for part in node]
    if not isinstance(node, dict):
        return node
    if names:  # the keys are property names, not keywords
        return {name: _lean(part) for name, part in node.items()}
    options = node.get("anyOf")
    if isinstance(options, list):
        kept = [part for part in options if part != {"type": "null"}]
        if len(kept) == 1 and isinstance(kept[0], dict):
            node = {**{name: part for name, part in node.items() if name != "anyOf"}, **kept[0], **_described(node)}
    out: Schema = {}
    for name, part in node.items():
        if name == "title" or (name == "additionalProperties" and part is True):
            continue
        if name == "description" and "properties" in node:
            continue
        if name == "default" and part in (None, [], {}, "", False, 0):
            continue
        out[name] = _lean(part, names=name == "properties")
    return out


def _described(node: Schema) -> Schema:
    return {"description": node["description"]} if "description" in node else {}


def _shallow(node: JsonValue, depth: int) -> JsonValue:
    if isinstance(node, list):
        return [_shallow(part, depth) for part in node]
    if not isinstance(node, dict):
        return node
    if "properties" in node and depth == 0:
        return {"type": "object"}
    out: Schema = {}
    for name, part in node.items():
        if name in ("additionalProperties", "default") and not isinstance(part, dict):
            continue  # additive: a newer server may say more
        if name == "properties" and isinstance(part, dict):
            out[name] = {key: _shallow(value, depth - 1) for key, value in part.items()}
        else:
            out[name] = _shallow(part, depth)
    return out
