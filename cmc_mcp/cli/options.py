"""Options: the parameters of a verb's command, made from its model; and what was typed, read as the model again."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import typer

from cmc_mcp.cli.app import command
from cmc_mcp.cli.session import Session, pairs, read_bytes, read_text, session_of
from cmc_mcp.errors import InvalidInput
from cmc_mcp.model.modality import BINARY
from cmc_mcp.verbs.argument import FORMS, About, Form, Option, Verb

if TYPE_CHECKING:
    from cmc_mcp.model.facts import ClaimArguments

_HASH: Final = re.compile(r"[0-9a-fA-F]{64}")
V = TypeVar("V", bound=Verb[Any])
Command = Callable[[Session, V], None]
TYPED: Final[Mapping[Form, object]] = MappingProxyType(
    {
        **dict.fromkeys(FORMS, str), "number": float, "seconds": int, "count": int, "flag": bool, "checkpoint": Path,
        "texts": list[str], "any": list[str], "tags": list[str], "tag set": list[str], "matching": list[str],
    }
)  # fmt: skip
"""What is typed for each form; text unless it says otherwise."""


def verb(
    model: type[V], panel: str, example: str, *, name: str = "", only: Sequence[str] = ()
) -> Callable[[Command[V]], Command[V]]:
    """Register the command of a verb, under its own name or another; with `only`, with just these of its arguments."""

    def register(function: Command[V]) -> Command[V]:
        def run(context: typer.Context, **typed: object) -> None:
            function(session_of(context), read(model, typed))

        made = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
        made += [parameter for about in _asked(model, only) for parameter in _parameters(about)]
        run.__doc__, run.__signature__ = function.__doc__, inspect.Signature(made)  # type: ignore[attr-defined]
        run.__module__ = function.__module__  # which says the group of a command
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in made}
        command(name or model.verb, panel, example)(run)
        return function

    return register


def read(model: type[V], typed: Mapping[str, Any]) -> V:
    """Read what was typed as the arguments of a verb.

    Raises:
        InvalidInput: a value is malformed, or given twice; a file that it names cannot be read.
    """
    given = {about.name: about.default for about in model.abouts.values()}
    for name, about in sorted(model.abouts.items(), key=lambda item: item[1].argument.form == "content"):
        if about.argument.cli is not None and (value := _value(about, typed)) not in (None, []):
            given[name] = value
    return model(**given)


def _asked(model: type[Verb[Any]], only: Sequence[str]) -> list[About]:
    """Return the arguments that the command takes, in the order of its help."""
    asked = [about for name, about in model.abouts.items() if about.argument.cli and (not only or name in only)]
    for about in list(asked):
        names, before = [one.name for one in asked], cast("Option", about.argument.cli).before
        if before in names:
            asked.remove(about)
            asked.insert(names.index(before), about)
    return asked


def _parameters(about: About) -> Iterator[inspect.Parameter]:
    """Yield what typer is to see of an argument: one parameter, or two where it can be given in two ways."""
    name, argument, default, required = about
    option, form = cast("Option", argument.cli), argument.form
    typed: Any = TYPED[form]
    if default is None or not option.shows_default or typed == list[str]:
        default = None
    if default is None and not required:
        typed = typed | None
    if option.place:
        metavar = None if option.more else option.metavar
        hint: object = typer.Argument(help=option.help, metavar=metavar, show_default=False)
    else:
        flags = (*option.flags, f"--{name.replace('_', '-')}") if form == "flag" and not option.flags else option.flags
        hint = typer.Option(*flags, metavar=option.metavar, help=option.help)
    yield _parameter("text" if form == "content" else name, typed, hint, default, required=required and not option.more)
    if form == "content":
        yield _parameter("file", Path | None, typer.Option("--file", "-f", help=option.more), None)
    elif option.more:
        hint = typer.Option(f"--{name}", metavar=option.metavar, help=option.more)
        yield _parameter(f"{name}_option", typed, hint, None)


def _parameter(name: str, typed: object, hint: object, default: object, *, required: bool = False) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[typed, hint],
    )


# ---------------------------------------------------------------------- what was typed
def _value(about: About, typed: Mapping[str, Any]) -> object:
    """Read one argument; None when it was not given."""
    name, argument, *_ = about
    value = typed.get(name)
    match argument.form:
        case "content":
            return _content(about, typed.get("text"), typed.get("file"), typed.get("modality") in BINARY)
        case "tags" | "tag set" | "matching":
            return pairs(value, "tag")
        case "claim":
            return claim_of(value)
        case "checkpoint":
            if name == "head" and _HASH.fullmatch(str(value)):
                return str(value)
            return None if value is None else checkpoint_text(read_text(value, name))
    again = typed.get(f"{name}_option")
    if value is not None and again is not None:
        raise InvalidInput.at(name, f"was given twice: as {name.upper()} and by --{name}")
    return again if value is None else value


def _content(about: About, text: str | None, file: Path | None, binary: bool) -> str | bytes | None:
    """Take the content from the argument, from a file, or from standard input."""
    if text is None and file is None and not about.required:
        return None
    if (text is None) == (file is None):
        raise InvalidInput.at("content", "must be passed exactly once: as TEXT, as - for standard input, or by --file")
    if file is None and text != "-":
        return text
    data = read_bytes(file or Path("-"), "file" if file else "content")
    if binary:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput.at(
            "content", f"is not UTF-8 text (byte {error.start}); say --modality image, audio or data"
        ) from error


def claim_of(text: str | None) -> ClaimArguments | None:
    """Read a claim written as `subject | predicate | object`.

    Raises:
        InvalidInput: the claim does not have three parts.

    >>> claim_of("production | deploys to | Fly.io")
    {'subject': 'production', 'predicate': 'deploys to', 'object': 'Fly.io'}
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split("|")]
    if len(parts) != 3:
        raise InvalidInput.at("claim", f"has {len(parts)} parts; write 'production | deploys to | Fly.io'")
    return {"subject": parts[0], "predicate": parts[1], "object": parts[2]}


def checkpoint_text(text: str) -> str:
    """Take the checkpoint out of what `cmc --json checkpoint` wrote; a bare checkpoint is itself."""
    if not text.lstrip().startswith("{"):
        return text
    from pydantic import ValidationError

    from cmc_mcp.model.results import CheckpointResult

    try:
        return CheckpointResult.model_validate_json(text).checkpoint
    except ValidationError as error:
        raise InvalidInput.at("checkpoint", "is neither a checkpoint nor the JSON of one") from error
