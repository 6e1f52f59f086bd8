"""Reading entries of collections: by id, by filter, by vector, by words; at one read point, never writing."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from cmc_mcp.canon import Json, facts_hash, payload_hash
from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.errors import DimensionMismatch, IntegrityError
from cmc_mcp.index.matrix import Matrix
from cmc_mcp.kernel.identity import ATOM_PREFIX, atom_name, entry_discriminator, snapshot_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.entries import Found, extra_of, metadata_of, stamp
from cmc_mcp.model.facts import Registers, number_of
from cmc_mcp.model.filters import VIF, Every, Where, checked, compiled, conjuncts, paths, signature
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.read.point import Point
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.protocol import Objects, ReadView
from cmc_mcp.store.rows import Filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WITNESS_VERSION: Final = 1
_KNOWN_MAX: Final = 200_000  # bodies of facts whose metadata stay decoded, of one collection
_FILTERS_MAX: Final = 32
_OF_WITNESSES: Final = frozenset({"writer", "model_id"})
_ALWAYS: Final = "0001-01-01T00:00:00.000000Z"
_NEVER: Final = "9999-12-31T23:59:59.999999Z"


PieceRow = tuple[int, bytes, int, int, int, int, int]
"""As `pieces_of_origin` gives it: rid, id, first transaction, witness, valid_from, valid_to, facts."""


# ---------------------------------------------------------------------- filters
@dataclass(slots=True)
class _Table:
    """The metadata of every body of facts that entries of one collection ever had. Facts never change: it only grows."""

    seq: int = 0
    facts: list[int] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)  # erased
    known: dict[int, Mapping[str, JsonValue] | bytes] = field(default_factory=dict)  # past a bound, as they are stored
    passing: OrderedDict[Hashable, tuple[int, list[int]]] = field(default_factory=OrderedDict)


class Tables:
    """What filters are evaluated over, by collection: a cache of what the ledger says, shared by the views of a workspace.

    A filter asks of each body of facts once; which of them hold at a read point is then the selection's affair.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._epoch = -1
        self._tables: dict[int, _Table] = {}

    def passing(self, view: ReadView, origin: int, where: Where) -> tuple[int, ...]:
        """Give the bodies of facts that pass a filter, of those that entries of a collection ever had."""
        with self._guard:
            table = self._table(view, origin)
            key = signature(where)
            done, found = table.passing.pop(key, (0, []))
            if done < len(table.facts):
                test = compiled(where)
                found = [*found, *(pid for pid in table.facts[done:] if test(_metadata(table, pid)))]
            table.passing[key] = (len(table.facts), found)
            while len(table.passing) > _FILTERS_MAX:
                table.passing.popitem(last=False)
            return tuple(found)

    def metadata(self, view: ReadView, origin: int) -> dict[int, Mapping[str, JsonValue]]:
        """Give the metadata of every body of facts that entries of a collection ever had, by number."""
        with self._guard:
            table = self._table(view, origin)
            return {pid: _metadata(table, pid) for pid in table.facts}

    def _table(self, view: ReadView, origin: int) -> _Table:
        epoch, head = view.epoch(), view.head().seq
        if epoch != self._epoch:  # what was erased must not live on in a cache
            self._tables, self._epoch = {}, epoch
        table = self._tables.setdefault(origin, _Table())
        if table.seq < head:
            _follow(view, origin, table, head)
        return table


def _follow(view: ReadView, origin: int, table: _Table, head: int) -> None:
    """Bring a table to a transaction. What was erased is left out, until it is told again and so is there again."""
    rows = [row for row in view.facts_of_origin(origin, table.seq, head) if row[0] not in table.known]
    rows += (
        [(row.pid, row.hash, row.body) for row in view.payload_rows(sorted(table.gone)).values()] if table.gone else []
    )
    for pid, hash_, body in rows:
        if body is None:
            table.gone.add(pid)
            continue
        if facts_hash(body) != hash_:
            raise IntegrityError(
                "stored facts do not match their hash; run `cmc verify`", table="payloads", key=str(pid)
            )
        table.gone.discard(pid)
        if pid not in table.known:
            table.facts.append(pid)
            table.known[pid] = metadata_of(json.loads(body)) if len(table.known) < _KNOWN_MAX else body
    table.seq = head


def _metadata(table: _Table, pid: int) -> Mapping[str, JsonValue]:
    known = table.known[pid]
    return metadata_of(json.loads(known)) if isinstance(known, bytes) else known


