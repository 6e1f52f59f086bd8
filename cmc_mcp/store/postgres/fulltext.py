"""Full text: PostgreSQL's own search finds (`tsvector`, GIN), and gives counts; scoring is done above, as for SQLite.

The words are those that SQLite's tokenizer makes (unicode61, porter), so that a memory is found alike whichever database
keeps it. Each begins with its workspace, so that another's words are never looked through. Where `tsvector` keeps the
positions of a word, this keeps its counts: one in the text as it is, one in the heading plus 256; the weight says which of
the commonest cases it is, so that it can be asked for without unpacking the row.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import apsw

from cmc_mcp.ids import Rid, Ws
from cmc_mcp.store.postgres.connection import Connection
from cmc_mcp.store.sql.connection import Connection as AnyConnection

_COUNT_MAX: Final = 255
_HEADING: Final = 256
_WORD_BYTES_MAX: Final = 512
_PART_BYTES_MAX: Final = 700_000  # a tsvector holds a megabyte
_PAGE: Final = 2_000
_WEIGHTS: Final = {(1, 0): "D", (2, 0): "C", (0, 1): "B"}
_COUNTED: Final = (  # of one word, in a row that holds it
    "CASE WHEN words @@ ($1::text || ':D')::tsquery THEN 1 WHEN words @@ ($1::text || ':C')::tsquery THEN 2"
    " WHEN words @@ ($1::text || ':B')::tsquery THEN 256 ELSE (SELECT sum(CASE WHEN place > 256 THEN (place - 256) * 256"
    " ELSE place END) FROM unnest(words) AS u, unnest(u.positions) AS place WHERE u.lexeme = $2::text) END::bigint"
)

Tokens = Callable[[str], list[tuple[int, int, str]]]


def tokenizer() -> Tokens:
    """Return the tokenizer of full text: (start, end, term) with byte offsets."""
    found = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])
    one_at_a_time = threading.Lock()

    def tokens(text: str) -> list[tuple[int, int, str]]:
        data = text.encode("utf-8", "replace")
        with one_at_a_time:
            made = found(data, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_colocated=False)
        return cast("list[tuple[int, int, str]]", made)

    return tokens


# ---------------------------------------------------------------------- writing
class Passages:
    """Full text as a unit writes it."""

    def __init__(self, connection: AnyConnection, ws: Ws, tokens: Tokens) -> None:
        self._c, self._ws, self._tokens = connection, ws, tokens

    def count(self, text: str) -> int:
        """Count the tokens full text will make of a text."""
        return len(self._tokens(text)) if text else 0

    def add(self, rows: Sequence[tuple[Rid, str, str]]) -> None:
        """Add passages: (record number, heading, text)."""
        self._c.executemany(
            "INSERT INTO passages(ws, rid, part, tokens, words) VALUES(?, ?, ?, ?, ?::tsvector)",
            [(self._ws, *row) for row in rows_of(self._ws, rows, self._tokens)],
        )

    def drop(self, rid: Rid, heading: str, text: str) -> None:
        """Remove a passage."""
        self._c.execute("DELETE FROM passages WHERE ws = ? AND rid = ?", (self._ws, rid))

    def tidy(self) -> None:
        """Do nothing: only dead rows remain, which `scrub` removes."""


def rows_of(ws: Ws, rows: Sequence[tuple[Rid, str, str]], tokens: Tokens) -> Iterator[tuple[Rid, int, int, str]]:
    """Yield the rows of passages: (record number, part, tokens, words)."""
    for rid, heading, text in rows:
        head = Counter([term for _, _, term in tokens(heading)] if heading else ())
        body = Counter([term for _, _, term in tokens(text)] if text else ())
        total = head.total() + body.total()
        for part, words in enumerate(_parts(ws, head, body)):
            yield rid, part, 0 if part else total, words


def _parts(ws: Ws, head: Counter[str], body: Counter[str]) -> Iterator[str]:
    entries: list[str] = []
    size = 0
    for term in dict.fromkeys((*body, *head)):
        counts = (min(body[term], _COUNT_MAX), min(head[term], _COUNT_MAX))
        weight = _WEIGHTS.get(counts, "A")
        places = [f"{place}{weight}" for place in (counts[0], counts[1] and counts[1] + _HEADING) if place]
        entry = f"{quoted(ws, term)}:{','.join(places)}"
        if size + len(entry) * 4 > _PART_BYTES_MAX and entries:
            yield " ".join(entries)
            entries, size = [], 0
        entries.append(entry)
        size += len(entry.encode()) + 16
    yield " ".join(entries)


def lexeme(ws: Ws, term: str) -> str:
    """Return a term as it is kept; a very long one by the hash of it."""
    data = term.encode()
    if len(data) > _WORD_BYTES_MAX:
        return f"{ws}#{hashlib.sha256(data).hexdigest()}"
    return f"{ws}:{term}"


def quoted(ws: Ws, term: str) -> str:
    """Write a term so that it stays a plain word, in a document and in a query.

    >>> quoted(1, "it's")
    "'1:it''s'"
    """
    return "'" + lexeme(ws, term).replace("\\", "\\\\").replace("'", "''") + "'"


# ---------------------------------------------------------------------- reading
class TermIndex:
    """Full text of one workspace, as a view reads it."""

    def __init__(self, connection: Connection, ws: Ws, tokens: Tokens) -> None:
        self._c, self._ws, self.tokens = connection, ws, tokens

    def _stems(self, words: Sequence[str]) -> list[str]:
        """Return the terms of words as they were written: each may be several."""
        return [stem for word in words for _, _, stem in self.tokens(word)]

    def frequency(self, term: str, upto: Rid, cap: int) -> int:
        """Count the passages recorded up to a record number that hold a term, at most `cap`."""
        row = self._c.execute(
            "SELECT count(*) FROM (SELECT 1 FROM passages WHERE ws = ? AND words @@ ?::tsquery AND rid <= ? LIMIT ?)"
            " AS found",
            (self._ws, self._query([term], " & "), upto, cap),
        ).fetchone()
        return int(row[0]) if row else 0

    def postings(self, term: str, after: Rid, upto: Rid) -> list[tuple[Rid, int]]:
        """Return where a term is, in (after, upto], as (rid, count in the heading << 8 | in the text), in order."""
        stems = self._stems([term])
        if len(stems) != 1:
            return []
        rows = self._c.execute(
            f"SELECT rid, {_COUNTED} FROM passages WHERE ws = $3 AND words @@ $1::text::tsquery AND rid > $4 AND rid <= $5"
            " ORDER BY rid",
            (quoted(self._ws, stems[0]), lexeme(self._ws, stems[0]), self._ws, after, upto),
        )
        return cast("list[tuple[Rid, int]]", rows.fetchall())

    def holding(self, terms: Sequence[str], after: Rid, upto: Rid, *, every: bool) -> Iterator[Rid]:
        """Yield the passages in (after, upto] that hold any of some terms, or every one, newest first."""
        found = "SELECT DISTINCT rid FROM passages WHERE ws = $1 AND words @@ $2::tsquery AND rid > $3 AND rid <= $4"
        several = ""
        if every and len(terms) > 1:  # the words of a very long text are in several rows
            several = (
                " UNION SELECT rid FROM passages p WHERE ws = $1 AND part = 1 AND rid > $3 AND rid <= $4 AND NOT EXISTS"
                " (SELECT 1 FROM unnest($6::text[]) AS t(word) WHERE NOT EXISTS (SELECT 1 FROM passages q"
                " WHERE q.ws = $1 AND q.rid = p.rid AND q.words @@ t.word::tsquery))"
            )
        query = self._query(terms, " & " if every else " | ")
        alone = [quoted(self._ws, stem) for stem in self._stems(terms)]
        while True:
            rows = self._c.execute(
                f"{found}{several} ORDER BY rid DESC LIMIT $5",
                (self._ws, query, after, upto, _PAGE, *((alone,) if several else ())),
            ).fetchall()
            yield from (rid for (rid,) in rows)
            if len(rows) < _PAGE:
                return
            upto = rows[-1][0] - 1

    def counts(self, among: Sequence[Rid], terms: Sequence[str]) -> list[tuple[Rid, bytes]]:
        """Count terms in those of some passages that hold any of them: two bytes a term, text and heading."""
        places: dict[str, list[int]] = {}
        for place, term in enumerate(terms):
            for stem in self._stems([term]):
                places.setdefault(lexeme(self._ws, stem), []).append(place)
        found: dict[Rid, bytearray] = {}
        rows = self._c.execute(
            "SELECT p.rid, u.lexeme, u.positions::bigint[] FROM passages p, unnest(p.words) AS u"
            " WHERE p.ws = $1 AND p.rid = ANY($2::bigint[]) AND u.lexeme = ANY($3::text[])",
            (self._ws, list(among), list(places)),
        )
        for rid, word, positions in rows:
            counts = found.setdefault(rid, bytearray(2 * len(terms)))
            for place in places[word]:
                for value in positions:
                    in_heading = value > _HEADING
                    counts[2 * place + in_heading] = value - _HEADING if in_heading else value
        return [(rid, bytes(counts)) for rid, counts in sorted(found.items())]

    def lengths(self, rids: Sequence[Rid]) -> dict[Rid, int]:
        """Return the tokens of passages, heading and text together."""
        rows = self._c.execute(
            "SELECT rid, tokens FROM passages WHERE ws = $1 AND rid = ANY($2::bigint[]) AND part = 0",
            (self._ws, list(rids)),
        )
        return dict(rows)

    def faults(self, rows: Sequence[tuple[Rid, str, str]]) -> list[Rid]:
        """Return those passages that do not hold what their heading and text make."""
        made = list(rows_of(self._ws, rows, self.tokens))
        columns: list[list[Any]] = [list(column) for column in zip(*made, strict=True)] or [[], [], [], []]
        found = self._c.execute(
            "SELECT DISTINCT e.rid FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[])"
            " AS e(rid, part, tokens, words) LEFT JOIN passages p ON p.ws = $1 AND p.rid = e.rid AND p.part = e.part"
            " WHERE p.rid IS NULL OR p.tokens <> e.tokens OR p.words <> e.words::tsvector ORDER BY e.rid",
            (self._ws, *columns),
        )
        return [rid for (rid,) in found]

    def total(self) -> int:
        """Count the passages."""
        row = self._c.execute("SELECT count(*) FROM passages WHERE ws = ? AND part = 0", (self._ws,)).fetchone()
        return int(row[0]) if row else 0

    def _query(self, words: Sequence[str], between: str) -> str:
        return between.join(quoted(self._ws, stem) for stem in self._stems(words))
