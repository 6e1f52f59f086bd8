"""What a backend must do: four ports (reading, searching, auditing, writing) and the store that opens them.

SQLite and PostgreSQL implement them and pass the same tests.
"""

from __future__ import annotations

from cmc_mcp.store.ports.audit import AuditView, RebuildView
from cmc_mcp.store.ports.ledger import LedgerView
from cmc_mcp.store.ports.search import ReadView
from cmc_mcp.store.ports.store import Objects, Store
from cmc_mcp.store.ports.unit import WriteUnit

__all__ = ["AuditView", "LedgerView", "Objects", "ReadView", "RebuildView", "Store", "WriteUnit"]
