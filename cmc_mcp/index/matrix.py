"""The matrix: int8 codes of every vector of a workspace in memory, with the columns that filters need.

It stands in front of the store's exact search and returns the same rows. A read brings it up to its own transaction
through the change log; rows are never removed, a mask decides which of them hold at a read point.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from cmc_mcp.ids import NO_RECORD, ModelNumber, Pid, Rid, Seq, Vid, Ws
from cmc_mcp.index.columns import Column, best, window
from cmc_mcp.index.following import Follower
from cmc_mcp.index.sessions import groups
from cmc_mcp.store.codes import SCALE, SEGMENT_VECTORS, exact, quantise
from cmc_mcp.store.rows import TEXTUAL, Filter, Head, PieceClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.ports import ReadView

    Mask = npt.NDArray[np.bool_]

_MASKS_MAX: Final = 8
_CHUNK: Final = 8_192
_GATHER_SHARE: Final = 0.15  # below this share, scan only the rows that pass
_SPARE: Final = 14  # candidates beyond k before the bound is known
_DOT_ERROR: Final = 3e-5  # of a float32 dot product of 384 terms, with room
_WIDENED_MAX: Final = 4_096  # more candidates than this inside the error bound: the exact path is as good
ROW_BYTES: Final = 504
"""Bytes in memory of one atom with one vector and one interval, all columns."""


class _Selected(NamedTuple):
    """The atoms that pass at a read point, and the valid times for which this stays so."""

    valid_from: int
    valid_to: int
    atoms: Mask
    vectors: Mask | None  # None: every one of the first `size` vectors
    size: int  # vectors that were known then: later ones are of later transactions
    passing: int  # vectors that pass
    pending: int  # text atoms that pass without a vector


class Described(NamedTuple):
    """The features of some atoms beside their words: one row each. `group` numbers the session of a turn, else the origin."""

    modality: npt.NDArray[np.int64]
    origin: npt.NDArray[np.int64]
    traits: npt.NDArray[np.int64]
    speaker: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]


class Matrix(Follower):
    """Codes and columns of one workspace under one model. Thread-safe; `model` 0 has columns only."""

    def __init__(self, ws: Ws, model: ModelNumber, dimension: int, erasure_count: int) -> None:
        super().__init__(ws, model, erasure_count)
        self._rid, self._modality = Column("int64"), Column("int8")
        self._origin, self._witness, self._vector = Column("int64"), Column("int64"), Column("int32")
        self._traits, self._speaker, self._group = Column("int64"), Column("int64"), Column("int64")
        self._origins: dict[Pid, int] = {}  # what the origins of turns say of their sessions
        self._atom, self._facts = Column("int32"), Column("int64")
        self._valid_from, self._valid_to = Column("int64"), Column("int64")
        self._tx_from, self._tx_to = Column("int64"), Column("int64")
        self._codes, self._vid = Column("int8", dimension), Column("int64")
        self._vector_seq, self._error = Column("int32"), Column("float32")
        self._first = Column("int32")  # of each vector, the first atom that has it
        self._more: dict[int, list[int]] = {}  # and the others: the same words, said again
        self._said_by: set[int] = set()
        self._last_rid = Rid(ws << 40)
        self._erased: list[Rid] | None = None
        self._masks: OrderedDict[tuple[Seq, Filter], _Selected] = OrderedDict()

    def speakers(self, keys: Sequence[int]) -> set[int]:
        """Return those speakers, by number, of whom an atom was recorded when the matrix last caught up."""
        return {key for key in keys if key in self._said_by}

    # ------------------------------------------------------------------ catching up
    def catch_up(self, view: ReadView, seq: Seq, last_rid: Rid) -> None:
        """Catch up with a transaction, inside the read transaction of `view`."""
        self._follow(seq, lambda: self._catch_up(view, seq, last_rid))

    def _catch_up(self, view: ReadView, seq: Seq, last_rid: Rid) -> None:
        last_vid = Vid(int(self._vid.rows[-1]) if self._vid.size else self.ws << 40)
        known = self._last_rid
        if not self.seq:
            self._reserve(view.head())
        if self.model:
            self._load_vectors(view)
        self._load_atoms(view, known, last_rid)
        if self.model and known > self.ws << 40:
            self._attach_late(view, last_vid, known)
        self._load_intervals(view, seq)
        self._last_rid = last_rid

    def _reserve(self, head: Head) -> None:
        low = self.ws << 40
        for column in (self._vid, self._vector_seq, self._error, self._codes, self._first) if self.model else ():
            column.reserve(head.last_vid - low)
        for column in (
            self._rid, self._modality, self._origin, self._witness, self._vector, self._traits, self._speaker,
            self._group,
        ):  # fmt: skip
            column.reserve(head.passages)
        for column in (self._atom, self._facts, self._valid_from, self._valid_to, self._tx_from, self._tx_to):
            column.reserve(head.passages)

    def _load_vectors(self, view: ReadView) -> None:
        import numpy as np

        low, dimension = self.ws << 40, self._codes.rows.shape[1]
        if not self._vid.size:
            for segment, vids, seqs, errors, codes in view.packed_codes(self.model):
                # an erase drops segments, and they are not packed again: their vectors are read one by one
                self._load_rows(view, Vid(low + segment * SEGMENT_VECTORS))
                self._vid.extend(np.frombuffer(vids, np.int64))
                self._vector_seq.extend(np.frombuffer(seqs, np.int64))
                self._error.extend(np.frombuffer(errors, np.float32))
                self._codes.extend(np.frombuffer(codes, np.int8).reshape(-1, dimension))
        self._load_rows(view, Vid(low + (1 << 40)))
        self._first.extend(np.full(self._vid.size - self._first.size, -1, np.int32))

    def _load_rows(self, view: ReadView, before: Vid) -> None:
        """Load the vectors that follow the last known one and have a number below `before`."""
        import numpy as np

        last = Vid(int(self._vid.rows[-1]) if self._vid.size else self.ws << 40)
        if last + 1 >= before:
            return
        rows = view.vector_columns(self.model, last, before)
        for start in range(0, len(rows), 4096):
            part = rows[start : start + 4096]
            vectors = np.frombuffer(b"".join([row.vector for row in part]), np.float32).reshape(len(part), -1)
            codes8, errors32 = quantise(vectors)
            self._vid.extend(np.array([row.vid for row in part], np.int64))
            self._vector_seq.extend(np.array([row.seq for row in part], np.int64))
            self._error.extend(errors32)
            self._codes.extend(codes8)

    def _load_atoms(self, view: ReadView, after: Rid, upto: Rid) -> None:
        columns = view.atom_columns(self.model, after, upto)
        while rows := list(islice(columns, _CHUNK)):  # a million rows at once would outweigh the matrix
            self._add_atoms(view, rows)

    def _add_atoms(self, view: ReadView, rows: list[tuple[Rid, int, Pid, Pid, int, int, Vid | None]]) -> None:
        import numpy as np

        rids, modalities, origins, witnesses, traits, speakers, vids = zip(*rows, strict=True)
        self._rid.extend(np.array(rids, np.int64))
        self._modality.extend(np.array(modalities, np.int8))
        self._origin.extend(np.array(origins, np.int64))
        self._witness.extend(np.array(witnesses, np.int64))
        self._traits.extend(np.array(traits, np.int64))
        self._speaker.extend(np.array(speakers, np.int64))
        numbers, sources, marks = (np.array(column, np.int64) for column in (rids, origins, traits))
        self._group.extend(groups(view, numbers, sources, marks, self._origins))
        self._said_by.update(speakers)
        places = self._places(np.array([-1 if v is None else v for v in vids], np.int64))
        first = self._vector.size
        self._vector.extend(places)
        self._attach(np.arange(first, first + len(places)), places)

    def _attach(self, atoms: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
        """Record which atoms have which vectors, and the reverse."""
        import numpy as np

        has = places >= 0
        atoms, places = atoms[has], places[has]
        _, firsts = np.unique(places, return_index=True)
        fresh = np.zeros(len(places), np.bool_)
        fresh[firsts] = self._first.rows[places[firsts]] < 0
        self._first.rows[places[fresh]] = atoms[fresh]
        for atom, place in zip(atoms[~fresh].tolist(), places[~fresh].tolist(), strict=True):
            self._more.setdefault(place, []).append(atom)

    def _places(self, vids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the row of each vector number, -1 for none."""
        import numpy as np

        if not self._vid.size:
            return np.full(len(vids), -1, np.int64)
        places = np.minimum(np.searchsorted(self._vid.rows, vids), self._vid.size - 1)
        return np.where(self._vid.rows[places] == vids, places, -1)

    def _attach_late(self, view: ReadView, last_vid: Vid, known: Rid) -> None:
        import numpy as np

        rows = view.late_vectors(self.model, last_vid, known)
        if rows:
            rids, vids = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            atoms, places = np.searchsorted(self._rid.rows, rids), self._places(vids)
            self._vector.rows[atoms] = places
            self._attach(atoms, places)

    def _load_intervals(self, view: ReadView, seq: Seq) -> None:
        import numpy as np

        closed = list(view.closed_columns(self.seq, seq)) if self.seq else []
        found = view.interval_columns(self.seq, seq)
        columns = (self._valid_from, self._valid_to, self._tx_from, self._tx_to, self._facts)
        while rows := list(islice(found, _CHUNK)):
            rids, *values = (np.array(column, np.int64) for column in zip(*rows, strict=True))
            self._atom.extend(np.searchsorted(self._rid.rows, rids))
            for column, value in zip(columns, values, strict=True):
                column.extend(value)
        self._close(closed)

    def _close(self, rows: Sequence[PieceClosed]) -> None:
        import numpy as np

        if not rows:
            return
        ends: dict[tuple[int, int, int], Seq] = {(rid, start, tx_from): tx_to for rid, start, tx_from, tx_to in rows}
        atoms = np.searchsorted(self._rid.rows, np.array([row.rid for row in rows], np.int64))
        touched = np.zeros(self._rid.size, np.bool_)
        touched[atoms] = True
        for place in np.flatnonzero(touched[self._atom.rows]):
            key = (
                int(self._rid.rows[self._atom.rows[place]]),
                int(self._valid_from.rows[place]),
                int(self._tx_from.rows[place]),
            )
            if key in ends:
                self._tx_to.rows[place] = ends[key]

    # ------------------------------------------------------------------ masks
    def select(self, seq: Seq, valid_at: int, limits: Filter) -> _Selected:
        """Return the atoms that hold at a read point and pass a filter."""
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

    def _selected(self, seq: Seq, valid_at: int, limits: Filter) -> _Selected:
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
        vectors = self._vector_mask(atoms, seq)
        size = self._vid.size
        passing = size if vectors is None else int(np.count_nonzero(vectors))
        return _Selected(*window(starts, ends, valid_at), atoms, vectors, size, passing, self._bare(atoms, seq))

    def _vector_mask(self, atoms: Mask, seq: Seq) -> Mask | None:
        import numpy as np

        if not self._vid.size:
            return None
        places = self._vector.rows[atoms]
        mask = np.zeros(self._vid.size, np.bool_)
        mask[places[places >= 0]] = True
        if int(self._vector_seq.rows[-1]) > seq:
            mask &= self._vector_seq.rows <= seq
        return None if mask.all() else mask

    def _bare(self, atoms: Mask, seq: Seq) -> int:
        """Count the text atoms without a vector at a transaction."""
        import numpy as np

        places = self._vector.rows
        bare = places < 0
        if self._vid.size and int(self._vector_seq.rows[-1]) > seq:
            bare |= self._vector_seq.rows[np.maximum(places, 0)] > seq
        bare &= atoms
        bare &= self._modality.rows < TEXTUAL
        return int(np.count_nonzero(bare))

    def holds(self, selected: _Selected, rids: npt.NDArray[np.int64]) -> Mask:
        """Return a mask of the selected atoms."""
        import numpy as np

        size = len(selected.atoms)
        if not size or not len(rids):
            return np.zeros(len(rids), np.bool_)
        places = np.minimum(np.searchsorted(self._rid.rows[:size], rids), size - 1)
        found: Mask = (self._rid.rows[places] == rids) & selected.atoms[places]
        return found

    def pending(self, seq: Seq, valid_at: int) -> int:
        """Count the text atoms that hold at a read point without a vector."""
        return self.select(seq, valid_at, Filter()).pending

    def bounds(self, selected: _Selected) -> tuple[Rid, Rid]:
        """Return the lowest and the highest number of a selected atom; (0, 0) for none."""
        import numpy as np

        places = np.flatnonzero(selected.atoms)
        if not len(places):
            return NO_RECORD, NO_RECORD
        return Rid(int(self._rid.rows[places[0]])), Rid(int(self._rid.rows[places[-1]]))

    def size(self, selected: _Selected) -> int:
        """Count the selected atoms."""
        import numpy as np

        return int(np.count_nonzero(selected.atoms))

    def erased(self, view: ReadView) -> list[Rid]:
        """Return the atoms whose content was erased; an erasure makes a new matrix, so they are looked up once."""
        if self._erased is None:
            self._erased = view.erased()
        return self._erased

    def described(self, rids: npt.NDArray[np.int64]) -> Described:
        """Return the traits and numbers of atoms, beside their words."""
        import numpy as np

        places = np.searchsorted(self._rid.rows, rids)
        columns = (self._modality, self._origin, self._traits, self._speaker, self._group)
        return Described(*(column.rows[places].astype(np.int64) for column in columns))

    def neighbours(self, selected: _Selected, rids: npt.NDArray[np.int64], reach: int) -> npt.NDArray[np.int64]:
        """Return the two selected atoms before and the two after each, of one session or document.

        See `Selection.neighbours`.
        """
        import numpy as np

        size = len(selected.atoms)
        places = np.searchsorted(self._rid.rows[:size], rids)
        steps = np.concatenate([np.arange(-1, -reach - 1, -1), np.arange(1, reach + 1)])
        around = places[:, None] + steps
        inside = (around >= 0) & (around < size)
        around = np.where(inside, around, 0)
        found = inside & selected.atoms[around] & (self._group.rows[around] == self._group.rows[places][:, None])
        found &= (self._group.rows[places] != 0)[:, None] & (np.abs(self._rid.rows[around] - rids[:, None]) <= reach)
        out = np.zeros((len(rids), 4), np.int64)
        for columns, half in (((1, 0), slice(0, reach)), ((2, 3), slice(reach, None))):
            there = found[:, half]
            first = there.argmax(axis=1)
            has = there.any(axis=1)
            rows = np.arange(len(rids))
            out[has, columns[0]] = self._rid.rows[around[:, half][rows, first]][has]
            rest = there.copy()
            rest[rows, first] = False
            second, also = rest.argmax(axis=1), rest.any(axis=1)
            out[also, columns[1]] = self._rid.rows[around[:, half][rows, second]][also]
        return out

    # ------------------------------------------------------------------ search
    def nearest(
        self, view: ReadView, query: npt.NDArray[np.float32], k: int, selected: _Selected
    ) -> list[tuple[Rid, float]] | None:
        """Find the `k` nearest selected atoms as (rid, cosine); None when the exact path has to answer.

        Candidates by int8 score are widened until the k-th exact score is at least the best excluded one plus the
        error bound, so the rows are those of the exact path. Gives more than `k` rather than to cut a tie.
        """
        import numpy as np

        if not selected.passing:
            return []
        scores, places = self._scan(query, selected)
        mask = selected.vectors if places is None else None
        chosen = best(scores, mask, k + _SPARE, selected.passing)
        known = self._scored(view, query, chosen if places is None else places[chosen], selected)
        if len(chosen) == selected.passing:
            return known
        if len(known) < k:
            return None
        threshold = sorted([score for _, score in known], reverse=True)[k - 1]
        wider = np.flatnonzero(scores >= (threshold - self._slack(query, selected.size)) * (SCALE * SCALE))
        if mask is not None:
            wider = wider[mask[wider]]
        wider = np.setdiff1d(wider, chosen, assume_unique=True)
        if places is not None:
            wider = places[wider]
        wider = wider[self._refined(query, wider) >= threshold]
        if len(wider) > _WIDENED_MAX:
            return None
        return known + self._scored(view, query, wider, selected)

    def _scan(
        self, query: npt.NDArray[np.float32], selected: _Selected
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None]:
        """Score by int8, in units of SCALE²: of every vector, or, when few pass, of those alone, with their places."""
        import numpy as np
        import simsimd

        coded, _ = quantise(query.reshape(1, -1))
        codes = self._codes.rows[: selected.size]
        places = None
        if selected.vectors is not None and selected.passing < _GATHER_SHARE * selected.size:
            places = np.flatnonzero(selected.vectors)
            codes = np.ascontiguousarray(codes[places])
        # integers below 2^24, so float32 holds them exactly
        scores = simsimd.cdist(coded, codes, metric="dot", out_dtype="float32")
        return np.asarray(scores).reshape(-1), places

    def _slack(self, query: npt.NDArray[np.float32], size: int) -> float:
        """Bound the error of an int8 score: |q·x − q̂·x̂| ≤ |q|·|x − x̂| + |x̂|·|q − q̂|, both of unit length."""
        worst = float(self._error.rows[:size].max(initial=0.0))
        mine = float(quantise(query.reshape(1, -1))[1][0])
        return worst + (1.0 + worst) * mine + _DOT_ERROR

    def _refined(self, query: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return an upper bound of the exact scores: the query uncoded, each vector's own error added."""
        import numpy as np

        codes = self._codes.rows[places].astype(np.float32)
        bound: npt.NDArray[np.float32] = (codes @ query) / np.float32(SCALE)
        bound += self._error.rows[places] + np.float32(_DOT_ERROR)
        return bound

    def scores_of(
        self, view: ReadView, query: npt.NDArray[np.float32], rids: Sequence[Rid], selected: _Selected
    ) -> dict[Rid, float]:
        """Return the exact cosines of those selected atoms that have a vector at the read point."""
        import numpy as np

        wanted = np.array(rids, np.int64)
        wanted = wanted[self.holds(selected, wanted)]
        places = self._vector.rows[np.searchsorted(self._rid.rows, wanted)]
        has = (places >= 0) & (places < selected.size)
        if selected.vectors is not None:
            has &= selected.vectors[np.minimum(np.maximum(places, 0), max(selected.size - 1, 0))]
        mine = set(wanted[has].tolist())
        found = self._scored(view, query, np.unique(places[has]).astype(np.int64), selected)
        return {rid: score for rid, score in found if rid in mine}

    def _scored(
        self,
        view: ReadView,
        query: npt.NDArray[np.float32],
        places: npt.NDArray[np.int64],
        selected: _Selected,
    ) -> list[tuple[Rid, float]]:
        """Score candidates exactly, and return the selected atoms that have them."""
        import numpy as np

        if not len(places):
            return []
        vids = self._vid.rows[places].tolist()
        rows = view.vector_rows(self.model, vids)
        kept = [place for place, vid in zip(places.tolist(), vids, strict=True) if vid in rows]
        vectors = np.frombuffer(b"".join([rows[vid] for vid in vids if vid in rows]), np.float32)
        scores = exact(query, vectors.reshape(len(kept), -1)).tolist()
        rids, firsts, atoms, size = self._rid.rows, self._first.rows, selected.atoms, len(selected.atoms)
        out: list[tuple[int, float]] = []
        for place, score in zip(kept, scores, strict=True):
            for atom in (int(firsts[place]), *self._more.get(place, ())):
                if 0 <= atom < size and atoms[atom]:
                    out.append((int(rids[atom]), score))
        return cast("list[tuple[Rid, float]]", out)
