"""Full text: FTS5 finds, and gives counts; scoring is done above, with the workspace's own statistics.

FTS5's own `bm25()` and `fts5vocab` count over the whole table, so another workspace's rows would reorder one's answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import apsw

from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import PayloadHash, Rid, Ws
from cmc_mcp.store.ports import Objects
from cmc_mcp.store.tables import WORKSPACE_SHIFT

_COUNT_MAX = 255
_HEADING = 8


def prepare(connection: apsw.Connection) -> Callable[[str], list[tuple[int, int, str]]]:
    """Register the counting functions on a connection; return the tokenizer that full text uses.

    The tokenizer gives (start, end, term) with byte offsets; terms are folded and stemmed.
    """
    connection.register_fts5_function("cmc_count", _count)
    connection.register_fts5_function("cmc_counts", _counts)
    tokenizer = connection.fts5_tokenizer("porter", ["unicode61"])

    def tokens(text: str) -> list[tuple[int, int, str]]:
        found = tokenizer(text.encode("utf-8", "replace"), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_colocated=False)
        return cast("list[tuple[int, int, str]]", found)

    return tokens


class Passages:
    """Full text as a unit writes it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._c = connection
        self._tokenizer = connection.fts5_tokenizer("porter", ["unicode61"])
        self._flag = apsw.FTS5_TOKENIZE_DOCUMENT

    def count(self, text: str) -> int:
        """Count the tokens full text will make of a text."""
        data = text.encode("utf-8", "replace")
        found = self._tokenizer(data, self._flag, None, include_offsets=False, include_colocated=False)
        return len(cast("list[str]", found))

    def add(self, rows: Sequence[tuple[Rid, str, str]]) -> None:
        """Add passages: (record number, heading, text)."""
        self._c.executemany("INSERT INTO passages(rowid, heading, text) VALUES(?, ?, ?)", rows)

    def drop(self, rid: Rid, heading: str, text: str) -> None:
        """Remove a passage; the caller passes it as it was added."""
        self._c.execute(
            "INSERT INTO passages(passages, rowid, heading, text) VALUES('delete', ?, ?, ?)", (rid, heading, text)
        )

    def tidy(self) -> None:
        """Merge the index, so that no segment holds what was taken out."""
        self._c.execute("INSERT INTO passages(passages) VALUES('optimize')")


def _count(api: apsw.FTS5ExtensionApi, *_: object) -> int:
    """Count the one term of a query in a row; three times cheaper than asking where it stands."""
    return min(api.inst_count, _COUNT_MAX)


def _counts(api: apsw.FTS5ExtensionApi, *arguments: object) -> bytes:
    """Count every term of a query but the first `skipped` in a row: two bytes each, as `_count` does."""
    out, skipped = bytearray(), cast(int, arguments[0])
    for phrase in range(skipped, api.phrase_count):
        heading, text = api.phrase_locations(phrase)
        out.append(min(len(text), _COUNT_MAX))
        out.append(min(len(heading), _COUNT_MAX))
    return bytes(out)


def quoted(term: str) -> str:
    """Write a term as an FTS5 string, so that no operator of a query is ever one.

    >>> quoted('say "hi" OR NOT')
    '"say ""hi"" OR NOT"'
    """
    return '"' + term.replace('"', '""') + '"'


def frequency(connection: apsw.Connection, ws: Ws, term: str, upto: Rid, cap: int) -> int:
    """Count the passages recorded up to a record number that hold a term, at most `cap`."""
    rows = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM passages WHERE passages MATCH ? AND rowid > ? AND rowid <= ? LIMIT ?)",
        (quoted(term), ws << WORKSPACE_SHIFT, upto, cap),
    ).fetchall()
    return cast(int, rows[0][0])


