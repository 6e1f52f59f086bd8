"""The MCP tools: one file each, with its arguments, its description, its handler and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmc_mcp.tools import forget, history, mark, recall, remember, revise, rollback, snapshot, verify

if TYPE_CHECKING:
    from cmc_mcp.tools.tool import ToolSpec

# The order is part of the interface: clients cache the list.
TOOLS: tuple[ToolSpec[Any, Any], ...] = (
    remember.TOOL,
    recall.TOOL,
    revise.TOOL,
    mark.TOOL,
    forget.TOOL,
    snapshot.TOOL,
    rollback.TOOL,
    history.TOOL,
    verify.TOOL,
)

__all__ = ["TOOLS"]
