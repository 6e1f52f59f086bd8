"""Rows as values: what a backend gives the layers above."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import ModelNumber, NodeKey, PayloadHash, Pid, Rid, Seq, Vid
from cmc_mcp.kernel.identity import atom_id, text_of
from cmc_mcp.kernel.kinds import DOMAINS, Domains
from cmc_mcp.model.modality import BINARY as BINARY
from cmc_mcp.model.modality import MODALITIES as MODALITIES
from cmc_mcp.model.modality import TEXTUAL as TEXTUAL

_NOTHING: Final = payload_hash(b"")
_ERASED_KEY: Final = re.compile(r"erased:[0-9a-f]{64}")


class Head(NamedTuple):
    """A transaction as the state it left: roots (32 bytes) and running totals."""

    seq: Seq
    recorded_us: int
    hash: bytes
    state_root: bytes
    control_root: bytes
    atoms: int  # live
    passages: int  # ever recorded
    tokens: int  # in those passages
    last_rid: Rid  # the highest number of a record, of a payload, of a vector; 0 in an empty workspace
    last_pid: Pid
    last_vid: Vid


class TransactionRow(NamedTuple):
    """One entry of the ledger; `principal` is a payload's number, `arguments` are None when erased."""

    seq: Seq
    recorded_us: int
    principal: Pid
    verb: str
    arguments_hash: PayloadHash
    arguments: bytes | None
    hash: bytes
    state_root: bytes
    control_root: bytes
    changes: int
    atoms: int
    passages: int
    tokens: int
    last_rid: Rid
    last_pid: Pid
    last_vid: Vid


class AtomRow(NamedTuple):
    """The immutable part of an atom; all but `modality` and `seq` are numbers of payloads."""

    rid: Rid
    key: bytes  # the id, 16 bytes
    modality: int
    media_type: Pid
    content: Pid
    origin: Pid
    discriminator: Pid  # 0 for none
    witness: Pid
    seq: Seq  # first recorded


class PayloadRow(NamedTuple):
    """Stored bytes under their hash; `body` is None when erased, or kept as an object."""

    pid: Pid
    hash: PayloadHash
    domain: int
    size: int
    object: int
    body: bytes | None


class EdgeRow(NamedTuple):
    """A typed link between atoms, by record numbers."""

    rid: Rid
    source: Rid
    type: str
    target: Rid


class RootSpan(NamedTuple):
    """A state root (32 bytes), with the first and the last transaction that left it."""

    root: bytes
    first: Seq
    last: Seq


class RecordKey(NamedTuple):
    """A record of a known kind: its number and its key (16 bytes)."""

    rid: Rid
    key: bytes


class IntervalRow(NamedTuple):
    """A piece of a known record over both clocks; an open end is `OPEN`."""

    valid_from: int
    valid_to: int
    tx_from: Seq
    tx_to: Seq
    facts: Pid


class Holder(NamedTuple):
    """A record that holds a body of facts from `valid_from` to `valid_to`."""

    rid: Rid
    valid_from: int
    valid_to: int
    facts: Pid


class ItemRow(NamedTuple):
    """A position of a conversation, with the record that says what stands there."""

    position: int
    rid: Rid


class ItemPlace(NamedTuple):
    """A place that an atom ever had in a conversation, with the record that says so."""

    atom: Rid
    position: int
    rid: Rid


class KeyUse(NamedTuple):
    """What an idempotency key was used for: the hash of the request, the transaction, the receipt."""

    request: bytes
    seq: Seq
    receipt: bytes


class ModelRow(NamedTuple):
    """An embedding model of a workspace."""

    model: ModelNumber
    name: str
    digest: str
    precision: str
    dimension: int


class TraitsRow(NamedTuple):
    """What is packed of an atom for ranking (`model/traits.py`); `origin` and `speaker` are 0 for none."""

    rid: Rid
    modality: int
    origin: Pid
    traits: int
    speaker: int


class PieceEvent(NamedTuple):
    """The opening (1) or closing (0) of a piece by a transaction."""

    seq: Seq
    opens: int
    rid: Rid
    valid_from: int
    valid_to: int
    facts: Pid


class VectorRow(NamedTuple):
    """A vector (fp32) of a content under a model, and the transaction that made it."""

    vid: Vid
    model: ModelNumber
    content: Pid
    seq: Seq
    vector: bytes


