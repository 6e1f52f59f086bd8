"""Forgeries by somebody who knows the format: rows changed by a raw connection, and hashed again so that they look sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, cast

import apsw

from cmc_mcp.canon import facts_hash, payload_hash
from cmc_mcp.kernel.identity import atom_id
from cmc_mcp.kernel.kinds import ATOM, FACTS
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import MODALITIES

Forge = Callable[[Path, dict[str, str]], None]
FORGED: Final = "FORGED"


class AtomParts(NamedTuple):
    """A row of `atoms`, its id and its live piece's facts."""

    rid: int
    key: bytes
    modality: int
    media_type: int
    content: int
    origin: int
    discriminator: int
    witness: int
    seq: int
    facts: int


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


def one(db: apsw.Connection, statement: str, *bindings: object) -> tuple[object, ...]:
    """Return the one row of a statement."""
    return cast("tuple[object, ...]", db.execute(statement, cast("tuple[int, ...]", bindings)).fetchall()[0])


def atom(db: apsw.Connection, name: str) -> AtomParts:
    """Return what the tables say of a memory."""
    row = one(
        db,
        "SELECT a.rid, r.key, a.modality, a.media_type, a.content, a.origin, a.discriminator, a.witness, a.seq,"
        " (SELECT facts FROM pieces p WHERE p.ws = a.ws AND p.rid = a.rid ORDER BY tx_from DESC LIMIT 1)"
        " FROM records r JOIN atoms a ON a.rid = r.rid WHERE r.key = ?",
        bytes.fromhex(name.removeprefix("atom_")),
    )
    return AtomParts(*cast("tuple[int, bytes, int, int, int, int, int, int, int, int]", row))


