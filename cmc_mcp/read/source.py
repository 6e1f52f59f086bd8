"""Sources, given back as they came: every byte, or an error that names what is missing."""

from __future__ import annotations

from cmc_mcp.canon import payload_hash
from cmc_mcp.documents.loading import proved_contents
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.errors import IntegrityError, NotFound, SourceIncomplete
from cmc_mcp.history.references import resolve_origin
from cmc_mcp.ids import PayloadHash, Pid, Seq
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.kernel.kinds import SOURCE, atom_record
from cmc_mcp.store.ports import LedgerView, Objects
from cmc_mcp.store.rows import AtomRow


def read_source(view: LedgerView, objects: Objects, manifests: Manifests, origin: str, seq: Seq) -> bytes:
    """Return a source as it was after a transaction. The turns of a conversation are joined by newlines.

    Raises:
        NotFound: the source did not exist.
        SourceIncomplete: parts of it were forgotten or erased.
    """
    origin = resolve_origin(view, origin)
    head = view.rid(SOURCE.record(payload_hash(origin.encode())))
    if head is not None and view.intervals(head, seq):
        found = manifests.of_origin(view, origin, seq)
        if found is None:
            raise SourceIncomplete(
                f"this version of {origin!r} cannot be given back: parts of it were erased, and its plan with them",
                source=origin,
                missing=[],
            )
        manifest = found[1]
        rows = [_row(view, part.atom) for part in manifest.parts]
        bodies = _bodies(view, objects, rows, seq, origin)
        data = b"".join(a + b for a, b in zip(manifest.literals, [*bodies, b""], strict=True))
        if payload_hash(data) != manifest.whole:
            raise IntegrityError("a source does not add up to its hash", table="sources", key=origin)
        return data
    if origin.startswith("note:"):
        return _note(view, objects, origin, seq)
    pid = view.pid(payload_hash(origin.encode()))
    rows = [row for _, row in turns(view, pid, seq)] if pid is not None else []
    if not rows:
        raise NotFound(f"no source {origin!r} exists at that point; `history` lists the changes", source=origin)
    return b"\n".join(_bodies(view, objects, rows, seq, origin))


def turns(view: LedgerView, origin: Pid, seq: Seq) -> list[tuple[int, AtomRow]]:
    """Return the turns of a conversation after a transaction as (position, atom)."""
    out = []
    for position, rid in view.items(origin):
        for interval in view.intervals(rid, seq):
            out.append((position, _row(view, bytes.fromhex(str(interval.facts.fields["atom"])))))
    return out


def _row(view: LedgerView, key: bytes) -> AtomRow:
    rid = view.rid(atom_record(key))
    row = None if rid is None else view.atom(rid)
    if row is None:
        raise IntegrityError("an atom of a source is missing", table="atoms", key=atom_name(key))
    return row


def _note(view: LedgerView, objects: Objects, origin: str, seq: Seq) -> bytes:
    try:
        pid = view.pid(PayloadHash(bytes.fromhex(origin.removeprefix("note:"))))
    except ValueError:
        pid = None
    rows = [] if pid is None else [row for row in view.atoms_with_content(pid) if not row.origin and row.seq <= seq]
    if not rows:
        raise NotFound(f"no note {origin!r} exists at that point", source=origin)
    live = [row for row in rows if view.intervals(row.rid, seq)]
    return _bodies(view, objects, (live or rows)[:1], seq, origin)[0]


def _bodies(view: LedgerView, objects: Objects, rows: list[AtomRow], seq: Seq, origin: str) -> list[bytes]:
    out, missing = [], []
    for row, data in zip(rows, proved_contents(view, objects, rows), strict=True):
        if data is None or not view.intervals(row.rid, seq):
            missing.append(atom_name(row.key))
        else:
            out.append(data)
    if missing:
        raise SourceIncomplete(
            f"{len(missing)} of {len(rows)} parts of {origin!r} were forgotten or erased: {', '.join(missing[:5])}"
            + (" …" if len(missing) > 5 else ""),
            source=origin,
            missing=missing,
        )
    return out
