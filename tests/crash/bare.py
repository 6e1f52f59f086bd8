"""A second pair of eyes: reads the file with SQLite alone, and recomputes what it can without the product."""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

OPEN = (1 << 62) - 1
TABLES = {1: 24, 2: 26, 3: 27, 4: 27, 5: 27, 6: 30}
"""How many tables of its own (full text counts as one) each format has."""
_ORPHANS = (
    ("pieces", "rid", "records", "rid"), ("pieces", "facts", "payloads", "pid"), ("atoms", "rid", "records", "rid"),
    ("atoms", "content", "payloads", "pid"), ("atoms", "witness", "payloads", "pid"), ("tags", "facts", "payloads", "pid"),
    ("claims", "facts", "payloads", "pid"), ("confidences", "facts", "payloads", "pid"), ("edges", "rid", "records", "rid"),
    ("sources", "rid", "records", "rid"), ("items", "rid", "records", "rid"), ("items", "atom", "atoms", "rid"),
    ("labels", "rid", "records", "rid"), ("headings", "rid", "atoms", "rid"), ("vectors", "content", "atoms", "content"),
    ("passage_terms", "rid", "atoms", "rid"), ("passages_docsize", "id", "atoms", "rid"),
    ("vocabulary", "rid", "atoms", "rid"), ("idempotency_keys", "seq", "transactions", "seq"),
    ("vectors", "seq", "transactions", "seq"), ("quarantine", "rid", "records", "rid"),
)  # fmt: skip


def digest(domain: str, *fields: bytes) -> bytes:
    """Hash length-prefixed fields under a domain."""
    parts = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    return hashlib.sha256(domain.encode() + b"\0" + parts).digest()


def faults(path: Path, objects: Path | None) -> list[str]:
    """Name everything that is half there: a format between two, a broken chain, counts that differ, orphans.

    Without a folder of objects they are taken for granted: the backup before a migration has none of its own.
    """
    connection = apsw.Connection(str(path))
    try:
        return list(_faults(connection, objects))
    except apsw.Error as error:
        return [f"cannot be read: {error}"]
    finally:
        connection.close()


