"""The error of the LlamaIndex adapter."""

from __future__ import annotations

from cmc_mcp.errors import InvalidInput


class BadArgument(InvalidInput, ValueError):
    """Raised when an argument, a filter or a mode is wrong or unknown."""
