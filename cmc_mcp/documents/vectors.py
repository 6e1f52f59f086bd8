"""Checks of `verify`: whose the vectors are, when they were made; under `deep`, that they are of their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final, cast

from cmc_mcp.documents.gaps import made_in, unexplained
from cmc_mcp.documents.loading import parts_of
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import nodes_in, texts_of
from cmc_mcp.documents.sources import NODES, SOURCES
from cmc_mcp.ids import END, START, ModelNumber, NodeKey, PayloadHash, Pid, Seq, Vid
from cmc_mcp.kernel.identity import has_no_vector, has_own_vector
from cmc_mcp.kernel.kinds import EMBEDDING, SOURCE
from cmc_mcp.model.shown import ERASED
from cmc_mcp.store.audit import Audit, Report, numbered_whole
from cmc_mcp.store.indexes import Row
from cmc_mcp.store.rows import TEXTUAL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cmc_mcp.store.checks import Embed, Prepared, Reader
    from cmc_mcp.store.ports import Objects


COSINE_MIN: Final = 0.999
LENGTH_MAX: Final = 1.001
"""Lengths of stored vectors stay this close to 1, above and below."""
_MAKING: Final = frozenset({"remember", "release", "revise"})
_COMPLETING: Final = "embed"


@dataclass(slots=True)
class _Found:
    """The texts that should have a vector, each with its first transaction, and the vectors found, each with its transaction."""

    texts: dict[Pid, Seq]
    begun: dict[NodeKey, Seq]
    touched: frozenset[NodeKey] = frozenset()  # nodes of sources that an erase took something of
    made: Counter[tuple[Seq, ModelNumber]] = field(default_factory=Counter)  # (transaction, model)
    seen: dict[tuple[Pid, ModelNumber], Seq] = field(default_factory=dict)  # (text, model)
    node_seen: dict[tuple[NodeKey, ModelNumber], Seq] = field(default_factory=dict)  # (node, model)
    orphans: Counter[ModelNumber] = field(default_factory=Counter)  # models that are missing

    @classmethod
    def among(cls, audit: Audit, nodes: set[Row]) -> _Found:
        """Begin with the texts that should have a vector."""
        found = cls({}, {})
        for atom in audit.atoms:
            if atom.modality < TEXTUAL:
                found.texts[atom.content] = min(found.texts.get(atom.content, END), atom.seq)
        origins = {atom.origin for atom in audit.atoms if atom.origin and audit.was_erased(atom)}
        sources = {rid for rid, origin in audit.wanted(SOURCES) if origin in origins}
        for row in nodes:
            key, seq = cast("tuple[NodeKey, Seq]", (row[3], row[4]))
            found.begun[key] = min(found.begun.get(key, END), seq)
        found.touched = frozenset(cast("NodeKey", row[3]) for row in nodes if row[0] in sources)
        return found


def shape(audit: Audit, report: Report) -> None:
    """Check everything about vectors but their directions: models, lengths, what they are of, when they were made."""
    dimensions = {number: dimension for number, *_, dimension in audit.view.models()}
    erased = bool(
        audit.view.erasure_count()
    )  # after an erase there are gaps, and the first version of a node may be gone
    found = _Found.among(audit, audit.wanted(NODES))
    vids = _of_texts(audit, found, dimensions, report)
    numbered_whole("vectors", audit.view, vids, audit.view.head().last_vid, report, gaps=erased)
    _of_nodes(audit, found, dimensions, report, erased=erased)
    for model, count in sorted(found.orphans.items()):
        report("embedding_models", model, f"the model of {count} vectors is missing")
    _together(audit, found, report, nodes_since_us=audit.view.nodes_since_us())
    for seq, count in unexplained(audit, vids) if erased else ():
        report("vectors", f"transaction {seq}", f"{count} of those it made are missing, and no erasure took them")
    _completed(audit, found.made, report)


def _of_texts(audit: Audit, found: _Found, dimensions: Mapping[ModelNumber, int], report: Report) -> list[Vid]:
    """Check each vector of a text by itself; return the vectors' numbers."""
    lasts = [(row.seq, row.last_vid) for row in audit.rows]
    place, vids = 0, list[Vid]()
    for vid, model, content, seq, vector in audit.view.all_vectors():
        vids.append(vid)
        while place < len(lasts) and lasts[place][1] < vid:
            place += 1
        if model not in dimensions:
            found.orphans[model] += 1
        elif not _is_unit(vector, dimensions[model]):
            report("vectors", vid, "the vector does not fit its model: its length is not 1, or its dimension is wrong")
        if content not in found.texts or audit.payloads[content].hash in audit.erased:
            report("vectors", vid, "no text belongs to the vector")
        elif seq < found.texts[content] or place == len(lasts) or lasts[place][0] != seq:
            report("vectors", vid, "the vector was not made in the transaction that it names")
        found.made[seq, model] += 1
        found.seen[content, model] = seq
    return vids


