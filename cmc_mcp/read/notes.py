"""Notes: what an answer says beside one memory, of others that disagree with it, follow it or let it down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cmc_mcp.ids import Rid
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote

REASON_TOKENS_MAX: Final = 22
"""Tokens of a reason: with the mark and the short id before it, a note has no more than 40."""


@dataclass(slots=True)
class Notes:
    """The notes to show beside one memory; `after` are those that come before it though they do not supersede it."""

    conflicts: list[ConflictNote] = field(default_factory=list)
    superseded_by: list[Rid] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    after: list[Rid] = field(default_factory=list)
    more: int = 0  # others that disagree, and are not named

    @property
    def is_empty(self) -> bool:
        """Whether there are no notes to show."""
        return not (self.conflicts or self.superseded_by or self.stale)

    def add(self, note: ConflictNote) -> None:
        """Add a note, unless the memory that it names has one already; name no more than RIVALS_NAMED, count the rest."""
        if any(known.with_id == note.with_id for known in self.conflicts):
            return
        if len(self.conflicts) < RIVALS_NAMED:
            self.conflicts.append(note)
        else:
            self.more += 1

    def bound(self) -> None:
        """Name no more than RIVALS_NAMED memories, those that supersede this one first; count the others."""
        self.superseded_by = list(dict.fromkeys(self.superseded_by))
        self.conflicts.sort(key=lambda note: note.kind != "superseded_by")
        self.more += max(0, len(self.conflicts) - RIVALS_NAMED)
        del self.conflicts[RIVALS_NAMED:]
        del self.superseded_by[RIVALS_NAMED:]


def clipped(text: str, chars: int) -> str:
    """Return a text on one line, cut to a number of characters.

    >>> clipped("a  long value", 8)
    'a long …'
    """
    line = " ".join(text[: 4 * chars].split())
    return line if len(line) <= chars and len(text) <= 4 * chars else line[: chars - 1] + "…"


def brief(note: ConflictNote, count: Callable[[str], int]) -> ConflictNote:
    """Return a note whose reason has no more than REASON_TOKENS_MAX tokens, whatever it is written in."""
    reason = note.reason
    if len(reason) <= REASON_TOKENS_MAX or count(reason) <= REASON_TOKENS_MAX:
        return note
    low, high = 0, len(reason)
    while low < high:
        middle = (low + high + 1) // 2
        if count(reason[:middle] + "…") <= REASON_TOKENS_MAX:
            low = middle
        else:
            high = middle - 1
    return note.model_copy(update={"reason": reason[:low] + "…"})
