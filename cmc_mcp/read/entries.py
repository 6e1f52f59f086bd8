"""Reading entries of collections: by id, by filter, by vector, by words; at one read point, never writing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import JsonValue

from cmc_mcp.canon import Json, payload_hash
from cmc_mcp.documents.loading import Loaded, load
from cmc_mcp.errors import DimensionMismatch
from cmc_mcp.ids import NO_PAYLOAD, ModelNumber, Pid, Rid, Seq
from cmc_mcp.kernel.identity import ATOM_PREFIX, atom_name, entry_discriminator, has_no_vector, snapshot_name
from cmc_mcp.kernel.kinds import atom_record
from cmc_mcp.model.entries import Found, extra_of, metadata_of, stamp
from cmc_mcp.model.facts import FactFields, number_of
from cmc_mcp.model.filters import VIF, Every, Where, checked, compiled, conjuncts, paths
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.read.lexical import LexicalSearch
from cmc_mcp.read.reading import Reading
from cmc_mcp.read.retrieve import Selection
from cmc_mcp.store.ports import ReadView
from cmc_mcp.store.rows import Filter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WITNESS_VERSION: Final = 1
_OF_WITNESSES: Final = frozenset({"writer", "model_id"})
_ALWAYS: Final = "0001-01-01T00:00:00.000000Z"
_NEVER: Final = "9999-12-31T23:59:59.999999Z"


SEARCHED: Final = (0,)
"""The modality of entries that are searched: text."""

IntervalRow = tuple[Rid, bytes, Seq, Pid, int, int, Pid]
"""As `intervals_of_origin` gives it: rid, id, first transaction, witness, valid_from, valid_to, facts."""


# ---------------------------------------------------------------------- who is asked about
def origin_pid(view: ReadView, origin: str) -> Pid:
    """Return the number of a collection's origin; 0 when nothing was ever put in it."""
    return view.pid(payload_hash(origin.encode())) or NO_PAYLOAD


def rid_of(view: ReadView, name: str) -> Rid:
    """Return the number of a memory by its full id."""
    rid = view.rid(atom_record(bytes.fromhex(name.removeprefix(ATOM_PREFIX))))
    assert rid is not None
    return rid


def limits_of(reading: Reading, where: Where | None, ids: Sequence[str] | None) -> Filter | None:
    """Turn a filter and ids into numbers; None when nothing can pass them."""
    if where is not None:
        checked(where)
    if not reading.origin:
        return None
    limits = Filter(origins=(reading.origin,))
    if ids is not None:
        rids = tuple(row for row in _rids(reading, ids))
        if not rids:
            return None
        limits = limits._replace(rids=rids)
    return limits if where is None else narrowed(reading, limits, where)


def narrowed(reading: Reading, limits: Filter, where: Where) -> Filter | None:
    """Add a filter to limits, each of its conjuncts by the cheapest way; None when nothing can pass it."""
    checked(where)
    if not reading.origin:
        return None
    plain: list[Where] = []
    witnessed: list[Where] = []
    virtual: list[Where] = []
    for part in conjuncts(where):
        columns = {path[1] if path[0] == VIF else "" for path in paths(part)}
        (witnessed if columns <= _OF_WITNESSES else plain if columns <= {""} else virtual).append(part)
    if witnessed:
        passing = _by_witness(reading, Every(tuple(witnessed)))
        mine = passing if limits.witnesses is None else passing & set(limits.witnesses)
        limits = limits._replace(witnesses=tuple(sorted(mine)))
    if plain:
        facts = reading.tables.passing(reading.view, reading.origin, Every(tuple(plain)))
        limits = limits._replace(facts=(*limits.facts, facts))
    if virtual:
        rids = _virtually(reading, Every(tuple(virtual)))
        found = rids if limits.rids is None else rids & set(limits.rids)
        limits = limits._replace(rids=tuple(sorted(found)))
    return limits if limits.witnesses != () and limits.rids != () and all(limits.facts) else None


