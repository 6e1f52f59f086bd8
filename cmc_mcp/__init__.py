"""CMC: memory for AI agents that is content-addressed, bitemporal, versioned and provable.

The names below are the public surface, with the modules `cmc_mcp.errors`, `cmc_mcp.merkle` and `cmc_mcp.adapters`.
They load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmc_mcp.clock import Clock, FixedClock, SystemClock
    from cmc_mcp.collection import Collection
    from cmc_mcp.config import Settings
    from cmc_mcp.errors import CmcError
    from cmc_mcp.memory import Memory
    from cmc_mcp.model.entries import Entry, Found
    from cmc_mcp.model.results import (
        Diff,
        ForgetResult,
        HistoryResult,
        Item,
        RecallResult,
        Receipt,
        RollbackResult,
        SnapshotResult,
        VerifyResult,
    )
    from cmc_mcp.model.witness import Witness

__version__ = "0.1.0"

_HOMES = {
    "Clock": "clock",
    "CmcError": "errors",
    "Collection": "collection",
    "Diff": "model.results",
    "Entry": "model.entries",
    "FixedClock": "clock",
    "ForgetResult": "model.results",
    "Found": "model.entries",
    "HistoryResult": "model.results",
    "Item": "model.results",
    "Memory": "memory",
    "RecallResult": "model.results",
    "Receipt": "model.results",
    "RollbackResult": "model.results",
    "Settings": "config",
    "SnapshotResult": "model.results",
    "SystemClock": "clock",
    "VerifyResult": "model.results",
    "Witness": "model.witness",
}

__all__ = [
    "Clock",
    "CmcError",
    "Collection",
    "Diff",
    "Entry",
    "FixedClock",
    "ForgetResult",
    "Found",
    "HistoryResult",
    "Item",
    "Memory",
    "RecallResult",
    "Receipt",
    "RollbackResult",
    "Settings",
    "SnapshotResult",
    "SystemClock",
    "VerifyResult",
    "Witness",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"cmc_mcp.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