# ---------------------------------------------------------------------- who is asked about
@dataclass(frozen=True, slots=True)
class Scene:
    """One collection at one read point, and what reading it takes. `origin` is 0 where there is no such collection yet."""

    view: ReadView
    objects: Objects
    point: Point
    origin: int
    matrix: Matrix | None
    model: int  # 0: no vectors
    tables: Tables


def origin_pid(view: ReadView, origin: str) -> int:
    """Give the number of a collection's origin; 0 when nothing was ever put in it."""
    return view.pid(payload_hash(origin.encode())) or 0


def rid_of(view: ReadView, name: str) -> int:
    """Give the number of a memory by its full id."""
    rid = view.rid(atom_record(bytes.fromhex(name.removeprefix(ATOM_PREFIX))))
    assert rid is not None
    return rid


def limits_of(scene: Scene, where: Where | None, ids: Sequence[str] | None) -> Filter | None:
    """Turn a filter and ids into numbers; None when nothing can pass them."""
    if where is not None:
        checked(where)
    if not scene.origin:
        return None
    limits = Filter(origins=(scene.origin,))
    if ids is not None:
        rids = tuple(row for row in _rids(scene, ids))
        if not rids:
            return None
        limits = limits._replace(rids=rids)
    return limits if where is None else narrowed(scene, limits, where)


def narrowed(scene: Scene, limits: Filter, where: Where) -> Filter | None:
    """Add a filter to limits, each of its conjuncts by the cheapest way; None when nothing can pass it."""
    checked(where)
    if not scene.origin:
        return None
    plain: list[Where] = []
    witnessed: list[Where] = []
    virtual: list[Where] = []
    for part in conjuncts(where):
        columns = {path[1] if path[0] == VIF else "" for path in paths(part)}
        (witnessed if columns <= _OF_WITNESSES else plain if columns <= {""} else virtual).append(part)
    if witnessed:
        passing = _by_witness(scene, Every(tuple(witnessed)))
        mine = passing if limits.witnesses is None else passing & set(limits.witnesses)
        limits = limits._replace(witnesses=tuple(sorted(mine)))
    if plain:
        facts = scene.tables.passing(scene.view, scene.origin, Every(tuple(plain)))
        limits = limits._replace(facts=(*limits.facts, facts))
    if virtual:
        rids = _virtually(scene, Every(tuple(virtual)))
        mine = rids if limits.rids is None else rids & set(limits.rids)
        limits = limits._replace(rids=tuple(sorted(mine)))
    return limits if limits.witnesses != () and limits.rids != () and all(limits.facts) else None


def _by_witness(scene: Scene, where: Where) -> set[int]:
    """Evaluate a filter over what a witness says, once for each witness of the collection."""
    test = compiled(where)
    out: set[int] = set()
    for pid in scene.view.witnesses_of_origin(scene.origin):
        witness = _json(scene.view.payload(pid))
        if test({VIF: {"writer": _writer(witness), "model_id": _model(witness)}}):
            out.add(pid)
    return out


def _rids(scene: Scene, ids: Sequence[str]) -> list[int]:
    if not scene.origin:
        return []
    hashes = [payload_hash(entry_discriminator(id)) for id in dict.fromkeys(ids)]
    said = list(scene.view.pids(hashes).values())
    return [row.rid for row in scene.view.entries(scene.origin, said)] if said else []


def _virtually(scene: Scene, where: Where) -> set[int]:
    """Evaluate a filter that asks for virtual columns, on the pieces that hold at the read point."""
    view, point, test = scene.view, scene.point, compiled(where)
    rows = view.pieces_of_origin(scene.origin, point.head.seq, point.valid_at)
    times = view.times_of({row[2] for row in rows})
    asked = paths(where)
    known = scene.tables.metadata(view, scene.origin) if any(path[0] != VIF for path in asked) else {}
    columns = {path[1] for path in asked if path[0] == VIF}
    makers = {name: maker for name, maker in _virtual(view, rows, times).items() if name in columns}
    out: set[int] = set()
    for row in rows:
        vif = {name: maker(row) for name, maker in makers.items()}
        if test({**known.get(row[6], {}), VIF: vif}):
            out.add(row[0])
    return out


