"""The trees over the ledger as rows: nodes of the two state trees, and of the log. The unit of work writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cmc_mcp.store.audit import Audit
from cmc_mcp.store.indexes import Index, Row
from cmc_mcp.store.rows import post_order
from cmc_mcp.store.tables import LOG_NODES as LOG_NODES_TABLE
from cmc_mcp.store.tables import NODE_SHIFT
from cmc_mcp.store.tables import STATE_NODES as STATE_NODES_TABLE


class _StateNodes(Index):
    """Rows (tree and path, body)."""

    table = STATE_NODES_TABLE

    def whole(self, audit: Audit) -> Iterator[Row]:
        for number, nodes in enumerate(audit.trees):
            yield from ((number << NODE_SHIFT - 1 | path, body) for path, body in nodes.items())


class _LogNodes(Index):
    """Rows (place, hash)."""

    table = LOG_NODES_TABLE

    def whole(self, audit: Audit) -> Iterator[Row]:
        return ((post_order(*place), node) for place, node in audit.log.items())


STATE_NODES: Final = _StateNodes()
LOG_NODES: Final = _LogNodes()
