"""The scanner: every form that a word may survive in, looked for in raw bytes, whatever they belong to."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

import apsw

from cmc_mcp.store.postings import made_of

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_HALF = 16
_PART_CHARS_MIN = 8


def canary(rng: random.Random) -> str:
    """Return a word of 32 letters and digits that occurs nowhere else; the digit at its end keeps it from being stemmed."""
    return rng.choice(_LETTERS[:52]) + "".join(rng.choice(_LETTERS) for _ in range(30)) + rng.choice("0123456789")


def tokens(word: str) -> list[str]:
    """Return what full text of old made of a word: lower case, stemmed."""
    connection = apsw.Connection("")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5(x, tokenize='porter unicode61')")
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, row)")
    connection.execute("INSERT INTO t VALUES(?)", (word,))
    found = [str(row[0]) for row in connection.execute("SELECT term FROM v")]
    connection.close()
    return found


def needles(word: str) -> dict[str, bytes]:
    """Return the forms of a word by name. Both halves are looked for too: index terms share prefixes, and pages end."""
    raw = word.encode()
    forms = {
        "utf-8": raw,
        "hex": raw.hex().encode(),
        "utf-16 le": word.encode("utf-16-le"),
        "utf-16 be": word.encode("utf-16-be"),
        "folded": word.lower().encode(),
    }
    forms |= {"first half": raw[:_HALF], "last half": raw[-_HALF:]}
    for token in dict.fromkeys((*tokens(word), *made_of("", word).terms)):
        if len(token) < _PART_CHARS_MIN:
            continue  # a number or two letters, which any text may have
        forms |= {f"token {token}": token.encode(), "end of token": token.encode()[-_HALF:]}
    for skipped in range(3):  # base64 of a text that holds it, at any place: what depends on neighbours is cut off
        middle = base64.b64encode(raw[skipped:])[: (len(raw) - skipped) // 3 * 4]
        forms[f"base64 from {skipped}"] = middle
    return forms


def in_bytes(data: bytes, word: str) -> list[str]:
    """Return the forms of a word that occur in bytes."""
    return [name for name, needle in needles(word).items() if needle in data]


def in_folder(folder: Path, word: str) -> list[str]:
    """Give every file under a folder that holds a form of a word, in its name or in its bytes: free pages, slack and all."""
    forms = needles(word)
    found = []
    for path, data in files(folder):
        found += [f"{path}: {name}" for name, needle in forms.items() if needle in data or needle in path.encode()]
    return found


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of every file under a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()
