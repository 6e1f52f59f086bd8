"""Verify: every edit of a committed or derived table is found, and nothing else is called a fault."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from cmc_mcp import Memory
from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.history.proof import origin_of
from cmc_mcp.kernel.kinds import ATOM, atom_record
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.merkle import log
from cmc_mcp.merkle import state as tree
from cmc_mcp.merkle.checkpoint import generate_key, public_key
from cmc_mcp.merkle.proof import verify_inclusion
from cmc_mcp.model.results import VerifyResult
from tests.support.embedders import CountingEmbedder
from tests.support.memories import at, erase

KEY = bytes(range(32))
DOCUMENT = "# Plan\n\nShip it on Monday.\n\nAsk Maya first.\n"


def open_(path: Path, us: int = 1_780_000_000_000_000) -> Memory:
    return at(path, start_us=us, step_us=1000, principal=None)


def fill(memory: Memory) -> str:
    """Use every verb, so that every table has rows; return a live memory's id."""
    note = memory.remember("The deploy target is Heroku", tags={"topic": "deploy"}, confidence=0.8,
                           claim={"subject": "app", "predicate": "runs on", "object": "Heroku"}).added[0]  # fmt: skip
    memory.remember("It is cheap", derived_from=[note], idempotency_key="once")
    memory.remember(DOCUMENT, source="plan.md", tags={"topic": "plan"})
    memory.remember(DOCUMENT.replace("Monday", "Friday"), source="plan.md", title="The plan")
    for text in ("hello", "hello again"):
        memory.remember(text, session="s", speaker="ana")
    memory.snapshot("before")
    other = memory.as_principal("eve").remember("secret thing", tags={"topic": "deploy"}).added[0]
    memory.revise(note, content="The deploy target is Fly.io", valid_from="2026-06-01", reason="moved")
    memory.rollback(since=8, writer="eve")
    memory.rollback("before")
    memory.set_policy("gate.min_confidence", 0.5)
    memory.remember("unsure thing", confidence=0.1)
    erase(memory, [other])
    memory.forget(memory.remember("passing thought").added)
    return note


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("verify") / "memory.db"
    with open_(path) as memory:
        fill(memory)
        assert memory.verify().faults == []
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    yield path


@pytest.fixture
def copy(filled: Path, tmp_path: Path) -> Path:
    target = tmp_path / "memory.db"
    shutil.copy(filled, target)
    return target


def edit(path: Path, *statements: str) -> None:
    with closing(apsw.Connection(str(path))) as raw:
        for statement in statements:
            raw.execute(statement).fetchall()
            assert raw.changes() or not statement.startswith(("UPDATE", "DELETE", "INSERT")), statement


def verified(path: Path, **arguments: str) -> VerifyResult:
    with open_(path) as memory:
        return memory.verify(**arguments)  # type: ignore[arg-type]