def _virtual(
    view: ReadView, rows: Sequence[PieceRow], times: Mapping[int, int]
) -> Mapping[str, Callable[[PieceRow], JsonValue]]:
    """Give what makes each virtual column of a row of `pieces_of_origin`; open ends compare as the first and last time."""
    witnesses = {pid: _json(view.payload(pid)) for pid in {row[3] for row in rows}}
    stamps = {seq: stamp(time_us) for seq, time_us in times.items()}
    return {
        "atom_id": lambda row: atom_name(row[1]),
        "transaction": lambda row: row[2],
        "recorded_at": lambda row: stamps[row[2]],
        "writer": lambda row: _writer(witnesses[row[3]]),
        "model_id": lambda row: _model(witnesses[row[3]]),
        "valid_from": lambda row: _ALWAYS if row[4] == SINCE_ALWAYS else stamp(row[4]),
        "valid_to": lambda row: _NEVER if row[5] == UNTIL_FURTHER_NOTICE else stamp(row[5]),
        "confidence": lambda row: _confidence(view.facts(row[6]).registers),
    }


def _writer(witness: Mapping[str, Json]) -> str:
    return str(witness.get("writer", ""))


def _model(witness: Mapping[str, Json]) -> str | None:
    model = str(witness.get("model_id", NO_MODEL))
    return None if model == NO_MODEL else model


def _confidence(registers: Registers) -> dict[str, JsonValue] | None:
    confidence = number_of(registers, "confidence")
    return None if confidence is None else {"lo": confidence, "hi": confidence}


@lru_cache(maxsize=1024)
def _decoded(body: bytes) -> Mapping[str, Json]:
    value: Mapping[str, Json] = json.loads(body)
    return value


def _json(body: bytes | None) -> Mapping[str, Json]:
    return {} if body is None else _decoded(body)


# ---------------------------------------------------------------------- what is given back
def shown(scene: Scene, hits: Sequence[tuple[int, float | None]]) -> list[Found]:
    """Load entries as a reader sees them, in the order given; those that do not hold, or were erased, are left out."""
    view, point = scene.view, scene.point
    rids = [rid for rid, _ in hits]
    loaded = load(view, scene.objects, rids, point.head.seq, point.valid_at)
    changed = view.opened(list(loaded), point.head.seq) if loaded else {}
    times = view.times_of({*changed.values(), *(item.row.seq for item in loaded.values())}) if loaded else {}
    snapshot = snapshot_name(point.head.state_root)
    out = []
    for rid, score in hits:
        item = loaded.get(rid)
        if item is not None and item.data is not None and "entry" in item.discriminator:
            out.append(_found(item, item.data, score, times[item.row.seq], times[changed[rid]], snapshot))
    return out


def _found(item: Loaded, data: bytes, score: float | None, recorded_us: int, changed_us: int, snapshot: str) -> Found:
    start, end, _ = item.piece
    vif: dict[str, JsonValue] = {
        "v": WITNESS_VERSION,
        "atom_id": item.name,
        "writer": _writer(item.witness),
        "model_id": _model(item.witness),
        "confidence": _confidence(item.registers),
        "snapshot_id": snapshot,
        "content_hash": "sha256:" + sha256(data).hexdigest(),
        "valid_from": stamp(start),
        "valid_to": stamp(end),
        "recorded_at": stamp(recorded_us),
    }
    return Found(
        id=str(item.discriminator["entry"]),
        text=data.decode(),
        metadata=metadata_of(item.registers),
        extra=extra_of(item.registers),
        vif=dict(sorted(vif.items())),
        recorded_us=recorded_us,
        changed_us=changed_us,
        valid_from_us=start,
        valid_to_us=end,
        score=None if score is None else round(score, 6),
    )


def listed(
    scene: Scene, where: Where | None, ids: Sequence[str] | None, limit: int | None, offset: int, newest: bool = False
) -> list[Found]:
    """Give entries in order of first recording; with ids, in the order of those; with `newest`, the last changed first."""
    # by ids alone, whether they hold is seen when they are loaded
    rids = _held(scene, where, ids) if ids is None or where is not None else _rids(scene, ids)
    if newest and rids:
        changed = scene.view.opened(rids, scene.point.head.seq)
        rids.sort(key=lambda rid: (changed.get(rid, 0), rid), reverse=True)
    if ids is None:
        return shown(scene, [(rid, None) for rid in rids[offset : None if limit is None else offset + limit]])
    place = {id: n for n, id in enumerate(dict.fromkeys(ids))}
    found = sorted(shown(scene, [(rid, None) for rid in rids]), key=lambda entry: place[entry.id])
    return found[offset : None if limit is None else offset + limit]


