"""Forgeries by somebody who knows the format: rows changed by a raw connection, and hashed again so that they look sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from cmc_mcp.canon import facts_hash, payload_hash
from cmc_mcp.kernel.identity import atom_id
from cmc_mcp.kernel.kinds import ATOM, FACTS
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import MODALITIES

FORGED: Final = "FORGED"
Columns = dict[str, Any]
_COLUMNS: Final = ("rid", "modality", "media_type", "content", "origin", "discriminator", "witness", "seq", "facts")


@contextmanager
def raw(path: Path) -> Iterator[apsw.Connection]:
    """Open a file by a connection that knows nothing of the store, and leave nothing beside it."""
    db = apsw.Connection(str(path))
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.execute("PRAGMA journal_mode=DELETE").fetchall()
        yield db
    finally:
        db.close()


def one(db: apsw.Connection, statement: str, *bindings: Any) -> Any:
    """Return the one value of a statement."""
    return db.execute(statement, bindings).fetchall()[0][0]


def columns(db: apsw.Connection, ids: dict[str, str]) -> Columns:
    """Return what the tables say of the memories, as `second_rid`, `bo_witness` and so on."""
    out: Columns = {}
    for name, id_ in ids.items():
        statement = (
            "SELECT a.rid, modality, media_type, content, origin, discriminator, witness, seq,"
            " (SELECT facts FROM pieces p WHERE p.ws = a.ws AND p.rid = a.rid ORDER BY tx_from DESC LIMIT 1)"
            " FROM records r JOIN atoms a ON a.rid = r.rid WHERE r.key = ?"
        )
        (row,) = db.execute(statement, (bytes.fromhex(id_.removeprefix("atom_")),)).fetchall()
        out |= {f"{name}_{column}": value for column, value in zip(_COLUMNS, row, strict=True)}
    return out


def _with(**values: object) -> Callable[[bytes], bytes]:
    """Return a change of some fields of a JSON object, written as the product writes it."""
    return lambda body: json.dumps(
        {**json.loads(body), **values}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def rewrite(db: apsw.Connection, pid: int, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a payload, and its hash and size with them."""
    domain, body = db.execute("SELECT domain, body FROM payloads WHERE pid = ?", (pid,)).fetchall()[0]
    new = change(body)  # type: ignore[arg-type]
    hash_ = facts_hash(new) if domain == FACTS.number else payload_hash(new)
    db.execute("UPDATE payloads SET hash = ?, bytes = ?, body = ? WHERE pid = ?", (hash_, len(new), new, pid))


def inject(db: apsw.Connection, at: Columns, ids: dict[str, str]) -> None:
    """Insert a memory that was never recorded, its id made as the product makes ids."""
    content = f"The deploy target is {FORGED}".encode()
    hash_ = payload_hash(content)
    body, hash_of = (f"SELECT {column} FROM payloads WHERE pid = ?" for column in ("body", "hash"))
    key = atom_id(
        MODALITIES[at["second_modality"]], one(db, body, at["second_media_type"]).decode(), hash_,
        payload_hash(b"note:" + hash_.hex().encode()), payload_hash(b""), one(db, hash_of, at["second_witness"]),
    )  # fmt: skip
    ids["injected"] = f"atom_{key.hex()}"
    pid = one(db, "SELECT max(pid) + 1 FROM payloads WHERE ws = 1")
    rid = one(db, "SELECT max(rid) + 1 FROM records WHERE ws = 1")
    for statement, bindings in (
        ("INSERT INTO payloads VALUES(?, 1, ?, 0, ?, 0, ?)", (pid, hash_, len(content), content)),
        ("INSERT INTO records VALUES(?, 1, ?, ?)", (rid, ATOM.code, key)),
        (
            "INSERT INTO atoms(rid, ws, modality, media_type, content, origin, discriminator, witness, seq)"
            " SELECT ?, ws, modality, media_type, ?, 0, 0, witness, seq FROM atoms WHERE rid = ?",
            (rid, pid, at["second_rid"]),
        ),
        (
            "INSERT INTO pieces SELECT ws, ?, valid_from, tx_from, valid_to, tx_to, facts FROM pieces WHERE rid = ?",
            (rid, at["second_rid"]),
        ),
    ):
        db.execute(statement, bindings)


