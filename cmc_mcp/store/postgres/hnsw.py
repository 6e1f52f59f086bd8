"""HNSW: the nearest vectors of one workspace and model through an index that somebody asked for.

Past a size it answers sooner than the exact way, and misses one of the nearest now and then; so it is never made silently,
and what it finds is scored by the vectors themselves. Filters and both clocks hold while the index is walked. A walk that
finds too few ends where the exact way would have cost as much.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple, cast

import psycopg

from cmc_mcp import errors
from cmc_mcp.ids import ModelNumber, Rid, Seq, Ws
from cmc_mcp.limits import LOCK_WAIT_MS_MAX
from cmc_mcp.model.calls import Progress
from cmc_mcp.store.postgres.connection import Address, Connection, Vector, patient, translated
from cmc_mcp.store.rows import Filter
from cmc_mcp.store.sql.connection import Connection as AnyConnection
from cmc_mcp.store.sql.search import conditions, limited

ROWS_MIN: Final = 10_000
"""Vectors below which there is little to gain: the exact way takes some tens of ms (`tests/pg/nearby.py` measures it)."""
DIMENSION_MAX: Final = 4_000  # of a halfvec that pgvector indexes
EF: Final = 800  # 400 found all but .02 of the nearest 66 where a tenth passes a filter
ITERATIVE: Final = "relaxed_order"  # what it gives is put into the order of the vectors themselves
_WALK_MIN: Final = 2_000  # tuples that a walk may visit: a tenth of the workspace, in these bounds
_WALK_MAX: Final = 20_000
_FEW_SHARE: Final = 20  # where less than a twentieth passes a filter, a walk misses some, and the exact way is quick
FEW_MIN: Final = 2_000
_FEW_MAX: Final = 20_000
_OVERSAMPLED: Final = 2  # those at the edge of a walk are the least sure
_NAME: Final = re.compile(r"vectors_hnsw_(\d+)_(\d+)")
_POLL_S: Final = 0.5
_BYTES_A_ROW: Final = 700  # of the graph while it is built, beside twice the dimension
_BUILD_BYTES_MAX: Final = 1 << 30  # of the server's memory; past it, it is built on disk, and slower


class Graph(NamedTuple):
    """An index as it is: what for, whether it was finished, and its size."""

    ws: Ws
    model: ModelNumber
    valid: bool
    bytes: int


# ---------------------------------------------------------------------- finding
def ready(connection: AnyConnection, ws: Ws, model: ModelNumber, rows: int) -> bool:
    """Return whether there is an index for a workspace and model; if so, set this transaction up to walk it.

    It is asked once a view, with the settings in the same round trip: no cache can then be older than the index.
    """
    walk = min(max(rows // 10, _WALK_MIN), _WALK_MAX)
    row = connection.execute(
        "SELECT set_config('hnsw.ef_search', $1::text, true), set_config('hnsw.iterative_scan', $2::text, true),"
        " set_config('hnsw.max_scan_tuples', $3::text, true) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
        " WHERE c.relname = $4::text AND c.relnamespace = current_schema()::regnamespace AND i.indisvalid",
        (str(EF), ITERATIVE, str(walk), name_of(ws, model)),
    ).fetchone()
    return row is not None


def few(connection: AnyConnection, ws: Ws, rows: int, seq: Seq, valid_at: int, limits: Filter) -> bool:
    """Return whether so few of a workspace's `rows` may be found that they are better all looked at."""
    passing, bindings = conditions(limits)
    least = min(max(rows // _FEW_SHARE, FEW_MIN), _FEW_MAX)
    row = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM pieces p JOIN atoms a USING(ws, rid) WHERE p.ws = ? AND p.tx_from <= ?"
        f" AND p.tx_to > ? AND p.valid_from <= ? AND p.valid_to > ?{passing} LIMIT ?) AS found",
        (ws, seq, seq, valid_at, valid_at, *bindings, least),
    ).fetchone()
    return row is not None and row[0] < least


def nearest(
    connection: Connection, ws: Ws, model: ModelNumber, query: bytes, k: int, seq: Seq, valid_at: int, limits: Filter
) -> list[tuple[Rid, float]] | None:
    """Find the `k` nearest atoms as (rid, cosine), by `ready`; None when the walk ended before there were as many."""
    bindings: list[object] = [Vector(query), k, seq, valid_at, k * _OVERSAMPLED]
    passing = ""
    for column, values in limited(limits):
        bindings.append(list(values))
        passing += f" AND {column} = ANY(${len(bindings)}::bigint[])"
    # numbers as they are, since the index is for these alone; OFFSET 0 keeps what is asked of each row from becoming a join
    holds = (
        f"a.ws = {ws} AND EXISTS (SELECT 1 FROM pieces p WHERE p.ws = {ws} AND p.rid = a.rid AND p.tx_from <= $3"
        f" AND p.tx_to > $3 AND p.valid_from <= $4 AND p.valid_to > $4{passing} OFFSET 0) OFFSET 0"
    )
    rows = connection.alone(
        f"WITH near AS MATERIALIZED (SELECT v.content, v.vector FROM vectors v WHERE v.ws = {ws} AND v.model = {model}"
        f" AND v.seq <= $3 AND EXISTS (SELECT 1 FROM atoms a WHERE a.content = v.content AND {holds})"
        f" ORDER BY {_halved(len(query) // 4)} <=> $1::{_half(len(query) // 4)} LIMIT $5)"
        " SELECT found.rid, 1.0 - (near.vector <=> $1) AS cosine FROM near CROSS JOIN LATERAL (SELECT a.rid, r.key"
        f" FROM atoms a JOIN records r USING(ws, rid) WHERE a.content = near.content AND {holds}) AS found"
        " ORDER BY cosine DESC, found.key LIMIT $2",
        bindings,
        "enable_sort",  # without figures of the table the planner would rather read all of it
    )
    return cast("list[tuple[Rid, float]]", rows) if enough(rows, k) else None


def enough(rows: Sequence[object], k: int) -> bool:
    """Return whether a walk found as many as were asked for: one that did not ended at its bound."""
    return len(rows) == k


# ---------------------------------------------------------------------- making
def name_of(ws: Ws, model: ModelNumber) -> str:
    """Return the name of the index of a workspace and model."""
    return f"vectors_hnsw_{ws}_{model}"


def graphs(connection: AnyConnection, ws: Ws | None = None) -> list[Graph]:
    """Return the indexes there are, finished or not: all, or those of a workspace."""
    rows = connection.execute(
        "SELECT c.relname::text, i.indisvalid, pg_relation_size(c.oid) FROM pg_class c JOIN pg_index i"
        " ON i.indexrelid = c.oid WHERE c.relnamespace = current_schema()::regnamespace"
        " AND c.relname LIKE 'vectors\\_hnsw\\_%' ORDER BY c.oid"
    ).fetchall()
    found = [(_NAME.fullmatch(name), valid, size) for name, valid, size in rows]
    every = [Graph(Ws(int(name[1])), ModelNumber(int(name[2])), valid, size) for name, valid, size in found if name]
    return [graph for graph in every if ws in (None, graph.ws)]


def is_ours(name: str, words: str) -> bool:
    """Return whether an entry of the catalogue is a finished index as `make` makes it.

    >>> is_ours("index vectors_hnsw_1_2", "true: CREATE INDEX vectors_hnsw_1_2 ON vectors USING hnsw"
    ...     " (((vector)::public.halfvec(3)) public.halfvec_cosine_ops) WHERE ((ws = 1) AND (model = 2))")
    True
    """
    named = _NAME.fullmatch(name.removeprefix("index "))
    if named is None:
        return False
    made = (
        rf"true: CREATE INDEX \w+ ON vectors\w* USING hnsw \(\(\(vector\)::(\w+\.)?halfvec\(\d+\)\) (\w+\.)?"
        rf"halfvec_cosine_ops\) WHERE \(\(ws = {named[1]}\) AND \(model = {named[2]}\)\)"
    )
    return re.fullmatch(made, words) is not None


def make(address: Address, ws: Ws, *, least: int | None = None, progress: Progress | None = None) -> list[Graph]:
    """Make the indexes of a workspace, one a model, while others read and write; those that are there stay.

    One that was not finished is made anew. Interrupted, it leaves none.

    Raises:
        InvalidInput: there are fewer vectors than `least` (`ROWS_MIN`), or too long ones.
        StoreError: the server refuses.
    """
    least = ROWS_MIN if least is None else least
    with translated(address), patient(address) as connection:
        models = connection.execute(
            "SELECT m.model, m.dimension, (SELECT count(*) FROM vectors v WHERE v.ws = m.ws AND v.model = m.model)"
            " FROM embedding_models m WHERE m.ws = ? ORDER BY m.model",
            (ws,),
        ).fetchall()
        most = max((rows for _, _, rows in models), default=0)
        if most < least:
            raise errors.InvalidInput.at(
                "workspace",
                f"has {most:,} vectors; below {least:,} the exact way is about as quick. Nothing was changed",
            )
        there = {graph.model for graph in graphs(connection, ws) if graph.valid}
        for model, dimension, rows in models:
            if model not in there and rows >= least:
                _make(address, connection, (ws, model, dimension, rows), progress)
        connection.run("ANALYZE vectors, atoms, pieces, records")  # what is asked beside it is planned by figures
        return graphs(connection, ws)


def drop(address: Address, ws: Ws) -> list[Graph]:
    """Drop the indexes of a workspace, finished or not; return their names."""
    with translated(address), patient(address) as connection:
        found = graphs(connection, ws)
        for graph in found:
            connection.run(f"DROP INDEX CONCURRENTLY IF EXISTS {name_of(graph.ws, graph.model)}")
        return found


def _make(
    address: Address, connection: Connection, about: tuple[Ws, ModelNumber, int, int], progress: Progress | None
) -> None:
    ws, model, dimension, rows = about
    if dimension > DIMENSION_MAX:
        raise errors.InvalidInput.at(
            "workspace", f"has vectors of {dimension:,} numbers; an index holds {DIMENSION_MAX:,} at most"
        )
    # the table that has the rows: of a partitioned one, the part
    table = connection.execute("SELECT tableoid::regclass::text FROM vectors WHERE ws = ? LIMIT 1", (ws,)).fetchall()[
        0
    ][0]
    name = name_of(ws, model)
    memory = min(rows * (2 * dimension + _BYTES_A_ROW), _BUILD_BYTES_MAX) >> 10
    connection.run(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    connection.run(
        f"SELECT set_config('maintenance_work_mem', greatest({memory}, setting::bigint)::text, false)"
        " FROM pg_settings WHERE name = 'maintenance_work_mem'"
    )
    try:
        _watched(
            address, connection,
            f"CREATE INDEX CONCURRENTLY {name} ON {table} USING hnsw (({_halved(dimension)}) halfvec_cosine_ops)"
            f" WHERE ws = {ws} AND model = {model}",
            rows,
            progress,
        )  # fmt: skip
    except BaseException:
        with suppress(psycopg.Error, errors.StoreError):  # else `doctor` names it, and the next call takes it away
            connection.run(f"SET lock_timeout = {LOCK_WAIT_MS_MAX}; DROP INDEX IF EXISTS {name}")
        raise


def _watched(address: Address, connection: Connection, statement: str, rows: int, progress: Progress | None) -> None:
    """Run a long statement in a thread of its own, and say how far it is; interrupted, end it."""
    failures: list[psycopg.Error] = []

    def work() -> None:
        try:
            connection.run(statement)
        except psycopg.Error as error:
            failures.append(error)

    worker = threading.Thread(target=work, name="cmc-index")
    worker.start()
    try:
        with patient(address) as beside:
            while worker.is_alive():
                worker.join(_POLL_S)
                row = beside.execute(
                    "SELECT tuples_done, tuples_total FROM pg_stat_progress_create_index WHERE pid = ?",
                    (connection.raw.info.backend_pid,),
                ).fetchone()
                if row and progress is not None:
                    progress(*row)
    except BaseException:
        connection.raw.cancel_safe()
        raise
    finally:
        worker.join()
    if failures:
        raise failures[0]
    if progress is not None:
        progress(rows, rows)


def _half(dimension: int) -> str:
    return f"halfvec({dimension})"


def _halved(dimension: int) -> str:
    return f"vector::{_half(dimension)}"
