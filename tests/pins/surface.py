"""What others rely on: error codes, commands, exit codes, contracts, tools on the wire, public names and signatures."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import cmc_mcp
from cmc_mcp import Collection, Entry, Found, Memory
from cmc_mcp.errors import CmcError
from tests.pins import doors

DOCUMENTED: Final = ("cmc_mcp.errors", "cmc_mcp.merkle", "cmc_mcp.adapters")
"""The modules that the package says are public, beside its names."""
_ROOT: Final = Path(cmc_mcp.__file__).parent
_REQUESTS: Final = (
    {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "pins", "version": "1"}},
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 3, "method": "resources/list"},
    {"jsonrpc": "2.0", "id": 4, "method": "resources/templates/list"},
    {"jsonrpc": "2.0", "id": 5, "method": "prompts/list"},
)  # fmt: skip


def sha(data: bytes) -> str:
    """Return a digest that tells bytes apart."""
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------------- errors
def _below(error: type[CmcError]) -> Iterator[type[CmcError]]:
    yield error
    for below in error.__subclasses__():
        yield from _below(below)


def error_lines() -> dict[str, list[str]]:
    """Return every class of error with its code and its parents."""
    found = {
        error for error in _below(CmcError) if error.__module__ == CmcError.__module__
    }  # adapters may be loaded or not
    lines = [
        f"{error.__module__}.{error.__qualname__} = {error.code!r}: "
        + " < ".join(base.__name__ for base in error.__mro__[1:-2])
        for error in found
    ]
    return {"errors": sorted(lines)}


# ---------------------------------------------------------------------- the command line
def _option(parameter: Any) -> str:
    kind = parameter.param_type_name
    spelt = " ".join([*parameter.opts, *parameter.secondary_opts])
    asked = parameter.type_descriptor.annotation
    type_ = asked.__name__ if isinstance(asked, type) else str(asked)
    more = {
        name: getattr(parameter, name, None)
        for name in ("required", "multiple", "is_flag", "envvar", "metavar", "hidden")
    }
    said = "".join(f" {name}={value}" for name, value in more.items() if value)
    count = f" nargs={parameter.nargs}" if parameter.nargs != 1 else ""
    bounds = f" {parameter.min}..{parameter.max}" if (parameter.min, parameter.max) != (None, None) else ""
    return f"  {kind} {spelt}: {type_}{bounds} = {parameter.default!r}{count}{said}"


def _commands(command: Any, path: str) -> Iterator[str]:
    yield f"{path}{' (hidden)' if command.hidden else ''}"
    yield from (_option(parameter) for parameter in command.params)
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{path} {name}")


def command_lines() -> dict[str, list[str]]:
    """Return every command with its arguments, options, flags and defaults, in the order of the help."""
    return {"commands": list(_commands(doors.cli_root(), "cmc"))}


def exit_codes() -> dict[str, list[str]]:
    """Run commands that end in each way, in this process; return the exit code of each."""
    with tempfile.TemporaryDirectory() as folder:
        return {"exit codes": _exit_codes(Path(folder)), "their meaning": _written(doors.exit_meanings())}


def _written(codes: Mapping[str, int]) -> list[str]:
    return [f"{name} = {code}" for name, code in codes.items()]


def _exit_codes(folder: Path) -> list[str]:
    store, out = str(folder / "memory.db"), []
    steps = (
        ("--version",), (), ("--help",), ("nonsense",), ("recall",), ("recall", "x", "--limit", "none"),
        ("recall", "anything"), ("remember", "The deploy target is Fly.io"), ("remember", " "),
        ("recall", "deploy target"), ("recall", "quantum"), ("recall", "deploy", "--workspace", "other"),
        ("snapshot", "good"), ("snapshot", "good", "--json"), ("log",), ("verify",), ("rollback", "nowhere"),
        ("rollback", "good", "--dry-run"), ("history", "atom_00000000"), ("quarantine", "list"), ("forget",),
        ("recall", "deploy", "--store", str(folder)), ("serve", "--nonsense"), ("doctor", "--nonsense"),
    )  # fmt: skip
    for arguments in steps:
        front = [] if "--store" in arguments else ["--store", store]
        code = doors.run_cli(*(front if arguments else []), "--no-model", *arguments) if arguments else doors.run_cli()
        out.append(f"cmc {' '.join(arguments).replace(str(folder), 'FOLDER')}: {code}")
    return out


# ---------------------------------------------------------------------- contracts and tools
def contract_lines() -> dict[str, list[str]]:
    """Return the digest of each published contract's bytes."""
    files = sorted(resources.files("cmc_mcp.contracts.v1").iterdir(), key=lambda entry: entry.name)
    return {"contracts/v1": [f"{file.name}: {sha(file.read_bytes())}" for file in files if file.name.endswith(".json")]}


