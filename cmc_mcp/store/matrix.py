"""The matrix: int8 codes of every vector of a workspace in memory, with the columns that filters need.

It stands in front of the store's exact search and gives the same rows. A read brings it up to its own transaction
through the change log; rows are never removed, a mask decides who holds at a read point.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cmc_mcp.kernel.transaction import OPEN
from cmc_mcp.store.codes import SCALE, exact, quantise
from cmc_mcp.store.rows import BINARY, MODALITIES, Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.protocol import ReadView

    Mask = npt.NDArray[np.bool_]

_MASKS_MAX: Final = 8
_GATHER_SHARE: Final = 0.3  # below this share, scan only the rows that pass
_WIDENED_MAX: Final = 4_096  # more candidates than this inside the error bound: the exact path is as good
_TEXT_MODALITIES: Final = len(MODALITIES) - len(BINARY)
ROW_BYTES: Final = 448
"""Memory of one atom with one vector and one piece, all columns."""


class Column:
    """A typed array that grows at its end. Memory it reserved but did not use is not resident."""

    def __init__(self, dtype: str, width: int = 0) -> None:
        import numpy as np

        self._shape = (width,) if width else ()
        self._data: npt.NDArray[Any] = np.empty((1024, *self._shape), dtype)
        self.size = 0

    def extend(self, values: npt.NDArray[Any]) -> None:
        """Append rows."""
        import numpy as np

        end = self.size + len(values)
        if end > len(self._data):
            grown = np.empty((max(end, 2 * len(self._data)), *self._shape), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size : end] = values
        self.size = end

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The rows in use."""
        return self._data[: self.size]


class _Selected(NamedTuple):
    """Who passes at a read point, and for which valid times this stays so."""

    valid_from: int
    valid_to: int
    atoms: Mask
    vectors: Mask | None  # None: every vector


