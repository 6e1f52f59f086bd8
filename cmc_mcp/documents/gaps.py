"""Gaps among the numbers of vectors: which an erasure explains, and which not.

Vectors are numbered as they are made, and each transaction says which number it had reached. An erasure destroys the vectors of
contents, and which they were is not recorded; but which contents were erased, and when, is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from cmc_mcp.ids import END, PayloadHash, Pid, Seq, Vid
from cmc_mcp.kernel.kinds import ERASURE
from cmc_mcp.store.audit import Audit
from cmc_mcp.store.rows import TEXTUAL, TransactionRow
from cmc_mcp.store.tables import WORKSPACE_SHIFT

_LATER = frozenset({"embed", "release"})  # make vectors of contents that were recorded before


def made_in(audit: Audit) -> dict[Seq, tuple[int, int]]:
    """Return the numbers that transactions gave to vectors, as (before the first, last), of those that gave any."""
    out, before = {}, audit.view.ws << WORKSPACE_SHIFT
    for row in audit.rows:
        if row.last_vid > before:
            out[row.seq] = (before, int(row.last_vid))
            before = int(row.last_vid)
    return out


def unexplained(audit: Audit, vids: Sequence[Vid]) -> Iterator[tuple[Seq, int]]:
    """Yield the transactions of whose vectors more are missing than erasures can have taken, and how many more.

    An erased content explains one vector, or one of each model and for each time that contents were let in again: of a
    transaction that recorded it, or of a later one that made up for missing vectors while it was there.
    """
    there, gaps = sorted(vids), list[tuple[TransactionRow, int]]()
    rows = {row.seq: row for row in audit.rows}
    for seq, (before, last) in made_in(audit).items():
        if missing := last - before - (bisect_right(there, last) - bisect_right(there, before)):
            gaps.append((rows[seq], missing))
    if not gaps:
        return
    recorded, gone = _erased(audit)
    lives = 1 + sum(row.verb == "release" for row in audit.rows)
    left = dict.fromkeys(recorded, lives * max(1, len(list(audit.view.models()))))
    for row, missing in gaps:
        could = [
            content
            for content, seqs in recorded.items()
            if left[content]
            and (gone[content] > row.seq or lives > 1)
            and (min(seqs) <= row.seq if row.verb in _LATER else row.seq in seqs)
        ]
        taken = sorted(could, key=gone.__getitem__)[:missing]  # who goes first explains the least later
        for content in taken:
            left[content] -= 1
        if len(taken) < missing:
            yield row.seq, missing - len(taken)


def _erased(audit: Audit) -> tuple[dict[Pid, set[Seq]], dict[Pid, Seq]]:
    """Return the texts that ever were erased, each with the transactions that recorded it, and with its first erasure."""
    first: dict[PayloadHash, Seq] = {}
    for rid, _ in audit.of_kind(ERASURE):
        seq, facts = audit.first[rid]
        for pid in facts:
            first.setdefault(PayloadHash(bytes.fromhex(str(audit.fields(pid)["hash"]))), seq)
    recorded: dict[Pid, set[Seq]] = {}
    for atom in audit.atoms:
        if atom.modality < TEXTUAL and audit.was_erased(atom):
            recorded.setdefault(atom.content, set()).add(atom.seq)
    return recorded, {content: first.get(audit.payloads[content].hash, END) for content in recorded}