def _by_witness(reading: Reading, where: Where) -> set[Pid]:
    """Evaluate a filter over what a witness says, once for each witness of the collection."""
    test = compiled(where)
    out: set[Pid] = set()
    for pid in reading.view.witnesses_of_origin(reading.origin):
        witness = _json(reading.view.payload(pid))
        if test({VIF: {"writer": _writer(witness), "model_id": _model(witness)}}):
            out.add(pid)
    return out


def _rids(reading: Reading, ids: Sequence[str]) -> list[Rid]:
    if not reading.origin:
        return []
    hashes = [payload_hash(entry_discriminator(id)) for id in dict.fromkeys(ids)]
    said = list(reading.view.pids(hashes).values())
    return [row.rid for row in reading.view.entries(reading.origin, said)] if said else []


def _virtually(reading: Reading, where: Where) -> set[Rid]:
    """Evaluate a filter that asks for virtual columns, on the intervals that hold at the read point."""
    view, point, test = reading.view, reading.point, compiled(where)
    rows = view.intervals_of_origin(reading.origin, point.head.seq, point.valid_at)
    times = view.times_of({row[2] for row in rows})
    asked = paths(where)
    known = reading.tables.metadata(view, reading.origin) if any(path[0] != VIF for path in asked) else {}
    columns = {path[1] for path in asked if path[0] == VIF}
    makers = {name: maker for name, maker in _virtual(view, rows, times).items() if name in columns}
    out: set[Rid] = set()
    for row in rows:
        vif = {name: maker(row) for name, maker in makers.items()}
        if test({**known.get(row[6], {}), VIF: vif}):
            out.add(row[0])
    return out


def _virtual(
    view: ReadView, rows: Sequence[IntervalRow], times: Mapping[Seq, int]
) -> Mapping[str, Callable[[IntervalRow], JsonValue]]:
    """Return a function for each virtual column of a row of `intervals_of_origin`; open ends compare as extreme times."""
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
        "confidence": lambda row: _confidence(view.facts(row[6]).fields),
    }


def _writer(witness: Mapping[str, Json]) -> str:
    return str(witness.get("writer", ""))


def _model(witness: Mapping[str, Json]) -> str | None:
    model = str(witness.get("model_id", NO_MODEL))
    return None if model == NO_MODEL else model


def _confidence(fields: FactFields) -> dict[str, JsonValue] | None:
    confidence = number_of(fields, "confidence")
    return None if confidence is None else {"lo": confidence, "hi": confidence}


@lru_cache(maxsize=1024)
def _decoded(body: bytes) -> Mapping[str, Json]:
    value: Mapping[str, Json] = json.loads(body)
    return value


def _json(body: bytes | None) -> Mapping[str, Json]:
    return {} if body is None else _decoded(body)


# ---------------------------------------------------------------------- what is given back
def shown(reading: Reading, hits: Sequence[tuple[Rid, float | None]]) -> list[Found]:
    """Load entries as a reader sees them, in the order given; those that do not hold, or were erased, are left out."""
    view, point = reading.view, reading.point
    rids = [rid for rid, _ in hits]
    loaded = load(view, reading.objects, rids, point.head.seq, point.valid_at)
    changed = view.opened(list(loaded), point.head.seq) if loaded else {}
    times = view.times_of({*changed.values(), *(item.row.seq for item in loaded.values())}) if loaded else {}
    snapshot = snapshot_name(point.head.state_root)
    out = []
    for rid, score in hits:
        item = loaded.get(rid)
        if item is not None and item.data is not None and "entry" in item.discriminator:
            seen = _Seen(score, times[item.row.seq], times[changed[rid]], snapshot, reading.embedding_model)
            out.append(_found(item, item.data, seen))
    return out


class _Seen(NamedTuple):
    """What is seen of an entry beside what is loaded of it."""

    score: float | None
    recorded_us: int
    changed_us: int
    snapshot: str
    model: str | None


