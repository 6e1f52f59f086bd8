"""What a run of words gives, by its alphabet."""

from __future__ import annotations

from cmc_mcp.terms.alphabets import other
from cmc_mcp.terms.latin import latin
from cmc_mcp.terms.runs import HANGUL, LATIN, Piece
from cmc_mcp.terms.unspaced import hangul


def words(writing: str | None, run: str) -> list[Piece]:
    """Return what a run of words gives: each of them, and what they give together."""
    if writing == LATIN:
        return latin(run)
    piece = hangul(run) if writing == HANGUL else other(run)
    return [] if piece is None else [piece]
