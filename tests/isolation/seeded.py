"""Leaks put into the product on purpose, each of which the two worlds have to tell: a statement without its workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apsw
import pytest

from cmc_mcp.read import point
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.postgres.store import PostgresStore
from cmc_mcp.store.sql.collected import Kept
from cmc_mcp.store.sql.ledger import FactsCache, LedgerRows
from cmc_mcp.store.sqlite.store import SqliteStore

Leak = Callable[[pytest.MonkeyPatch], None]


class Rewriting:
    """A connection that says something else where a statement says `said`."""

    def __init__(self, connection: apsw.Connection, said: str, instead: str) -> None:
        self._connection, self._said, self._instead = connection, said, instead

    def execute(self, sql: str, bindings: Any = None) -> apsw.Cursor:
        return self._connection.execute(sql.replace(self._said, self._instead), bindings)

    def executemany(self, sql: str, rows: Any) -> apsw.Cursor:
        return self._connection.executemany(sql.replace(self._said, self._instead), rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@dataclass(frozen=True)
class Rewritten:
    """The product says something else in its statements; the bindings stay, so they are still asked for."""

    said: str
    instead: str

    def __call__(self, patch: pytest.MonkeyPatch) -> None:
        init = LedgerRows.__init__

        def wrapped(rows: LedgerRows, connection: apsw.Connection, ws: int, cache: FactsCache) -> None:
            init(rows, Rewriting(connection, self.said, self.instead), ws, cache)  # type: ignore[arg-type]

        patch.setattr(LedgerRows, "__init__", wrapped)


def objects_are_shared(patch: pytest.MonkeyPatch) -> None:
    path = FileObjects._path
    patch.setattr(FileObjects, "_path", lambda self, workspace, hash_: path(self, 1, hash_))


def payload_numbers_are_shared(patch: pytest.MonkeyPatch) -> None:
    class Same(dict[int, Kept]):
        def setdefault(self, key: int, default: Any = None) -> Any:
            return super().setdefault(1, default)

        def __getitem__(self, key: int) -> Kept:
            return super().__getitem__(1)

    def seed(kind: Any) -> None:
        init = kind.__init__

        def shared(self: Any, *arguments: Any, **named: Any) -> None:
            init(self, *arguments, **named)
            self._kept = Same()

        patch.setattr(kind, "__init__", shared)

    seed(SqliteStore)
    seed(PostgresStore)


def cursors_are_of_any_workspace(patch: pytest.MonkeyPatch) -> None:
    seal = point._seal
    patch.setattr(point, "_seal", lambda scope, body: seal([part for part in scope if part not in WORKSPACES], body))


WORKSPACES = ("acme", "globex")

LEAKS: dict[str, Leak] = {
    "ids by prefix": Rewritten(
        "records WHERE ws = ? AND kind = ? AND key BETWEEN", "records WHERE ? > 0 AND kind = ? AND key BETWEEN"
    ),
    "records by key": Rewritten(
        "SELECT rid FROM records WHERE ws = ? AND kind", "SELECT rid FROM records WHERE ? > 0 AND kind"
    ),
    "payloads by hash": Rewritten(
        "SELECT pid FROM payloads WHERE ws = ? AND hash", "SELECT pid FROM payloads WHERE ? > 0 AND hash"
    ),
    "idempotency keys": Rewritten("idempotency_keys WHERE ws = ? AND key", "idempotency_keys WHERE ? > 0 AND key"),
    "labels": Rewritten("labels WHERE ws = ? AND label", "labels WHERE ? > 0 AND label"),
    "snapshots by root": Rewritten(
        "transactions WHERE ws = ? AND state_root BETWEEN", "transactions WHERE ? > 0 AND state_root BETWEEN"
    ),
    "transactions by time": Rewritten(
        "transactions WHERE ws = ? AND recorded_us <=", "transactions WHERE ? > 0 AND recorded_us <="
    ),
    "the list of sources": Rewritten("FROM sources WHERE ws = ?1 UNION ALL", "FROM sources WHERE ?1 > 0 UNION ALL"),
    "where a word is": Rewritten(
        "passage_terms WHERE +ws = ? AND rid > ? AND rid <= ?", "passage_terms WHERE ? > 0 AND (rid > ? OR rid > ?)"
    ),
    "models": Rewritten("embedding_models WHERE ws = ? ORDER", "embedding_models WHERE ? > 0 ORDER"),
    "speakers": Rewritten("FROM atoms WHERE ws = ? AND speaker", "FROM atoms WHERE ? > 0 AND speaker"),
    "what is in quarantine": Rewritten("FROM quarantine WHERE ws = ? ORDER", "FROM quarantine WHERE ? > 0 ORDER"),
    "the rollbacks before": Rewritten(
        "transactions WHERE ws = ? AND seq > ? AND verb IN", "transactions WHERE ? > 0 AND seq > ? AND verb IN"
    ),
    "objects": objects_are_shared,
    "numbers of payloads at hand": payload_numbers_are_shared,
    "cursors": cursors_are_of_any_workspace,
}
