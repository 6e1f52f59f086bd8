"""Names: which spellings of a tag, a source, a writer mean the same."""

from __future__ import annotations

import unicodedata


def name_key(name: str) -> str:
    """Return what is equal for two spellings of a name: a tag, its value, a source, a writer.

    >>> name_key("Cafe\\u0301") == name_key("CAFÉ")
    True
    """
    if name.isascii():
        return name.lower()
    # once more: what is folded may compose, and what is composed may fold
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold()))