def _of_nodes(
    audit: Audit, found: _Found, dimensions: Mapping[ModelNumber, int], report: Report, *, erased: bool
) -> None:
    """Check each vector of a node by itself."""
    before = 0
    making = {row.seq for row in audit.rows if row.verb in _MAKING or row.verb == _COMPLETING}
    for nid, model, key, seq, vector in audit.view.all_node_vectors():
        if model not in dimensions:
            found.orphans[model] += 1
        elif not _is_unit(vector, dimensions[model]):
            report("node_vectors", f"{nid}/{key.hex()}", "the vector does not fit its model")
        first = 0 if erased else found.begun.get(key, END)
        if key not in found.begun or seq < max(first, before) or seq not in making:
            report(
                "node_vectors",
                f"{nid}/{key.hex()}",
                "no node belongs to the vector, or the vector was made at another time",
            )
        before = max(before, seq)
        found.made[seq, model] += 1
        found.node_seen[key, model] = seq


def _together(audit: Audit, found: _Found, report: Report, *, nodes_since_us: int) -> None:
    """Check that a transaction with one vector of a model has those of all its new texts: all are made, or none.

    The vectors that are there tell that it made any, and so do the numbers that it gave.
    """
    making = {row.seq for row in audit.rows if row.verb in _MAKING}
    fresh: dict[Seq, list[Pid]] = {}
    for content, seq in found.texts.items():
        if audit.payloads[content].hash not in audit.ever_erased:
            fresh.setdefault(seq, []).append(content)
    nodes: dict[Seq, list[NodeKey]] = {}
    later = {row.seq for row in audit.rows if row.recorded_us <= nodes_since_us}
    for key, seq in found.begun.items():
        if key not in found.touched and seq not in later:  # what is older than the table has its vectors from `embed`
            nodes.setdefault(seq, []).append(key)
    models = {model for _, model in found.made}
    there = {seq for seq, _ in found.made}
    gone = [(seq, frozenset(models)) for seq in made_in(audit) if seq not in there]  # of whichever model they were
    for seq, some in sorted(
        [*((seq, frozenset({model})) for seq, model in sorted(found.made)), *gone], key=itemgetter(0)
    ):
        if seq not in making:
            continue
        name = "/".join(map(str, sorted(some)))
        for content in fresh.get(seq, ()):
            if all(found.seen.get((content, model), END) > seq for model in some) and not has_no_vector(
                audit.content(content)
            ):
                report("vectors", f"{name}/{content}", f"transaction {seq} made vectors, but not this one")
        for key in nodes.get(seq, ()):
            if all(found.node_seen.get((key, model), END) > seq for model in some):
                report("node_vectors", f"{name}/{key.hex()}", f"transaction {seq} made vectors, but not this one")


def _completed(audit: Audit, made: Mapping[tuple[Seq, ModelNumber], int], report: Report) -> None:
    """Check that each completion made as many vectors as it says.

    An erase or a return to older tables may have taken some. The vectors of a rival writer do not count as its own.
    """
    recorded = {row.seq: row.recorded_us for row in audit.rows}
    totals: dict[Seq, int] = {}
    for (seq, _), count in made.items():
        totals[seq] = totals.get(seq, 0) + count
    names = {(name, digest): number for number, name, digest, *_ in audit.view.models()}
    for rid, _ in audit.of_kind(EMBEDDING):
        seq, facts = audit.first[rid]
        said = audit.fields(facts[0])
        there, wanted = totals.get(seq, 0), int(str(said["vectors"]))
        fewer = bool(audit.view.erasure_count()) or recorded[seq] <= audit.view.nodes_since_us()
        if there > wanted or (there < wanted and not fewer):
            report("vectors", f"transaction {seq}", f"the transaction made {wanted} vectors, but {there} are there")
        if (str(said["model"]), str(said["digest"])) not in names and there:
            report("embedding_models", str(said["model"]), f"the model of transaction {seq} is missing")


