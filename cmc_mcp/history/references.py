"""References: what a text may name (an atom, a point of the ledger), found in one workspace or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import Ambiguous, InvalidInput, NotFound
from cmc_mcp.ids import START, Rid, Seq
from cmc_mcp.kernel.identity import (
    ATOM_PREFIX,
    ID_BYTES,
    SNAPSHOT_PREFIX,
    SOURCE_PREFIX,
    atom_name,
    snapshot_name,
    source_name,
)
from cmc_mcp.kernel.kinds import ATOM
from cmc_mcp.limits import ID_PREFIX_CHARS_MIN
from cmc_mcp.model.time import PointLike as PointLike
from cmc_mcp.model.time import is_time, parse_time
from cmc_mcp.store.ports import LedgerView

_HEX: Final = re.compile(r"[0-9a-f]+\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,18}\Z")


def resolve_atom(view: LedgerView, reference: str, path: str = "id") -> Rid:
    """Find the record of an atom by its id or a unique prefix of it.

    Raises:
        InvalidInput: the reference is not a memory id.
        NotFound: the workspace has no such atom.
        Ambiguous: several ids begin with the reference.
    """
    digits = str(reference).removeprefix(ATOM_PREFIX).lower()
    if not _HEX.match(digits) or not ID_PREFIX_CHARS_MIN <= len(digits) <= 2 * ID_BYTES:
        raise InvalidInput.at(
            path,
            f"{reference!r:.80} is not a memory id; ids look like {ATOM_PREFIX}3f9a… and come from recall or history",
        )
    low, high = _range(digits, ID_BYTES)
    found = view.keys_between(ATOM.code, low, high)
    if not found:
        raise NotFound(
            f"no memory {reference} exists in this workspace; use recall or history to find the id", id=reference
        )
    if len(found) > 1:
        names = [atom_name(key) for _, key in found]
        raise Ambiguous(f"{reference} could be any of {', '.join(names)}; give more digits", candidates=names)
    return found[0][0]


def resolve_atoms(view: LedgerView, references: Sequence[str], path: str = "ids") -> list[Rid]:
    """Find several atoms, each once, in the order given."""
    return list(dict.fromkeys(resolve_atom(view, r, f"{path}[{i}]") for i, r in enumerate(references)))


def resolve_origin(view: LedgerView, reference: str, path: str = "source") -> str:
    """Find the origin that a text names: itself, or the one that bears the source id given.

    Raises:
        InvalidInput: the reference is not text that can be stored.
    """
    origin = plain_text(reference, path)
    if origin.startswith(SOURCE_PREFIX) and view.pid(payload_hash(origin.encode())) is None:
        for pid in view.origins():
            body = view.payload(pid)
            if body is not None and source_name(body.decode()) == origin:
                return body.decode()
    return origin


def plain_text(value: str, path: str) -> str:
    """Check that a reference is text that could have been stored.

    Raises:
        InvalidInput: the value is not text, or holds a lone surrogate or a NUL character.
    """
    if not isinstance(value, str):
        raise InvalidInput.at(path, f"is a {type(value).__name__}; pass text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput.at(
            path, "holds a lone surrogate, which is not valid Unicode; encode the text properly"
        ) from error
    if "\0" in value:
        raise InvalidInput.at(path, "holds a NUL character, which text cannot carry; remove it")
    return value


def resolve_point(view: LedgerView, reference: PointLike, path: str = "as_of", *, latest: bool = False) -> Seq:
    """Find the transaction that a snapshot id, label, transaction number or time names.

    A snapshot that occurs at several transactions is the earliest one, or with `latest` the last; a time is the last
    transaction at or before it.

    Raises:
        NotFound: the workspace has nothing of that name.
        Ambiguous: the reference could name several things.
        InvalidInput: the reference has an unknown form.
    """
    head = view.head().seq
    if isinstance(reference, datetime | date):
        return view.seq_at(parse_time(reference, path))
    if isinstance(reference, int) and not isinstance(reference, bool):
        return _numbered(Seq(reference), head, path)
    if not isinstance(reference, str) or not reference.strip():
        raise InvalidInput.at(path, "is not a reference; pass a snapshot id, a label, a transaction number or a time")
    reference = plain_text(reference, path)
    found: dict[str, Seq] = {}
    if (rid := view.label(reference)) is not None:
        for interval in view.intervals(rid):
            found[f"the label {reference}"] = Seq(int(str(interval.facts.fields["seq"])))
    if _NUMBER.match(reference) and int(reference) <= head:
        found[f"transaction {int(reference)}"] = Seq(int(reference))
    if is_time(reference):
        found[f"the time {reference}"] = view.seq_at(parse_time(reference, path))
    digits = reference.removeprefix(SNAPSHOT_PREFIX).lower()
    if reference.startswith(SNAPSHOT_PREFIX) or len(digits) == 64:
        found.update(_snapshots(view, digits, latest))
    if len(found) > 1:
        raise Ambiguous(
            f"{reference!r} could be {' or '.join(found)}; write the one that is meant in another form",
            candidates=list(found),
        )
    if not found:
        raise NotFound(
            f"{path}: {reference!r:.80} names no snapshot, label, transaction or time here; `history` lists them",
            reference=reference,
        )
    return next(iter(found.values()))


def _numbered(seq: Seq, head: Seq, path: str) -> Seq:
    if not 0 <= seq <= head:
        raise NotFound(f"{path}: transaction {seq} does not exist; the last is {head}", reference=seq)
    return seq


def _snapshots(view: LedgerView, digits: str, latest: bool) -> dict[str, Seq]:
    if not _HEX.match(digits) or not ID_PREFIX_CHARS_MIN <= len(digits) <= 64:
        return {}
    empty = view.head_at(START).state_root
    low, high = _range(digits, 32)
    out = {root: (first, last) for root, first, last in view.roots(low, high)}
    if low <= empty <= high:
        out[empty] = (START, out.get(empty, (START, START))[1])
    return {
        f"{snapshot_name(root)}…{root.hex()[-6:]}": last if latest else first for root, (first, last) in out.items()
    }


def _range(digits: str, size: int) -> tuple[bytes, bytes]:
    return bytes.fromhex(digits.ljust(2 * size, "0")), bytes.fromhex(digits.ljust(2 * size, "f"))