class NodeVectorRow(NamedTuple):
    """A vector (fp32) of a node under a model; `nid` numbers them in the order of making."""

    nid: int
    model: ModelNumber
    key: NodeKey
    seq: Seq
    vector: bytes


class VectorMade(NamedTuple):
    """A vector (fp32) of a known model."""

    vid: Vid
    seq: Seq
    vector: bytes


class Unembedded(NamedTuple):
    """How many text atoms lack a vector: those that hold at a read point, and all of them."""

    holding: int
    recorded: int


class NodeSpan(NamedTuple):
    """A node of a source, from the transaction that began it to the one that ended it (`OPEN` for none)."""

    source: Rid
    path: str
    tx_from: Seq
    tx_to: Seq
    key: NodeKey


class PieceClosed(NamedTuple):
    """The end of a piece, told by its record, its start and the transaction that opened it."""

    rid: Rid
    valid_from: int
    tx_from: Seq
    tx_to: Seq


class GateEntry(NamedTuple):
    """What waits in quarantine: the gate's record, and the payload of the request."""

    rid: Rid
    request: Pid


class EntryRow(NamedTuple):
    """What an atom of a collection holds: its id (16 bytes), its first transaction, its piece."""

    rid: Rid
    key: bytes
    seq: Seq
    witness: Pid
    valid_from: int
    valid_to: int
    facts: Pid


class IndexSize(NamedTuple):
    """The approximate index of a model, and its size."""

    model: int
    bytes: int


class OwnRow(NamedTuple):
    """A workspace's own row: its name, its number of erasures, whether erased pages wait to be destroyed."""

    name: str
    erasure_count: int
    pages_pending: int


class Filter(NamedTuple):
    """What limits the candidates before anything is ranked; None lets everything through.

    All are numbers: of modalities, and of payloads. `facts` are sets of which a piece must be in every one.
    """

    modalities: tuple[int, ...] | None = None
    origins: tuple[Pid, ...] | None = None
    witnesses: tuple[Pid, ...] | None = None
    facts: tuple[tuple[Pid, ...], ...] = ()
    rids: tuple[Rid, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return self == Filter()


def is_sound(row: PayloadRow, domains: Domains) -> bool:
    """Return whether the bytes of a payload, if they are there, have its hash in its domain."""
    domain = domains.get(row.domain)
    return row.body is None or (domain is not None and domain.hash(row.body) == row.hash)


def made_id(row: AtomRow, payloads: Mapping[Pid, PayloadRow], media_type: bytes) -> bytes:
    """Compute an atom's id (16 bytes) again from its parts (kernel.md §2). The bytes of the media type are handed in.

    Raises:
        LookupError: a part is missing.
        UnicodeDecodeError: the media type is not text.
    """
    content = payloads[row.content].hash
    return atom_id(
        MODALITIES[row.modality],
        media_type.decode(),
        content,
        payloads[row.origin].hash if row.origin else payload_hash(b"note:" + content.hex().encode()),
        payloads[row.discriminator].hash if row.discriminator else _NOTHING,
        payloads[row.witness].hash,
    )


def checked(row: PayloadRow, domains: Domains = DOMAINS) -> bytes | None:
    """Return the bytes of a payload, checked against their hash; of a text without the name of a vector of its own.

    Raises:
        IntegrityError: the bytes do not match the hash.
    """
    if row.body is None:
        return None
    domain = domains.get(row.domain)  # as `is_sound`, without a call: every text of an answer comes by here
    if domain is None or domain.hash(row.body) != row.hash:
        raise IntegrityError(
            "stored bytes do not match their hash; run `cmc verify`", table="payloads", key=str(row.pid)
        )
    return text_of(row.body)


def arguments_of(row: TransactionRow) -> bytes | None:
    """Return the arguments of a transaction, checked against their hash; None when erased."""
    if row.arguments is not None and payload_hash(row.arguments) != row.arguments_hash:
        raise IntegrityError(
            "a transaction's arguments do not match their hash; run `cmc verify`",
            table="transactions",
            key=str(row.seq),
        )
    return row.arguments


def post_order(level: int, position: int) -> int:
    """Number the nodes of the log in the order in which appending completes them."""
    last = ((position + 1) << level) - 1
    return 2 * last - last.bit_count() + level


def erased_key(key: str) -> str:
    """Return the replacement of an idempotency key whose words were erased; a replaced key stays itself."""
    return key if _ERASED_KEY.fullmatch(key) else f"erased:{payload_hash(key.encode()).hex()}"
