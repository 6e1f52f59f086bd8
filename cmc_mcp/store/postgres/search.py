"""Views of a workspace on PostgreSQL: the shared ones, and what this database finds in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmc_mcp.ids import START, ModelNumber, PayloadHash, Pid, Rid, Seq, Ws
from cmc_mcp.store.postgres import hnsw
from cmc_mcp.store.postgres.connection import Connection, Vector
from cmc_mcp.store.registry import Registry
from cmc_mcp.store.rows import AtomRow, Filter, Head
from cmc_mcp.store.sql.ledger import FactsCache
from cmc_mcp.store.sql.search import SearchView, conditions
from cmc_mcp.store.sql.unit import UnitOfWork
from cmc_mcp.store.sql.view import View


class _LongText(View):
    """Looks up text of any length, of which only the beginning is part of a key."""

    def facts_with_tag(self, name: str, value: str) -> list[Pid]:
        """Return the bodies of facts that carry a tag."""
        rows = self._c.execute(
            "SELECT facts FROM tags WHERE ws = ?1 AND name = ?2 AND substr(value, 1, 256) = substr(?3, 1, 256)"
            " AND value = ?3",
            (self.ws, name, value),
        )
        return [pid for (pid,) in rows]


class _OneState(View):
    """Sees one state, so what does not change in it is asked for once; many payloads are asked for together."""

    _erasure_count: int | None = None

    def erasure_count(self) -> int:
        """Return the number of erasures so far: what was cached before one is dropped."""
        if self._erasure_count is None:
            self._erasure_count = super().erasure_count()
        return self._erasure_count

    def pids(self, hashes: Sequence[PayloadHash]) -> dict[PayloadHash, Pid]:
        """Return the numbers of payloads by their hashes."""
        rows = self._c.execute(
            "SELECT hash, pid FROM payloads WHERE ws = $1 AND hash = ANY($2::bytea[])", (self.ws, list(hashes))
        )
        return dict(rows)


class PostgresUnit(_LongText, _OneState, UnitOfWork):
    """A write in progress."""

    @property
    def _statements(self) -> Mapping[str, str]:
        return self.registry.server_statements

    def prefetch(self, hashes: Sequence[PayloadHash]) -> None:
        """Prefetch payloads that will be put, in one query."""
        wanted = [hash_ for hash_ in dict.fromkeys(hashes) if hash_ not in self._pids and hash_ not in self._shared]
        if len(wanted) > 1:
            found = self.pids(wanted)
            self._pids.update(found)
            self._found.update(found)
            self._absent.update(set(wanted) - found.keys())

    def erase(self, pids: Sequence[Pid], rids: Sequence[Rid], texts: dict[Rid, tuple[str, str]]) -> None:
        """Destroy payloads, and forget the number of erasures so far, which this is one more of."""
        super().erase(pids, rids, texts)
        self._erasure_count = None

    def add_vector(self, model: ModelNumber, content: Pid, vector: bytes) -> None:
        """Add the vector of a content (fp32, unit length) under a model."""
        super().add_vector(model, content, Vector(vector))


class PostgresView(_LongText, _OneState, SearchView):
    """A view that can also search."""

    def __init__(self, connection: Connection, ws: Ws, cache: FactsCache, registry: Registry) -> None:
        super().__init__(connection, ws, cache, registry)
        self._own = connection
        self._heads: dict[Seq, Head] = {}
        self._seen: set[Seq] = set()
        self._head: Head | None = None
        self.indexed: dict[ModelNumber, bool] = {}

    # ------------------------------------------------------------------ what a view is asked again and again
    def head(self) -> Head:
        """Return the last transaction, or the empty state before the first."""
        if self._head is None:
            self._head = super().head()
        return self._head

    def atoms(self, rids: Sequence[Rid]) -> dict[Rid, AtomRow]:
        """Return several atoms at once."""
        found = super().atoms(rids)
        self._seen.update(row.seq for row in found.values())
        return found

    def head_at(self, seq: Seq) -> Head:
        """Return the state that transaction `seq` left. Those of the atoms at hand are asked for together."""
        if seq and seq not in self._heads:
            self._heads.update(self.heads_at(self._seen - self._heads.keys() | {seq}))
            if seq not in self._heads:
                return super().head_at(seq)
        return self._heads[seq] if seq else super().head_at(START)

    # ------------------------------------------------------------------ vectors
    def nearest(
        self, model: ModelNumber, query: bytes, k: int, seq: Seq, valid_at: int, limits: Filter
    ) -> list[tuple[Rid, float]]:
        """Find the `k` nearest atoms by cosine, filtered first: exact, unless somebody made an index (`hnsw.py`).

        Gives (rid, cosine), best first, ties by atom id.
        """
        found = None
        if self._walks(model, seq, valid_at, limits):
            found = hnsw.nearest(self._own, self.ws, model, query, k, seq, valid_at, limits)
        self.approximate = found is not None
        if found is not None:
            return found
        passing, bindings = conditions(limits)
        rows = self._c.execute(
            "SELECT a.rid, 1.0 - (v.vector <=> ?) AS cosine FROM atoms a JOIN records r USING(ws, rid) JOIN vectors v"
            " ON v.ws = a.ws AND v.model = ? AND v.content = a.content AND v.seq <= ? WHERE a.ws = ? AND EXISTS"
            " (SELECT 1 FROM pieces p WHERE p.ws = a.ws AND p.rid = a.rid AND p.tx_from <= ? AND p.tx_to > ?"
            f" AND p.valid_from <= ? AND p.valid_to > ?{passing}) ORDER BY cosine DESC, r.key LIMIT ?",
            (Vector(query), model, seq, self.ws, seq, seq, valid_at, valid_at, *bindings, k),
        )
        return list(rows)

    def _walks(self, model: ModelNumber, seq: Seq, valid_at: int, limits: Filter) -> bool:
        """Return whether there is an index, and enough may be found for it to be the better way."""
        head = self.head()
        if model not in self.indexed:
            self.indexed[model] = hnsw.ready(self._c, self.ws, model, head.passages)
        if not self.indexed[model]:
            return False
        everything = limits.is_open and seq == head.seq and valid_at >= head.recorded_us
        return everything or not hnsw.few(self._c, self.ws, head.passages, seq, valid_at, limits)
