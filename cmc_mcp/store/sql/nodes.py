"""Nodes read at any transaction, and their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

from cmc_mcp.ids import ModelNumber, NodeKey, Rid, Seq, Ws
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import NodeSpan
from cmc_mcp.store.sql.connection import Connection


def add_vector(connection: Connection, ws: Ws, model: ModelNumber, key: NodeKey, seq: Seq, vector: bytes) -> None:
    """Add the vector of a node's text, unless it is there."""
    connection.execute(
        "INSERT INTO node_vectors(ws, model, node, seq, vector) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (ws, model, key, seq, vector),
    )


def drop_vectors(connection: Connection, ws: Ws, keys: Iterable[NodeKey]) -> None:
    """Destroy the vectors of nodes."""
    connection.executemany("DELETE FROM node_vectors WHERE ws = ? AND node = ?", [(ws, key) for key in keys])


def drop_unused_vectors(connection: Connection, ws: Ws) -> None:
    """Destroy the vectors of what is a node no more in any version."""
    connection.execute(
        "DELETE FROM node_vectors WHERE ws = ?1 AND node NOT IN (SELECT node FROM nodes WHERE ws = ?1)", (ws,)
    )


# ---------------------------------------------------------------------- reading
def embedded(connection: Connection, ws: Ws, model: ModelNumber, keys: Sequence[NodeKey]) -> set[NodeKey]:
    """Return those nodes that have a vector under a model."""
    rows = connection.execute(
        "SELECT node FROM node_vectors WHERE ws = ?1 AND model = ?2 AND node IN"
        " (SELECT unhex(value) FROM json_each(?3))",
        (ws, model, json.dumps([key.hex() for key in keys])),
    )
    return {cast(NodeKey, key) for (key,) in rows}


def opened(connection: Connection, ws: Ws, after: Seq, upto: Seq) -> list[NodeSpan]:
    """Return the nodes that begin in (after, upto], by source and path."""
    rows = connection.execute(
        "SELECT source, path, tx_from, tx_to, node FROM nodes WHERE ws = ? AND tx_from > ? AND tx_from <= ?"
        " ORDER BY source, path, tx_from",
        (ws, after, upto),
    )
    return list(map(NodeSpan._make, rows))


def closed(connection: Connection, ws: Ws, after: Seq, upto: Seq) -> list[NodeSpan]:
    """Return the nodes that end in (after, upto]."""
    rows = connection.execute(
        "SELECT source, path, tx_from, tx_to, node FROM nodes WHERE ws = ? AND tx_to > ? AND tx_to <= ?",
        (ws, after, upto),
    )
    return list(map(NodeSpan._make, rows))


def vectors(
    connection: Connection, ws: Ws, model: ModelNumber, after: Seq, upto: Seq
) -> list[tuple[NodeKey, Seq, bytes]]:
    """Return the vectors that were made in (after, upto] as (key, seq, fp32)."""
    return list(
        connection.execute(
            "SELECT node, seq, vector FROM node_vectors WHERE ws = ? AND model = ? AND seq > ? AND seq <= ? ORDER BY node",
            (ws, model, after, upto),
        )
    )


def pending(connection: Connection, ws: Ws, model: ModelNumber) -> list[tuple[Rid, NodeKey]]:
    """Return the nodes of present versions without a vector under a model, as (source, key)."""
    return list(
        connection.execute(
            "SELECT n.source, n.node FROM nodes n WHERE n.ws = ?1 AND n.tx_to = ?3 AND NOT EXISTS (SELECT 1 FROM"
            " node_vectors v WHERE v.ws = ?1 AND v.model = ?2 AND v.node = n.node) ORDER BY n.source, n.path",
            (ws, model, OPEN),
        )
    )