# ---------------------------------------------------------------------- what is forged
_PAYLOADS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "another text under the same id": ("second_content", lambda body: body + b" " + FORGED.encode()),
    "another speaker of a turn": ("turn_discriminator", _with(speaker=FORGED)),
    "another source of a document's part": ("part_origin", lambda _: b"https://forged.example/"),
    "another name in the witness": ("bo_witness", lambda body: body.replace(b'"bo"', b'"ceo"')),
    "surer, and verified": ("second_facts", _with(confidence=990_000, **{"tag.verified": "true"})),
}
_ROWS: Final[dict[str, tuple[str, ...]]] = {
    "each says what the other said": (
        "UPDATE atoms SET content = :third_content WHERE rid = :second_rid",
        "UPDATE atoms SET content = :second_content WHERE rid = :third_rid",
    ),
    "two entries of the ledger change places": tuple(
        f"UPDATE {table} SET {column} = {new} WHERE {column} = {old} AND ws = 1"
        for new, old in (("-1", ":second_seq"), (":second_seq", ":third_seq"), (":third_seq", "-1"))
        for table, column in (("transactions", "seq"), ("atoms", "seq"), ("pieces", "tx_from"))
    ),
    "the last entry goes": (
        "DELETE FROM transactions WHERE seq = :last_seq AND ws = 1",
        "DELETE FROM pieces WHERE tx_from = :last_seq AND ws = 1",
        "DELETE FROM atoms WHERE rid = :last_rid",
        "DELETE FROM records WHERE rid = :last_rid",
    ),
    "the witness of somebody else": ("UPDATE atoms SET witness = :bo_witness WHERE rid = :second_rid",),
    "true for another time": ("UPDATE pieces SET valid_from = valid_from + 1000000 WHERE rid = :second_rid",),
    "one goes from the middle": tuple(
        f"DELETE FROM {table} WHERE rid = :third_rid" for table in ("pieces", "atoms", "records")
    ),
    "the newest says what the oldest said": ("UPDATE atoms SET content = :first_content WHERE rid = :last_rid",),
    "what was forgotten is live again": (f"UPDATE pieces SET tx_to = {OPEN} WHERE rid = :forgotten_rid AND ws = 1",),
}
_INJECTED: Final = "one that was never recorded"
ON_ROWS: Final = (*_PAYLOADS, *_ROWS, _INJECTED)
"""Nine kinds, some in several ways; a rollback of the whole file is the tenth."""
VICTIMS: Final[dict[str, str]] = {
    "another text under the same id": "second", "another speaker of a turn": "turn",
    "another source of a document's part": "part", "each says what the other said": "third",
    "the witness of somebody else": "second", "another name in the witness": "bo",
    "the newest says what the oldest said": "last",
}  # fmt: skip
"""What the forgeries change that every read refuses, proved or not: they change what an id covers."""


def forge(path: Path, kind: str, ids: dict[str, str]) -> None:
    """Make a forgery of `ON_ROWS`."""
    with raw(path) as db:
        at = columns(db, ids)
        if kind in _PAYLOADS:
            column, change = _PAYLOADS[kind]
            rewrite(db, at[column], change)
        elif kind in _ROWS:
            for statement in _ROWS[kind]:
                db.execute(statement, at)
        else:
            inject(db, at, ids)


# ---------------------------------------------------------------------- what an answer is found by
DERIVED: Final[dict[str, str]] = {
    "every writer is root": "UPDATE witnesses SET writer = 'root' WHERE writer = (SELECT min(writer) FROM witnesses)",
    "a writer goes": "DELETE FROM witnesses WHERE writer = 'bo'",
    "the tags go": "DELETE FROM tags",
    "a tag has another value": "UPDATE tags SET value = 'second' WHERE value = 'third'",
    "a tag is made up": "INSERT INTO tags SELECT ws, 'verified', 'true', facts FROM tags LIMIT 1",
    "a confidence rises": "UPDATE confidences SET value = value + 1",
    "the confidences go": "DELETE FROM confidences",
    "a claim is made up": "INSERT INTO claims SELECT ws, 'deploy', 'target', facts, 7 FROM tags LIMIT 1",
    "the sources go": "DELETE FROM sources",
    "the parts of a source go": "DELETE FROM items",
    "the headings go": "DELETE FROM headings",
    "a heading says something else": "UPDATE headings SET heading = 'Deploy target deploy target'",
    "the speakers go": "DELETE FROM speakers",
    "a turn is somebody else's": "UPDATE atoms SET speaker = speaker + 1 WHERE speaker > 0",
    "a turn is nobody's": "UPDATE atoms SET speaker = 0",
    "a passage has other traits": "UPDATE atoms SET traits = traits + 256 WHERE rid = (SELECT min(rid) FROM atoms)",
    "the vectors go": "DELETE FROM vectors",
    "a vector is of another text": "UPDATE vectors SET content = content + 1 WHERE vid = (SELECT max(vid) FROM vectors)",
    "a vector is too short": "UPDATE vectors SET vector = substr(vector, 1, 8)",
    "the model goes": "DELETE FROM embedding_models",
    "the model has another dimension": "UPDATE embedding_models SET dimension = dimension + 1",
    "full text is emptied": "DELETE FROM passage_terms",
    "a passage leaves full text": "DELETE FROM passage_terms WHERE rid = (SELECT max(rid) FROM passage_terms)",
    "a passage seems long": "UPDATE passage_terms SET length = 9999 WHERE rid = (SELECT max(rid) FROM passage_terms)",
    "everything is held back": "INSERT INTO quarantine SELECT rid, ws, rid FROM atoms",
    "the nodes go": "DELETE FROM nodes",
    "a node of the state is another": "UPDATE state_nodes SET body = CAST(body || x'00' AS BLOB)",
    "a node of the log is another": "UPDATE log_nodes SET hash = zeroblob(32) WHERE place = (SELECT min(place) FROM log_nodes)",
}
"""Edits of tables that no hash covers, by what they do; a statement that changes nothing fails the test."""


def derive(path: Path, edit: str) -> int:
    """Make an edit of `DERIVED`, the checksums of pages with it; return how many rows it changed."""
    with raw(path) as db:
        db.execute(DERIVED[edit])
        return db.total_changes()