def _found(item: Loaded, data: bytes, seen: _Seen) -> Found:
    score, recorded_us, changed_us, snapshot, model = seen
    start, end, _ = item.interval
    vif: dict[str, JsonValue] = {
        "v": WITNESS_VERSION,
        "atom_id": item.name,
        "writer": _writer(item.witness),
        "model_id": _model(item.witness),
        "embedding_model": model if item.row.modality in SEARCHED else None,
        "confidence": _confidence(item.fields),
        "snapshot_id": snapshot,
        "content_hash": "sha256:" + sha256(data).hexdigest(),
        "valid_from": stamp(start),
        "valid_to": stamp(end),
        "recorded_at": stamp(recorded_us),
    }
    return Found(
        id=str(item.discriminator["entry"]),
        text=data.decode(),
        metadata=metadata_of(item.fields),
        extra=extra_of(item.fields),
        vif=dict(sorted(vif.items())),
        recorded_us=recorded_us,
        changed_us=changed_us,
        valid_from_us=start,
        valid_to_us=end,
        score=None if score is None else round(score, 6),
    )


def listed(
    reading: Reading,
    where: Where | None,
    ids: Sequence[str] | None,
    limit: int | None,
    offset: int,
    newest: bool = False,
) -> list[Found]:
    """Return entries in order of first recording; with ids, in the order of those; with `newest`, the last changed first."""
    # by ids alone, whether they hold is seen when they are loaded
    rids = _held(reading, where, ids) if ids is None or where is not None else _rids(reading, ids)
    if newest and rids:
        changed = reading.view.opened(rids, reading.point.head.seq)
        rids.sort(key=lambda rid: (changed.get(rid, 0), rid), reverse=True)
    if ids is None:
        return shown(reading, [(rid, None) for rid in rids[offset : None if limit is None else offset + limit]])
    place = {id: n for n, id in enumerate(dict.fromkeys(ids))}
    found = sorted(shown(reading, [(rid, None) for rid in rids]), key=lambda entry: place[entry.id])
    return found[offset : None if limit is None else offset + limit]


def every_metadata(reading: Reading) -> list[Mapping[str, JsonValue]]:
    """Return the metadata of what a collection holds, each once, in order of first recording; not to be changed."""
    if not reading.origin:
        return []
    rows = reading.view.intervals_of_origin(reading.origin, reading.point.head.seq, reading.point.valid_at)
    known = reading.tables.metadata(reading.view, reading.origin)
    held = dict.fromkeys(row[6] for row in rows)
    return [known[facts] for facts in held if facts in known]  # what was erased held then, and is there no more


def counted(reading: Reading, where: Where | None, ids: Sequence[str] | None) -> int:
    """Count entries."""
    return len(_held(reading, where, ids))


def _held(reading: Reading, where: Where | None, ids: Sequence[str] | None) -> list[Rid]:
    limits = limits_of(reading, where, ids)
    rids = [] if limits is None else reading.view.selected(reading.point.head.seq, reading.point.valid_at, limits)
    if rids and reading.view.erasure_count():  # what was erased held then, and is there no more
        gone = set(reading.view.erased())
        rids = [rid for rid in rids if rid not in gone]
    return rids


# ---------------------------------------------------------------------- search
def by_vector(
    reading: Reading, vector: npt.NDArray[np.float32], k: int, where: Where | None, ids: Sequence[str] | None
) -> list[tuple[Rid, float]]:
    """Find the `k` nearest as (rid, cosine), best first, ties by atom id: exact, filtered first."""
    limits = limits_of(reading, where, ids)
    if limits is None:
        return []
    limits = limits._replace(modalities=SEARCHED)
    return ranked(reading, Selection(reading.view, reading.point, limits, reading.matrix), vector, k)


