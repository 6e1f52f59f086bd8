"""What every command is handed: the options in front of the verb, and the memory opened by them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from cmc_mcp.cli.show import Out
from cmc_mcp.errors import InvalidInput, NotFound, StoreError
from cmc_mcp.model.shown import escaped

if TYPE_CHECKING:
    from pydantic import JsonValue

    from cmc_mcp.environment import Configuration
    from cmc_mcp.memory import Memory
    from cmc_mcp.model.results import Result

Use = Literal["read", "change", "write"]
DONE, NO, USAGE, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes: done; the answer is no; bad usage; the store refused; Ctrl-C."""


@dataclass(slots=True)
class Session:
    """The options that stand in front of every verb."""

    store: str | None = None
    workspace: str | None = None
    principal: str | None = None
    json: bool = False
    model: bool = True
    objects: str | None = None
    matrix_bytes: str | None = None
    embedder: str | None = None
    out: Out = field(default_factory=Out)

    def configuration(self) -> Configuration:
        """Resolve the configuration: these options, then the environment, then the file.

        Raises:
            InvalidInput: a value is malformed.
            StoreError: the file cannot be read.
        """
        from cmc_mcp.environment import configuration

        return configuration(
            store=self.store,
            workspace=self.workspace,
            principal=self.principal,
            objects=self.objects,
            matrix_bytes=self.matrix_bytes,
            embedder=self.embedder,
        )

    @contextmanager
    def memory(self, use: Use = "read") -> Iterator[Memory]:
        """Open the memory: to read, to change what is there, or to write, which alone creates a store or a workspace.

        Raises:
            NotFound: the store does not exist yet.
            StoreError: it cannot be opened.
        """
        asked = self.configuration()
        path = path_of(asked)
        if path is not None and path.is_dir():
            raise StoreError(f"{path} is a folder; --store or CMC_STORE names the file, such as {path / 'memory.db'}")
        if use != "write":
            if path is not None and not path.exists():
                raise NotFound(
                    f"no store exists at {path} yet; `cmc remember` or `cmc import` creates one, --store names another"
                )
            with self.opened(asked, read_only=True) as memory:
                known = memory.workspaces()
                if asked.workspace not in known:
                    raise NotFound(
                        f"the workspace {asked.workspace} is not in this store yet; the store has {', '.join(known) or 'none'}",
                        workspaces=known,
                    )
                if use == "read":
                    yield memory
                    return
        with self.opened(asked) as memory:
            yield memory

    def writable(self) -> bool:
        """Return whether the store's file and folder may be written."""
        path = path_of(self.configuration())
        return path is None or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))

    def opened(self, asked: Configuration, *, read_only: bool = False) -> Memory:
        """Open the memory that a configuration names."""
        from cmc_mcp.memory import Memory

        with self.progress("migrate the store, passages") as progress:
            return Memory.open(
                asked.store,
                workspace=asked.workspace,
                principal=asked.principal,
                embedder=asked.embedder if self.model else None,
                settings=asked.settings,
                key=asked.key,
                read_only=read_only,
                objects=asked.objects,
                progress=progress,
            )

    def answer(self, result: Result, show: Callable[[Out], None]) -> None:
        """Print a result: its model as JSON, or for people."""
        if self.json:
            self.print_json(result.lean())
        else:
            show(self.out)

    def print_json(self, value: JsonValue) -> None:
        """Print a value as JSON on standard output."""
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        sys.stdout.write(escaped(json.dumps(value, ensure_ascii=not utf8, indent=2)) + "\n")
        sys.stdout.flush()

    @contextmanager
    def progress(
        self, label: str, total: int | None = None, *, patience_s: float = 1.0
    ) -> Iterator[Callable[[int, int], None]]:
        """Show progress on standard error: a bar on a terminal, a line now and then elsewhere, after the patience."""
        from cmc_mcp.cli.progress import progress

        with progress(label, total, patience_s) as report:
            yield report


def path_of(asked: Configuration) -> Path | None:
    """Return the file that a configuration names; None when it names something else."""
    text = asked.store.removeprefix("file://")
    return None if "://" in text else Path(text).expanduser().absolute()


def whole_file(asked: Configuration) -> Path:
    """Return the file that a configuration names, for what deals with a file and the objects beside it.

    Raises:
        InvalidInput: the place names a database, or the objects are elsewhere.
    """
    from cmc_mcp.store.opening import file_of

    if asked.objects is not None:
        raise InvalidInput.at("objects", "are kept elsewhere, and this reaches those beside the file alone")
    return file_of(asked.store)


def session_of(context: typer.Context) -> Session:
    """Return the session of a command."""
    found = context.find_root().obj
    assert isinstance(found, Session)
    return found


def read_text(path: Path, what: str) -> str:
    """Read a small UTF-8 file that an option named; `-` is standard input.

    Raises:
        InvalidInput: the file cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput.at(what, f"{path} is not UTF-8 text (byte {error.start})") from error


def read_bytes(path: Path, what: str) -> bytes:
    """Read a file that an option named; `-` is standard input.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InvalidInput.at(what, f"{path} cannot be read ({error.strerror})") from error


def pairs(values: list[str] | None, what: str) -> dict[str, str] | None:
    """Read `name=value` options.

    Raises:
        InvalidInput: a pair lacks its `=`.

    >>> pairs(["topic=deploy"], "tag")
    {'topic': 'deploy'}
    """
    if not values:
        return None
    out: dict[str, str] = {}
    for value in values:
        name, sign, rest = value.partition("=")
        if not sign or not name:
            raise InvalidInput.at(what, f"{value!r:.60} is not of the form name=value; write one such as topic=deploy")
        out[name] = rest
    return out