class Matrix:
    """Codes and columns of one workspace under one model. Thread-safe; `model` 0 has columns only."""

    def __init__(self, ws: int, model: int, dimension: int, epoch: int) -> None:
        self.ws, self.model, self.epoch = ws, model, epoch
        self.seq = 0
        self._lock = threading.Lock()
        self._rid, self._modality = Column("int64"), Column("int8")
        self._origin, self._witness, self._vector = Column("int64"), Column("int64"), Column("int32")
        self._atom, self._facts = Column("int32"), Column("int64")
        self._valid_from, self._valid_to = Column("int64"), Column("int64")
        self._tx_from, self._tx_to = Column("int64"), Column("int64")
        self._codes, self._vid = Column("int8", dimension), Column("int64")
        self._vector_seq, self._error = Column("int64"), Column("float32")
        self._last_rid = ws << 40
        self._masks: OrderedDict[tuple[int, Filter], _Selected] = OrderedDict()

    # ------------------------------------------------------------------ catching up
    def catch_up(self, view: ReadView, seq: int, last_rid: int) -> None:
        """Bring the matrix to a transaction, inside the read transaction of `view`."""
        if self.seq >= seq:
            return
        with self._lock:
            if self.seq >= seq:
                return
            last_vid = int(self._vid.rows[-1]) if self._vid.size else self.ws << 40
            known = self._last_rid
            if self.model:
                self._load_vectors(view)
            self._load_atoms(view, known, last_rid)
            if self.model and known > self.ws << 40:
                self._attach_late(view, last_vid, known)
            self._load_pieces(view, seq)
            self._last_rid, self.seq = last_rid, seq

    def _load_vectors(self, view: ReadView) -> None:
        import numpy as np

        dimension = self._codes.rows.shape[1]
        if not self._vid.size:
            for vids, seqs, errors, codes in view.packed_codes(self.model):
                self._vid.extend(np.frombuffer(vids, np.int64))
                self._vector_seq.extend(np.frombuffer(seqs, np.int64))
                self._error.extend(np.frombuffer(errors, np.float32))
                self._codes.extend(np.frombuffer(codes, np.int8).reshape(-1, dimension))
        last = int(self._vid.rows[-1]) if self._vid.size else self.ws << 40
        rows = view.vector_columns(self.model, last)
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            vectors = np.frombuffer(b"".join([row[2] for row in part]), np.float32).reshape(len(part), dimension)
            codes8, errors32 = quantise(vectors)
            self._vid.extend(np.array([row[0] for row in part], np.int64))
            self._vector_seq.extend(np.array([row[1] for row in part], np.int64))
            self._error.extend(errors32)
            self._codes.extend(codes8)

    def _load_atoms(self, view: ReadView, after: int, upto: int) -> None:
        import numpy as np

        rows = view.atom_columns(self.model, after, upto)
        if not rows:
            return
        rids, modalities, origins, witnesses, vids = zip(*rows, strict=True)
        self._rid.extend(np.array(rids, np.int64))
        self._modality.extend(np.array(modalities, np.int8))
        self._origin.extend(np.array(origins, np.int64))
        self._witness.extend(np.array(witnesses, np.int64))
        self._vector.extend(self._places(np.array([-1 if v is None else v for v in vids], np.int64)))

    def _places(self, vids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Give the row of each vector number, -1 for none."""
        import numpy as np

        if not self._vid.size:
            return np.full(len(vids), -1, np.int64)
        places = np.minimum(np.searchsorted(self._vid.rows, vids), self._vid.size - 1)
        return np.where(self._vid.rows[places] == vids, places, -1)

    def _attach_late(self, view: ReadView, last_vid: int, known: int) -> None:
        import numpy as np

        rows = view.late_vectors(self.model, last_vid, known)
        if rows:
            rids, vids = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            self._vector.rows[np.searchsorted(self._rid.rows, rids)] = self._places(vids)

    def _load_pieces(self, view: ReadView, seq: int) -> None:
        import numpy as np

        rows = list(view.piece_columns(self.seq, seq))
        columns = (self._valid_from, self._valid_to, self._tx_from, self._tx_to, self._facts)
        if rows:
            rids, *values = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            self._atom.extend(np.searchsorted(self._rid.rows, rids))
            for column, value in zip(columns, values, strict=True):
                column.extend(value)
        if self.seq:
            self._close(list(view.closed_columns(self.seq, seq)))

    def _close(self, rows: Sequence[tuple[int, int, int, int]]) -> None:
        import numpy as np

        if not rows:
            return
        ends = {(rid, valid_from, tx_from): tx_to for rid, valid_from, tx_from, tx_to in rows}
        atoms = np.searchsorted(self._rid.rows, np.array([row[0] for row in rows], np.int64))
        for place in np.flatnonzero(np.isin(self._atom.rows, atoms)):
            key = (
                int(self._rid.rows[self._atom.rows[place]]),
                int(self._valid_from.rows[place]),
                int(self._tx_from.rows[place]),
            )
            if key in ends:
                self._tx_to.rows[place] = ends[key]

    # ------------------------------------------------------------------ masks
    def select(self, seq: int, valid_at: int, limits: Filter) -> _Selected:
        """Give who holds at a read point and passes a filter."""
        key = (seq, limits)
        with self._lock:
            known = self._masks.get(key)
            if known is not None and known.valid_from <= valid_at < known.valid_to:
                self._masks.move_to_end(key)
                return known
            found = self._selected(seq, valid_at, limits)
            self._masks[key] = found
            while len(self._masks) > _MASKS_MAX:
                self._masks.popitem(last=False)
            return found

    def _selected(self, seq: int, valid_at: int, limits: Filter) -> _Selected:
        import numpy as np

        held = self._tx_from.rows <= seq
        if seq < self.seq or self._tx_to.size:
            held &= self._tx_to.rows > seq
        starts, ends = self._valid_from.rows[held], self._valid_to.rows[held]
        now = (starts <= valid_at) & (ends > valid_at)
        places = np.flatnonzero(held)[now]
        for facts in limits.facts:
            places = places[np.isin(self._facts.rows[places], np.array(facts, np.int64))]
        atoms = np.zeros(self._rid.size, np.bool_)
        atoms[self._atom.rows[places]] = True
        for column, values in (
            (self._modality, limits.modalities),
            (self._origin, limits.origins),
            (self._witness, limits.witnesses),
            (self._rid, limits.rids),
        ):
            if values is not None:
                atoms &= np.isin(column.rows, np.array(values, np.int64))
        return _Selected(*_window(starts, ends, valid_at), atoms, self._vector_mask(atoms, seq))

    def _vector_mask(self, atoms: Mask, seq: int) -> Mask | None:
        import numpy as np

        if not self._vid.size:
            return None
        places = self._vector.rows[atoms]
        mask = np.zeros(self._vid.size, np.bool_)
        mask[places[places >= 0]] = True
        mask &= self._vector_seq.rows <= seq
        return None if mask.all() else mask

    def holds(self, selected: _Selected, rids: Sequence[int]) -> list[bool]:
        """Say which of some atoms are selected."""
        import numpy as np

        if not self._rid.size or not rids:
            return [False] * len(rids)
        wanted = np.array(rids, np.int64)
        places = np.minimum(np.searchsorted(self._rid.rows, wanted), self._rid.size - 1)
        size = len(selected.atoms)
        found = (self._rid.rows[places] == wanted) & (places < size)
        answer: list[bool] = (found & selected.atoms[np.minimum(places, max(size - 1, 0))]).tolist()
        return answer

    def pending(self, seq: int, valid_at: int) -> int:
        """Count the text atoms that hold at a read point without a vector."""
        import numpy as np

        selected = self.select(seq, valid_at, Filter())
        size = len(selected.atoms)
        places = self._vector.rows[:size]
        bare = (places < 0) & (self._modality.rows[:size] < _TEXT_MODALITIES)
        if self._vid.size and int(self._vector_seq.rows[-1]) > seq:
            late = self._vector_seq.rows[np.maximum(places, 0)] > seq
            bare |= late & (places >= 0)
        return int(np.count_nonzero(bare & selected.atoms))

    def rids(self, selected: _Selected) -> list[int]:
        """Give the selected atoms, in order."""
        answer: list[int] = self._rid.rows[: len(selected.atoms)][selected.atoms].tolist()
        return answer

    # ------------------------------------------------------------------ search
    def nearest(
        self, view: ReadView, query: npt.NDArray[np.float32], k: int, selected: _Selected
    ) -> list[tuple[int, float]] | None:
        """Find the `k` nearest selected atoms as (rid, cosine); None when the exact path has to answer.

        Candidates by int8 score are widened until the k-th exact score is at least the best excluded one plus the
        error bound, so the rows are those of the exact path.
        """
        import numpy as np

        size = self._vid.size if selected.vectors is None else len(selected.vectors)
        if not size:
            return []
        places, scores, slack = self._scan(query, selected.vectors, size)
        chosen = places[_top(scores, 4 * k)]
        if not len(chosen):
            return []
        known = self._scored(view, query, chosen, selected)
        if len(known) >= k:
            threshold = sorted((score for _, score in known), reverse=True)[k - 1]
            wider = places[np.flatnonzero(scores >= threshold - slack)]
            wider = wider[self._refined(query, wider) >= threshold - 1e-6]
            extra = np.setdiff1d(wider, chosen)
            if len(extra) > _WIDENED_MAX:
                return None
            known += self._scored(view, query, extra, selected)
        elif len(chosen) < len(places):
            return None  # many atoms share few vectors: rare enough for the exact path
        return known

    def _scan(
        self, query: npt.NDArray[np.float32], mask: Mask | None, size: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], float]:
        import numpy as np
        import simsimd

        coded, error = quantise(query.reshape(1, -1))
        codes = self._codes.rows[:size]
        if mask is None:
            places = np.arange(size)
        else:
            places = np.flatnonzero(mask)
        if mask is not None and len(places) < _GATHER_SHARE * size:
            raw = np.asarray(simsimd.cdist(coded, np.ascontiguousarray(codes[places]), metric="dot")).ravel()
        elif len(places):
            raw = np.asarray(simsimd.cdist(coded, codes, metric="dot")).ravel()
            raw = raw if mask is None else raw[places]
        else:
            raw = np.empty(0)
        # |q·x − q̂·x̂| ≤ |q|·|x − x̂| + |x̂|·|q − q̂|, both vectors of unit length
        worst = float(self._error.rows[:size].max(initial=0.0))
        slack = worst + (1.0 + worst) * float(error[0]) + 1e-6
        return places, raw / (SCALE * SCALE), slack

    def _refined(self, query: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Give an upper bound of the exact scores: the query uncoded, each vector's own error added."""
        import numpy as np

        codes = self._codes.rows[places].astype(np.float32)
        bound: npt.NDArray[np.float64] = (codes @ query) / np.float32(SCALE) + self._error.rows[places] + 1e-6
        return bound

    def _scored(
        self,
        view: ReadView,
        query: npt.NDArray[np.float32],
        places: npt.NDArray[np.int64],
        selected: _Selected,
    ) -> list[tuple[int, float]]:
        """Score candidates exactly, and give the selected atoms that have them."""
        import numpy as np

        if not len(places):
            return []
        vids = self._vid.rows[places]
        rows = view.vector_rows(self.model, vids.tolist())
        order = [rows[vid] for vid in vids.tolist() if vid in rows]
        if len(order) != len(vids):
            return []  # erased meanwhile: the epoch will drop this matrix
        scores = exact(query, np.frombuffer(b"".join(order), np.float32).reshape(len(order), -1))
        by_place = dict(zip(places.tolist(), scores.tolist(), strict=True))
        atoms = len(selected.atoms)
        mine = self._atoms_at(places, atoms)
        vectors, rids = self._vector.rows, self._rid.rows
        return [(int(rids[a]), by_place[int(vectors[a])]) for a in mine if selected.atoms[a]]

    def _atoms_at(self, places: npt.NDArray[np.int64], atoms: int) -> Iterator[int]:
        import numpy as np

        vectors = self._vector.rows[:atoms]
        inside = places[places < atoms]
        if len(inside) == len(places) and self._is_diagonal(atoms):
            return iter(inside.tolist())
        wanted = np.zeros(self._vid.size + 1, np.bool_)
        wanted[places] = True
        wanted[-1] = False
        return iter(np.flatnonzero(wanted[vectors]).tolist())

    def _is_diagonal(self, atoms: int) -> bool:
        """Whether atom i has vector i throughout, as in a store where no text occurs twice."""
        import numpy as np

        known = getattr(self, "_diagonal", (-1, False))
        if known[0] != atoms:
            vectors = self._vector.rows[:atoms]
            known = (atoms, bool(self._vid.size <= atoms and np.array_equal(vectors, np.arange(atoms))))
            self._diagonal = known
        return known[1]


def _window(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], valid_at: int
) -> tuple[int, int]:
    """Give the valid times around `valid_at` in which no piece begins or ends."""
    low = max(
        int(starts[starts <= valid_at].max(initial=-OPEN)), int(ends[ends <= valid_at].max(initial=-OPEN))
    )
    high = min(int(starts[starts > valid_at].min(initial=OPEN)), int(ends[ends > valid_at].min(initial=OPEN)))
    return low, high


def _top(scores: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Give the places of the best `count` scores; a sampled threshold spares sorting a million."""
    import numpy as np

    if len(scores) <= count:
        return np.arange(len(scores))
    if len(scores) > 20_000:
        sample = scores[::16]
        keep = max(8, count // 4)
        threshold = np.partition(sample, -keep)[-keep]
        places = np.flatnonzero(scores >= threshold)
        if len(places) >= count:
            return places[np.argpartition(-scores[places], count - 1)[:count]]
    return np.argpartition(-scores, count - 1)[:count]
