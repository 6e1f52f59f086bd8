"""The port for searching one workspace: filters, full text, vectors, and the columns that indexes in memory load.

Filters come before ranking: each search takes a `Filter` and a read point, and looks at nothing else. Full text counts
for a term what was recorded up to a record number, whoever still believes it: the caller filters. Vectors are fp32,
unit length, little-endian. `sql/search.py` is the exact path that faster ones must equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from cmc_mcp.ids import ModelNumber, NodeKey, PayloadHash, Pid, Rid, Seq, Vid
from cmc_mcp.store.ports.ledger import LedgerView
from cmc_mcp.store.rows import EntryRow, Filter, ModelRow, NodeSpan, PieceClosed, TraitsRow, Unembedded, VectorMade


class Words(Protocol):
    """Full text: the terms of passages, packed by blocks of record numbers (`store/postings.py`)."""

    def unpacked_terms(self, after: Rid, upto: Rid) -> list[tuple[Rid, int, bytes]]:
        """Return the passages in (after, upto] that are in no block yet as (record, length, terms), ascending."""
        ...

    def term_entries(self, terms: Sequence[str], after: Rid, upto: Rid) -> list[tuple[str, int, bytes]]:
        """Return where terms are, by every block that touches (after, upto], in the order of terms and blocks.

        Each row is (term, first number of the block, entries); entries outside the range may be among them.
        """
        ...

    def packed_lengths(self, start: int) -> list[tuple[int, bytes]]:
        """Return the lengths of passages from the block of a number on, as (first number, lengths), ascending."""
        ...

    def first_words(self, after: Rid, upto: Rid) -> tuple[list[Rid], list[str]]:
        """Return the words that stand first in a record of (after, upto] that is in a block, each with it, in order of both."""
        ...


class Filtering(Protocol):
    """Which atoms hold at a read point and pass a filter."""

    def selected(self, seq: Seq, valid_at: int, limits: Filter) -> list[Rid]:
        """Return every atom that holds at a read point and passes a filter, ascending."""
        ...

    def bounds(self, seq: Seq, valid_at: int, limits: Filter) -> tuple[Rid, Rid]:
        """Return the lowest and the highest atom that `selected` would return; (0, 0) if it would return none."""
        ...

    def erased(self) -> list[Rid]:
        """Return every atom whose content was erased, ascending."""
        ...

    def traits(self, rids: Sequence[Rid]) -> list[TraitsRow]:
        """Return what is packed of some atoms for ranking, by record number."""
        ...

    def between(self, after: Rid, before: Rid) -> list[tuple[Rid, Pid]]:
        """Return the atoms with a record number in (after, before) with their origins, ascending."""
        ...

    def speakers(self, keys: Sequence[int], upto: Rid) -> set[int]:
        """Return those speakers of whom an atom was recorded up to a record. Keys are hashes of names, 63 bits."""
        ...


class Vectors(Protocol):
    """Embedding models, and the vectors of contents under them."""

    approximate: bool
    """Whether the last `nearest` was answered by an index that may miss a row."""

    def models(self) -> list[ModelRow]:
        """Return the embedding models of the workspace, by number."""
        ...

    def nearest(
        self, model: ModelNumber, query: bytes, k: int, seq: Seq, valid_at: int, limits: Filter
    ) -> list[tuple[Rid, float]]:
        """Return the `k` nearest atoms with their cosines, filtered first: best first, ties by atom id."""
        ...

    def vectors_of(self, model: ModelNumber, rids: Sequence[Rid], seq: Seq) -> dict[Rid, bytes]:
        """Return the vectors that some atoms had after a transaction. Atoms without one are left out."""
        ...

    def vector_rows(self, model: ModelNumber, vids: Sequence[Vid]) -> dict[Vid, bytes]:
        """Return vectors by their numbers. Unknown numbers are left out."""
        ...

    def embedded(self, model: ModelNumber, contents: Sequence[Pid]) -> set[Pid]:
        """Return those contents that have a vector under a model."""
        ...

    def models_of(self, origin: Pid) -> list[ModelNumber]:
        """Return the models that most of the live text atoms of an origin have vectors of; those made with them first."""
        ...

    def samples(self, model: ModelNumber, origin: Pid, limit: int) -> list[tuple[Pid, bytes]]:
        """Return some contents with their vectors under a model, the newest first: of an origin, or, of 0, of any."""
        ...

    def content_vectors(self, model: ModelNumber, contents: Sequence[Pid]) -> dict[Pid, bytes]:
        """Return the vectors of contents under a model. Contents without one are left out."""
        ...

    def pending(self, model: ModelNumber, limit: int = -1) -> list[tuple[Rid, Pid]]:
        """Return the live text atoms without a vector under a model, with their contents, ascending."""
        ...

    def count_pending(self, model: ModelNumber, seq: Seq, valid_at: int) -> int:
        """Return how many text atoms hold at a read point without a vector under a model."""
        ...

    def unembedded(self, model: ModelNumber, seq: Seq, valid_at: int, after: Rid, upto: Rid) -> Unembedded:
        """Return how many text atoms in (after, upto] had no vector at a transaction: those that hold, and all."""
        ...

    def has_other_vectors(self, origin: Pid, model: ModelNumber, other: ModelNumber) -> bool:
        """Return whether a live atom of an origin has a vector under `other` and none under `model`."""
        ...


class Columns(Protocol):
    """What indexes in memory load, and what they catch up with, by ranges of numbers."""

    def atom_columns(
        self, model: ModelNumber, after: Rid, upto: Rid
    ) -> Iterator[tuple[Rid, int, Pid, Pid, int, int, Vid | None]]:
        """Yield the atoms in (after, upto] as (rid, modality, origin, witness, traits, speaker, vector), ascending."""
        ...

    def interval_columns(self, after: Seq, upto: Seq) -> Iterator[tuple[Rid, int, int, Seq, Seq, Pid]]:
        """Yield atoms' pieces opened in (after, upto] as (rid, valid_from, valid_to, tx_from, tx_to, facts), in order."""
        ...

    def closed_columns(self, after: Seq, upto: Seq) -> Iterator[PieceClosed]:
        """Yield atoms' pieces closed in (after, upto] as (rid, valid_from, tx_from, tx_to), in no particular order."""
        ...

    def packed_codes(self, model: ModelNumber) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
        """Yield the packed segments of int8 codes as (segment, vids, seqs, errors, codes), in order."""
        ...

    def vector_columns(self, model: ModelNumber, after: Vid, before: Vid) -> list[VectorMade]:
        """Return the vectors with a number in (after, before) as (vid, seq, vector), ascending."""
        ...

    def late_vectors(self, model: ModelNumber, after: Vid, upto_rid: Rid) -> list[tuple[Rid, Vid]]:
        """Return the atoms recorded up to a record whose vector has a number past `after`, in no particular order."""
        ...


