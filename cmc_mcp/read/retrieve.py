"""Retrieve: candidates by meaning, filtered first on both clocks and on everything asked. `lexical.py` has the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from cmc_mcp.ids import ModelNumber, Pid, Rid
from cmc_mcp.index.matrix import Described, Matrix
from cmc_mcp.index.sessions import groups
from cmc_mcp.read.point import Point
from cmc_mcp.store.codes import exact
from cmc_mcp.store.ports import ReadView
from cmc_mcp.store.rows import TEXTUAL, AtomRow, Filter, checked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_REACH = 32  # records on each side among which neighbours are looked for
_FLOAT32_ERROR = 1e-5  # of the database's cosine, with room


class Selection:
    """The memories that may be found: by the matrix in memory, or, without one, by SQL. Both return the same."""

    def __init__(self, view: ReadView, point: Point, limits: Filter, matrix: Matrix | None) -> None:
        self.view, self.point, self.limits, self.matrix = view, point, limits, matrix
        if matrix is not None:
            head = view.head()
            matrix.catch_up(view, head.seq, head.last_rid)
            self._chosen = matrix.select(point.head.seq, point.valid_at, limits)
        self.approximate = False
        self._origins: dict[Pid, int] = {}
        self._grouped: dict[Rid, int] = {}

    def passing(self, rids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return a mask of the atoms that pass the filter."""
        import numpy as np

        if self.matrix is not None:
            return self.matrix.holds(self._chosen, rids)
        wanted = set(rids.tolist())
        mine = wanted if self.limits.rids is None else wanted & set(self.limits.rids)
        found = set(self._selected(tuple(sorted(mine))) if mine else ())
        return np.fromiter((rid in found for rid in rids.tolist()), np.bool_, len(rids))

    def _selected(self, rids: tuple[Rid, ...] | None) -> list[Rid]:
        return self.view.selected(self.point.head.seq, self.point.valid_at, self.limits._replace(rids=rids))

    def bounds(self) -> tuple[Rid, Rid]:
        """Return the lowest and the highest record number that pass the filter; (0, 0) if none pass."""
        if self.matrix is not None:
            return self.matrix.bounds(self._chosen)
        return self.view.bounds(self.point.head.seq, self.point.valid_at, self.limits)

    def size(self) -> int:
        """Count the memories that may be found."""
        return len(self._selected(self.limits.rids)) if self.matrix is None else self.matrix.size(self._chosen)

    def rids(self) -> list[Rid]:
        """Return the memories that may be found, ascending."""
        return self._selected(self.limits.rids)

    def bare(self, model: ModelNumber) -> int:
        """Count the text memories that may be found and have no vector."""
        if self.matrix is not None and self.matrix.model == model:
            return self._chosen.pending
        rids = self.rids()
        return len(rids) - len(self.view.vectors_of(model, rids, self.point.head.seq))

    def erased(self) -> int:
        """Count the memories that would be found, had their content not been erased."""
        import numpy as np

        if not self.view.erasure_count():
            return 0
        rids = self.view.erased() if self.matrix is None else self.matrix.erased(self.view)
        return int(np.count_nonzero(self.passing(np.array(rids, np.int64))))

    def described(self, rids: npt.NDArray[np.int64]) -> Described:
        """Return the traits and numbers of atoms (ascending), beside their words."""
        import numpy as np

        if self.matrix is not None:
            return self.matrix.described(rids)
        rows = np.array(self.view.traits(rids.tolist()), np.int64).reshape(-1, 5)
        group = groups(self.view, rows[:, 0], rows[:, 2], rows[:, 3], self._origins)
        return Described(rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4], group)

    def neighbours(self, rids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the neighbours of atoms: the second and the first before, the first and the second after.

        Neighbours are of the same conversation or document, may be found too, and were recorded within `_REACH`
        records; 0 where there is none. Shape (n, 4).
        """
        import numpy as np

        if self.matrix is not None:
            return self.matrix.neighbours(self._chosen, rids, _REACH)
        out = np.zeros((len(rids), 4), np.int64)
        for place, rid in enumerate(rids.tolist()):
            near = [other for other, _ in self.view.between(rid - _REACH - 1, rid + _REACH + 1)]
            mine = self._groups(near)
            same = np.array([other for other in near if mine[other] == mine[rid] != 0], np.int64)
            same = same[self.passing(same)] if len(same) else same
            before, after = same[same < rid][-2:], same[same > rid][:2]
            out[place, 2 - len(before) : 2] = before
            out[place, 2 : 2 + len(after)] = after
        return out

    def _groups(self, rids: Sequence[Rid]) -> dict[Rid, int]:
        """Return the session or document of each of some atoms by SQL; each atom is looked up once."""
        import numpy as np

        missing = [rid for rid in rids if rid not in self._grouped]
        if missing:
            found = self.described(np.array(missing, np.int64)).group
            self._grouped.update(zip(missing, found.tolist(), strict=True))
        return self._grouped

    def texts(self, rows: Mapping[Rid, AtomRow]) -> dict[Rid, str]:
        """Return the texts of some atoms, checked; not those of binaries and of objects."""
        payloads = self.view.payload_rows({row.content for row in rows.values() if row.modality < TEXTUAL})
        bodies = {pid: checked(row) for pid, row in payloads.items()}
        found = {rid: bodies.get(row.content) for rid, row in rows.items()}
        # bytes that are not text any more are refused by the id, when the memory is loaded
        return {rid: body.decode(errors="replace") for rid, body in found.items() if body is not None}

    def dense(self, model: ModelNumber, query: npt.NDArray[np.float32], k: int) -> list[tuple[Rid, float]]:
        """Find the `k` nearest as (rid, cosine), best first, ties by atom id: exact, but for an index in the database.

        `approximate` says afterwards whether one was used.
        """
        found = None
        if self.matrix is not None and self.matrix.model == model:
            found = self.matrix.nearest(self.view, query, k, self._chosen)
        if found is None:
            found = self._by_sql(model, query, k)
            self.approximate |= self.view.approximate
        return self._cut(found, k)

    def _cut(self, found: list[tuple[Rid, float]], k: int) -> list[tuple[Rid, float]]:
        """Return the best `k`; ids are looked up only for equal scores."""
        found.sort(key=lambda hit: -hit[1])
        if len(found) > k:
            last = found[k - 1][1]
            found = [hit for hit in found if hit[1] >= last]
        tied = {rid for a, b in pairwise(found) if a[1] == b[1] for rid in (a[0], b[0])}
        if tied:
            keys = {rid: row.key for rid, row in self.view.atoms(sorted(tied)).items()}
            found.sort(key=lambda hit: (-hit[1], keys.get(hit[0], b"")))
        return found[:k]

    def _by_sql(self, model: ModelNumber, query: npt.NDArray[np.float32], k: int) -> list[tuple[Rid, float]]:
        point, want = self.point, k
        while True:  # rows within float32 error of the k-th may be ordered otherwise by the database
            rows = self.view.nearest(model, query.tobytes(), want + 16, point.head.seq, point.valid_at, self.limits)
            if len(rows) < want + 16 or rows[-1][1] < rows[k - 1][1] - _FLOAT32_ERROR:
                break
            want *= 2
        return self._exactly(model, query, [rid for rid, _ in rows])

    def _exactly(
        self, model: ModelNumber, query: npt.NDArray[np.float32], rids: Sequence[Rid]
    ) -> list[tuple[Rid, float]]:
        import numpy as np

        vectors = self.view.vectors_of(model, rids, self.point.head.seq)
        if not vectors:
            return []
        order = [rid for rid in rids if rid in vectors]
        packed = np.frombuffer(b"".join([vectors[rid] for rid in order]), np.float32)
        return list(zip(order, exact(query, packed.reshape(len(order), -1)).tolist(), strict=True))

    def cosines(self, model: ModelNumber, query: npt.NDArray[np.float32], rids: Sequence[Rid]) -> dict[Rid, float]:
        """Return the exact cosines of those of some atoms that have a vector."""
        if not rids:
            return {}
        if self.matrix is not None and self.matrix.model == model:
            return self.matrix.scores_of(self.view, query, rids, self._chosen)
        return dict(self._exactly(model, query, rids))
