"""A check of `verify`: how many passages and tokens each transaction says it added."""

from __future__ import annotations

from typing import cast

from cmc_mcp.documents.headings import HEADINGS
from cmc_mcp.ids import Rid, Seq
from cmc_mcp.store.audit import Audit, Report
from cmc_mcp.store.postings import made_of
from cmc_mcp.store.rows import BINARY, MODALITIES


def passages(audit: Audit, report: Report) -> None:
    """Check how many passages and tokens each transaction added; where something was erased, only that it counted them."""
    headings = dict(cast("set[tuple[Rid, str]]", audit.wanted(HEADINGS)))
    made: dict[Seq, tuple[int, int]] = {}
    touched = {atom.origin for atom in audit.atoms if atom.origin and audit.was_erased(atom)}
    loose: set[Seq] = set()  # transactions of passages whose words are gone, or stand under other headings now
    for atom in audit.atoms:
        count, size = made.get(atom.seq, (0, 0))
        content = audit.payloads[atom.content]
        own = 0
        if content.hash not in audit.ever_erased:
            text = audit.text(content.pid) if MODALITIES[atom.modality] not in BINARY else None
            own = made_of(headings.get(atom.rid, ""), (text or b"").decode("utf-8", "replace")).length
        if audit.was_erased(atom) or atom.origin in touched:
            loose.add(atom.seq)
        made[atom.seq] = (count + 1, size + own)
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