def wire_answers() -> dict[int, bytes]:
    """Talk to the server over bare pipes; return the line it answered each request with."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CMC_")},
            "CMC_STORE": str(Path(folder, "memory.db")), "CMC_CONFIG": str(Path(folder, "none.toml")),
        }  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-m", "cmc_mcp.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as server:
            assert server.stdin is not None and server.stdout is not None
            out = {}
            for request in _REQUESTS:
                server.stdin.write(json.dumps(request).encode() + b"\n")
                server.stdin.flush()
                if (number := request.get("id")) is not None:
                    assert isinstance(number, int)
                    out[number] = server.stdout.readline()
            server.stdin.close()
    return out


def wire_lines() -> dict[str, list[str]]:
    """Return the digests of what the server says of itself, as bytes; of its tools, part by part."""
    answers = wire_answers()
    names = {request["id"]: request["method"] for request in _REQUESTS if "id" in request}
    tools = json.loads(answers[2])["result"]["tools"]
    parts = [
        f"{tool['name']}.{name}: {sha(json.dumps(part, ensure_ascii=False).encode())}"
        for tool in tools
        for name, part in tool.items()
        if name != "name"
    ]
    return {
        "on the wire": [f"{names[number]}: {len(line)} bytes {sha(line)}" for number, line in answers.items()],
        "tools/list": parts,
        "descriptions of tools": [
            f"{tool['name']}: {json.dumps(tool['description'], ensure_ascii=False)}" for tool in tools
        ],
    }


# ---------------------------------------------------------------------- names
def _signature(function: Any) -> str:
    """Write a signature without its annotations, which may move."""
    shown = inspect.signature(function)
    plain = [parameter.replace(annotation=parameter.empty) for parameter in shown.parameters.values()]
    return str(shown.replace(parameters=plain, return_annotation=shown.empty))


def _members(owner: type) -> Iterator[str]:
    for name, member in sorted(vars(owner).items()):
        if name.startswith("_"):
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        yield f"{owner.__name__}.{name}{_signature(function)}" if callable(function) else f"{owner.__name__}.{name}"


def _functions(package: Any) -> Iterator[str]:
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for name, member in sorted(vars(module).items()):
            if inspect.isfunction(member) and member.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{found.name}.{name}{_signature(member)}"


def _fields(owner: Any) -> Iterator[str]:
    for field in dataclasses.fields(owner):
        default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
        yield f"{owner.__name__}.{field.name}{default}"


def _classes(file: Path) -> Iterator[str]:
    """Yield the public names of a module that imports a framework, without importing it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        yield f"{file.stem}.{node.name}"
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if inner.name == "__init__" or not inner.name.startswith("_"):
                named = [one.arg for one in (*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs)]
                yield f"{file.stem}.{node.name}.{inner.name}({', '.join(named)})"


def name_lines() -> dict[str, list[str]]:
    """Return the public names, and the signatures of the facade."""
    modules: Mapping[str, Any] = {name: importlib.import_module(name) for name in DOCUMENTED}
    adapters = sorted((_ROOT / "adapters").resolve().glob("*.py"))
    return {
        "cmc_mcp.__all__": list(cmc_mcp.__all__),
        "public modules": list(DOCUMENTED),
        "cmc_mcp.merkle": list(_functions(modules["cmc_mcp.merkle"])),
        "cmc_mcp.adapters": [line for file in adapters if not file.stem.startswith("_") for line in _classes(file)],
        "facade": [*_members(Memory), *_members(Collection), *_fields(Entry), *_fields(Found)],
    }


def migration_lines() -> dict[str, list[str]]:
    """Return the number, title and checksum of every migration, of both backends."""
    return {
        f"migrations of {backend}": [
            f"{number} | {title} | {checksum}" for number, title, checksum in doors.migrations(backend)
        ]
        for backend in ("sqlite", "postgres")
    }
