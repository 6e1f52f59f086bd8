"""NUL, as PDFs have it: no text, id, key or value of metadata may hold one.

Text with a NUL cannot be stored on every backend, and removing it unasked would give back something else than was put.
A collection checks ids and texts; this is for metadata, so that one rule holds for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.errors import InvalidInput, Problem
from cmc_mcp.model.entries import Entry


def check_nul(entries: Sequence[Entry]) -> None:
    """Check that no metadata of some entries hold a NUL character.

    Raises:
        InvalidInput: some do; each place is named.
    """
    problems = [
        Problem(f"entries[{n}].metadata.{key!s:.80}", "holds a NUL character, which text cannot carry; remove it")
        for n, entry in enumerate(entries)
        for key, value in _items(entry.metadata)
        if holds_nul(key) or holds_nul(value)
    ]
    if problems:
        raise InvalidInput.of(problems)


def _items(metadata: object) -> list[tuple[object, object]]:
    return list(metadata.items()) if isinstance(metadata, Mapping) else []  # the collection refuses what is no map


def holds_nul(value: object, depth: int = 0) -> bool:
    """Return whether a text, or a text anywhere within, holds a NUL character.

    >>> holds_nul("a"), holds_nul({"pages": ["a", "b\\0"]}), holds_nul({"a\\0": 1})
    (False, True, True)
    """
    if isinstance(value, str):
        return "\0" in value
    if depth > 64:
        return False  # refused as too deep
    if isinstance(value, Mapping):
        return any(holds_nul(key) or holds_nul(item, depth + 1) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds_nul(item, depth + 1) for item in value)
    return False