def postings(connection: apsw.Connection, term: str, after: Rid, upto: Rid) -> list[tuple[Rid, int]]:
    """Return where a term is, in (after, upto], as (rid, count in the heading << 8 | in the text), in order."""
    found: dict[Rid, int] = {}
    for column, shift in (("text", 0), ("heading", _HEADING)):
        rows = connection.execute(
            "SELECT rowid, cmc_count(passages) FROM passages WHERE passages MATCH ? AND rowid > ? AND rowid <= ?",
            (f"{column} : {quoted(term)}", after, upto),
        )
        if not shift:
            found = dict(rows)
        else:
            for rid, count in rows:
                found[rid] = found.get(rid, 0) | count << shift
    return sorted(found.items())


def holding(connection: apsw.Connection, terms: Sequence[str], after: Rid, upto: Rid, *, every: bool) -> Iterator[Rid]:
    """Return the passages in (after, upto] that hold any of some terms, or every one, newest first."""
    rows = connection.execute(
        "SELECT rowid FROM passages WHERE passages MATCH ? AND rowid > ? AND rowid <= ? ORDER BY rowid DESC",
        ((" AND " if every else " OR ").join(quoted(term) for term in terms), after, upto),
    )
    return (rid for (rid,) in rows)


def counts(
    connection: apsw.Connection, among: Sequence[Rid], drivers: Sequence[str], terms: Sequence[str]
) -> list[tuple[Rid, bytes]]:
    """Count terms in those of some passages (ascending) that hold any of them: two bytes a term, text and heading.

    Each of the passages holds a driver: a term that spares reading the whole of what the others are in.
    """
    alternatives = " OR ".join(quoted(term) for term in terms)
    found = f"({' OR '.join(quoted(term) for term in drivers)}) AND ({alternatives})" if drivers else alternatives
    # +rowid: the list is a test on what full text finds; as a constraint it would start one search a passage
    rows = connection.execute(
        "SELECT rowid, cmc_counts(passages, ?1) FROM passages WHERE passages MATCH ?2 AND rowid >= ?3 AND rowid <= ?4"
        " AND +rowid IN (SELECT value FROM json_each(?5))",
        (len(drivers), found, among[0], among[-1], json.dumps(among)),
    )
    return list(rows)


def show_objects(connection: apsw.Connection, objects: Objects) -> None:
    """Let full text read the contents in objects when it is checked or filled."""

    def text_of(*key: apsw.SQLiteValue) -> str:
        workspace, hash_ = key
        assert isinstance(workspace, int)
        assert isinstance(hash_, bytes)
        try:
            return objects.get(Ws(workspace), PayloadHash(hash_)).decode()
        except IntegrityError:
            return ""  # named by the check of objects

    # innocuous: the schema is not trusted to call anything else
    connection.create_scalar_function("cmc_object", text_of, 2, flags=apsw.SQLITE_INNOCUOUS)


def lost_terms(connection: apsw.Connection) -> list[str]:
    """Return some terms that are in the index, and that looking for does not find in all their places.

    FTS5's own check reads every page in order; a search begins where another table says, which it does not compare.
    """
    connection.execute("CREATE VIRTUAL TABLE temp.cmc_terms USING fts5vocab(main, passages, row)")
    try:
        rows = connection.execute(
            "SELECT a.term FROM temp.cmc_terms a WHERE NOT EXISTS (SELECT 1 FROM temp.cmc_terms b WHERE b.term = a.term"
            " AND b.doc = a.doc AND b.cnt = a.cnt) LIMIT 5"
        ).fetchall()
    finally:
        connection.execute("DROP TABLE temp.cmc_terms")
    return [str(term) for (term,) in rows]


def lengths(connection: apsw.Connection, rids: Sequence[Rid]) -> dict[Rid, int]:
    """Return the tokens of passages, heading and text together, as full text counted them."""
    rows = connection.execute(
        "SELECT id, sz FROM passages_docsize WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(rids),)
    )
    return {rid: sum(_varints(sizes)) for rid, sizes in rows}


def _varints(data: bytes) -> Iterator[int]:
    """Read SQLite's variable-length integers: seven bits a byte, the high bit says that more follow.

    >>> list(_varints(bytes([3, 0x81, 0x00])))
    [3, 128]
    """
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            yield value
            value = 0