COLUMNS = [
    ("transactions", "recorded_us", "recorded_us - 1"), ("transactions", "principal", "principal + 1"),
    ("transactions", "verb", "'forged'"), ("transactions", "arguments_hash", "zeroblob(32)"),
    ("transactions", "arguments", "CAST('{}' AS BLOB)"), ("transactions", "hash", "zeroblob(32)"),
    ("transactions", "state_root", "zeroblob(32)"), ("transactions", "control_root", "zeroblob(32)"),
    ("transactions", "changes", "changes + 1"), ("transactions", "atoms", "atoms + 1"),
    ("transactions", "passages", "passages + 1"), ("transactions", "tokens", "tokens + 1"),
    ("transactions", "last_rid", "last_rid + 1"), ("transactions", "last_pid", "last_pid + 1"),
    ("transactions", "last_vid", "last_vid + 1"), ("transactions", "seq", "seq + 1000"),
    ("payloads", "hash", "zeroblob(32)"), ("payloads", "domain", "1 - domain"), ("payloads", "bytes", "bytes + 1"),
    ("payloads", "body", "CAST('forged' AS BLOB)"), ("payloads", "object", "1 - object"),
    ("records", "kind", "kind + 1"), ("records", "key", "zeroblob(16)"),
    ("atoms", "modality", "modality + 1"), ("atoms", "media_type", "media_type + 1"), ("atoms", "content", "content + 1"),
    ("atoms", "origin", "origin + 1"), ("atoms", "discriminator", "discriminator + 1"), ("atoms", "witness", "witness + 1"),
    ("atoms", "seq", "seq + 1"),
    ("pieces", "valid_from", "valid_from + 1"), ("pieces", "valid_to", "valid_to - 1"), ("pieces", "tx_from", "tx_from + 1"),
    ("pieces", "tx_to", "tx_to - 1"), ("pieces", "facts", "facts + 1"), ("pieces", "rid", "rid + 1"),
    ("log_nodes", "hash", "zeroblob(32)"), ("state_nodes", "body", "zeroblob(40)"),
    ("sources", "origin", "origin + 1"), ("items", "position", "position + 9"), ("items", "rid", "rid + 1"),
    ("items", "atom", "atom + 1"), ("items", "origin", "origin + 1"), ("tags", "name", "'forged'"),
    ("tags", "value", "'forged'"), ("tags", "facts", "facts + 1"), ("claims", "subject", "'forged'"),
    ("claims", "predicate", "'forged'"), ("claims", "facts", "facts + 1"), ("claims", "topic", "topic + 1"),
    ("confidences", "value", "value + 1"),
    ("confidences", "facts", "facts + 1"), ("edges", "source", "source + 1"), ("edges", "type", "'forged'"),
    ("edges", "target", "target + 1"), ("witnesses", "writer", "'forged'"), ("witnesses", "witness", "witness + 1"),
    ("labels", "label", "'forged'"), ("headings", "heading", "'forged'"), ("quarantine", "request", "request + 1"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column", "value"), COLUMNS, ids=lambda part: str(part)[:20])
def test_an_edited_column_is_found_and_named(copy: Path, table: str, column: str, value: str) -> None:
    with closing(apsw.Connection(str(copy))) as raw:
        info = [(name, key) for _, name, _, _, _, key in raw.execute(f"PRAGMA table_info({table})")]
        keys = ", ".join(name for name, key in info if key) or "rowid"
        some = f"SELECT {keys} FROM {table} WHERE {column} IS NOT {value} ORDER BY {keys} LIMIT 1 OFFSET 1"
        if not raw.execute(some).fetchall():
            some = some.replace(" OFFSET 1", "")
        statement = f"UPDATE OR REPLACE {table} SET {column} = {value} WHERE ({keys}) IN ({some})"
    edit(copy, statement)
    result = verified(copy)
    assert not result.holds
    assert all(fault.table and fault.reason for fault in result.faults)


TABLES = (
    "transactions", "payloads", "records", "atoms", "pieces", "log_nodes", "state_nodes", "sources", "items", "tags",
    "claims", "confidences", "edges", "witnesses", "labels", "headings", "quarantine",
)  # fmt: skip


# without its last transaction the store may be an older one: that is what a checkpoint is for
ENDS = [(table, where) for table in TABLES for where in ("ASC", "DESC") if (table, where) != ("transactions", "DESC")]


@pytest.mark.parametrize(("table", "where"), ENDS)
def test_a_deleted_row_is_found_first_or_last(copy: Path, table: str, where: str) -> None:
    with closing(apsw.Connection(str(copy))) as raw:
        keys = ", ".join(name for _, name, _, _, _, key in raw.execute(f"PRAGMA table_info({table})") if key)
    order = ", ".join(f"{key} {where}" for key in keys.split(", "))
    edit(copy, f"DELETE FROM {table} WHERE ({keys}) IN (SELECT {keys} FROM {table} ORDER BY {order} LIMIT 1)")
    assert not verified(copy).holds


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO payloads SELECT max(pid) + 1, ws, zeroblob(32), 0, 0, 0, x'' FROM payloads",
        "INSERT INTO payloads SELECT max(pid) + 1, ws, randomblob(32), 0, 1, 0, NULL FROM payloads",
        "INSERT INTO records SELECT max(rid) + 1, ws, 1, randomblob(16) FROM records",
        "INSERT INTO atoms SELECT max(rid) + 1, ws, 0, media_type, content, 0, 0, witness, seq, traits, speaker"
        " FROM atoms",
        "INSERT INTO pieces SELECT ws, rid, valid_to, tx_from, valid_to + 1, tx_to, facts FROM pieces"
        " WHERE valid_to < 4000000000000000 LIMIT 1",
        "INSERT INTO pieces SELECT ws, rid, 1, max(tx_from) + 99, 2, tx_to, facts FROM pieces WHERE tx_to > 99999",
        "INSERT INTO tags SELECT ws, 'forged', 'x', facts FROM tags LIMIT 1",
        "INSERT INTO edges SELECT max(rid) + 1, ws, source, type, target FROM edges",
        "INSERT INTO labels SELECT max(rid) + 1, ws, 'forged' FROM labels",
        "INSERT INTO quarantine SELECT max(rid) + 1, ws, request FROM quarantine",
        "INSERT INTO headings SELECT max(rid) + 1, ws, 'forged' FROM headings",
        "INSERT INTO speakers SELECT ws, 77, max(rid) FROM atoms",
        "INSERT INTO state_nodes SELECT max(node) + 1, ws, body FROM state_nodes",
        "INSERT INTO log_nodes SELECT ws, max(place) + 1, zeroblob(32) FROM log_nodes",
    ],
)
def test_an_inserted_row_is_found(copy: Path, statement: str) -> None:
    edit(copy, statement)
    assert not verified(copy).holds


