"""A check of `verify`: how many passages and tokens each transaction says it added, and full text has of each passage."""

from __future__ import annotations

from typing import cast

from cmc_mcp.documents.headings import HEADINGS
from cmc_mcp.ids import Rid, Seq
from cmc_mcp.store.audit import Audit, Report
from cmc_mcp.store.postings import BLOCK, Made, forward, length_at, made_of, ordinal, rid_of, unpacked_from
from cmc_mcp.store.rows import BINARY, MODALITIES


def passages(audit: Audit, report: Report) -> None:
    """Check how many passages and tokens each transaction added; where something was erased, only that it counted them."""
    headings = dict(cast("set[tuple[Rid, str]]", audit.wanted(HEADINGS)))
    made: dict[Seq, tuple[int, int]] = {}
    found: dict[Rid, Made] = {}
    touched = {atom.origin for atom in audit.atoms if atom.origin and audit.was_erased(atom)}
    loose: set[Seq] = set()  # transactions of passages whose words are gone, or stand under other headings now
    for atom in audit.atoms:
        count, size = made.get(atom.seq, (0, 0))
        content = audit.payloads[atom.content]
        own = 0
        if content.hash not in audit.ever_erased:
            text = audit.text(content.pid) if MODALITIES[atom.modality] not in BINARY else None
            passage = made_of(headings.get(atom.rid, ""), (text or b"").decode("utf-8", "replace"))
            own = passage.length
            if not audit.was_erased(atom) and atom.origin not in touched:
                found[atom.rid] = passage
        if audit.was_erased(atom) or atom.origin in touched:
            loose.add(atom.seq)
        made[atom.seq] = (count + 1, size + own)
    _in_full_text(audit, found, report)
    passages = tokens = 0
    for row in audit.rows:
        count, size = made.get(row.seq, (0, 0))
        more, longer = row.passages - passages, row.tokens - tokens
        again = row.verb == "release" and bool(audit.ever_erased)  # what was erased is counted again when it is let in
        if more != count and not (again and more > count):
            report("transactions", row.seq, "its passages are not those of the atoms up to it")
        if longer < size or (longer != size and row.seq not in loose and not again):
            report("transactions", row.seq, "its tokens are not those of the atoms up to it")
        passages, tokens = row.passages, row.tokens


def _in_full_text(audit: Audit, made: dict[Rid, Made], report: Report) -> None:
    """Compare how long full text says that passages are, which is read alone; in which rows terms are, its own check reads."""
    view = audit.view
    last = view.head().last_rid
    newest = {rid: (length, row) for rid, length, row in view.unpacked_terms(rid_of(view.ws, 0), last)}
    packed = dict(view.packed_lengths(0))
    end = unpacked_from(last)
    for rid, passage in made.items():
        number = ordinal(rid)
        if number >= end:
            if newest.get(rid) != (passage.length, forward(passage.terms)):
                report("passage_terms", rid, "full text does not hold it as it is; `cmc rebuild` mends it")
        elif length_at(packed.get(number // BLOCK * BLOCK, b""), number % BLOCK) != passage.length:
            report(
                "passage_lengths", number // BLOCK, "full text has another length of a passage; `cmc rebuild` mends it"
            )