def _faults(c: apsw.Connection, objects: Path | None) -> Iterator[str]:
    version = int(c.pragma("user_version"))
    tables = _one(c, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'passages_*'")
    if not version and not tables:
        return  # killed before it began
    applied = [number for (number,) in c.execute("SELECT number FROM migrations ORDER BY number")]
    traits = _one(c, "SELECT count(*) FROM pragma_table_info('atoms') WHERE name IN ('traits', 'speaker')")
    index = _one(c, "SELECT count(*) FROM sqlite_schema WHERE name IN ('atoms_discriminator', 'claims_topic')")
    if applied != list(range(1, version + 1)) or (tables, traits, index) != (
        TABLES.get(version), 2 * (version >= 3), int(version >= 4) + int(version >= 5),
    ):  # fmt: skip
        yield f"format {version} with migrations {applied}, {tables} tables, {traits} columns, {index} index"
    there = {name for (name,) in c.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table, column, other, key in (one for one in _ORPHANS if one[0] in there):
        count = _one(c, f"SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT {key} FROM {other})")
        if count:
            yield f"{count} orphans in {table}"
    for (ws,) in c.execute("SELECT ws FROM workspaces").fetchall():
        try:
            yield from _ledger(c, ws)
            yield from _contents(c, ws, objects and objects / str(ws))
        except KeyError as error:
            yield f"workspace {ws} lacks {error}"


def _ledger(c: apsw.Connection, ws: int) -> Iterator[str]:
    """Recompute the chain of transactions from the intervals, and count what is live."""
    payloads = dict(c.execute("SELECT pid, hash FROM payloads WHERE ws = ?", (ws,)))
    records = {
        rid: (kind, key) for rid, kind, key in c.execute("SELECT rid, kind, key FROM records WHERE ws = ?", (ws,))
    }
    events: dict[int, list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for rid, start, end, begun, ended, facts in c.execute(
        "SELECT rid, valid_from, valid_to, tx_from, tx_to, facts FROM pieces WHERE ws = ?", (ws,)
    ):
        events[begun].append((1, rid, start, end, facts))
        if ended < OPEN:
            events[ended].append((0, rid, start, end, facts))
    live: dict[int, dict[int, tuple[int, bytes]]] = defaultdict(dict)
    previous, size = bytes(32), 0
    for row in c.execute(
        "SELECT seq, recorded_us, principal, verb, arguments_hash, hash, state_root, control_root, changes, atoms"
        " FROM transactions WHERE ws = ? ORDER BY seq",
        (ws,),
    ).fetchall():
        seq, size = row[0], size + 1
        if seq != size:
            yield f"transaction {size} is missing"
            return
        before = {rid: _leaf(records[rid], live[rid]) for _, rid, *_ in events[seq]}
        for opens, rid, start, end, facts in sorted(events.pop(seq, [])):
            if opens:
                live[rid][start] = (end, payloads[facts])
            else:
                live[rid].pop(start, None)
        changes = sorted((*records[rid], old, _leaf(records[rid], live[rid])) for rid, old in before.items())
        body = b"".join(bytes([kind]) + key + old + new for kind, key, old, new in changes)
        fields: tuple[Any, ...] = (
            previous, seq.to_bytes(8, "big"), row[1].to_bytes(8, "big", signed=True), payloads[row[2]], row[3].encode(),
            row[4], digest("cmc/changes/1", body), row[6], row[7],
        )  # fmt: skip
        if digest("cmc/tx/1", *fields) != row[5]:
            yield f"transaction {seq} does not hash to the chain"
        atoms = sum(1 for rid, intervals in live.items() if intervals and records[rid][0] == 1)
        if (len(changes), atoms) != row[8:]:
            yield f"transaction {seq} counts {row[8:]}, not {(len(changes), atoms)}"
        previous = row[5]
    if events:
        yield f"pieces of transactions {sorted(events)} that are not in the ledger"
    if (nodes := _one(c, "SELECT count(*) FROM log_nodes WHERE ws = ?", ws)) != 2 * size - size.bit_count():
        yield f"{nodes} nodes in the log of {size} transactions"


def _leaf(record: tuple[int, bytes], intervals: dict[int, tuple[int, bytes]]) -> bytes:
    if not intervals:
        return bytes(32)
    body = b"".join(struct.pack(">qq", start, end) + facts for start, (end, facts) in sorted(intervals.items()))
    return digest("cmc/leaf/1", bytes([record[0]]) + record[1], body)


def _contents(c: apsw.Connection, ws: int, objects: Path | None) -> Iterator[str]:
    """Every byte has its hash; every text its passage, and its vector unless it says that it waits for one."""
    texts = {}
    for pid, hash_, domain, is_object, body in c.execute(
        "SELECT pid, hash, domain, object, body FROM payloads WHERE ws = ?", (ws,)
    ):
        if is_object and objects is not None:
            file = objects / hash_.hex()[:2] / hash_.hex()
            body = file.read_bytes() if file.exists() else b""
        if is_object and objects is None:
            body = b"unembedded, for all we know"
        elif body is not None and digest("cmc/facts/1" if domain else "cmc/payload/1", body) != hash_:
            yield f"payload {pid} is not what its hash says"
        texts[pid] = body
    passages = _passages(c, ws)
    atoms = dict(c.execute("SELECT rid, content FROM atoms WHERE ws = ?", (ws,)))
    kept = {rid for rid, content in atoms.items() if texts[content] is not None}
    if passages != kept:
        yield f"{len(passages)} passages for {len(kept)} atoms"
    if (records := _one(c, "SELECT count(*) FROM records WHERE kind = 1 AND ws = ?", ws)) != len(atoms):
        yield f"{records} records for {len(atoms)} atoms"
    if (
        asserted := _one(
            c, "SELECT count(DISTINCT rid) FROM pieces WHERE ws = ? AND rid IN (SELECT rid FROM atoms)", ws
        )
    ) != len(atoms):
        yield f"{asserted} asserted of {len(atoms)} atoms"
    vectors = {content for (content,) in c.execute("SELECT content FROM vectors WHERE ws = ?", (ws,))}
    waiting = {pid for pid in {atoms[rid] for rid in kept} - vectors if b"unembedded" not in texts[pid]}
    if waiting:
        yield f"{len(waiting)} texts without a vector"
    if erased := {pid for pid in vectors if texts[pid] is None}:
        yield f"{len(erased)} vectors of what was erased"


def _passages(c: apsw.Connection, ws: int) -> set[int]:
    """The records that full text holds: those in no block, and those with a length in one."""
    if not _one(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'passage_terms'"):
        return {rid for (rid,) in c.execute("SELECT id FROM passages_docsize WHERE id >> 40 = ?", (ws,))}
    found = {rid for (rid,) in c.execute("SELECT rid FROM passage_terms WHERE ws = ?", (ws,))}
    for block, lengths in c.execute("SELECT block, lengths FROM passage_lengths WHERE ws = ?", (ws,)):
        found |= {(ws << 40) + block * 1024 + at for at in range(1024) if any(lengths[4 * at : 4 * at + 4])}
    return found


def _one(c: apsw.Connection, sql: str, *bound: int) -> int:
    row = c.execute(sql, bound).fetchone()
    assert row is not None
    return int(row[0])
