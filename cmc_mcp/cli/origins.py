"""Where each setting came from: an option, the environment, the file, or the default."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import platformdirs

from cmc_mcp.cli.session import Session
from cmc_mcp.environment import read_small


def origins_of(session: Session) -> dict[str, str]:
    """Return for store, workspace and principal where the value came from, in the order that `configuration` asks."""
    path = Path(os.environ.get("CMC_CONFIG", Path(platformdirs.user_config_dir("cmc")) / "cmc.toml"))
    try:
        file = tomllib.loads(read_small(path))
    except FileNotFoundError:
        file = {}
    given = {"store": session.store, "workspace": session.workspace, "principal": session.principal}
    out: dict[str, str] = {}
    for name, value in given.items():
        if value:
            out[name] = f"the option --{name}"
        elif os.environ.get(f"CMC_{name.upper()}"):
            out[name] = f"the environment, CMC_{name.upper()}"
        else:
            out[name] = f"the file {path}" if file.get(name) else "the default"
    return out