class Sections(Protocol):
    """Nodes above atoms (sections, files, classes), and their vectors."""

    def nodes_embedded(self, model: ModelNumber, keys: Sequence[NodeKey]) -> set[NodeKey]:
        """Return those nodes that have a vector under a model."""
        ...

    def nodes_pending(self, model: ModelNumber) -> list[tuple[Rid, NodeKey]]:
        """Return the nodes of present versions without a vector under a model, with their sources, by path."""
        ...

    def nodes_opened(self, after: Seq, upto: Seq) -> list[NodeSpan]:
        """Return the nodes that begin in (after, upto] by source and path."""
        ...

    def nodes_closed(self, after: Seq, upto: Seq) -> list[NodeSpan]:
        """Return the nodes that end in (after, upto] in no particular order."""
        ...

    def node_vectors(self, model: ModelNumber, after: Seq, upto: Seq) -> list[tuple[NodeKey, Seq, bytes]]:
        """Return the vectors of nodes made in (after, upto] as (key, seq, vector), by key."""
        ...


class Collections(Protocol):
    """Entries of collections: atoms of one origin, told apart by their discriminators."""

    def pids(self, hashes: Sequence[PayloadHash]) -> dict[PayloadHash, Pid]:
        """Return the numbers of payloads by their hashes. Unknown hashes are left out."""
        ...

    def facts_of_origin(self, origin: Pid, after: Seq, upto: Seq) -> list[tuple[Pid, PayloadHash, bytes | None]]:
        """Return the bodies of facts that atoms of an origin took on in (after, upto], in no particular order.

        Each comes with its number and hash; its bytes are None once erased.
        """
        ...

    def intervals_of_origin(self, origin: Pid, seq: Seq, valid_at: int) -> list[EntryRow]:
        """Return what atoms of an origin hold at a read point, by record.

        Each row is (rid, atom id, first transaction, witness, valid_from, valid_to, facts).
        """
        ...

    def witnesses_of_origin(self, origin: Pid) -> list[Pid]:
        """Return the witness payloads of the atoms of an origin, ascending."""
        ...

    def opened(self, rids: Sequence[Rid], seq: Seq) -> dict[Rid, Seq]:
        """Return the transaction that last changed each record, among those that hold after a transaction."""
        ...


class ReadView(LedgerView, Words, Filtering, Vectors, Columns, Sections, Collections, Protocol):
    """A view of one workspace that can also search."""