def ranked(
    reading: Reading, selection: Selection, vector: npt.NDArray[np.float32], k: int
) -> list[tuple[Rid, float]]:  # fmt: skip
    """Return the `k` nearest of a selection. What was embedded to zeros is near nothing and opposite to nothing: it has 0."""
    view, model = reading.view, reading.model
    found = selection.dense(model, vector, k) if model and vector.any() else []
    full = len(found) == k and found[-1][1] >= 0.0
    if full or (model and vector.any() and not selection.bare(model)):
        return found
    rids = selection.rids()
    held = view.vectors_of(model, rids, reading.point.head.seq).keys() if model else set()
    nothing = _zeros(reading, [rid for rid in rids if rid not in held])
    if not vector.any():
        nothing += held
    return in_order(view, [*found, *((rid, 0.0) for rid in nothing)])[:k]


def _zeros(reading: Reading, rids: Sequence[Rid]) -> list[Rid]:
    """Return those of some entries without a vector whose texts were embedded to zeros; the others only wait for theirs."""
    rows = reading.view.atoms(rids)
    payloads = reading.view.payload_rows({row.content for row in rows.values()})
    out = []
    for rid, row in rows.items():
        payload = payloads[row.content]
        is_object = payload.object and payload.body is None
        body = reading.objects.get(reading.view.ws, payload.hash) if is_object else payload.body
        if body is not None and has_no_vector(body):
            out.append(rid)
    return out


def hits(
    reading: Reading, limits: Filter, vector: npt.NDArray[np.float32] | None, text: str | None, k: int, alpha: float
) -> list[tuple[Rid, float]]:  # fmt: skip
    """Find the `k` best by vector, by words, or by both with `alpha` as the share of the vector."""
    selection, settings = Selection(reading.view, reading.point, limits, reading.matrix), reading.settings
    depth = k if vector is None or text is None else max(settings.dense_candidates, 3 * k)
    cosines = [] if vector is None else ranked(reading, selection, vector, depth)
    if text is None or (vector is not None and alpha >= 1):
        return cosines[:k]
    words = LexicalSearch(selection, text, settings, reading.lexicon, alone=vector is None or not reading.model)
    found = words.best(max(depth, settings.lexical_candidates))
    if vector is None:
        return in_order(reading.view, found)[:k]
    among = {*dict(cosines), *(rid for rid, _ in found[:depth])}
    known = selection.cosines(reading.model, vector, sorted(among)) if reading.model else {}
    return fused(reading.view, among, {**dict(cosines), **known}, dict(found), alpha)[:k]


def in_order(view: ReadView, found: Sequence[tuple[Rid, float]]) -> list[tuple[Rid, float]]:
    """Order hits by score, to six places, and ties by atom id."""
    keys = {rid: row.key for rid, row in view.atoms([rid for rid, _ in found]).items()}
    rounded = [(rid, round(score, 6)) for rid, score in found]
    return sorted(rounded, key=lambda hit: (-hit[1], keys[hit[0]]))


def fused(
    view: ReadView, among: Collection[Rid], cosines: Mapping[Rid, float], words: Mapping[Rid, float], alpha: float
) -> list[tuple[Rid, float]]:
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
    reading: Reading, vector: npt.NDArray[np.float32], hits: Sequence[tuple[Rid, float]], k: int, share: float
) -> list[tuple[Rid, float]]:
    """Choose `k` of some hits (best first), each the most like the question and the least like those chosen before.

    `share` (0 to 1) is what likeness to the question counts; the rest is likeness to the nearest chosen one.

    Source: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).
    """
    import numpy as np

    bodies = reading.view.vectors_of(reading.model, [rid for rid, _ in hits], reading.point.head.seq) if hits else {}
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


def check_model(view: ReadView, origin: Pid, model: ModelNumber, name: str) -> None:
    """Refuse a model that the entries of a collection were not embedded by.

    Raises:
        DimensionMismatch: entries have vectors of another model, and none have vectors of this one.
    """
    for number, other, _, _, dimension in view.models():
        if number != model and origin and view.has_other_vectors(origin, model, number):
            raise DimensionMismatch(
                f"the entries of this collection were embedded by {other} ({dimension} dimensions), not by {name}; open it"
                " with that model, put them in another collection, or run `cmc embed` to embed them again"
            )