def test_two_transactions_that_changed_places_are_found(copy: Path) -> None:
    edit(
        copy,
        "UPDATE transactions SET seq = 9999 WHERE seq = 3",
        "UPDATE transactions SET seq = 3 WHERE seq = 4",
        "UPDATE transactions SET seq = 4 WHERE seq = 9999",
    )
    assert {fault.table for fault in verified(copy).faults} >= {"transactions"}


def test_a_plan_that_another_payload_took_the_place_of_is_named_as_what_is_missing(copy: Path) -> None:
    with closing(apsw.Connection(str(copy))) as raw:
        facts = "SELECT body FROM payloads WHERE domain = 1 AND CAST(body AS TEXT) LIKE '%manifest%'"
        ((body,), *_) = raw.execute(facts).fetchall()
        lost = bytes.fromhex(json.loads(body)["manifest"])
        other = payload_hash(b"another")
        raw.execute(
            "UPDATE payloads SET hash = ?, body = ?, bytes = 7 WHERE hash = ?", (other, b"another", lost)
        ).fetchall()
        assert raw.changes() == 1
    found = [(fault.table, fault.key) for fault in verified(copy).faults]
    assert ("payloads", lost.hex()[:32]) in found
    with open_(copy) as memory, pytest.raises(IntegrityError, match="restore the last backup"):
        memory.rebuild()


def test_a_belief_whose_end_lies_after_the_last_transaction_there_can_be_is_found(copy: Path) -> None:
    edit(copy, f"UPDATE pieces SET tx_to = {OPEN + 1000} WHERE tx_to = {OPEN}")
    assert {fault.table for fault in verified(copy).faults} == {"pieces"}


def test_a_number_of_vectors_beyond_all_counting_is_named_and_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with Memory.open(path, embedder=CountingEmbedder()) as memory:
        memory.remember("The deploy target is Heroku")
    edit(path, "UPDATE transactions SET last_vid = last_vid + (1 << 46)")
    with Memory.open(path, embedder=CountingEmbedder()) as memory:
        assert "transactions" in {fault.table for fault in memory.verify().faults}


def test_full_text_that_lost_or_kept_words_is_found(copy: Path) -> None:
    edit(
        copy,
        "UPDATE passage_terms SET terms = CAST(replace(terms, 'cheap', 'dear') AS BLOB)",
    )
    assert {fault.table for fault in verified(copy).faults} == {"passage_terms"}


# ---------------------------------------------------------------------- checkpoints
def test_a_checkpoint_round_trips_and_holds_later_too(tmp_path: Path) -> None:
    with open_(tmp_path / "memory.db") as memory:
        memory.remember("one")
        point = memory.checkpoint(KEY)
        assert point.public_key == public_key(KEY).hex()
        for text in ("two", "three"):
            result = memory.verify(checkpoint=point.checkpoint, public_key=point.public_key)
            assert result.holds and result.checked["checkpoint"] == 1
            memory.remember(text)
        other = public_key(generate_key()).hex()
        assert not memory.verify(checkpoint=point.checkpoint, public_key=other).holds
        assert not memory.verify(
            checkpoint=point.checkpoint.replace("\n1\n", "\n2\n"), public_key=point.public_key
        ).holds
        assert (
            not memory.as_principal("x", "elsewhere")
            .verify(checkpoint=point.checkpoint, public_key=point.public_key)
            .holds
        )


