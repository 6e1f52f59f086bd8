"""The application: the options in front of the verb, errors as messages, exit codes."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Final, TypeVar

import typer

from cmc_mcp import __version__
from cmc_mcp.cli.session import DONE, INTERRUPTED, REFUSED, USAGE, Session
from cmc_mcp.errors import CmcError, InvalidInput

DAILY: Final = "Remember and recall"
TIME: Final = "Look back and take back"
PROOF: Final = "Prove and keep"
CARE: Final = "Set up and look after"
_BUG: Final = 70  # EX_SOFTWARE: none of the four codes that mean something
_FLAGS: Final = ("--json", "--no-model", "--version")
_GROUPS: Final = ("verbs", "looking", "sources", "keeping", "upkeep", "storage", "setup")
"""The modules that register the commands, in the order of the help."""
_VALUES: Final = ("--store", "--workspace", "--principal", "--objects", "--embedder")

app = typer.Typer(
    name="cmc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Memory for AI agents: remembered by meaning, versioned, taken back and proved.\n\n"
    "Everything told becomes a content-addressed memory in an append-only ledger; every state can be recalled, "
    "compared, rolled back to and verified.",
    epilog="Exit codes: 0 done, 1 the answer is no, 2 bad usage, 3 the store refused. "
    "The options above may stand anywhere. Start with: cmc demo",
)

F = TypeVar("F", bound=Callable[..., object])


def command(name: str, panel: str, example: str, *, into: typer.Typer = app) -> Callable[[F], F]:
    """Register a command, with its place in the help and an example."""

    def register(function: F) -> F:
        text = inspect.cleandoc(function.__doc__ or "")
        paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
        into.command(name, help="\n\n".join(paragraphs), rich_help_panel=panel, epilog=f"Example:  {example}")(function)
        return function

    return register


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cmc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_URL", help="Where the memory is (or CMC_STORE; default: the platform's data folder)."
        ),
    ] = None,
    workspace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Which workspace (or CMC_WORKSPACE); 'auto' is the repository this folder belongs to."
        ),
    ] = None,
    principal: Annotated[
        str | None, typer.Option(metavar="NAME", help="As whom to write (or CMC_PRINCIPAL); witnesses bear the name.")
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where large content is kept (or CMC_OBJECTS; default: with the rest of the store)."
        ),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Which embedding model: bundled or multilingual (or CMC_EMBEDDER; default: bundled)."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result model as JSON; errors too, on stderr.")
    ] = False,
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Load no embedding model: full text alone. Quicker to start.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = Session(store, workspace, principal, json, not no_model, objects, embedder=embedder)


def complete() -> typer.Typer:
    """Load every group of commands; return the application with them in the order of the help, whatever loaded first."""
    places = {import_module(f"cmc_mcp.cli.{name}").__name__: place for place, name in enumerate(_GROUPS)}
    app.registered_commands.sort(key=lambda found: places[found.callback.__module__] if found.callback else -1)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code. Errors become one message on standard error."""
    complete()
    ordered = hoisted(arguments)
    as_json = "--json" in ordered[: _front(ordered)]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter shows its number
    try:
        code = typer.main.get_command(app).main(args=ordered, prog_name="cmc", standalone_mode=False)
    except InvalidInput as error:
        return _fail(error.as_dict(), USAGE, as_json)
    except CmcError as error:
        return _fail(error.as_dict(), REFUSED, as_json)
    except typer.TyperException as error:
        if not error.format_message():  # no arguments: the help was shown
            return USAGE
        hint = "`cmc --help` lists the commands, `cmc VERB --help` the arguments"
        return _fail({"code": "usage", "message": error.format_message(), "hint": hint}, USAGE, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit:  # only so does typer end when whoever read us went away, as in `cmc log | head -1`
        return DONE
    except BrokenPipeError:  # the same, met while flushing
        # whoever read us went away; let nothing complain when Python flushes what is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:  # a path that no file can have, say; none of ours leaves a function as such
        named = f"{error.filename}: " if error.filename else ""
        return _fail({"code": "store", "message": f"{named}{error.strerror or error}"}, REFUSED, as_json)
    except Exception:
        import traceback

        traceback.print_exc()
        print("this is a bug in cmc: please report it with the lines above", file=sys.stderr)  # noqa: T201
        return _BUG
    if code == INTERRUPTED:
        message = "interrupted; a change that was not complete was dropped whole, what was complete is kept"
        return _fail({"code": "interrupted", "message": message}, INTERRUPTED, as_json)
    return code if isinstance(code, int) else DONE


def _fail(error: Mapping[str, object], code: int, as_json: bool) -> int:
    from cmc_mcp.model.shown import escaped, flat

    if as_json:
        sys.stderr.write(escaped(json.dumps(dict(error), ensure_ascii=False)) + "\n")
        return code
    sys.stderr.write(f"cmc: {flat(str(error['message']))}\n")
    if hint := error.get("hint"):
        sys.stderr.write(f"     {flat(str(hint))}\n")
    return code


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Move the general options to the front, so that they may stand anywhere before a `--`.

    >>> hoisted(["recall", "where?", "--json", "--store", "m.db", "--", "--json"])
    ['--json', '--store', 'm.db', 'recall', 'where?', '--', '--json']
    """
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            return [*front, *rest, argument, *left]
        if argument in _FLAGS or argument.startswith(tuple(f"{name}=" for name in _VALUES)):
            front.append(argument)
        elif argument in _VALUES and left:
            front += [argument, left.pop(0)]
        else:
            rest.append(argument)
    return [*front, *rest]


def _front(arguments: Sequence[str]) -> int:
    """Return how many of the arguments stand before the verb."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in _VALUES else 1
    return position
