"""Dedupe: one memory stands for all with the same content, and carries their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.read.rank import Hit
from cmc_mcp.store.rows import AtomRow


def dedupe(hits: Sequence[Hit], rows: Mapping[int, AtomRow]) -> tuple[list[Hit], dict[int, list[Hit]]]:
    """Keep the best of each content; give what each one kept stands for."""
    first: dict[int, Hit] = {}
    others: dict[int, list[Hit]] = {}
    for hit in hits:
        content = rows[hit.rid].content
        if content in first:
            others.setdefault(first[content].rid, []).append(hit)
        else:
            first[content] = hit
    return list(first.values()), others
