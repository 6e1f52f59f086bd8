"""The error of the LangGraph adapter."""

from __future__ import annotations

from cmc_mcp.errors import InvalidInput


class BadOperation(InvalidInput, ValueError):
    """Raised when an operation, or a value in it, is unknown to this store."""
