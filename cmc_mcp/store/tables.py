"""The tables as data: what each column holds, and what statements, audit, moving and erasing need to know of a table.

They describe what the migrations make (`sql/schema.py`, whose words are literal for ever) and make nothing themselves; a
test holds them against fresh tables of both backends. A product's table is declared beside its index and registered with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

WORKSPACE_SHIFT: Final = 40
"""A surrogate key is workspace number << 40 | ordinal."""
NODE_SHIFT: Final = 38
"""The number of a node of a state tree is workspace number << 38 | tree and path."""

Row = tuple[object, ...]
"""A row as `verify` compares it: the columns that `Table.shown` names."""
Role = Literal["committed", "derived", "operational"]
Number = Literal["", "rid", "pid", "vid", "vids", "model", "node", "vector"]


class Column(NamedTuple):
    """A column, and what its values count.

    `number`: surrogate numbers of records, payloads or vectors, which carry the workspace (`vids`: many, packed); `model`,
    which each store numbers itself; `node`, of a state tree; `vector`, which a server has a type for. `long`: a text that a
    caller may make longer than a key of a server's index can be.
    """

    name: str
    number: Number = ""
    long: bool = False


class Table(NamedTuple):
    """A table of rows that belong to workspaces; its columns in order, its key without the workspace, as moves page by it."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    role: Role
    write_rank: int = 0  # in which order a unit of work writes; 0: it is not written so
    conflict: str = ""  # what an insert of a row that is there does, in SQL; {key}: its key, as the backend has it
    audited: tuple[str, ...] = ()  # the columns that `verify` compares and names rows by; none: all
    move_rank: int = 0  # in which order tables are copied: what others point at first; 0: not by rows
    page: int = 2_000  # rows that are read at once
    own: str = ""  # a column of numbers that each store gives itself
    beside: Literal["", "objects"] = ""  # what is copied with the rows
    erased_by: str = ""  # the payload whose erasure takes the row along
    erasable: bool = False  # whether an erase takes rows or bytes out of it
    numbered: str = ""  # the column whose numbers tell the workspace
    whole: bool = False  # whether a divided database keeps it in one part
    by: str = "rid"  # the column that holds the record whose rows they are
    part_of: str = ""  # the table of which these are columns
    server_key: tuple[str, ...] | None = None  # the key on a server where the other would be too long; (): none

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that `verify` compares, without the workspace."""
        return self.audited or tuple(name for name in self.names if name != "ws")

    @property
    def shift(self) -> int:
        """By how much the workspace is shifted in this table's numbers."""
        return NODE_SHIFT if any(column.number == "node" for column in self.columns) else WORKSPACE_SHIFT

    def numbers(self, *kinds: Number) -> frozenset[str]:
        """Return the columns that hold numbers of some kinds."""
        return frozenset(column.name for column in self.columns if column.number in kinds)


def columns(spec: str) -> tuple[Column, ...]:
    """Read columns: a name each, followed by `:` and what its numbers are of, or by `*` where its text may be long.

    >>> columns("ws value* facts:pid")[1:]
    (Column(name='value', number='', long=True), Column(name='facts', number='pid', long=False))
    """
    out = []
    for word in spec.split():
        name, _, number = word.removesuffix("*").partition(":")
        out.append(Column(name, number, word.endswith("*")))  # type: ignore[arg-type]
    return tuple(out)


def key(spec: str) -> tuple[str, ...]:
    """Read the names of a key."""
    return tuple(spec.split())


IGNORE: Final = "ON CONFLICT DO NOTHING"