def test_an_older_copy_a_cut_tail_and_a_fork_are_found_by_a_checkpoint(tmp_path: Path) -> None:
    path, old = tmp_path / "memory.db", tmp_path / "old.db"
    with open_(path) as memory:
        memory.remember("one")
        memory.backup(old)
        memory.remember("two")
        point = memory.checkpoint(KEY)
    result = verified(old, checkpoint=point.checkpoint, public_key=point.public_key)
    assert "older copy" in result.faults[0].reason
    with open_(old, 1_790_000_000_000_000) as memory:
        memory.remember("another two")
    result = verified(old, checkpoint=point.checkpoint, public_key=point.public_key)
    assert result.faults and result.faults[0].table == "transactions"
    assert verified(old).holds, "without a checkpoint a fork is a store like any other"


def test_a_proof_of_inclusion_verifies_without_the_store(tmp_path: Path) -> None:
    with open_(tmp_path / "memory.db") as memory:
        id = fill(memory)
        proof = memory.verify(id=id).proof
        gone = memory.remember("to be forgotten").added[0]
        memory.forget(gone)
        dead = memory.verify(id=gone).proof
    assert proof is not None and proof.leaf is not None and dead is not None
    nodes = [bytes.fromhex(node) for node in proof.log_proof]
    leaf, root = log.leaf_hash(bytes.fromhex(proof.transaction_hash)), bytes.fromhex(proof.log_root)
    verify_inclusion(leaf, proof.transaction - 1, proof.log_size, nodes, root)
    key = ATOM.tree_key(atom_record(bytes.fromhex(id.removeprefix("atom_"))))
    state = tree.StateProof(tuple(bytes.fromhex(node) for node in proof.state_proof))
    tree.verify_membership(bytes.fromhex(proof.state_root), key, bytes.fromhex(proof.leaf), state)
    assert dead.leaf is None
    key = ATOM.tree_key(atom_record(bytes.fromhex(gone.removeprefix("atom_"))))
    state = tree.StateProof(tuple(bytes.fromhex(node) for node in dead.state_proof))
    tree.verify_absence(bytes.fromhex(dead.state_root), key, state)


def test_long_contents_do_not_stay_in_memory(tmp_path: Path) -> None:
    with open_(tmp_path / "memory.db") as memory:
        for number in range(150):
            memory.remember(b"\x89PNG\r\n\x1a\n" + number.to_bytes(2, "big") * 25_000, modality="image",
                            media_type="image/png")  # fmt: skip
        tracemalloc.start()
        try:
            assert memory.verify().faults == []
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2_000_000, "there are 7,500,000 bytes of contents"


# ---------------------------------------------------------------------- no false alarm
def test_words_that_also_serve_as_something_else_are_no_fault(tmp_path: Path) -> None:
    with open_(tmp_path / "memory.db") as memory:
        memory.remember("first")
        memory.set_policy("gate.min_confidence", None)
        memory.set_policy("gate.min_confidence", 0.5)
        memory.as_principal("eve").remember("local")
        for text in ("text/plain", "eve", "plan.md", "{}", '{"twin":1}'):
            memory.remember(text)
        memory.remember("twice\n\ntwice\n", source="plan.md")
        memory.remember("text/plain\n\nlocal\n", source="first")
        assert memory.verify().faults == []


def test_an_untouched_store_holds_after_reopening_vacuum_and_backup(copy: Path, tmp_path: Path) -> None:
    with open_(copy) as memory:
        assert memory.verify().faults == []
        memory.backup(tmp_path / "backup.db")
    edit(copy, "VACUUM")
    assert verified(copy).faults == []
    result = verified(tmp_path / "backup.db")
    assert result.faults == [] and result.checked["transactions"] > 10


def test_the_name_of_a_log_says_its_workspace() -> None:
    assert origin_of("acme") == "cmc/acme"
