"""Rebuilding a workspace of a database: the shared tables, and full text filled anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cmc_mcp import errors
from cmc_mcp.ids import PayloadHash, Rid, Ws
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.postgres.connection import Connection
from cmc_mcp.store.postgres.fulltext import Passages, Tokens
from cmc_mcp.store.postgres.search import PostgresView
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import TEXTUAL
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.rebuild_view import RebuildView

_BATCH: Final = 500


class PostgresRebuild(RebuildView, PostgresView):
    """A view inside a write transaction, which can replace whole tables of its workspace."""

    def __init__(self, connection: Connection, ws: Ws, registry: Registry, tokens: Tokens, objects: Objects) -> None:
        super().__init__(connection, ws, FactsCache(), registry, tokens)
        self._objects = objects

    def refill(self) -> None:
        """Fill full text again from its content; drop vectors that belong to no node."""
        nodes.drop_unused_vectors(self._c, self.ws)
        self._c.execute("DELETE FROM passages WHERE ws = ? OR ws NOT IN (SELECT ws FROM workspaces)", (self.ws,))
        written = Passages(self._c, self.ws, self.words.tokens)
        for rows in passages_of(self, self._objects):
            written.add(rows)


def passages_of(view: PostgresView, objects: Objects) -> Iterator[list[tuple[Rid, str, str]]]:
    """Yield the content of full text as (record number, heading, text), in batches."""
    headings: dict[Rid, str] = dict(
        view.connection.execute("SELECT rid, heading FROM headings WHERE ws = ?", (view.ws,)).fetchall()
    )
    atoms = list(view.all_atoms())
    for start in range(0, len(atoms), _BATCH):
        some = atoms[start : start + _BATCH]
        payloads = view.payload_rows({row.content for row in some})
        batch: list[tuple[Rid, str, str]] = []
        for row in some:
            payload = payloads[row.content]
            if payload.body is None and not payload.object:
                continue  # erased
            text = ""
            if row.modality < TEXTUAL:
                text = (payload.body if payload.body is not None else _object(objects, view.ws, payload.hash)).decode()
            batch.append((row.rid, headings.get(row.rid, ""), text))
        yield batch


def _object(objects: Objects, ws: Ws, hash_: PayloadHash) -> bytes:
    try:
        return objects.get(ws, hash_)
    except errors.IntegrityError:
        return b""  # named by the check of objects
