"""The searching part of a view over a file: full text by FTS5, and the exact vector path by sqlite-vec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import apsw

from cmc_mcp.ids import ModelNumber, Rid, Seq, Ws
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import Filter, Head
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.search import SearchView, conditions
from cmc_mcp.store.sqlite import checksums, fulltext


class SqliteView(SearchView):
    """A view of a file that can also search."""

    _c: apsw.Connection

    def __init__(
        self,
        connection: apsw.Connection,
        ws: Ws,
        cache: FactsCache,
        registry: Registry,
        tokens: Callable[[str], list[tuple[int, int, str]]],
    ) -> None:
        super().__init__(connection, ws, cache, registry)
        self._tokens = tokens
        self._erasure_count: int | None = None
        self._head: Head | None = None

    # ------------------------------------------------------------------ what a view is asked again and again
    def erasure_count(self) -> int:
        """Return the number of erasures so far; a view sees one state, so the file is asked once."""
        if self._erasure_count is None:
            self._erasure_count = super().erasure_count()
        return self._erasure_count

    def head(self) -> Head:
        """Return the last transaction, or the empty state before the first; the file is asked once."""
        if self._head is None:
            self._head = super().head()
        return self._head

    # ------------------------------------------------------------------ the file
    @property
    def file(self) -> apsw.Connection:
        """The connection, inside its transaction, for what the store does with a whole file."""
        return self._c

    def settings(self) -> dict[str, str]:
        """Return the settings and versions that `doctor` reports."""
        out = {
            name: str(self._c.pragma(name))
            for name in ("journal_mode", "synchronous", "user_version", "page_count", "cipher")
        }
        out["sqlite"] = apsw.sqlite_lib_version()
        out["apsw"] = apsw.apsw_version()
        out["page_checksums"] = "on" if checksums.are_on(self._c) else "off"
        out["sqlite_vec"] = str(self._c.execute("SELECT vec_version()").fetchall()[0][0])
        return out

    # ------------------------------------------------------------------ full text
    def count_tokens(self, text: str) -> int:
        """Count the tokens that full text makes of a text."""
        return len(self._tokens(text)) if text else 0

    def terms(self, text: str) -> dict[str, str]:
        """Split a query into distinct terms: stem → the word as written, in order."""
        data = text.encode("utf-8", "replace")
        out: dict[str, str] = {}
        for start, end, stem in self._tokens(text):
            out.setdefault(stem, data[start:end].decode("utf-8", "replace"))
        return out

    def frequency(self, term: str, upto: Rid, cap: int) -> int:
        """Count the passages recorded up to a record number that hold a term, at most `cap`."""
        return fulltext.frequency(self._c, self.ws, term, upto, cap)

    def postings(self, term: str, after: Rid, upto: Rid) -> list[tuple[Rid, int]]:
        """Return where a term is; see `fulltext.postings`."""
        return fulltext.postings(self._c, term, after, upto)

    def holding(self, terms: Sequence[str], after: Rid, upto: Rid, *, every: bool) -> Iterator[Rid]:
        """Yield the passages that hold any of some terms, or every one, newest first."""
        return fulltext.holding(self._c, terms, after, upto, every=every)

    def counts(self, among: Sequence[Rid], drivers: Sequence[str], terms: Sequence[str]) -> list[tuple[Rid, bytes]]:
        """Count terms in some passages; see `fulltext.counts`."""
        return fulltext.counts(self._c, among, drivers, terms)

    def lengths(self, rids: Sequence[Rid]) -> dict[Rid, int]:
        """Return the tokens of passages, heading and text together."""
        return fulltext.lengths(self._c, rids)

    def nearest(
        self, model: ModelNumber, query: bytes, k: int, seq: Seq, valid_at: int, limits: Filter
    ) -> list[tuple[Rid, float]]:
        """Find the `k` nearest atoms by cosine, filtered first: exact, and the truth that faster ways must equal.

        Gives (rid, cosine), best first, ties by atom id.
        """
        passing, bindings = conditions(limits)
        rows = self._c.execute(
            "SELECT rid, 1.0 - vec_distance_cosine(vector, ?) AS cosine FROM (SELECT DISTINCT a.rid AS rid, r.key AS key,"
            " v.vector AS vector FROM pieces p JOIN atoms a USING(ws, rid) JOIN records r USING(ws, rid)"
            " JOIN vectors v ON v.ws = a.ws AND v.model = ? AND v.content = a.content AND v.seq <= ?"
            " WHERE p.ws = ? AND p.tx_from <= ? AND p.tx_to > ? AND p.valid_from <= ? AND p.valid_to > ?"
            f"{passing}) ORDER BY cosine DESC, key LIMIT ?",
            (query, model, seq, self.ws, seq, seq, valid_at, valid_at, *bindings, k),
        )
        return list(rows)
