"""What this version of the product registers: every kind of record, its indexes and its tables."""

from __future__ import annotations

from typing import Final

from cmc_mcp.atoms.codes import CODES
from cmc_mcp.atoms.edges import EDGES, LINKS
from cmc_mcp.atoms.facts import CLAIMS, CONFIDENCES, TAGS, fill_topics
from cmc_mcp.atoms.memories import MEMORIES
from cmc_mcp.atoms.traits import SPEAKERS, TRAITS, fill_traits
from cmc_mcp.atoms.witnesses import WITNESSES
from cmc_mcp.documents import vectors
from cmc_mcp.documents.headings import HEADINGS
from cmc_mcp.documents.heads import HEADS
from cmc_mcp.documents.items import ITEMS, TURNS
from cmc_mcp.documents.passages import passages
from cmc_mcp.documents.sources import NODES, SOURCES, fill_nodes
from cmc_mcp.history.labels import LABELS
from cmc_mcp.history.trees import LOG_NODES, STATE_NODES
from cmc_mcp.kernel.kinds import DOMAINS, KINDS
from cmc_mcp.store.checks import Check, DeepCheck
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.tables import TABLES
from cmc_mcp.write import checks
from cmc_mcp.write.quarantine import GATES, QUARANTINE

REGISTRY: Final = Registry(
    kinds=KINDS,
    domains=DOMAINS,
    behaviours=(MEMORIES, LINKS, HEADS, TURNS, GATES),
    indexes=(
        TAGS,
        CLAIMS,
        CONFIDENCES,
        WITNESSES,
        STATE_NODES,
        LOG_NODES,
        SOURCES,
        ITEMS,
        LABELS,
        EDGES,
        QUARANTINE,
        NODES,
        TRAITS,
        SPEAKERS,
        HEADINGS,
        CODES,
    ),
    checks=(
        Check("committed", "transactions", checks.reasons),
        Check("derived", "transactions", passages),
        Check("derived", "vectors", vectors.shape),
        Check("operational", "idempotency_keys", checks.receipts),
    ),
    deep=(DeepCheck("vectors", vectors.atoms), DeepCheck("node_vectors", vectors.nodes)),
    plain=TABLES,
    migrations=MIGRATIONS,
    fills={
        "nodes of documents": fill_nodes,
        "traits of passages": fill_traits,
        "topics of claims": fill_topics,
    },
)
