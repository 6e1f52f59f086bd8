"""The port for writing: everything that one call writes, in one transaction.

A unit of work holds the write lock from its first statement. What is added is collected and written by `flush`; what is
erased is gone at once, inside the same transaction. Reads of a unit see the state before it, but for `pieces`, `pid`,
`rid` and `record`, which know what the unit added. The store commits when the block that opened the unit ends without an
error, and rolls back otherwise: then nothing was changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from cmc_mcp.ids import ModelNumber, NodeKey, PayloadHash, Pid, Rid, Seq
from cmc_mcp.kernel.intervals import Intervals
from cmc_mcp.kernel.kinds import CONTENT, Domain, Record
from cmc_mcp.model.facts import Facts
from cmc_mcp.model.witness import Witness
from cmc_mcp.store.ports.ledger import LedgerView
from cmc_mcp.store.rows import Head

if TYPE_CHECKING:
    from cmc_mcp.store.indexes import Index
    from cmc_mcp.store.tables import Row, Table


class Stating(Protocol):
    """Payloads, records and the intervals they take on."""

    def prefetch(self, hashes: Sequence[PayloadHash]) -> None:
        """Look up payloads that will be put, in one round trip where each would cost one."""
        ...

    def put(
        self, body: bytes, *, hash_: PayloadHash | None = None, object_: bool = False, domain: Domain = CONTENT
    ) -> Pid:
        """Store bytes under their hash in a domain, once, and tell the indexes that the domain feeds.

        With `object_`, only the hash is stored, since the object store has the bytes; a domain may forbid that.
        """
        ...

    def put_witness(self, witness: Witness) -> Pid:
        """Store a witness, once, and tell the indexes over witnesses."""
        ...

    def put_facts(self, facts: Facts) -> Pid:
        """Store a body of facts, once, and tell the indexes over facts.

        Raises:
            IntegrityError: The facts were erased, and nothing holds their hash.
        """
        ...

    def intern(self, record: Record, *, unknown: bool = False) -> tuple[Rid, bool]:
        """Return the number of a record, and whether it is new to the workspace; `unknown` spares looking it up."""
        ...

    def set_intervals(self, rid: Rid, intervals: Intervals) -> None:
        """Set what a record holds from this transaction on. `flush` writes the net difference only."""
        ...


class Indexing(Protocol):
    """Rows of the tables that the ledger's records and payloads are found by."""

    def add_atom(self, rid: Rid, row: tuple[int, Pid, Pid, Pid, Pid, Pid], traits: int, speaker: int) -> None:
        """Add the immutable part of a new atom, with its traits.

        `row` is (modality, media type, content, origin, discriminator, witness); 0 stands for no origin or discriminator.
        """
        ...

    def set_traits(self, rid: Rid, traits: int, speaker: int) -> None:
        """Set an atom's traits again, when content that was erased came back."""
        ...

    def add_passage(self, rid: Rid, heading: str, text: str) -> None:
        """Add an atom to full text, with what stands beside its content."""
        ...

    def rehead(self, rid: Rid, old: str, new: str, text: str) -> None:
        """Change what full text shows beside an atom. `old` and `text` are as they were indexed."""
        ...

    def tell(self, index: Index, row: Row) -> None:
        """Add a row to an index that facts alone do not give, such as the ends of an edge."""
        ...

    def keep(self, table: Table, row: Row) -> None:
        """Write a row of a table without a kind that a product registered; `Table.conflict` says what a second one does."""
        ...

    def remove(self, table: Table, **equal: int | str) -> None:
        """Delete, at once, the rows of such a table whose columns equal what is given."""
        ...

    def renew(self, index: Index, rid: Rid) -> None:
        """Have `flush` write the rows of one record anew, from all that is left of the record."""
        ...

    def model_number(self, name: str, digest: str, precision: str, dimension: int) -> ModelNumber:
        """Return the number of an embedding model, adding a model that is new to the workspace.

        Raises:
            DimensionMismatch: Vectors stored under this model have another dimension.
        """
        ...

    def embedded(self, model: ModelNumber, contents: Sequence[Pid]) -> set[Pid]:
        """Return those contents that have a vector under a model."""
        ...

    def pids(self, hashes: Sequence[PayloadHash]) -> dict[PayloadHash, Pid]:
        """Return the numbers of payloads by their hashes; unknown ones are left out."""
        ...

    def content_vectors(self, model: ModelNumber, contents: Sequence[Pid]) -> dict[Pid, bytes]:
        """Return the vectors of contents under a model. Contents without one are left out."""
        ...

    def add_vector(self, model: ModelNumber, content: Pid, vector: bytes) -> None:
        """Add the vector of a content (fp32, unit length) under a model. The content must not have one yet."""
        ...

    def nodes_embedded(self, model: ModelNumber, keys: Sequence[NodeKey]) -> set[NodeKey]:
        """Return those nodes that have a vector under a model."""
        ...

    def add_node_vector(self, model: ModelNumber, key: NodeKey, vector: bytes) -> None:
        """Add the vector of a node's text (fp32, unit length) under a model, unless the node has one."""
        ...

    def add_key(self, key: str, request: bytes, receipt: bytes) -> None:
        """Claim an idempotency key for this transaction. `request` is the hash of what was asked."""
        ...


class Erasing(Protocol):
    """What an erasure destroys; hashes and the ledger stay."""

    def erase(self, pids: Sequence[Pid], rids: Sequence[Rid], texts: dict[Rid, tuple[str, str]]) -> None:
        """Destroy payload bytes, and the full text, vectors and codes made of them; count the erasure.

        `texts` holds each record's heading and text as they were indexed.
        """
        ...

    def drop_node_vectors(self, keys: Collection[NodeKey]) -> None:
        """Destroy the vectors of nodes above erased text."""
        ...

    def receipts(self) -> list[tuple[str, bytes]]:
        """Return the receipts that idempotency keys keep, as (key, receipt)."""
        ...

    def replace_receipt(self, key: str, receipt: bytes) -> None:
        """Replace the receipt that an idempotency key keeps, and the words of the key by their hash."""
        ...

    def erase_arguments(self, seqs: Sequence[Seq]) -> None:
        """Destroy the arguments of transactions; their hashes stay."""
        ...


class WriteUnit(LedgerView, Stating, Indexing, Erasing, Protocol):
    """A write in progress on one workspace."""

    before: Head
    """The state before this unit."""
    seq: Seq
    """The number of the transaction that this unit becomes."""

    def flush(self, *, verb: str, principal: str, arguments: bytes, clock_us: int) -> Head:
        """Write everything collected and the entry of the ledger; return the state after it. The store commits.

        The recorded time is the clock's, or one microsecond past the entry before it.
        """
        ...
