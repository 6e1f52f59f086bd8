"""References: what a text may name (an atom, a point of the ledger), found in one workspace or refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final

from cmc_mcp.canon import INTEGER_MAX, payload_hash
from cmc_mcp.errors import Ambiguous, InvalidInput, LimitExceeded, NotFound, brief
from cmc_mcp.ids import START, Pid, Rid, Seq
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
from cmc_mcp.limits import ID_PREFIX_CHARS_MIN, REFERENCE_CHARS_MAX
from cmc_mcp.model.names import name_key
from cmc_mcp.model.time import PointLike as PointLike
from cmc_mcp.model.time import is_time, parse_time
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import checked

ID_DIGITS_SHOWN: Final = 6
"""So many hex digits of an id are shown, and as many more as it takes to tell it from every other memory's."""

_HEX: Final = re.compile(r"[0-9a-f]+\Z")
_NUMBER: Final = re.compile(r"[0-9]{1,18}\Z")


def resolve_atom(view: LedgerView, reference: str, path: str = "id") -> Rid:
    """Find the record of an atom by its id or a unique prefix of it.

    Raises:
        InvalidInput: the reference is not a memory id.
        NotFound: the workspace has no such atom.
        Ambiguous: several ids begin with the reference.
    """
    given: object = reference
    digits = given.removeprefix(ATOM_PREFIX).lower() if isinstance(given, str) else ""
    if not _HEX.match(digits) or not ID_PREFIX_CHARS_MIN <= len(digits) <= 2 * ID_BYTES:
        raise InvalidInput.at(
            path,
            f"{brief(reference, 80)} is not a memory id; ids look like {ATOM_PREFIX}3f9a… and come from recall or history",
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


def longer(view: LedgerView, names: Collection[str], upto: Rid) -> dict[str, int]:
    """Return how many hex digits those ids need, of `names`, that `ID_DIGITS_SHOWN` do not tell from every other memory's.

    The others are all that were recorded up to a record number, so that what is shown of an id at a read point stays.
    """
    size = ID_DIGITS_SHOWN // 2
    keys = {name: bytes.fromhex(name.removeprefix(ATOM_PREFIX)) for name in names}
    found = view.keys_beginning(ATOM.code, [key[:size] for key in keys.values()], upto)
    near: dict[bytes, set[bytes]] = {}
    for key in [*found, *keys.values()]:
        near.setdefault(key[:size], set()).add(key)
    out: dict[str, int] = {}
    for name, key in keys.items():
        others = near[key[:size]] - {key}
        if others:
            out[name] = 1 + max(_shared(key.hex(), other.hex()) for other in others)
    return out


def _shared(a: str, b: str) -> int:
    """Count the characters with which both begin; they are not equal."""
    return next(at for at, (one, other) in enumerate(zip(a, b, strict=True)) if one != other)


def resolve_atoms(view: LedgerView, references: Sequence[str], path: str = "ids") -> list[Rid]:
    """Find several atoms, each once, in the order given."""
    return list(dict.fromkeys(resolve_atom(view, r, f"{path}[{i}]") for i, r in enumerate(references)))


def resolve_origin(view: LedgerView, reference: str) -> str:
    """Find the origin that a text names: itself, the one with the source id given, or the one that is spelled alike.

    An exact spelling alone is meant where there is one.

    Raises:
        InvalidInput: the reference is not text that can be stored.
        Ambiguous: several origins are spelled alike, and none exactly so.
    """
    origin = plain_text(reference, "source")
    pid = view.pid(payload_hash(origin.encode()))
    if origin.startswith("note:") or (pid is not None and (pid in view.origins() or view.atoms_with_origin(pid))):
        return origin
    if origin.startswith(SOURCE_PREFIX):
        for name in _origins(view, view.origins()):
            if source_name(name) == origin:
                return name
    found = origins_like(view, origin)
    if len(found) > 1:
        raise Ambiguous(
            f"source: {brief(reference, 80)} could be any of {', '.join(map(repr, found))}; spell the one that is meant as it is",
            candidates=found,
        )
    return found[0] if found else origin


def origins_like(view: LedgerView, name: str) -> list[str]:
    """Return the origins of documents and conversations that are spelled like a name, itself among them if it is one.

    The database looks at every name, and hands over those that may be: about 1 µs for each document or conversation.
    """
    key = name_key(name)
    return [origin for origin in _origins(view, view.origins_like(key)) if name_key(origin) == key]


def facts_tagged(view: LedgerView, name: str, value: str) -> list[Pid]:
    """Return the bodies of facts with a tag, in any spelling of its name and value: equal after NFC and case folding.

    The names of tags are read, and the database looks at the values of those that match.
    """
    wanted = name_key(name), name_key(value)
    spelled = [each for each in view.tag_names() if name_key(each) == wanted[0]]
    pairs = [
        (each, said)
        for each in spelled
        for said in view.tag_values_like(each, wanted[1])
        if name_key(said) == wanted[1]
    ]
    return list(dict.fromkeys(pid for pair in pairs for pid in view.facts_with_tag(*pair)))


def witnesses_like(view: LedgerView, writer: str) -> list[Pid]:
    """Return the witnesses of a writer, in any spelling: equal after NFC and case folding. Every writer is read."""
    key = name_key(writer)
    return [pid for each in view.writers() if name_key(each) == key for pid in view.witnesses_of(each)]


def _origins(view: LedgerView, pids: list[Pid]) -> list[str]:
    pids = list(dict.fromkeys(pids))
    rows = view.payload_rows(pids)
    bodies = [checked(rows[pid]) for pid in pids if pid in rows]
    return [body.decode() for body in bodies if body is not None]


def plain_text(value: str, path: str) -> str:
    """Check that a reference is text that could have been stored.

    Raises:
        InvalidInput: the value is not text, or holds a lone surrogate or a NUL character.
        LimitExceeded: the value is longer than REFERENCE_CHARS_MAX.
    """
    if not isinstance(value, str):
        raise InvalidInput.at(path, f"is a {type(value).__name__}; pass text")
    if len(value) > REFERENCE_CHARS_MAX:
        raise LimitExceeded.over(path, "REFERENCE_CHARS_MAX", len(value), REFERENCE_CHARS_MAX)
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
            f"{path}: {brief(reference, 80)} names no snapshot, label, transaction or time here; `history` lists them",
            reference=reference,
        )
    return next(iter(found.values()))


def _numbered(seq: Seq, head: Seq, path: str) -> Seq:
    if not 0 <= seq <= head:
        named = brief(int(seq))
        raise NotFound(
            f"{path}: transaction {named} does not exist; the last is {head}",
            reference=seq if abs(seq) <= INTEGER_MAX else named,
        )
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
