"""The rows of the nodes' index: kept equal to the manifests, and read at any transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.manifest import Manifest, decode_manifest
from cmc_mcp.store.nodes import Row, nodes_in, rows_of
from cmc_mcp.store.sql.connection import Connection


# ---------------------------------------------------------------------- writing
def follow(connection: Connection, ws: int, source: int, seq: int, manifest: Manifest | None) -> None:
    """Bring the index of a source to its new version; None: it was taken back. What did not change stays as it is."""
    standing = {
        path: (key, tx_from)
        for path, key, tx_from in connection.execute(
            "SELECT path, node, tx_from FROM nodes WHERE ws = ? AND source = ? AND tx_to = ?", (ws, source, OPEN)
        )
    }
    made = {} if manifest is None else {node.path: node for node in nodes_in(manifest)}
    kept = {path for path, (key, _) in standing.items() if path in made and made[path].key == key}
    connection.executemany(
        "UPDATE nodes SET tx_to = ? WHERE ws = ? AND source = ? AND path = ? AND tx_from = ?",
        [(seq, ws, source, path, tx_from) for path, (_, tx_from) in standing.items() if path not in kept],
    )
    _insert(
        connection, ws, source, [Row(n.path, n.level, n.key, seq, OPEN) for n in made.values() if n.path not in kept]
    )


def rebuild(connection: Connection, ws: int, source: int) -> None:
    """Write the index of a source anew, from the manifests of all its versions that are still there."""
    connection.execute("DELETE FROM nodes WHERE ws = ? AND source = ?", (ws, source))
    _insert(connection, ws, source, sorted(rows_of(versions(connection, ws, source))))


def rebuild_all(connection: Connection) -> None:
    """Write the index of every source of a store anew."""
    for ws, source in connection.execute("SELECT ws, rid FROM sources ORDER BY rid").fetchall():
        rebuild(connection, cast(int, ws), cast(int, source))


def versions(connection: Connection, ws: int, source: int) -> Iterator[tuple[int, int, Manifest | None]]:
    """Give the versions of a source as (tx_from, tx_to, manifest), in order; None where it was erased."""
    rows = connection.execute(
        "SELECT p.tx_from, p.tx_to, f.body FROM pieces p JOIN payloads f ON f.ws = p.ws AND f.pid = p.facts WHERE p.ws = ?"
        " AND p.rid = ? ORDER BY p.tx_from",
        (ws, source),
    ).fetchall()
    for tx_from, tx_to, facts in rows:
        body = None
        if facts is not None:
            hash_ = bytes.fromhex(str(json.loads(cast(bytes, facts)).get("manifest", "")))
            found = connection.execute("SELECT body FROM payloads WHERE ws = ? AND hash = ?", (ws, hash_)).fetchone()
            body = cast("bytes | None", found[0]) if found else None
        yield cast(int, tx_from), cast(int, tx_to), None if body is None else decode_manifest(body)


def _insert(connection: Connection, ws: int, source: int, rows: Iterable[Row]) -> None:
    connection.executemany(
        "INSERT INTO nodes VALUES(?, ?, ?, ?, ?, ?, ?)",
        [(ws, source, row.path, row.tx_from, row.tx_to, row.level, row.key) for row in rows],
    )


def add_vector(connection: Connection, ws: int, model: int, key: bytes, seq: int, vector: bytes) -> None:
    """Add the vector of a node's text, unless it is there."""
    connection.execute(
        "INSERT INTO node_vectors(ws, model, node, seq, vector) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (ws, model, key, seq, vector),
    )


def drop_vectors(connection: Connection, ws: int, keys: Iterable[bytes]) -> None:
    """Destroy the vectors of nodes."""
    connection.executemany("DELETE FROM node_vectors WHERE ws = ? AND node = ?", [(ws, key) for key in keys])


def drop_unused_vectors(connection: Connection, ws: int) -> None:
    """Destroy the vectors of what is a node no more in any version."""
    connection.execute(
        "DELETE FROM node_vectors WHERE ws = ?1 AND node NOT IN (SELECT node FROM nodes WHERE ws = ?1)", (ws,)
    )


# ---------------------------------------------------------------------- reading
def embedded(connection: Connection, ws: int, model: int, keys: Sequence[bytes]) -> set[bytes]:
    """Give those nodes that have a vector under a model."""
    rows = connection.execute(
        "SELECT node FROM node_vectors WHERE ws = ?1 AND model = ?2 AND node IN"
        " (SELECT unhex(value) FROM json_each(?3))",
        (ws, model, json.dumps([key.hex() for key in keys])),
    )
    return {cast(bytes, key) for (key,) in rows}


def opened(connection: Connection, ws: int, after: int, upto: int) -> list[tuple[int, str, int, int, bytes]]:
    """Give the nodes that begin in (after, upto] as (source, path, tx_from, tx_to, key)."""
    return list(
        connection.execute(
            "SELECT source, path, tx_from, tx_to, node FROM nodes WHERE ws = ? AND tx_from > ? AND tx_from <= ?"
            " ORDER BY source, path, tx_from",
            (ws, after, upto),
        )
    )


def closed(connection: Connection, ws: int, after: int, upto: int) -> list[tuple[int, str, int, int]]:
    """Give the nodes that end in (after, upto] as (source, path, tx_from, tx_to)."""
    return list(
        connection.execute(
            "SELECT source, path, tx_from, tx_to FROM nodes WHERE ws = ? AND tx_to > ? AND tx_to <= ?",
            (ws, after, upto),
        )
    )


def vectors(connection: Connection, ws: int, model: int, after: int, upto: int) -> list[tuple[bytes, int, bytes]]:
    """Give the vectors that were made in (after, upto] as (key, seq, fp32)."""
    return list(
        connection.execute(
            "SELECT node, seq, vector FROM node_vectors WHERE ws = ? AND model = ? AND seq > ? AND seq <= ? ORDER BY node",
            (ws, model, after, upto),
        )
    )


def pending(connection: Connection, ws: int, model: int) -> list[tuple[int, bytes]]:
    """Give the nodes of present versions without a vector under a model, as (source, key)."""
    return list(
        connection.execute(
            "SELECT n.source, n.node FROM nodes n WHERE n.ws = ?1 AND n.tx_to = ?3 AND NOT EXISTS (SELECT 1 FROM"
            " node_vectors v WHERE v.ws = ?1 AND v.model = ?2 AND v.node = n.node) ORDER BY n.source, n.path",
            (ws, model, OPEN),
        )
    )
