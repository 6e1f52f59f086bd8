"""The reference pages of the documentation, made from the code: nothing in them is written by hand.

`pages()` is what `scripts/documentation.py` adds to the site; `python scripts/reference.py FOLDER` writes the Markdown itself.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final, NamedTuple

import anyio
import typer
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel
from wording import code, comments, document, first_line, module_spec, prose, table

import cmc_mcp
from cmc_mcp import errors, limits
from cmc_mcp.cli import app as commands
from cmc_mcp.prompts import load_prompts
from cmc_mcp.server.resources import add_resources
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.respond import failure

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = "reference"
Row = tuple[str, ...]


class Page(NamedTuple):
    """One page: its place in the site, its title in the navigation, its Markdown."""

    path: str
    title: str
    text: str


def pages() -> list[Page]:
    """Make every page of the reference, in the order of the navigation."""
    made = [
        *python_pages(),
        Page("command-line.md", "Command line", command_line()),
        Page("tools.md", "MCP tools", tools()),
        Page("errors.md", "Error codes", error_codes()),
        Page("settings.md", "Settings", settings()),
        Page("limits.md", "Limits", bounds()),
    ]
    return [page._replace(path=f"{FOLDER}/{page.path}") for page in made]


# ---------------------------------------------------------------------- Python
def python_pages() -> list[Page]:
    """Document the public names, by the module that holds them, and the public modules that the package names."""
    homes: dict[str, list[str]] = {}
    for name in cmc_mcp.__all__:
        value = getattr(cmc_mcp, name)
        if isinstance(value, type) and value is not cmc_mcp.Settings:  # they have a page of their own
            homes.setdefault(value.__module__, []).append(name)
    groups = {home: names for home, names in homes.items() if home not in public_modules()}
    made = [_names_page(home, names) for home, names in groups.items()]
    made += [_module_page(name) for name in public_modules()]
    rows = [
        (code(f"cmc_mcp.{name}"), first_line(value), _link(value))
        for name in cmc_mcp.__all__
        if isinstance(value := getattr(cmc_mcp, name), type)
    ]
    index = document(
        "Python",
        f"Version {cmc_mcp.__version__}. The names that `cmc_mcp` exports:",
        table(["name", "", "page"], rows),
        "And the public modules:",
        table(
            ["module", "", "page"],
            [(code(name), first_line(name), f"[{_title(name)}]({_file(name)})") for name in public_modules()],
        ),
    )
    return [Page("python/index.md", "Python", index), *(page._replace(path=f"python/{page.path}") for page in made)]


def public_modules() -> list[str]:
    """Return the modules that the package's docstring names as public, each package with its modules."""
    named = re.findall(r"`(cmc_mcp(?:\.\w+)+)`", cmc_mcp.__doc__ or "")
    out: list[str] = []
    for name in dict.fromkeys(named):
        out.append(name)
        out += [f"{name}.{module.name}" for module in iter_modules(module_spec(name).submodule_search_locations or ())]
    return out


def _link(value: type) -> str:
    own = value is cmc_mcp.Settings
    return "[settings](../settings.md)" if own else f"[{_title(value.__module__)}]({_file(value.__module__)})"


def _title(module: str) -> str:
    return module.removeprefix("cmc_mcp.").rpartition("model.")[2]


def _file(module: str) -> str:
    return _title(module) + ".md"


def _names_page(module: str, names: Sequence[str]) -> Page:
    values = [getattr(cmc_mcp, name) for name in names]
    models = [value for value in values if issubclass(value, BaseModel)]
    shown = _reached(models) if models else values
    parts = [_model(value) if issubclass(value, BaseModel) else f"::: {module}.{value.__name__}" for value in shown]
    about = first_line(module) if models else ""
    return Page(_file(module), _title(module), document(_title(module), about, *parts))


def _module_page(module: str) -> Page:
    return Page(_file(module), _title(module), document(_title(module), f"::: {module}"))


