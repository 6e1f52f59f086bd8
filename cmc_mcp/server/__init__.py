"""Serving over MCP: wiring, principals, transports.

Importing this package loads nothing; the names load the SDK on first use.
"""

from __future__ import annotations

import gc
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmc_mcp.server.app import create_server
    from cmc_mcp.server.transports import serve_http, serve_stdio

__all__ = ["create_server", "serve_http", "serve_stdio"]

_HOMES = {"create_server": "app", "serve_http": "transports", "serve_stdio": "transports"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(_imported(f"cmc_mcp.server.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _imported(module: str) -> ModuleType:
    """Import a module without garbage collections on the way, which would cost a tenth of the time and free nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()  # what was just loaded stays for good: later collections need not look at it
        if was_on:
            gc.enable()