STATE_NODES: Final = Table(
    "state_nodes", columns("node:node ws body"), key("node"), "derived",
    write_rank=180, move_rank=210, page=1_000, conflict="ON CONFLICT({key}) DO UPDATE SET body = excluded.body",
)  # fmt: skip
LOG_NODES: Final = Table(
    "log_nodes", columns("ws place hash"), key("place"), "derived",
    write_rank=200, move_rank=220,
)  # fmt: skip
HEADINGS: Final = Table(
    "headings", columns("rid:rid ws heading"), key("rid"), "derived",
    write_rank=70, move_rank=30, erasable=True,
)  # fmt: skip
CODES: Final = Table(
    "codes", columns("ws model:model segment vids:vids seqs errors codes"), key("model segment"), "derived",
    move_rank=170, page=8, erasable=True,
)  # fmt: skip
SPEAKERS: Final = Table(
    "speakers", columns("ws speaker rid:rid"), key("speaker"), "derived",
    write_rank=60, move_rank=50, erasable=True,
    conflict="ON CONFLICT(ws, speaker) DO UPDATE SET rid = excluded.rid WHERE excluded.rid < speakers.rid",
)  # fmt: skip
PASSAGE_TERMS: Final = Table(
    "passage_terms", columns("rid:rid ws length terms"), key("rid"), "derived",
    write_rank=75, move_rank=172, page=1_000, erasable=True,
)  # fmt: skip
POSTINGS: Final = Table(
    "postings", columns("ws level block term entries"), key("level block term"), "derived",
    move_rank=174, page=500, erasable=True,
)  # fmt: skip
PASSAGE_LENGTHS: Final = Table(
    "passage_lengths", columns("ws block lengths"), key("block"), "derived",
    move_rank=176, page=100, erasable=True,
)  # fmt: skip
VOCABULARY: Final = Table(
    "vocabulary", columns("ws rid:rid term"), key("rid term"), "derived",
    move_rank=178, erasable=True,
)  # fmt: skip
TRAITS: Final = Table(
    "traits", columns("rid:rid ws traits speaker"), key("rid"), "derived", part_of="atoms"
)  # fmt: skip
"""Columns of atoms that are derived from their texts."""

TABLES: Final = (
    Table(
        "payloads", columns("pid:pid ws hash domain bytes object body"), key("pid"), "committed",
        write_rank=10, move_rank=10, page=200, beside="objects", erasable=True, numbered="pid",
    ),
    Table(
        "records", columns("rid:rid ws kind key"), key("rid"), "committed",
        write_rank=20, move_rank=20, numbered="rid",
    ),
    HEADINGS,
    Table(
        "atoms",
        columns(
            "rid:rid ws modality media_type:pid content:pid origin:pid discriminator:pid witness:pid seq traits speaker"
        ),
        key("rid"), "committed",
        write_rank=50, move_rank=40, page=200, erasable=True, numbered="rid",
    ),
    SPEAKERS,
    # closed pieces free their place before new ones take it: `statements.py`
    Table(
        "pieces", columns("ws rid:rid valid_from tx_from valid_to tx_to facts:pid"), key("rid valid_from tx_from"),
        "committed", write_rank=40, move_rank=60,
    ),
    Table(
        "vectors", columns("vid:vid ws model:model content:pid seq vector:vector"), key("vid"), "derived",
        write_rank=170, move_rank=160, erasable=True, numbered="vid",
    ),
    CODES,
    PASSAGE_TERMS,
    POSTINGS,
    PASSAGE_LENGTHS,
    VOCABULARY,
    Table(
        "node_vectors", columns("nid ws model:model node seq vector"), key("seq model node"), "derived",
        audited=key("model node seq"), move_rank=190, own="nid", erasable=True,
    ),
    Table(
        "idempotency_keys", columns("ws key request seq receipt"), key("key"), "operational",
        write_rank=210, move_rank=200, page=500, erasable=True,
    ),
    STATE_NODES,
    LOG_NODES,
    # without the ledger a workspace is empty to whoever looks, so it comes last
    Table(
        "transactions",
        columns(
            "ws seq recorded_us principal:pid verb arguments_hash arguments hash state_root control_root changes atoms"
            " passages tokens last_rid:rid last_pid:pid last_vid:vid"
        ),
        key("seq"), "committed",
        write_rank=190, move_rank=230, page=1_000, erasable=True,
    ),
    Table("embedding_models", columns("model:model ws name digest precision dimension"), key("model"), "derived", whole=True),
    Table("workspaces", columns("ws name epoch pages_pending"), (), "operational", whole=True),
    Table("migrations", columns("number title checksum applied_us"), key("number"), "operational", whole=True),
)  # fmt: skip
"""The tables that every store has and that the unit of work knows; those of indexes are with their index."""


def in_order_of_moving(tables: Iterable[Table]) -> list[Table]:
    """Return the tables that are copied row by row, in order."""
    return sorted((table for table in tables if table.move_rank), key=lambda table: table.move_rank)
