"""The nodes of a workspace in memory: when each held, and their vectors. It answers as the stored rows do."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from cmc_mcp.documents.nodes import spans
from cmc_mcp.ids import NO_PAYLOAD, START, ModelNumber, NodeKey, PayloadHash, Rid, Seq, Ws
from cmc_mcp.index.columns import Column
from cmc_mcp.index.following import Follower
from cmc_mcp.store.codes import exact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.documents.manifests import Manifests
    from cmc_mcp.store.ports import ReadView

_PLANS_MAX: Final = 4_096  # of about 3 kB
_ERROR: Final = 4e-5  # of a float32 product beside the exact score, both ways, and its rounding


class Near(NamedTuple):
    """A node near a question."""

    source: Rid
    path: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One version of a document: which atoms are under each path, and their record numbers, in order (0: unknown)."""

    spans: Mapping[str, tuple[int, int]]
    atoms: array[int]
    depths: array[int]  # of the nodes that the atoms stand under: 0 for the root


class NodeMatrix(Follower):
    """The nodes of one workspace under one model. Thread-safe. An erasure starts a new one."""

    def __init__(self, ws: Ws, model: ModelNumber, dimension: int, erasure_count: int) -> None:
        super().__init__(ws, model, erasure_count)
        self._source, self._tx_from, self._tx_to = Column("int64"), Column("int64"), Column("int64")
        self._vector, self._vector_seq = Column("int32"), Column("int64")
        self._vectors = Column("float32", dimension)
        self._paths: list[str] = []
        self._keys: list[NodeKey] = []
        self._places: dict[tuple[Rid, str, Seq], int] = {}
        self._of_key: dict[NodeKey, int] = {}
        self._waiting: dict[NodeKey, list[int]] = {}  # nodes without a vector yet
        self.plans = Plans()

    def catch_up(self, view: ReadView, seq: Seq) -> None:
        """Catch up with a transaction, inside the read transaction of `view`."""
        self._follow(seq, lambda: self._catch_up(view, seq))

    def _catch_up(self, view: ReadView, seq: Seq) -> None:
        self._load_vectors(view, seq)
        self._load_nodes(view, seq)

    def _load_vectors(self, view: ReadView, seq: Seq) -> None:
        import numpy as np

        rows = view.node_vectors(self.model, self.seq, seq) if self.model else []
        if not rows:
            return
        first = self._vectors.size
        self._vectors.extend(np.frombuffer(b"".join([row[2] for row in rows]), np.float32).reshape(len(rows), -1))
        self._vector_seq.extend(np.array([row[1] for row in rows], np.int64))
        for number, (key, _, _) in enumerate(rows, first):
            self._of_key[key] = number
            for place in self._waiting.pop(key, ()):
                self._vector.rows[place] = number

    def _load_nodes(self, view: ReadView, seq: Seq) -> None:
        import numpy as np

        rows = view.nodes_opened(self.seq, seq)
        for source, path, tx_from, _, key in rows:
            place = len(self._paths)
            self._places[source, path, tx_from] = place
            self._paths.append(path)
            self._keys.append(key)
            if key not in self._of_key:
                self._waiting.setdefault(key, []).append(place)
        if rows:
            for column, values in (
                (self._source, [row.source for row in rows]),
                (self._tx_from, [row.tx_from for row in rows]),
                (self._tx_to, [row.tx_to for row in rows]),
                (self._vector, [self._of_key.get(row.key, -1) for row in rows]),
            ):
                column.extend(np.array(values, np.int64))
        for source, path, tx_from, tx_to, _ in view.nodes_closed(self.seq, seq) if self.seq else ():
            self._tx_to.rows[self._places[source, path, tx_from]] = tx_to

    def nearest(
        self, query: npt.NDArray[np.float32], seq: Seq, sources: Sequence[Rid] | None, count: int
    ) -> list[Near]:
        """Return the `count` nodes nearest to a question after a transaction, best first, ties by key and place."""
        with self._lock:
            return self._nearest(query, seq, sources, count)

    def _nearest(
        self, query: npt.NDArray[np.float32], seq: Seq, sources: Sequence[Rid] | None, count: int
    ) -> list[Near]:
        import numpy as np

        size = len(self._paths)
        if not size or not self._vectors.size:
            return []
        held = (self._tx_from.rows[:size] <= seq) & (self._tx_to.rows[:size] > seq) & (self._vector.rows[:size] >= 0)
        if sources is not None:
            held &= np.isin(self._source.rows[:size], np.array(sources, np.int64))
        places = np.flatnonzero(held)
        places = places[self._vector_seq.rows[self._vector.rows[places]] <= seq]
        rows = self._vector.rows[places]
        if len(places) > count:
            # not by BLAS, whose threads wait for each other longer than this takes
            near = np.einsum("ij,j->i", self._vectors.rows, query)[rows]
            least = np.partition(near, len(near) - count)[len(near) - count] - _ERROR
            places, rows = places[near >= least], rows[near >= least]
        scores = exact(query, self._vectors.rows[rows]).tolist()
        found = [
            (-score, self._keys[place], Rid(int(self._source.rows[place])), self._paths[place])
            for score, place in zip(scores, places.tolist(), strict=True)
        ]
        return [Near(source, path, -score) for score, _, source, path in sorted(found)[:count]]


