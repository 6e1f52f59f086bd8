"""The errors of the LangChain adapter."""

from __future__ import annotations

from cmc_mcp.errors import InvalidInput


class BadFilter(InvalidInput, ValueError):
    """Raised when a filter says something that no filter can."""


class BadArgument(InvalidInput, ValueError):
    """Raised when an argument is wrong or unknown."""
