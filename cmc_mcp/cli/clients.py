"""Ready-to-paste configuration for the programs that speak MCP."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Final, NamedTuple

from cmc_mcp.cli.session import Session
from cmc_mcp.environment import EMBEDDERS, shown
from cmc_mcp.errors import InvalidInput


class Snippet(NamedTuple):
    """What to paste, and where."""

    client: str
    where: str
    text: str


CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")
_NAME: Final = "memory"


def command_of(session: Session, workspace: str) -> list[str]:
    """Return the command that serves this memory, with the store and the workspace visible in it."""
    asked = session.configuration()
    words = [sys.executable, "-m", "cmc_mcp", "serve", "--store", shown(asked.store), "--workspace", workspace]
    if asked.objects:
        words += ["--objects", shown(asked.objects)]
    if asked.embedder != EMBEDDERS[0]:
        words += ["--embedder", asked.embedder]
    if asked.principal:
        words += ["--principal", asked.principal]
    return words


def snippets(session: Session, client: str | None) -> list[Snippet]:
    """Return the configuration of one client, or of all.

    A client that runs in a project gets the workspace `auto`, so that projects do not share memories by accident;
    Claude Desktop knows no project, and gets the configured one. `--workspace` decides otherwise.

    Raises:
        InvalidInput: the client is unknown.
    """
    if client is not None and client not in CLIENTS:
        raise InvalidInput.at("client", f"{client!r:.40} is unknown; use one of {', '.join(CLIENTS)}")
    project = session.workspace or "auto"
    named = session.workspace or session.configuration().workspace
    in_project, anywhere = command_of(session, project), command_of(session, named)
    made = {
        "claude-desktop": Snippet(
            "Claude Desktop",
            "claude_desktop_config.json (macOS: ~/Library/Application Support/Claude, Windows: %APPDATA%\\Claude)",
            _json("mcpServers", anywhere),
        ),
        "claude-code": Snippet(
            "Claude Code",
            "run this in the project, or put the JSON of Cursor into .mcp.json",
            f"claude mcp add {_NAME} -- {shlex.join(in_project)}",
        ),
        "cursor": Snippet(
            "Cursor", ".cursor/mcp.json in the project (or ~/.cursor/mcp.json)", _json("mcpServers", in_project)
        ),
        "vscode": Snippet("VS Code", ".vscode/mcp.json in the project", _json("servers", in_project, type="stdio")),
    }
    return [made[name] for name in CLIENTS if client in (None, name)]


def _json(key: str, words: list[str], **more: str) -> str:
    return json.dumps({key: {_NAME: {**more, "command": words[0], "args": words[1:]}}}, indent=2, ensure_ascii=False)
