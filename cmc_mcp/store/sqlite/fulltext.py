"""Full text: FTS5 finds, and gives counts; scoring is done above, with the workspace's own statistics.

FTS5's own `bm25()` and `fts5vocab` count over the whole table, so another workspace's rows would reorder one's answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import cast

import apsw

from cmc_mcp.store.rows import Match
from cmc_mcp.store.sqlite.schema import WORKSPACE_SHIFT

_COUNT_MAX = 255


def prepare(connection: apsw.Connection) -> Callable[[str], list[tuple[int, int, str]]]:
    """Register the counting function on a connection; give the tokenizer that full text uses.

    The tokenizer gives (start, end, term) with byte offsets; terms are folded and stemmed.
    """
    connection.register_fts5_function("cmc_counts", _counts)
    tokenizer = connection.fts5_tokenizer("porter", ["unicode61"])

    def tokens(text: str) -> list[tuple[int, int, str]]:
        found = tokenizer(text.encode("utf-8", "replace"), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_colocated=False)
        return cast("list[tuple[int, int, str]]", found)

    return tokens


def counter(connection: apsw.Connection) -> Callable[[str], int]:
    """Give a function that counts the tokens full text will make of a text."""
    tokenizer = connection.fts5_tokenizer("porter", ["unicode61"])
    flag = apsw.FTS5_TOKENIZE_DOCUMENT

    def count(text: str) -> int:
        data = text.encode("utf-8", "replace")
        return len(cast("list[str]", tokenizer(data, flag, None, include_offsets=False, include_colocated=False)))

    return count


def _counts(api: apsw.FTS5ExtensionApi, *_: object) -> bytes:
    out = bytearray(api.column_size(-1).to_bytes(4, "big"))
    for phrase in range(api.phrase_count):
        for column in api.phrase_locations(phrase):
            out.append(min(len(column), _COUNT_MAX))
    return bytes(out)


def quoted(term: str) -> str:
    """Write a term as an FTS5 string, so that no operator of a query is ever one.

    >>> quoted('say "hi" OR NOT')
    '"say ""hi"" OR NOT"'
    """
    return '"' + term.replace('"', '""') + '"'


def frequency(connection: apsw.Connection, ws: int, term: str, upto: int, cap: int) -> int:
    """Count the passages recorded up to a record number that hold a term, at most `cap`."""
    rows = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM passages WHERE passages MATCH ? AND rowid > ? AND rowid <= ? LIMIT ?)",
        (quoted(term), ws << WORKSPACE_SHIFT, upto, cap),
    ).fetchall()
    return cast(int, rows[0][0])


def matches(
    connection: apsw.Connection,
    ws: int,
    terms: Sequence[str],
    upto: int,
    *,
    required: int,
    every: bool = False,
    among: Sequence[int] | None = None,
    limit: int = -1,
) -> list[Match]:
    """Find passages that hold any of the first `required` terms (or all of them, with `every`), in recorded order.

    The other terms are only counted. `among` limits the passages to some records.
    """
    found = (" AND " if every else " OR ").join(quoted(term) for term in terms[:required])
    if len(terms) > required:
        found = f"({found}) AND ({' OR '.join(quoted(term) for term in terms)})"
    within = "" if among is None else " AND rowid IN (SELECT value FROM json_each(?5))"
    bindings: tuple[object, ...] = (found, ws << WORKSPACE_SHIFT, upto, limit)
    if among is not None:
        bindings += (json.dumps(among),)
    rows = connection.execute(
        f"SELECT rowid, cmc_counts(passages) FROM passages WHERE passages MATCH ?1 AND rowid > ?2 AND rowid <= ?3"
        f"{within} LIMIT ?4",
        bindings,
    )
    skip = 4 + (2 * required if len(terms) > required else 0)  # the second group of phrases counts every term
    return [Match(rid, blob[skip:], int.from_bytes(blob[:4], "big")) for rid, blob in rows]
