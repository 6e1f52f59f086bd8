"""The searching part of a view: everything but the nearest vectors, which each backend finds its own way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import cast

from cmc_mcp.ids import NO_RECORD, ModelNumber, NodeKey, PayloadHash, Pid, Rid, Seq, Vid, Ws
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.rows import EntryRow, Filter, ModelRow, NodeSpan, PieceClosed, TraitsRow, Unembedded, VectorMade
from cmc_mcp.store.sql import nodes
from cmc_mcp.store.sql.audit import AuditView
from cmc_mcp.store.sql.postings import Postings
from cmc_mcp.store.tables import WORKSPACE_SHIFT


class SearchView(AuditView):
    """A view that can also search."""

    approximate = False
    """Whether the last `nearest` was answered by an index that may miss one."""

    # ------------------------------------------------------------------ workspaces and models
    def workspace_number(self, name: str) -> Ws:
        """Return the number of a workspace, 0 for none."""
        row = self._c.execute("SELECT ws FROM workspaces WHERE name = ?", (name,)).fetchone()
        return Ws(row[0] if row else 0)

    def workspace_names(self) -> list[tuple[Ws, str]]:
        """Return every workspace as (number, name), by name."""
        return list(self._c.execute("SELECT ws, name FROM workspaces ORDER BY name"))

    def pages_pending(self) -> bool:
        """Return whether an erase still has pages in the write-ahead log."""
        return bool(self._c.execute("SELECT 1 FROM workspaces WHERE pages_pending = 1 LIMIT 1").fetchone())

    def erased(self) -> list[Rid]:
        """Return every atom whose content was erased, in order."""
        rows = self._c.execute(
            "SELECT a.rid FROM payloads p JOIN atoms a ON a.ws = p.ws AND a.content = p.pid WHERE p.ws = ?"
            " AND p.body IS NULL AND p.object = 0 ORDER BY a.rid",
            (self.ws,),
        )
        return [rid for (rid,) in rows]

    def models(self) -> list[ModelRow]:
        """Return the embedding models as (model, name, digest, precision, dimension)."""
        return list(
            map(
                ModelRow._make,
                self._c.execute(
                    "SELECT model, name, digest, precision, dimension FROM embedding_models WHERE ws = ? ORDER BY model",
                    (self.ws,),
                ),
            )
        )

    # ------------------------------------------------------------------ vectors
    def selected(self, seq: Seq, valid_at: int, limits: Filter) -> list[Rid]:
        """Return every atom that holds at a read point and passes a filter, in order."""
        passing, bindings = conditions(limits)
        rows = self._c.execute(
            "SELECT DISTINCT p.rid FROM pieces p JOIN atoms a USING(ws, rid) WHERE p.ws = ? AND p.tx_from <= ?"
            f" AND p.tx_to > ? AND p.valid_from <= ? AND p.valid_to > ?{passing} ORDER BY p.rid",
            (self.ws, seq, seq, valid_at, valid_at, *bindings),
        )
        return [rid for (rid,) in rows]

    def bounds(self, seq: Seq, valid_at: int, limits: Filter) -> tuple[Rid, Rid]:
        """Return the lowest and the highest atom that `selected` would yield; (0, 0) if it is empty."""
        passing, bindings = conditions(limits)
        ends = [
            self._c.execute(
                "SELECT p.rid FROM pieces p JOIN atoms a USING(ws, rid) WHERE p.ws = ? AND p.tx_from <= ? AND p.tx_to > ?"
                f" AND p.valid_from <= ? AND p.valid_to > ?{passing} ORDER BY p.rid {order} LIMIT 1",
                (self.ws, seq, seq, valid_at, valid_at, *bindings),
            ).fetchone()
            for order in ("ASC", "DESC")
        ]
        first, last = ends
        return (Rid(first[0]), Rid(last[0])) if first and last else (NO_RECORD, NO_RECORD)

    def vectors_of(self, model: ModelNumber, rids: Sequence[Rid], seq: Seq) -> dict[Rid, bytes]:
        """Return the fp32 vectors that atoms had at a transaction."""
        rows = self._c.execute(
            "SELECT a.rid, v.vector FROM atoms a JOIN vectors v ON v.ws = a.ws AND v.model = ?2"
            " AND v.content = a.content AND v.seq <= ?4 WHERE +a.ws = ?1 AND a.rid IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(rids), seq),
        )
        return dict(rows)

    def vector_rows(self, model: ModelNumber, vids: Sequence[Vid]) -> dict[Vid, bytes]:
        """Return fp32 vectors by their numbers."""
        rows = self._c.execute(
            "SELECT vid, vector FROM vectors WHERE +ws = ?1 AND +model = ?2 AND vid IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(vids)),
        )
        return dict(rows)

    def embedded(self, model: ModelNumber, contents: Sequence[Pid]) -> set[Pid]:
        """Return those contents that have a vector under a model."""
        rows = self._c.execute(
            "SELECT content FROM vectors WHERE ws = ?1 AND model = ?2 AND content IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(contents)),
        )
        return {pid for (pid,) in rows}

    def models_of(self, origin: Pid) -> list[ModelNumber]:
        """Return the models that most of the live text atoms of an origin have vectors of; those made with them first."""
        if not origin:
            return []
        rows = self._c.execute(
            "SELECT v.model, count(*) AS held, sum(CASE WHEN EXISTS (SELECT 1 FROM pieces q WHERE q.ws = ?1 AND q.rid = a.rid"
            " AND q.tx_from = v.seq) THEN 1 ELSE 0 END) AS made FROM atoms a JOIN vectors v ON v.ws = a.ws"
            " AND v.content = a.content AND v.model IN (SELECT model FROM embedding_models WHERE ws = ?1)"
            " WHERE a.ws = ?1 AND a.origin > 0 AND a.origin = ?2 AND a.modality < 5 AND EXISTS"
            " (SELECT 1 FROM pieces p WHERE p.ws = ?1 AND p.rid = a.rid AND p.tx_to = ?3)"
            " GROUP BY v.model ORDER BY held DESC, made DESC, v.model",
            (self.ws, origin, OPEN),
        ).fetchall()
        return [model for model, held, _ in rows if held == rows[0][1]]

    def samples(self, model: ModelNumber, origin: Pid, limit: int) -> list[tuple[Pid, bytes]]:
        """Return some contents with their vectors under a model, the newest first: of an origin, or, of 0, of any."""
        if not origin:
            return list(
                self._c.execute(
                    "SELECT content, vector FROM vectors WHERE ws = ?1 AND model = ?2 ORDER BY vid DESC LIMIT ?3",
                    (self.ws, model, limit),
                )
            )
        return list(
            self._c.execute(
                "SELECT a.content, v.vector FROM atoms a JOIN vectors v ON v.ws = a.ws AND v.model = ?2"
                " AND v.content = a.content WHERE a.ws = ?1 AND a.origin > 0 AND a.origin = ?3 AND a.modality < 5 AND EXISTS"
                " (SELECT 1 FROM pieces p WHERE p.ws = ?1 AND p.rid = a.rid AND p.tx_to = ?4) ORDER BY a.rid DESC LIMIT ?5",
                (self.ws, model, origin, OPEN, limit),
            )
        )

    def content_vectors(self, model: ModelNumber, contents: Sequence[Pid]) -> dict[Pid, bytes]:
        """Return the vectors of contents under a model as fp32."""
        rows = self._c.execute(
            "SELECT content, vector FROM vectors WHERE ws = ?1 AND model = ?2 AND content IN (SELECT value FROM json_each(?3))",
            (self.ws, model, json.dumps(contents)),
        )
        return dict(rows)

    def pending(self, model: ModelNumber, limit: int = -1) -> list[tuple[Rid, Pid]]:
        """Return the live text atoms without a vector under a model, as (rid, content)."""
        return list(
            self._c.execute(
                "SELECT a.rid, a.content FROM atoms a WHERE a.ws = ?1 AND a.modality < 5 AND NOT EXISTS"
                " (SELECT 1 FROM vectors v WHERE v.ws = ?1 AND v.model = ?2 AND v.content = a.content) AND EXISTS"
                " (SELECT 1 FROM pieces p WHERE p.ws = ?1 AND p.rid = a.rid AND p.tx_to = ?3) ORDER BY a.rid LIMIT ?4",
                (self.ws, model, OPEN, OPEN if limit < 0 else limit),
            )
        )

    def count_pending(self, model: ModelNumber, seq: Seq, valid_at: int) -> int:
        """Count the text atoms that hold at a read point without a vector under a model."""
        return self.unembedded(model, seq, valid_at, NO_RECORD, Rid(OPEN)).holding

    def unembedded(self, model: ModelNumber, seq: Seq, valid_at: int, after: Rid, upto: Rid) -> Unembedded:
        """Count the text atoms recorded in (after, upto] without a vector at a transaction: those that hold, and all."""
        rows = self._c.execute(
            "SELECT count(CASE WHEN EXISTS (SELECT 1 FROM pieces p WHERE p.ws = ?1 AND p.rid = a.rid AND p.tx_from <= ?3"
            " AND p.tx_to > ?3 AND p.valid_from <= ?4 AND p.valid_to > ?4) THEN 1 END), count(*) FROM atoms a WHERE +a.ws = ?1"
            " AND a.rid > ?5 AND a.rid <= ?6 AND a.modality < 5 AND NOT EXISTS"
            " (SELECT 1 FROM vectors v WHERE v.ws = ?1 AND v.model = ?2 AND v.content = a.content AND v.seq <= ?3)",
            (
                self.ws,
                model,
                seq,
                valid_at,
                max(after, self.ws << WORKSPACE_SHIFT),
                min(upto, (self.ws + 1 << WORKSPACE_SHIFT) - 1),
            ),
        ).fetchall()
        return Unembedded(*rows[0])

    # ------------------------------------------------------------------ full text
    @cached_property
    def postings(self) -> Postings:
        """The rows of full text."""
        return Postings(self._c, self.ws)

    def unpacked_terms(self, after: Rid, upto: Rid) -> list[tuple[Rid, int, bytes]]:
        """Return the passages in (after, upto] that are in no block as (record, length, terms), ascending."""
        return self.postings.unpacked(after, upto)

    def term_entries(self, terms: Sequence[str], after: Rid, upto: Rid) -> list[tuple[str, int, bytes]]:
        """Return where terms are, by blocks that touch (after, upto]."""
        return self.postings.entries(terms, after, upto, self.head().last_rid) if terms else []

    def packed_lengths(self, start: int) -> list[tuple[int, bytes]]:
        """Return the lengths of passages by blocks, from the block of a number on."""
        return self.postings.lengths(start, self.head().last_rid)

    def first_words(self, after: Rid, upto: Rid) -> tuple[list[Rid], list[str]]:
        """Return the words that first stand in a record of (after, upto] that is in a block, in order."""
        return self.postings.words(after, upto)

    # ------------------------------------------------------------------ entries of collections
    def pids(self, hashes: Sequence[PayloadHash]) -> dict[PayloadHash, Pid]:
        """Return the numbers of payloads by their hashes."""
        return {hash_: pid for hash_ in hashes if (pid := self.pid(hash_)) is not None}

    def facts_of_origin(self, origin: Pid, after: Seq, upto: Seq) -> list[tuple[Pid, PayloadHash, bytes | None]]:
        """Return the bodies of facts that atoms of an origin took on in (after, upto], as (number, hash, body)."""
        start, opened = (
            "pieces p INDEXED BY pieces_from CROSS JOIN atoms a USING(ws, rid)",
            "p.tx_from",
        )
        if not after:  # all of them: by atom, not by the indexes over time
            opened = "+p.tx_from"
            start = "atoms a INDEXED BY atoms_origin CROSS JOIN pieces p ON p.ws = a.ws AND p.rid = a.rid"
        return list(
            self._c.execute(
                f"SELECT DISTINCT p.facts, f.hash, f.body FROM {start} CROSS JOIN payloads f ON f.ws = p.ws AND f.pid = p.facts"
                f" WHERE p.ws = ?1 AND a.ws = ?1 AND a.origin = ?2 AND a.origin > 0 AND {opened} > ?3 AND {opened} <= ?4",
                (self.ws, origin, after, upto),
            )
        )

    def intervals_of_origin(self, origin: Pid, seq: Seq, valid_at: int) -> list[EntryRow]:
        """Return the facts of an origin's atoms at a read point: (rid, id, first seq, witness, valid_from, valid_to, facts)."""
        return list(
            map(
                EntryRow._make,
                self._c.execute(
                    "SELECT a.rid, r.key, a.seq, a.witness, p.valid_from, p.valid_to, p.facts FROM atoms a INDEXED BY"
                    " atoms_origin CROSS JOIN pieces p ON p.ws = a.ws AND p.rid = a.rid"
                    " JOIN records r ON r.ws = a.ws AND r.rid = a.rid"
                    " WHERE a.ws = ?1 AND a.origin > 0 AND a.origin = ?2 AND +p.tx_from <= ?3 AND +p.tx_to > ?3"
                    " AND +p.valid_from <= ?4 AND +p.valid_to > ?4 ORDER BY a.rid",
                    (self.ws, origin, seq, valid_at),
                ),
            )
        )

    def witnesses_of_origin(self, origin: Pid) -> list[Pid]:
        """Return the witness payloads of the atoms of an origin."""
        rows = self._c.execute(
            "SELECT DISTINCT witness FROM atoms INDEXED BY atoms_origin WHERE ws = ? AND origin > 0 AND origin = ?",
            (self.ws, origin),
        )
        return sorted(pid for (pid,) in rows)

    def opened(self, rids: Sequence[Rid], seq: Seq) -> dict[Rid, Seq]:
        """Return the transaction that last changed each of some records, as of a transaction at which they hold."""
        rows = self._c.execute(
            "SELECT rid, max(tx_from) FROM pieces WHERE ws = ?1 AND rid IN (SELECT value FROM json_each(?2))"
            " AND +tx_from <= ?3 AND +tx_to > ?3 GROUP BY rid",
            (self.ws, json.dumps(rids), seq),
        )
        return dict(rows)

    def has_other_vectors(self, origin: Pid, model: ModelNumber, other: ModelNumber) -> bool:
        """Return whether a live atom of an origin has a vector under another model and none under this one."""
        row = self._c.execute(
            "SELECT 1 FROM atoms a INDEXED BY atoms_origin CROSS JOIN vectors v ON v.ws = a.ws AND v.model = ?3"
            " AND v.content = a.content WHERE a.ws = ?1 AND a.origin > 0 AND a.origin = ?2 AND NOT EXISTS"
            " (SELECT 1 FROM vectors w WHERE w.ws = ?1 AND w.model = ?4 AND w.content = a.content) AND EXISTS"
            " (SELECT 1 FROM pieces p WHERE p.ws = ?1 AND p.rid = a.rid AND p.tx_to = ?5) LIMIT 1",
            (self.ws, origin, other, model, OPEN),
        ).fetchone()
        return row is not None

    # ------------------------------------------------------------------ nodes
    def nodes_embedded(self, model: ModelNumber, keys: Sequence[NodeKey]) -> set[NodeKey]:
        """Return those nodes that have a vector under a model."""
        return nodes.embedded(self._c, self.ws, model, keys)

    def nodes_pending(self, model: ModelNumber) -> list[tuple[Rid, NodeKey]]:
        """Return the nodes of present versions without a vector under a model, as (source, key)."""
        return nodes.pending(self._c, self.ws, model)

    def nodes_opened(self, after: Seq, upto: Seq) -> list[NodeSpan]:
        """Return the nodes that begin in (after, upto]."""
        return nodes.opened(self._c, self.ws, after, upto)

    def nodes_closed(self, after: Seq, upto: Seq) -> list[NodeSpan]:
        """Return the nodes that end in (after, upto]."""
        return nodes.closed(self._c, self.ws, after, upto)

    def node_vectors(self, model: ModelNumber, after: Seq, upto: Seq) -> list[tuple[NodeKey, Seq, bytes]]:
        """Return the vectors of nodes that were made in (after, upto] as (key, seq, fp32)."""
        return nodes.vectors(self._c, self.ws, model, after, upto)

    # ------------------------------------------------------------------ rows of the matrix in memory
    def traits(self, rids: Sequence[Rid]) -> list[TraitsRow]:
        """Return atoms as (rid, modality, origin, traits, speaker), ascending."""
        return list(
            map(
                TraitsRow._make,
                self._c.execute(
                    "SELECT rid, modality, origin, traits, speaker FROM atoms WHERE +ws = ?1"
                    " AND rid IN (SELECT value FROM json_each(?2)) ORDER BY rid",
                    (self.ws, json.dumps(rids)),
                ),
            )
        )

    def between(self, after: Rid, before: Rid) -> list[tuple[Rid, Pid]]:
        """Return the atoms with a record number in (after, before) as (rid, origin), ascending."""
        return list(
            self._c.execute(
                "SELECT rid, origin FROM atoms WHERE +ws = ? AND rid > ? AND rid < ? ORDER BY rid",
                (self.ws, after, before),
            )
        )

    def speakers(self, keys: Sequence[int], upto: Rid) -> set[int]:
        """Return those speakers, by number, of whom an atom was recorded up to a record number."""
        rows = self._c.execute(
            "SELECT speaker FROM speakers WHERE ws = ?1 AND speaker IN (SELECT value FROM json_each(?2)) AND rid <= ?3",
            (self.ws, json.dumps(keys), upto),
        )
        return {cast(int, key) for (key,) in rows}

    def atom_columns(
        self, model: ModelNumber, after: Rid, upto: Rid
    ) -> Iterator[tuple[Rid, int, Pid, Pid, int, int, Vid | None]]:
        """Yield atoms with a record number in (after, upto]: (rid, modality, origin, witness, traits, speaker, vid)."""
        return iter(
            self._c.execute(
                "SELECT a.rid, a.modality, a.origin, a.witness, a.traits, a.speaker, v.vid FROM atoms a LEFT JOIN vectors v"
                " ON v.ws = a.ws AND v.model = ?2 AND v.content = a.content WHERE +a.ws = ?1 AND a.rid > ?3"
                " AND a.rid <= ?4 ORDER BY a.rid",
                (self.ws, model, after, upto),
            )
        )

    def interval_columns(self, after: Seq, upto: Seq) -> Iterator[tuple[Rid, int, int, Seq, Seq, Pid]]:
        """Yield atoms' pieces opened in (after, upto]: (rid, valid_from, valid_to, tx_from, tx_to, facts)."""
        return iter(
            self._c.execute(
                "SELECT p.rid, p.valid_from, p.valid_to, p.tx_from, p.tx_to, p.facts FROM pieces p JOIN records r"
                " USING(ws, rid) WHERE p.ws = ? AND p.tx_from > ? AND p.tx_from <= ? AND r.kind = ?"
                " ORDER BY p.rid, p.valid_from, p.tx_from",
                (self.ws, after, upto, ATOM.code),
            )
        )

    def closed_columns(self, after: Seq, upto: Seq) -> Iterator[PieceClosed]:
        """Yield atoms' pieces closed in (after, upto]: (rid, valid_from, tx_from, tx_to)."""
        return map(
            PieceClosed._make,
            self._c.execute(
                "SELECT p.rid, p.valid_from, p.tx_from, p.tx_to FROM pieces p JOIN records r USING(ws, rid)"
                " WHERE p.ws = ? AND p.tx_to > ? AND p.tx_to <= ? AND p.tx_to < 4611686018427387903 AND r.kind = ?",
                (self.ws, after, upto, ATOM.code),
            ),
        )

    def packed_codes(self, model: ModelNumber) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
        """Yield the packed segments of codes as (segment, and what `codes.pack` made), in order."""
        return iter(
            self._c.execute(
                "SELECT segment, vids, seqs, errors, codes FROM codes WHERE ws = ? AND model = ? ORDER BY segment",
                (self.ws, model),
            )
        )

    def vector_columns(self, model: ModelNumber, after: Vid, before: Vid) -> list[VectorMade]:
        """Return vectors with a number between two others as (vid, seq, vector)."""
        rows = self._c.execute(
            "SELECT vid, seq, vector FROM vectors WHERE +ws = ?1 AND vid > ?3 AND vid < ?4 AND +model = ?2 ORDER BY vid",
            (self.ws, model, after, before),
        )
        return list(map(VectorMade._make, rows))

    def late_vectors(self, model: ModelNumber, after: Vid, upto_rid: Rid) -> list[tuple[Rid, Vid]]:
        """Return atoms recorded before whose vector came later: (rid, vid) with a vector number past `after`."""
        return list(
            self._c.execute(
                "SELECT a.rid, v.vid FROM vectors v CROSS JOIN atoms a ON a.ws = v.ws AND a.content = v.content"
                " WHERE +v.ws = ?1 AND v.vid > ?3 AND v.vid < (?1 + 1) << 40 AND +v.model = ?2 AND a.rid <= ?4",
                (self.ws, model, after, upto_rid),
            )
        )


def limited(limits: Filter) -> list[tuple[str, Sequence[int]]]:
    """Return the columns that a filter is about, of atoms `a` and pieces `p`, each with the values that pass."""
    columns = (
        ("a.modality", limits.modalities),
        ("a.origin", limits.origins),
        ("a.witness", limits.witnesses),
        ("a.rid", limits.rids),
        *(("p.facts", facts) for facts in limits.facts),
    )
    return [(column, values) for column, values in columns if values is not None]


def conditions(limits: Filter) -> tuple[str, list[object]]:
    """Return the conditions of a filter, and what they are bound to."""
    found = limited(limits)
    words = "".join(f" AND {column} IN (SELECT value FROM json_each(?))" for column, _ in found)
    return words, [json.dumps(values) for _, values in found]
