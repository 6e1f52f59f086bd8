"""What a run of words gives, by its alphabet."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cmc_mcp.terms.alphabets import other
from cmc_mcp.terms.latin import latin
from cmc_mcp.terms.runs import HANGUL, LATIN, Piece
from cmc_mcp.terms.unspaced import hangul

_KEPT: Final = 8_192
_KEPT_CHARS_MAX: Final = 24


def words(writing: str | None, run: str) -> tuple[Piece, ...]:
    """Return what a run of words gives: each of them, and what they give together."""
    return _known(writing, run) if len(run) <= _KEPT_CHARS_MAX else _words(writing, run)


def _words(writing: str | None, run: str) -> tuple[Piece, ...]:
    if writing == LATIN:
        return tuple(latin(run))
    piece = hangul(run) if writing == HANGUL else other(run)
    return () if piece is None else (piece,)


_known = lru_cache(maxsize=_KEPT)(_words)