def nearest_by_rows(
    view: ReadView,
    model: ModelNumber,
    query: npt.NDArray[np.float32],
    seq: Seq,
    sources: Sequence[Rid] | None,
    count: int,
) -> list[Near]:
    """Return the same as `NodeMatrix.nearest` from the store's rows alone: the oracle of that index."""
    import numpy as np

    vectors = {key: vector for key, _, vector in view.node_vectors(model, START, seq)}
    rows = [row for row in view.nodes_opened(START, seq) if row.tx_to > seq and row.key in vectors]
    if sources is not None:
        wanted = set(sources)
        rows = [row for row in rows if row.source in wanted]
    if not rows:
        return []
    packed = np.frombuffer(b"".join([vectors[row.key] for row in rows]), np.float32).reshape(len(rows), -1)
    scores = exact(query, packed).tolist()
    found = sorted((-score, key, source, path) for score, (source, path, _, _, key) in zip(scores, rows, strict=True))
    return [Near(source, path, -score) for score, _, source, path in found[:count]]


class Plans:
    """Versions of documents as plans, the last few of them. An erasure starts a new one."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Rid, PayloadHash], Plan | None] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, view: ReadView, manifests: Manifests, source: Rid, seq: Seq) -> Plan | None:
        """Return the version of a document after a transaction, or None if it did not exist or was erased."""
        intervals = view.intervals(source, seq)
        if not intervals:
            return None
        hash_ = PayloadHash(bytes.fromhex(str(intervals[0].facts.fields["manifest"])))
        key = (source, hash_)
        known = self._known.get(key)
        if known is not None:
            return known
        plan = _plan(view, manifests, source, hash_)
        with self._lock:
            self._known[key] = plan
            while len(self._known) > _PLANS_MAX:
                self._known.popitem(last=False)
        return plan


def _plan(view: ReadView, manifests: Manifests, source: Rid, hash_: PayloadHash) -> Plan | None:
    manifest = manifests.get(view, hash_)
    if manifest is None:
        return None
    rids = {row.key: row.rid for row in view.atoms_with_origin(view.origin_of(source) or NO_PAYLOAD)}
    return Plan(
        spans([part.place for part in manifest.parts]),
        array("q", [rids.get(part.atom, 0) for part in manifest.parts]),
        array("q", [depth(part.place.rpartition("#")[0]) for part in manifest.parts]),
    )


def depth(path: str) -> int:
    """Return how many levels a node is below the root."""
    return path.count("/") + 1 if path else 0