def rewrite(db: apsw.Connection, pid: int, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a payload, and its hash and size with them."""
    domain, body = cast("tuple[int, bytes]", one(db, "SELECT domain, body FROM payloads WHERE pid = ?", pid))
    new = change(body)
    hash_ = facts_hash(new) if domain == FACTS.number else payload_hash(new)
    db.execute("UPDATE payloads SET hash = ?, bytes = ?, body = ? WHERE pid = ?", (hash_, len(new), new, pid))


def _edited(body: bytes, **values: object) -> bytes:
    fields = {**json.loads(body), **values}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# ---------------------------------------------------------------------- what is forged
def edit_content(path: Path, ids: dict[str, str]) -> None:
    """Another text under the same id."""
    with raw(path) as db:
        rewrite(db, atom(db, ids["second"]).content, lambda body: body + b" " + FORGED.encode())


def edit_turn(path: Path, ids: dict[str, str]) -> None:
    """Another speaker of a turn."""
    with raw(path) as db:
        rewrite(db, atom(db, ids["turn"]).discriminator, lambda body: _edited(body, speaker=FORGED))


def edit_origin(path: Path, ids: dict[str, str]) -> None:
    """Another source of a document's part."""
    with raw(path) as db:
        rewrite(db, atom(db, ids["part"]).origin, lambda _: b"https://forged.example/")


def swap_contents(path: Path, ids: dict[str, str]) -> None:
    """Each says what the other said: every payload is genuine."""
    with raw(path) as db:
        a, b = atom(db, ids["second"]), atom(db, ids["third"])
        db.execute("UPDATE atoms SET content = ? WHERE rid = ?", (b.content, a.rid))
        db.execute("UPDATE atoms SET content = ? WHERE rid = ?", (a.content, b.rid))


def reorder(path: Path, ids: dict[str, str]) -> None:
    """Two entries of the ledger change places, and what was recorded in them with them."""
    with raw(path) as db:
        a, b = atom(db, ids["second"]), atom(db, ids["third"])
        for seq, other in ((a.seq, -1), (b.seq, a.seq), (-1, b.seq)):
            db.execute("UPDATE transactions SET seq = ? WHERE seq = ? AND ws = 1", (other, seq))
            db.execute("UPDATE atoms SET seq = ? WHERE seq = ? AND ws = 1", (other, seq))
            db.execute("UPDATE pieces SET tx_from = ? WHERE tx_from = ? AND ws = 1", (other, seq))


def truncate(path: Path, ids: dict[str, str]) -> None:
    """The last entry goes, and what it recorded."""
    with raw(path) as db:
        last = atom(db, ids["last"])
        for table, column, value in (
            ("transactions", "seq", last.seq), ("pieces", "tx_from", last.seq), ("atoms", "rid", last.rid),
            ("records", "rid", last.rid),
        ):  # fmt: skip
            db.execute(f"DELETE FROM {table} WHERE {column} = ? AND ws = 1", (value,))


def reattribute(path: Path, ids: dict[str, str]) -> None:
    """Another writer: the witness of a memory by somebody else takes the place of its own."""
    with raw(path) as db:
        a, b = atom(db, ids["second"]), atom(db, ids["bo"])
        db.execute("UPDATE atoms SET witness = ? WHERE rid = ?", (b.witness, a.rid))


def rename_writer(path: Path, ids: dict[str, str]) -> None:
    """Another name in the witness."""
    with raw(path) as db:
        rewrite(db, atom(db, ids["bo"]).witness, lambda body: body.replace(b'"bo"', b'"ceo"'))


def change_facts(path: Path, ids: dict[str, str]) -> None:
    """Surer, and verified: facts stand in no id."""
    with raw(path) as db:
        fields = {"confidence": 990_000, "tag.verified": "true"}
        rewrite(db, atom(db, ids["second"]).facts, lambda body: _edited(body, **fields))


def change_validity(path: Path, ids: dict[str, str]) -> None:
    """True for another time."""
    with raw(path) as db:
        rid = atom(db, ids["second"]).rid
        db.execute("UPDATE pieces SET valid_from = valid_from + 1000000 WHERE rid = ?", (rid,))


def inject(path: Path, ids: dict[str, str]) -> None:
    """A memory that was never recorded, its id made as the product makes ids."""
    with raw(path) as db:
        like = atom(db, ids["second"])
        content = f"The deploy target is {FORGED}".encode()
        pid = cast("int", one(db, "SELECT max(pid) + 1 FROM payloads WHERE ws = 1")[0])
        rid = cast("int", one(db, "SELECT max(rid) + 1 FROM records WHERE ws = 1")[0])
        media, witness = (one(db, "SELECT body, hash FROM payloads WHERE pid = ?", n) for n in like[3:8:4])
        hash_ = payload_hash(content)
        key = atom_id(
            MODALITIES[like.modality], cast("bytes", media[0]).decode(), hash_,
            payload_hash(b"note:" + hash_.hex().encode()), payload_hash(b""), cast("bytes", witness[1]),
        )  # fmt: skip
        ids["injected"] = f"atom_{key.hex()}"
        db.execute("INSERT INTO payloads VALUES(?, 1, ?, 0, ?, 0, ?)", (pid, hash_, len(content), content))
        db.execute("INSERT INTO records VALUES(?, 1, ?, ?)", (rid, ATOM.code, key))
        db.execute(
            "INSERT INTO atoms(rid, ws, modality, media_type, content, origin, discriminator, witness, seq)"
            " VALUES(?, 1, ?, ?, ?, 0, 0, ?, ?)",
            (rid, like.modality, like.media_type, pid, like.witness, like.seq),
        )
        db.execute(
            "INSERT INTO pieces SELECT ws, ?, valid_from, tx_from, valid_to, tx_to, facts FROM pieces WHERE rid = ?",
            (rid, like.rid),
        )


def delete(path: Path, ids: dict[str, str]) -> None:
    """One memory goes, from the middle."""
    with raw(path) as db:
        rid = atom(db, ids["third"]).rid
        for table in ("pieces", "atoms", "records"):
            db.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))


def replay(path: Path, ids: dict[str, str]) -> None:
    """The newest says what the oldest said."""
    with raw(path) as db:
        a, b = atom(db, ids["first"]), atom(db, ids["last"])
        db.execute("UPDATE atoms SET content = ? WHERE rid = ?", (a.content, b.rid))


def revive(path: Path, ids: dict[str, str]) -> None:
    """What was forgotten is live again."""
    with raw(path) as db:
        rid = atom(db, ids["forgotten"]).rid
        db.execute("UPDATE pieces SET tx_to = ? WHERE rid = ? AND ws = 1", (OPEN, rid))


ON_ROWS: Final[tuple[Forge, ...]] = (
    edit_content, edit_turn, edit_origin, swap_contents, reorder, truncate, reattribute, rename_writer, change_facts,
    change_validity, inject, delete, replay, revive,
)  # fmt: skip
"""Nine kinds, some in several ways; a rollback of the whole file is the tenth."""
VICTIMS: Final[dict[Forge, str]] = {
    edit_content: "second", edit_turn: "turn", edit_origin: "part", swap_contents: "third", reattribute: "second",
    rename_writer: "bo", replay: "last",
}  # fmt: skip
"""What the forgeries change that every read refuses, proved or not: they change what an id covers."""
OF_IDENTITY: Final = tuple(VICTIMS)


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
