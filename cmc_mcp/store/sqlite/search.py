"""The searching part of a view over a file: the exact vector path by sqlite-vec."""

from __future__ import annotations

import apsw

from cmc_mcp.ids import ModelNumber, Rid, Seq
from cmc_mcp.store.rows import Filter, Head
from cmc_mcp.store.sql.search import SearchView, conditions
from cmc_mcp.store.sqlite import checksums


class SqliteView(SearchView):
    """A view of a file that can also search."""

    _c: apsw.Connection

    _erasure_count: int | None = None
    _head: Head | None = None

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

    # ------------------------------------------------------------------ vectors
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
