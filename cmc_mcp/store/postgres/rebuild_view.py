"""Rebuilding a workspace of a database: the shared tables, through a view of this database."""

from __future__ import annotations

from cmc_mcp.ids import Ws
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.postgres.connection import Connection
from cmc_mcp.store.postgres.search import PostgresView
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.rebuild_view import RebuildView


class PostgresRebuild(RebuildView, PostgresView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    def __init__(self, connection: Connection, ws: Ws, facts: FactsCache, registry: Registry, objects: Objects) -> None:
        PostgresView.__init__(self, connection, ws, facts, registry)
        self._objects = objects