def _is_unit(vector: bytes, dimension: int) -> bool:
    import numpy as np

    if len(vector) != 4 * dimension:
        return False
    found = np.frombuffer(vector, np.float32).astype(np.float64)
    return bool(1 / LENGTH_MAX <= float(found @ found) ** 0.5 <= LENGTH_MAX)


# ---------------------------------------------------------------------- deep
def atoms(audit: Audit, model: ModelNumber) -> Prepared:
    """Prepare to embed the text of every atom again; what an erase takes meanwhile is left out."""
    return partial(_atoms, audit, model, audit.view.head().seq)


def nodes(audit: Audit, model: ModelNumber) -> Prepared:
    """Prepare to embed the text of every node again, of the versions that there are now."""
    versions = [
        PayloadHash(bytes.fromhex(str(audit.fields(facts).get("manifest", ""))))
        for rid, _ in audit.of_kind(SOURCE)
        for *_, facts in sorted(audit.view.interval_rows(rid), key=lambda row: row[2])
    ]
    stored = {key: vector for key, _, vector in audit.view.node_vectors(model, START, END)}
    return partial(_nodes, audit.objects, model, versions, stored)


def _atoms(audit: Audit, model: ModelNumber, seq: Seq, reader: Reader, embed: Embed, report: Report) -> int:
    rows = {row.rid: row for row in audit.atoms if row.modality < TEXTUAL}
    rids, count = sorted(rows), 0
    for start in range(0, len(rids), 64):
        with reader() as view:
            stored = view.vectors_of(model, rids[start : start + 64], seq)
            seen = replace(audit, view=view)
            told = [rid for rid in stored if not has_own_vector(seen.content(rows[rid].content))]
            texts = {rid: seen.text(rows[rid].content) for rid in told}
        known = {rid: body.decode() for rid, body in texts.items() if body is not None}
        for rid, vector in zip(known, _embedded(embed, list(known.values())), strict=True):
            if not _agrees(stored[rid], vector):
                report("vectors", f"{model}/{rows[rid].content}", "the vector is not that of its text")
        count += len(known)
    return count


def _nodes(
    objects: Objects, model: ModelNumber, versions: Sequence[PayloadHash], found: Mapping[NodeKey, bytes],
    reader: Reader, embed: Embed, report: Report,
) -> int:  # fmt: skip
    stored, manifests, count = dict(found), Manifests(), 0
    for hash_ in versions if stored else ():
        with reader() as view:
            manifest = manifests.get(view, hash_)
            wanted = [] if manifest is None else [node for node in nodes_in(manifest) if node.key in stored]
            if manifest is None or not wanted:
                continue
            texts = texts_of(wanted, manifest.modality, parts_of(view, objects, manifest), ERASED)
        for key, vector in zip(texts, _embedded(embed, list(texts.values())), strict=True):
            count += 1
            if not _agrees(stored.pop(key), vector):
                report("node_vectors", f"{model}/{key.hex()}", "the vector is not that of its text")
    return count


def _embedded(embed: Embed, texts: Sequence[str]) -> Sequence[npt.NDArray[np.float32]]:
    return list(embed(texts)) if texts else []


def _agrees(stored: bytes, made: npt.NDArray[np.float32]) -> bool:
    """Return whether a stored vector agrees with a new one: cosine ≥ .999, length 1. NaN never agrees."""
    import numpy as np

    if len(stored) != made.nbytes:
        return False
    found = np.frombuffer(stored, np.float32).astype(np.float64)
    length = float(found @ found) ** 0.5
    return bool(1 / LENGTH_MAX <= length <= LENGTH_MAX and float(found @ made) >= COSINE_MIN * length)