def _reached(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return models and every model that stands in one of their fields."""
    out: dict[type[BaseModel], None] = {}
    waiting = list(models)
    while waiting:
        model = waiting.pop(0)
        if model not in out:
            out[model] = None
            waiting += [found for field in model.model_fields.values() for found in _models_in(field.annotation)]
    return sorted(out, key=lambda model: model.__name__)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _model(model: type[BaseModel]) -> str:
    rows = [
        (
            code(name),
            _annotation(field.annotation),
            "required" if field.is_required() else code(repr(field.get_default(call_default_factory=True))),
            prose(field.description),
        )
        for name, field in model.model_fields.items()
    ]
    return f"## {model.__name__}\n\n{first_line(model)}\n\n" + table(["field", "type", "default", ""], rows)


def _annotation(annotation: Any) -> str:
    """Write a type; the models in it are links."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is typing.Literal:
        return ", ".join(code(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_annotation, arguments))
    if origin is not None:
        return f"{origin.__name__} of {', '.join(map(_annotation, arguments))}"
    return getattr(annotation, "__name__", str(annotation))


# ---------------------------------------------------------------------- command line
def command_line() -> str:
    """Document every command from the tree that the program itself runs."""
    with redirect_stdout(io.StringIO()):
        commands.run(["--version"])  # each command's module is imported, in the order of the help
    top = typer.main.get_command(commands.app)
    panels: dict[str, list[str]] = {}
    for words, command in _commands(top, ("cmc",)):
        panels.setdefault(command.rich_help_panel or _panel_of(top, words), []).append(_command(words, command))
    parts = [f"## {panel}\n\n" + "\n\n".join(texts) for panel, texts in panels.items()]
    return document("Command line", prose(top.help), prose(top.epilog), "## General options", _options(top), *parts)


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _commands(command, (*words, name))
        elif not command.hidden:
            yield (*words, name), command


def _panel_of(top: Any, words: Sequence[str]) -> str:
    return str(top.commands[words[1]].rich_help_panel)


def _command(words: Sequence[str], command: Any) -> str:
    name = " ".join(words)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    usage = " ".join(
        [name, *(_argument(param) for param in arguments), "[OPTIONS]" * (len(arguments) < len(command.params))]
    )
    example = (command.epilog or "").partition("Example:")[2].strip()
    parts = [f"### {name}", prose(command.help), f"```sh\n{usage}\n```", _options(command)]
    return "\n\n".join(part for part in [*parts, f"```sh\n{example}\n```" if example else ""] if part)


def _argument(param: Any) -> str:
    name = (param.metavar or param.name.upper()) + "…" * (param.nargs != 1)
    return name if param.required else f"[{name}]"


def _options(command: Any) -> str:
    rows = []
    for param in command.params:
        names = [param.metavar or param.name.upper()] if param.param_type_name == "argument" else param.opts
        value = f" {param.metavar}" if param.param_type_name == "option" and param.metavar else ""
        default = "" if param.default in (None, False, ()) or param.required else code(param.default)
        rows.append((", ".join(code(name + value) for name in names), prose(param.help), default))
    return table(["", "", "default"], rows) if rows else ""


# ---------------------------------------------------------------------- MCP
def tools() -> str:
    """Document the tools from their published contracts, and the resources and prompts as the server registers them."""
    parts = []
    for tool in TOOLS:
        contract = json.loads((ROOT / f"cmc_mcp/contracts/v1/{tool.name}.json").read_text(encoding="utf-8"))
        hints = [name.replace("_", " ") for name, on in dataclasses.asdict(tool.hints).items() if on]
        parts.append(
            "\n\n".join(
                [
                    f"## {tool.name}",
                    prose(tool.description).replace("\n", "\n\n"),
                    f"Hints: {', '.join(hints) or 'none'}.",
                    "Arguments:",
                    table(["argument", "type", "default", ""], _schema_rows(contract["arguments"])),
                    "Result:",
                    table(["field", "type", "default", ""], _schema_rows(contract["result"])),
                ]
            )
        )
    intro = (
        "The arguments and results are the contract, version 1: names and meanings stay, and more may come. The same as JSON"
        " Schema is in the package, under `cmc_mcp/contracts/v1`."
    )
    return document("MCP tools", intro, *parts, "## Resources", *_resources(), "## Prompts", *_prompts())


def _schema_rows(schema: Mapping[str, Any], path: str = "") -> Iterator[Row]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        at = f"{path}{name}"
        default = "required" if name in required else code(json.dumps(field["default"])) if "default" in field else ""
        yield code(at), _schema_type(field), default, prose(field.get("description"))
        inner = field.get("items", field)
        yield from _schema_rows(inner, at + ("[]." if inner is not field else "."))


def _schema_type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(code(value) for value in field["enum"])
    if "const" in field:
        return code(field["const"])
    if "anyOf" in field:
        return " or ".join(map(_schema_type, field["anyOf"]))
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_schema_type(field.get('items', {}))}"
    values = field.get("additionalProperties")
    return f"map to {_schema_type(values)}" if kind == "object" and isinstance(values, dict) else kind