def every_metadata(scene: Scene) -> list[Mapping[str, JsonValue]]:
    """Give the metadata of what a collection holds, each once, in order of first recording; not to be changed."""
    if not scene.origin:
        return []
    rows = scene.view.pieces_of_origin(scene.origin, scene.point.head.seq, scene.point.valid_at)
    known = scene.tables.metadata(scene.view, scene.origin)
    held = dict.fromkeys(row[6] for row in rows)
    return [known[facts] for facts in held if facts in known]  # what was erased held then, and is there no more


def counted(scene: Scene, where: Where | None, ids: Sequence[str] | None) -> int:
    """Count entries."""
    return len(_held(scene, where, ids))


def _held(scene: Scene, where: Where | None, ids: Sequence[str] | None) -> list[int]:
    limits = limits_of(scene, where, ids)
    rids = [] if limits is None else scene.view.selected(scene.point.head.seq, scene.point.valid_at, limits)
    if rids and scene.view.epoch():  # what was erased held then, and is there no more
        gone = set(scene.view.erased())
        rids = [rid for rid in rids if rid not in gone]
    return rids


# ---------------------------------------------------------------------- search
def by_vector(
    scene: Scene, vector: npt.NDArray[np.float32], k: int, where: Where | None, ids: Sequence[str] | None
) -> list[tuple[int, float]]:
    """Find the `k` nearest as (rid, cosine), best first, ties by atom id: exact, filtered first."""
    limits = limits_of(scene, where, ids)
    if limits is None or not scene.model:
        return []
    return Selection(scene.view, scene.point, limits, scene.matrix).dense(scene.model, vector, k)


def in_order(view: ReadView, found: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Order hits by score, to six places, and ties by atom id."""
    keys = {rid: row.key for rid, row in view.atoms([rid for rid, _ in found]).items()}
    rounded = [(rid, round(score, 6)) for rid, score in found]
    return sorted(rounded, key=lambda hit: (-hit[1], keys[hit[0]]))


def fused(
    view: ReadView, among: Collection[int], cosines: Mapping[int, float], words: Mapping[int, float], alpha: float
) -> list[tuple[int, float]]:
    """Add `alpha` of the cosine (as (1 + c)/2) to the rest of BM25 (over its best); best first, ties by atom id.

    Source: relative score fusion, a convex combination of normalised scores (Bruch, Gai and Ingber, An Analysis of
    Fusion Functions for Hybrid Retrieval, 2023).
    """
    best = max(words.values(), default=0.0) or 1.0
    found = []
    for rid in sorted(among):
        dense, lexical = (1.0 + cosines.get(rid, -1.0)) / 2.0, words.get(rid, 0.0) / best
        found.append((rid, alpha * dense + (1.0 - alpha) * lexical))
    return in_order(view, found)


def diverse(
    scene: Scene, vector: npt.NDArray[np.float32], hits: Sequence[tuple[int, float]], k: int, share: float
) -> list[tuple[int, float]]:
    """Choose `k` of some hits (best first), each the most like the question and the least like those chosen before.

    `share` (0 to 1) is what likeness to the question counts; the rest is likeness to the nearest chosen one.

    Source: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).
    """
    import numpy as np

    bodies = scene.view.vectors_of(scene.model, [rid for rid, _ in hits], scene.point.head.seq) if hits else {}
    hits = [hit for hit in hits if hit[0] in bodies]
    if not hits:
        return []
    rows = (
        np.frombuffer(b"".join([bodies[rid] for rid, _ in hits]), np.float32).reshape(len(hits), -1).astype(np.float64)
    )
    match = np.array([score for _, score in hits])
    nearest = np.full(len(hits), -np.inf)
    chosen: list[int] = []
    left = np.ones(len(hits), np.bool_)
    while len(chosen) < min(k, len(hits)):
        worth = match if not chosen else np.round(share * match - (1.0 - share) * nearest, 9)
        place = int(np.argmax(np.where(left, worth, -np.inf)))
        chosen.append(place)
        left[place] = False
        nearest = np.maximum(nearest, rows @ rows[place])
    return [hits[place] for place in chosen]


def check_model(view: ReadView, origin: int, model: int, name: str) -> None:
    """Refuse a model that the entries of a collection were not embedded by.

    Raises:
        DimensionMismatch: some have vectors of another model, and none of this one.
    """
    for number, other, _, _, dimension in view.models():
        if number != model and origin and view.has_other_vectors(origin, model, number):
            raise DimensionMismatch(
                f"the entries of this collection were embedded by {other} ({dimension} dimensions), not by {name}; open it"
                " with that model, put them in another collection, or run `cmc embed` to embed them again"
            )
