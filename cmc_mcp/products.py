"""What this version of the product registers: every kind of record, its indexes and its tables."""

from __future__ import annotations

from typing import Final

from cmc_mcp.kernel.kinds import DOMAINS, KINDS
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql import nodes, traits
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.tables import TABLES

REGISTRY: Final = Registry(
    kinds=KINDS,
    domains=DOMAINS,
    tables=TABLES,
    migrations=MIGRATIONS,
    fills={"nodes of documents": nodes.rebuild_all, "traits of passages": traits.rebuild_all},
)
