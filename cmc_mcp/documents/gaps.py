"""Gaps among the numbers of vectors: which an erasure explains, and which not.

Vectors are numbered as they are made, and each transaction says which number it had reached. An erasure destroys the vectors of
contents, and which they were is not recorded; but which contents were erased, and when, is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush

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
    lives = 1 + sum(row.verb == "release" for row in audit.rows)
    explaining = Explaining(*_erased(audit), lives, models=max(1, len(list(audit.view.models()))))
    for row, missing in gaps:
        taken = explaining.take(row.seq, missing, later=row.verb in _LATER)
        if taken < missing:
            yield row.seq, missing - taken


class Explaining:
    """What erased contents can explain of the gaps of transactions, which ask in their order.

    Who goes first explains the least later, so it is taken first.
    """

    def __init__(self, recorded: Mapping[Pid, set[Seq]], gone: Mapping[Pid, Seq], lives: int, models: int) -> None:
        self._gone, self._for_good = gone, lives == 1
        self._left = dict.fromkeys(recorded, lives * models)
        self._of: dict[Seq, list[Pid]] = {}  # what each transaction recorded
        for content, seqs in recorded.items():
            for seq in seqs:
                self._of.setdefault(seq, []).append(content)
        places = {content: place for place, content in enumerate(recorded)}
        self._coming = sorted(((min(recorded[one]), place, one) for one, place in places.items()), reverse=True)
        self._there: list[tuple[Seq, int, Pid]] = []  # a heap of what was recorded by now: (gone, place, content)

    def take(self, seq: Seq, most: int, *, later: bool) -> int:
        """Take contents for vectors that a transaction made; `later` of any recorded before, else of its own alone."""
        taken = self._recorded_by(seq, most) if later else self._recorded_in(seq, most)
        for content in taken:
            self._left[content] -= 1
        return len(taken)

    def _may(self, content: Pid, seq: Seq) -> bool:
        return self._left[content] > 0 and (self._gone[content] > seq or not self._for_good)

    def _recorded_in(self, seq: Seq, most: int) -> list[Pid]:
        could = [content for content in self._of.get(seq, ()) if self._may(content, seq)]
        return sorted(could, key=self._gone.__getitem__)[:most]

    def _recorded_by(self, seq: Seq, most: int) -> list[Pid]:
        while self._coming and self._coming[-1][0] <= seq:
            _, place, content = self._coming.pop()
            heappush(self._there, (self._gone[content], place, content))
        taken: list[tuple[Seq, int, Pid]] = []
        while self._there and len(taken) < most:
            one = heappop(self._there)
            if self._may(one[2], seq):  # what may not now may never again: transactions ask in their order
                taken.append(one)
        for one in taken:
            heappush(self._there, one)
        return [content for *_, content in taken]


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
