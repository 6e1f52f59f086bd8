"""The tables, and the migrations between their versions.

Every table begins with the workspace; surrogate integers carry it in their high bits (workspace · 2^40 + ordinal), so
the rows of one workspace are one range, in full text too.
"""

from __future__ import annotations

from typing import Final

from cmc_mcp.store.migrations import Migration

_FIRST: Final = (
    """CREATE TABLE workspaces(
        ws INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL DEFAULT 0,
        pages_pending INTEGER NOT NULL DEFAULT 0) STRICT""",
    # passages and tokens are running totals, so that a read point knows its own statistics; arguments can be erased,
    # since the transaction's hash covers their hash alone
    """CREATE TABLE transactions(
        ws INTEGER NOT NULL, seq INTEGER NOT NULL, recorded_us INTEGER NOT NULL, principal INTEGER NOT NULL,
        verb TEXT NOT NULL, arguments_hash BLOB NOT NULL, arguments BLOB, hash BLOB NOT NULL, state_root BLOB NOT NULL,
        control_root BLOB NOT NULL, changes INTEGER NOT NULL, atoms INTEGER NOT NULL, passages INTEGER NOT NULL,
        tokens INTEGER NOT NULL, last_rid INTEGER NOT NULL, last_pid INTEGER NOT NULL, last_vid INTEGER NOT NULL,
        PRIMARY KEY(ws, seq)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX transactions_root ON transactions(ws, state_root)",
    "CREATE INDEX transactions_rollback ON transactions(ws, seq) WHERE verb IN ('rollback', 'undo')",
    # place: the node's number in post-order, so that an append writes to the end
    """CREATE TABLE log_nodes(
        ws INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(ws, place)) STRICT, WITHOUT ROWID""",
    # node: workspace << 38 | tree << 37 | path; a rowid table, since nodes overflow a WITHOUT ROWID page
    "CREATE TABLE state_nodes(node INTEGER PRIMARY KEY, ws INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    # domain: 0 content and other bytes, 1 facts; body is NULL when erased or kept as an object
    """CREATE TABLE payloads(
        pid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, hash BLOB NOT NULL, domain INTEGER NOT NULL,
        bytes INTEGER NOT NULL, object INTEGER NOT NULL, body BLOB) STRICT""",
    "CREATE UNIQUE INDEX payloads_hash ON payloads(ws, hash)",
    "CREATE TABLE records(rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL) STRICT",
    "CREATE UNIQUE INDEX records_key ON records(ws, kind, key)",
    """CREATE TABLE atoms(
        rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, modality INTEGER NOT NULL, media_type INTEGER NOT NULL,
        content INTEGER NOT NULL, origin INTEGER NOT NULL, discriminator INTEGER NOT NULL, witness INTEGER NOT NULL,
        seq INTEGER NOT NULL) STRICT""",
    "CREATE INDEX atoms_content ON atoms(ws, content)",
    "CREATE INDEX atoms_origin ON atoms(ws, origin) WHERE origin > 0",  # bare notes have none
    """CREATE TABLE pieces(
        ws INTEGER NOT NULL, rid INTEGER NOT NULL, valid_from INTEGER NOT NULL, tx_from INTEGER NOT NULL,
        valid_to INTEGER NOT NULL, tx_to INTEGER NOT NULL, facts INTEGER NOT NULL,
        PRIMARY KEY(ws, rid, valid_from, tx_from)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX pieces_from ON pieces(ws, tx_from)",
    "CREATE INDEX pieces_to ON pieces(ws, tx_to) WHERE tx_to < 4611686018427387903",
    "CREATE INDEX pieces_facts ON pieces(ws, facts)",
    "CREATE TABLE sources(rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, origin INTEGER NOT NULL) STRICT",
    "CREATE INDEX sources_origin ON sources(ws, origin)",
    """CREATE TABLE items(
        ws INTEGER NOT NULL, origin INTEGER NOT NULL, position INTEGER NOT NULL, rid INTEGER NOT NULL,
        atom INTEGER NOT NULL, PRIMARY KEY(ws, origin, position, atom)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX items_atom ON items(ws, atom)",
    "CREATE INDEX items_rid ON items(ws, rid)",
    """CREATE TABLE tags(
        ws INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, facts INTEGER NOT NULL,
        PRIMARY KEY(ws, name, value, facts)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX tags_facts ON tags(ws, facts)",
    """CREATE TABLE confidences(
        ws INTEGER NOT NULL, value INTEGER NOT NULL, facts INTEGER NOT NULL,
        PRIMARY KEY(ws, value, facts)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE claims(
        ws INTEGER NOT NULL, subject TEXT NOT NULL, predicate TEXT NOT NULL, facts INTEGER NOT NULL,
        PRIMARY KEY(ws, subject, predicate, facts)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX claims_facts ON claims(ws, facts)",
    """CREATE TABLE edges(
        rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, source INTEGER NOT NULL, type TEXT NOT NULL,
        target INTEGER NOT NULL) STRICT""",
    "CREATE INDEX edges_source ON edges(ws, source)",
    "CREATE INDEX edges_target ON edges(ws, target)",
    """CREATE TABLE witnesses(
        ws INTEGER NOT NULL, writer TEXT NOT NULL, witness INTEGER NOT NULL,
        PRIMARY KEY(ws, writer, witness)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE labels(rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, label TEXT NOT NULL) STRICT",
    "CREATE UNIQUE INDEX labels_name ON labels(ws, label)",
    # what full text shows beside the content: a title, or the headings it stands under
    "CREATE TABLE headings(rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, heading TEXT NOT NULL) STRICT",
    # read by the integrity check alone, which gives it `cmc_object`; modalities from 5 on are no text, and what was
    # erased is in full text no more
    """CREATE VIEW passage_text AS SELECT a.rid AS rid, coalesce(h.heading, '') AS heading,
        CASE WHEN a.modality >= 5 THEN '' WHEN p.object THEN cmc_object(p.ws, p.hash)
        ELSE coalesce(CAST(p.body AS TEXT), '') END AS text
        FROM atoms a JOIN payloads p ON p.pid = a.content LEFT JOIN headings h ON h.rid = a.rid
        WHERE p.object OR p.body IS NOT NULL""",
    """CREATE VIRTUAL TABLE passages USING fts5(heading, text, content='passage_text', content_rowid='rid',
        tokenize='porter unicode61')""",
    "INSERT INTO passages(passages, rank) VALUES('secure-delete', 1)",
    """CREATE TABLE embedding_models(
        model INTEGER PRIMARY KEY, ws INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
        precision TEXT NOT NULL, dimension INTEGER NOT NULL, UNIQUE(ws, name, digest, precision)) STRICT""",
    # one row a content and model: vid is workspace << 40 | ordinal, in the order of embedding
    """CREATE TABLE vectors(
        vid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, model INTEGER NOT NULL, content INTEGER NOT NULL,
        seq INTEGER NOT NULL, vector BLOB NOT NULL) STRICT""",
    "CREATE UNIQUE INDEX vectors_content ON vectors(ws, model, content)",
    """CREATE TABLE codes(
        ws INTEGER NOT NULL, model INTEGER NOT NULL, segment INTEGER NOT NULL, vids BLOB NOT NULL,
        seqs BLOB NOT NULL, errors BLOB NOT NULL, codes BLOB NOT NULL, PRIMARY KEY(ws, model, segment)) STRICT""",
    """CREATE TABLE idempotency_keys(
        ws INTEGER NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, seq INTEGER NOT NULL, receipt BLOB NOT NULL,
        PRIMARY KEY(ws, key)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE quarantine(
        rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, request INTEGER NOT NULL) STRICT""",
)

_NODES: Final = (
    # derived from the manifests; node: the key of the text, which the vector is kept under (`store/nodes.py`)
    """CREATE TABLE nodes(
        ws INTEGER NOT NULL, source INTEGER NOT NULL, path TEXT NOT NULL, tx_from INTEGER NOT NULL,
        tx_to INTEGER NOT NULL, level INTEGER NOT NULL, node BLOB NOT NULL,
        PRIMARY KEY(ws, source, path, tx_from)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX nodes_from ON nodes(ws, tx_from)",
    "CREATE INDEX nodes_to ON nodes(ws, tx_to) WHERE tx_to < 4611686018427387903",
    "CREATE INDEX nodes_live ON nodes(ws, source) WHERE tx_to = 4611686018427387903",
    """CREATE TABLE node_vectors(
        nid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, model INTEGER NOT NULL, node BLOB NOT NULL, seq INTEGER NOT NULL,
        vector BLOB NOT NULL) STRICT""",
    "CREATE UNIQUE INDEX node_vectors_node ON node_vectors(ws, model, node)",
    "CREATE INDEX node_vectors_seq ON node_vectors(ws, model, seq)",
)
"""What the rows of existing sources are follows from their manifests: `migrate.run` has them written."""

_TRAITS: Final = (
    # derived from the text and from who said it when: `model/traits.py`; both are 0 once it was erased
    "ALTER TABLE atoms ADD COLUMN traits INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE atoms ADD COLUMN speaker INTEGER NOT NULL DEFAULT 0",
    # rid: the first atom of each speaker
    """CREATE TABLE speakers(
        ws INTEGER NOT NULL, speaker INTEGER NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(ws, speaker)) STRICT,
        WITHOUT ROWID""",
)

# the wordings of an entry are looked up by its id; bare notes and most pieces of documents have no discriminator
_ENTRIES: Final = ("CREATE INDEX atoms_discriminator ON atoms(ws, discriminator, origin) WHERE discriminator > 0",)

# claims about one thing are found however they are spelled: `model/facts.py` says what the number is
_TOPICS: Final = (
    "ALTER TABLE claims ADD COLUMN topic INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX claims_topic ON claims(ws, topic, facts)",
)

# full text as plain tables, alike on every database: `store/postings.py`
_POSTINGS: Final = (
    "DROP TABLE passages",
    "DROP VIEW passage_text",
    # a passage that is in no block yet: its terms with their counts
    """CREATE TABLE passage_terms(
        rid INTEGER PRIMARY KEY, ws INTEGER NOT NULL, length INTEGER NOT NULL, terms BLOB NOT NULL) STRICT""",
    # of a block of record numbers, where each term is, and how often; a term is bytes, which have one order everywhere
    """CREATE TABLE postings(
        ws INTEGER NOT NULL, level INTEGER NOT NULL, block INTEGER NOT NULL, term BLOB NOT NULL, entries BLOB NOT NULL,
        PRIMARY KEY(ws, level, block, term)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE passage_lengths(
        ws INTEGER NOT NULL, block INTEGER NOT NULL, lengths BLOB NOT NULL, PRIMARY KEY(ws, block)) STRICT""",
    # words that others may be near, by the first record of a block that has each
    """CREATE TABLE vocabulary(
        ws INTEGER NOT NULL, rid INTEGER NOT NULL, term BLOB NOT NULL, PRIMARY KEY(ws, rid, term)) STRICT,
        WITHOUT ROWID""",
)
_FTS5: Final = (
    "DROP TABLE vocabulary",
    "DROP TABLE passage_lengths",
    "DROP TABLE postings",
    "DROP TABLE passage_terms",
    *(statement for statement in _FIRST if "passage" in statement and "passages INTEGER" not in statement),
)


MIGRATIONS: Final = (
    Migration(1, "the first tables", _FIRST),
    Migration(2, "nodes of documents", _NODES, ("DROP TABLE node_vectors", "DROP TABLE nodes")),
    Migration(
        3,
        "traits of passages",
        _TRAITS,
        ("DROP TABLE speakers", "ALTER TABLE atoms DROP COLUMN speaker", "ALTER TABLE atoms DROP COLUMN traits"),
    ),
    Migration(4, "entries of collections", _ENTRIES, ("DROP INDEX atoms_discriminator",)),
    Migration(5, "topics of claims", _TOPICS, ("DROP INDEX claims_topic", "ALTER TABLE claims DROP COLUMN topic")),
    Migration(6, "terms of every language", _POSTINGS, _FTS5),
)
BOOKKEEPING: Final = """CREATE TABLE IF NOT EXISTS migrations(
    number INTEGER PRIMARY KEY, title TEXT NOT NULL, checksum TEXT NOT NULL, applied_us INTEGER NOT NULL) STRICT"""
