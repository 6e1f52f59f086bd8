"""Atomize: divide the bytes of a source into the spans that become atoms."""

from __future__ import annotations

from typing import Final

from cmc_mcp.write.atomize.blocks import Block, blank, check_blocks, segments
from cmc_mcp.write.atomize.media import language_of, media_type_of
from cmc_mcp.write.atomize.prose import prose

__all__ = [
    "ATOMIZER_VERSION",
    "GUESSED_VERSION",
    "Block",
    "atomize",
    "check_blocks",
    "language_of",
    "media_type_of",
    "segments",
]

ATOMIZER_VERSION: Final = "cmc-atomizer/1"
"""The version in every manifest; another division of the same bytes needs another version."""
GUESSED_VERSION: Final = "cmc-atomizer/2"
"""The version of code that came without a media type and is divided by the syntax that it looks like."""


def atomize(data: bytes, *, modality: str, media_type: str, origin: str) -> tuple[Block, ...]:
    """Divide the content of a source into blocks.

    `data` is valid UTF-8. Modality `text` is divided as prose, `code` by the syntax of its language (by blank lines
    without a grammar for it), and any other modality is one block. Blocks of prose and code have at most
    `limits.ATOM_BYTES_MAX` bytes. Content of whitespace alone has no blocks. The function is pure and deterministic.

    >>> atomize(b"A note.\\n", modality="text", media_type="text/plain", origin="note:1")
    (Block(start=0, end=7, kind='paragraph', path=()),)
    """
    if modality == "text":
        return prose(data)
    if modality == "code":
        # tree-sitter is loaded for code alone
        from cmc_mcp.write.atomize.code import code

        return code(data, language_of(media_type) or language_of(media_type_of(origin, modality)))
    return () if blank(data, 0, len(data)) else (Block(0, len(data), "whole", ()),)
