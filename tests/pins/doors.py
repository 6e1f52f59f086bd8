"""Every place where the pins reach behind the public surface: a refactoring that moves one of them changes this file alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from cmc_mcp.cli import app as command_line
from cmc_mcp.cli import session
from cmc_mcp.read.query import question
from cmc_mcp.store.postgres import schema as postgres
from cmc_mcp.store.sql import schema as sqlite
from cmc_mcp.verbs.models import Recall
from cmc_mcp.write.gate import decode_request, encode_request
from cmc_mcp.write.validate import RememberArguments, validate


def request_digest(arguments: RememberArguments) -> bytes:
    """Return the digest that an idempotency key is bound to (32 bytes)."""
    return validate(arguments).digest()


def quarantine_bytes(arguments: RememberArguments, principal: str) -> bytes:
    """Return what is kept of a request in quarantine."""
    return encode_request(validate(arguments), principal)


def released_digest(body: bytes) -> tuple[bytes, str]:
    """Return the digest of the request that bytes from quarantine are, and who made it."""
    request, principal = decode_request(body)
    return request.digest(), principal


def cursor_scope(workspace: str, settings: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return what a cursor of `recall` is bound to."""
    return question(Recall(**arguments)).scope(workspace, settings)


def migrations(backend: str) -> list[tuple[int, str, str]]:
    """Return the number, title and checksum of each migration of a backend."""
    steps = {"sqlite": sqlite.MIGRATIONS, "postgres": postgres.MIGRATIONS}[backend]
    return [(step.number, step.title, step.checksum) for step in steps]


def run_cli(*arguments: str) -> int:
    """Run the command line in this process; return its exit code."""
    return command_line.run(list(arguments))


def exit_meanings() -> dict[str, int]:
    """Return the exit codes of the command line by what they mean."""
    codes = {name: getattr(session, name) for name in ("DONE", "NO", "USAGE", "REFUSED", "INTERRUPTED")}
    return {**codes, "BUG": command_line._BUG}


def cli_root() -> Any:
    """Return the command line's tree."""
    run_cli("--version")  # registers every command
    return typer.main.get_command(command_line.app)
