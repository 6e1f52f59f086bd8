"""Retold: what was superseded, told again in other words. It is possible only, and both stay (`docs/design/read.md` §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cmc_mcp.documents.loading import Loaded
from cmc_mcp.ids import Rid
from cmc_mcp.model.results import RIVALS_NAMED, ConflictNote
from cmc_mcp.read.agree import Statement
from cmc_mcp.read.echoes import Known, holds
from cmc_mcp.read.notes import Notes
from cmc_mcp.read.point import Point
from cmc_mcp.read.subject import told_words
from cmc_mcp.store.ports import LedgerView
from cmc_mcp.store.rows import checked

_SHARED_MIN: Final = 0.5  # of what the old wording and the new one have in common


def is_retold(said: Statement, older: Statement, newer: Statement) -> bool:
    """Return whether a statement says what an older one said and a revision of it does not.

    The revision shows which words are the value: it must hold all that only the older one has, none that only the newer
    one has, and half of what they share.

    >>> old, new = Statement("The wifi password is in the safe"), Statement("The wifi password is in the vault")
    >>> is_retold(Statement("You find the password of the wifi in the safe"), old, new)
    True
    >>> is_retold(Statement("The password of the wifi: in the vault, not the safe"), old, new)
    False
    """
    mine, was, now = told_words(said), told_words(older), told_words(newer)
    value, instead, shared = was - now, now - was, was & now
    if not value or not shared or bool(said.asserted.negations) != bool(older.asserted.negations):
        return False
    return value <= mine and not instead & mine and len(shared & mine) >= _SHARED_MIN * len(shared)


def note_retold(
    view: LedgerView, point: Point, shown: Sequence[tuple[Loaded, Statement | None, Notes]], known: Known
) -> int:
    """Mark both sides where one of what is shown may tell what another superseded; return how many were marked.

    The newer comes right before the older, as far as it is among what is shown.
    """
    said = {item.row.rid: (item, text, notes) for item, text, notes in shown if text is not None}
    if len(said) < 2 or not known.superseded.follow(view, known.seq):
        return 0
    marked = 0
    for newer, older in _revised(view, point, list(said)):
        new, now, beside_new = said[newer]
        for rid, (item, statement, notes) in said.items():
            if rid == newer or newer in notes.superseded_by:
                continue
            if is_retold(statement, older, now):
                marked += 1
                why = "it may repeat what this replaced"
                beside_new.add(ConflictNote(with_id=item.name, kind="possible", reason=why))
                notes.add(ConflictNote(with_id=new.name, kind="possible", reason="it replaced what this may repeat"))
                notes.after.append(newer)
    return marked


def _revised(view: LedgerView, point: Point, rids: Sequence[Rid]) -> list[tuple[Rid, Statement]]:
    """Return the last few wordings that each of some memories superseded, with that memory."""
    mine: dict[Rid, list[Rid]] = {}
    for edge in view.edges(rids):
        if edge.type == "supersedes" and holds(view, point, edge.rid):
            mine.setdefault(edge.source, []).append(edge.target)
    rows = view.atoms([older for found in mine.values() for older in found[-RIVALS_NAMED:]])
    payloads = view.payload_rows({row.content for row in rows.values()})
    texts = {rid: body for rid, row in rows.items() if (body := checked(payloads[row.content])) is not None}
    return [
        (newer, Statement(texts[older].decode()))
        for newer, found in mine.items()
        for older in found[-RIVALS_NAMED:]
        if older in texts
    ]
