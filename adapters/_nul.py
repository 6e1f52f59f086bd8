"""NUL, as PDFs have it: no text, id, key or value of metadata may hold one, and the error names every entry that does.

Text with a NUL cannot be stored on every backend, and removing it unasked would give back something else than was put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.errors import InvalidInput, Problem
from cmc_mcp.model.entries import Entry


def check_nul(entries: Sequence[Entry], path: str = "entries") -> None:
    """Check that nothing in some entries holds a NUL character.

    Raises:
        InvalidInput: something does; each place is named, with the id of its entry.
    """
    problems = [
        Problem(f"{path}[{n}].{place}", f"{_of(entry)} holds a NUL character, which text cannot carry; remove it")
        for n, entry in enumerate(entries)
        for place in _places(entry)
    ]
    if problems:
        raise InvalidInput.of(problems)


def _of(entry: Entry) -> str:
    id: object = entry.id
    return f"of {id!r:.80}" if isinstance(id, str) else "of an entry"


def _places(entry: Entry) -> list[str]:
    found = [name for name, value in (("id", entry.id), ("text", entry.text)) if holds_nul(value)]
    metadata: object = entry.metadata
    if isinstance(metadata, Mapping):
        found += [f"metadata.{key!s:.80}" for key, value in metadata.items() if holds_nul(key) or holds_nul(value)]
    return found


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
