"""Full text between formats: what it was until format 5 (FTS5, `tsvector`), and what it has been since.

Going up fills the tables of `store/postings.py`, going down those of old. A transaction counts the terms of its passages,
which both count otherwise; what it counted of passages that were erased since stays as it was counted.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import apsw

from cmc_mcp.ids import Rid, Seq, Ws
from cmc_mcp.store.postings import made_of
from cmc_mcp.store.sql.audit import AuditView
from cmc_mcp.store.sql.connection import Connection
from cmc_mcp.store.sql.passages import Fetch, passages_of
from cmc_mcp.store.sql.postings import Postings

TITLE: Final = "terms of every language"
_COUNT_MAX: Final = 255
_HEADING: Final = 256
_WORD_BYTES_MAX: Final = 512
_PART_BYTES_MAX: Final = 700_000  # a tsvector holds a megabyte
_WEIGHTS: Final = {(1, 0): "D", (2, 0): "C", (0, 1): "B"}

Words = Callable[[str], list[str]]


def fill(view: AuditView, fetch: Fetch, done: Callable[[int], None]) -> None:
    """Fill the tables of now, and count the terms of transactions as they count; `done` is told of passages as they are read."""
    words, seqs = _words(), {atom.rid: atom.seq for atom in view.all_atoms()}
    more: Counter[Seq] = Counter()
    pages = passages_of(view, fetch)

    def told() -> Iterator[list[tuple[Rid, str, str]]]:
        for page in pages:
            for rid, heading, text in page:
                more[seqs[rid]] -= len(words(heading)) + len(words(text))
            yield page
            done(len(page))

    def seen(rid: Rid, length: int) -> None:
        more[seqs[rid]] += length

    Postings(view.connection, view.ws).fill(told(), view.head().last_rid, seen)
    _recount(view, more)


def restore(view: AuditView, fetch: Fetch) -> None:
    """Fill full text as it was, and count the terms of transactions as it counted."""
    words, seqs = _words(), {atom.rid: atom.seq for atom in view.all_atoms()}
    more: Counter[Seq] = Counter()
    on_file = isinstance(view.connection, apsw.Connection)
    for page in passages_of(view, fetch):
        for rid, heading, text in page:
            head, body = words(heading), words(text)
            more[seqs[rid]] += len(head) + len(body) - made_of(heading, text).length
            if not on_file:
                _insert(view.connection, view.ws, rid, Counter(head), Counter(body))
        if on_file:
            view.connection.executemany("INSERT INTO passages(rowid, heading, text) VALUES(?, ?, ?)", page)
    _recount(view, more)


def _recount(view: AuditView, more: Counter[Seq]) -> None:
    total, rows = 0, []
    for (seq,) in view.connection.execute(
        "SELECT seq FROM transactions WHERE ws = ? ORDER BY seq", (view.ws,)
    ).fetchall():
        total += more[seq]
        if total:
            rows.append((total, view.ws, seq))
    view.connection.executemany("UPDATE transactions SET tokens = tokens + ? WHERE ws = ? AND seq = ?", rows)


def _words() -> Words:
    """Return what makes the words of old: those of SQLite's tokenizer, on every database."""
    found = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61"])
    one_at_a_time = threading.Lock()

    def words(text: str) -> list[str]:
        data = text.encode("utf-8", "replace")
        with one_at_a_time:
            made = found(data, apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False)
        return cast("list[str]", made)

    return words


def _insert(connection: Connection, ws: Ws, rid: Rid, head: Counter[str], body: Counter[str]) -> None:
    """Write a passage as PostgreSQL had it: counts in place of positions, one in the heading plus 256."""
    total = head.total() + body.total()
    parts: list[list[str]] = [[]]
    size = 0
    for term in dict.fromkeys((*body, *head)):
        counts = (min(body[term], _COUNT_MAX), min(head[term], _COUNT_MAX))
        weight = _WEIGHTS.get(counts, "A")
        places = [f"{place}{weight}" for place in (counts[0], counts[1] and counts[1] + _HEADING) if place]
        written = f"{_quoted(ws, term)}:{','.join(places)}"
        if size + len(written) * 4 > _PART_BYTES_MAX and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(written)
        size += len(written.encode()) + 16
    rows: list[tuple[Any, ...]] = [
        (ws, rid, part, 0 if part else total, " ".join(words)) for part, words in enumerate(parts)
    ]
    connection.executemany("INSERT INTO passages(ws, rid, part, tokens, words) VALUES(?, ?, ?, ?, ?::tsvector)", rows)


def _quoted(ws: Ws, term: str) -> str:
    data = term.encode()
    lexeme = f"{ws}#{hashlib.sha256(data).hexdigest()}" if len(data) > _WORD_BYTES_MAX else f"{ws}:{term}"
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