def _resources() -> list[str]:
    server: MCPServer[Any] = MCPServer("reference")
    add_resources(server, typing.cast(Any, None))  # listing them reads nothing
    plain, templates = anyio.run(server.list_resources), anyio.run(server.list_resource_templates)
    rows = [(code(found.uri_template), prose(found.description)) for found in templates]
    rows += [(code(found.uri), prose(found.description)) for found in plain]
    return [table(["address", ""], rows)]


def _prompts() -> list[str]:
    rows = [
        (code(prompt.name), prose(prompt.description), ", ".join(code(each.name) for each in prompt.arguments or ()))
        for prompt in load_prompts()
    ]
    return [table(["prompt", "", "arguments"], rows)]


# ---------------------------------------------------------------------- errors
def error_codes() -> str:
    """Document the tree of errors: what each code means, and what an agent is told to do."""
    parts = []
    for depth, error in _tree(errors.CmcError, 0):
        said = failure("the tool", error("…")).content[0]
        advice = getattr(said, "text", "").partition("What to do: ")[2]
        parent = f"A kind of [{error.__mro__[1].code}](#{error.__mro__[1].code})." if depth > 1 else ""
        parts.append(
            f"## {error.code}\n\n{prose(inspect.getdoc(error))} {parent}\n\n`{error.__name__}` · {prose(advice)}"
        )
    rows = [
        (f"{'– ' * (depth - 1)}[{error.code}](#{error.code})", code(error.__name__), first_line(error))
        for depth, error in _tree(errors.CmcError, 0)
    ]
    exits = re.search(r"Exit codes:[^.]*\.", str(commands.app.info.epilog))
    intro = (
        "Every error that leaves a public function, a tool or a command has one of these codes. Codes are stable and meant"
        f" for programs, messages are meant for people. {exits[0] if exits else ''}"
    )
    return document("Error codes", intro, table(["code", "class", ""], rows), *parts)


def _tree(error: type[errors.CmcError], depth: int) -> Iterator[tuple[int, type[errors.CmcError]]]:
    if depth:  # the base itself is never raised
        yield depth, error
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)


# ---------------------------------------------------------------------- settings and limits
def settings() -> str:
    """Document every constant of the pipelines, with its default and what the source says beside it."""
    waiting, shown = [cmc_mcp.Settings], list[type]()
    while waiting:
        one = waiting.pop(0)
        if one not in shown:
            shown.append(one)
            held = [getattr(one(), field.name) for field in dataclasses.fields(one)]
            waiting += [type(value) for value in held if dataclasses.is_dataclass(value)]
    intro = (
        "Frozen values: `Memory.open(…, settings=Settings(…))`. Those that move an answer are part of its read point."
    )
    return document("Settings", intro, *map(_dataclass, shown))


def _dataclass(kind: type) -> str:
    beside, default = comments(inspect.getsource(kind)), kind()
    rows = [
        (code(field.name), _value(getattr(default, field.name)), prose(beside.get(field.name, "")))
        for field in dataclasses.fields(kind)
    ]
    return f"## {kind.__name__}\n\n{first_line(kind)}\n\n" + table(["setting", "default", ""], rows)


def _value(value: object) -> str:
    if not dataclasses.is_dataclass(value):
        return code(f"{value:_}" if type(value) is int else repr(value))
    changed = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"[{type(value).__name__}](#{type(value).__name__.lower()})" + (
        f" with {code(', '.join(changed))}" * bool(changed)
    )


def bounds() -> str:
    """Document every bound, under the heading that the source gives it."""
    source = inspect.getsource(limits)
    beside = comments(source)
    parts: list[tuple[str, list[Row]]] = []
    for line in source.splitlines():
        if line.startswith("# "):
            parts.append((line.removeprefix("# "), []))
        elif found := re.match(r"([A-Z][A-Z0-9_]+): Final", line):
            name = found[1]
            parts[-1][1].append((code(name), code(f"{getattr(limits, name):_}"), prose(beside.get(name, ""))))
    texts = [
        f"## {title[:1].upper()}{title[1:]}\n\n" + table(["limit", "value", ""], rows) for title, rows in parts if rows
    ]
    return document("Limits", first_line(limits), *texts)


def main() -> None:
    """Write the pages into the folder that is named."""
    for page in pages():
        path = Path(sys.argv[1]) / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
