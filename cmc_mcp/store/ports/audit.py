"""The port for auditing one workspace: whole tables, for `verify` to replay and for `rebuild` to write anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from cmc_mcp.ids import Rid, Seq, Vid
from cmc_mcp.kernel.kinds import Record
from cmc_mcp.store.ports.search import ReadView
from cmc_mcp.store.rows import NodeVectorRow, OwnRow, PieceEvent, VectorRow

if TYPE_CHECKING:
    from cmc_mcp.store.tables import Row, Table


class AuditView(ReadView, Protocol):
    """A view that can also read whole tables. Tables are streamed in the order given, in flat memory."""

    def interval_events(self) -> Iterator[PieceEvent]:
        """Yield every opening and closing of a piece, by transaction, closings first, then by record and valid time."""
        ...

    def all_records(self) -> dict[Rid, Record]:
        """Return every record by its number."""
        ...

    def all_vectors(self) -> Iterator[VectorRow]:
        """Yield every vector as (vid, model, content, seq, vector), by number."""
        ...

    def next_vector(self, after: Vid) -> Vid | None:
        """Return the number of the first vector past another, or None."""
        ...

    def all_node_vectors(self) -> Iterator[NodeVectorRow]:
        """Yield every vector of a node as (number, model, key, seq, vector), in the order in which they were made."""
        ...

    def all_keys(self) -> Iterator[tuple[str, bytes, Seq, bytes]]:
        """Yield every idempotency key as (key, hash of the request, seq, receipt), by key."""
        ...

    def nodes_since_us(self) -> int:
        """Return when the table of nodes was made: with the store, or by a migration of an older one."""
        ...

    def spoken_texts(self) -> Iterator[tuple[Rid, bytes, bytes | None]]:
        """Yield every text that was not erased as (atom, bytes, discriminator), in order; of an object no bytes."""
        ...

    def own_row(self) -> OwnRow:
        """Return the workspace's own row."""
        ...


class RebuildView(AuditView, Protocol):
    """A view inside a write transaction that holds the store's write lock and can replace derived tables."""

    def replace(self, table: Table, rows: Iterable[Row]) -> None:
        """Replace what a derived table holds of the workspace; rows as `index_rows` returns them."""
        ...

    def refill(self) -> None:
        """Make full text anew from the contents of every atom."""
        ...
