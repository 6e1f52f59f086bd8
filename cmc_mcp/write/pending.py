"""Pending: vectors for what was stored while the model could not be had, made later, in resumable batches.

A batch is read, embedded while nothing is open, and written; under the lock, what another writer embedded meanwhile is
left out, and after an erase the batch is read anew, since a text of it may be gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from cmc_mcp.documents.loading import parts_of
from cmc_mcp.documents.manifests import Manifests
from cmc_mcp.documents.nodes import nodes_in, texts_of
from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.errors import CmcError, EmbedderError, StoreError
from cmc_mcp.ids import ModelNumber, NodeKey, Pid, Rid
from cmc_mcp.kernel.identity import text_of
from cmc_mcp.kernel.intervals import Interval
from cmc_mcp.kernel.kinds import EMBEDDING
from cmc_mcp.model.calls import Cancel, Progress
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.shown import ERASED
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.ports import Objects, ReadView, WriteUnit
from cmc_mcp.workspace import Workspace, model_of

_BATCH = 256


def embed_pending(workspace: Workspace, *, progress: Progress | None = None, cancel: Cancel | None = None) -> int:
    """Embed what has no vector under the present model yet, one transaction a batch; return how many texts were.

    A completion is a ledger change, and a vector counts from its transaction on, so past answers stay what they were.

    Raises:
        EmbedderError: the store has no model, or the model cannot be loaded or does not answer.
    """
    embedder = workspace.embedder
    if embedder is None:
        raise EmbedderError("no embedding model is configured; open the memory with one")
    kept = 0

    def told(done: int, total: int) -> None:
        nonlocal kept
        kept = done
        if progress:
            progress(done, total)

    try:
        done = _embed_atoms(workspace, embedder, told, cancel)
        return done + _embed_nodes(workspace, embedder, done, told, cancel)
    except StoreError as error:
        if not kept:
            raise
        raise error.after(f"the vectors of the first {kept} texts are kept") from error


def _embed_nodes(
    workspace: Workspace, embedder: Embedder, before: int, progress: Progress, cancel: Cancel | None
) -> int:
    """Embed the nodes of documents that have no vector; one above an atom whose bytes are gone gets none."""
    erasure_count, done = -1, 0
    keys: list[NodeKey] = []
    texts: dict[NodeKey, str] = {}
    while True:
        if erasure_count < 0:
            with workspace.reader() as view:
                erasure_count = view.erasure_count()
                texts = _node_texts(view, workspace.objects, view.nodes_pending(model_of(view, embedder)))
            keys = list(texts)
        if not keys:
            return done
        part, keys = keys[:_BATCH], keys[_BATCH:]
        vectors = embedder.embed([texts[key] for key in part])
        with workspace.writer() as unit:
            if unit.erasure_count() != erasure_count:
                erasure_count = -1
                continue  # nothing was collected, so leaving commits nothing
            model = _model(unit, embedder)
            known = unit.nodes_embedded(model, part)
            fresh = {key: row for key, row in zip(part, vectors, strict=True) if key not in known and row.any()}
            for key, vector in fresh.items():
                unit.add_node_vector(model, key, vector.tobytes())
            if fresh:
                _complete(workspace, unit, embedder, len(fresh), cancel)
        done += len(fresh)
        progress(before + done, 0)


def _node_texts(view: ReadView, objects: Objects, nodes: Sequence[tuple[Rid, NodeKey]]) -> dict[NodeKey, str]:
    """Write the texts of nodes of present versions, given as (source, key), by their keys."""
    out: dict[NodeKey, str] = {}
    wanted: dict[Rid, set[NodeKey]] = {}
    for source, key in nodes:
        wanted.setdefault(source, set()).add(key)
    manifests, seq = Manifests(), view.head().seq
    for source, keys in wanted.items():
        manifest = manifests.of_record(view, source, seq)
        if manifest is not None:
            mine = [node for node in nodes_in(manifest) if node.key in keys]
            out.update(texts_of(mine, manifest.modality, parts_of(view, objects, manifest), ERASED))
    return out


def _model(unit: WriteUnit, embedder: Embedder) -> ModelNumber:
    identity = embedder.identity
    return unit.model_number(identity.model_id, identity.weights_digest, identity.precision, identity.dimension)


def _complete(workspace: Workspace, unit: WriteUnit, embedder: Embedder, size: int, cancel: Cancel | None) -> None:
    """Record that vectors were made, and commit."""
    identity = embedder.identity
    rid, _ = unit.intern(EMBEDDING.record(identity.model_id.encode(), unit.seq.to_bytes(8, "big")))
    facts = facts_of({"model": identity.model_id, "digest": identity.weights_digest, "vectors": size})
    unit.set_intervals(rid, (Interval(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts),))
    workspace.commit(unit, "embed", {"vectors": size}, cancel)


def _embed_atoms(workspace: Workspace, embedder: Embedder, progress: Progress, cancel: Cancel | None) -> int:
    done = 0
    while True:
        with workspace.reader() as view:
            erasure_count, pending = view.erasure_count(), view.pending(model_of(view, embedder), _BATCH)
            texts = {
                pid: text for pid in dict.fromkeys(pid for _, pid in pending) if (text := _text(workspace, view, pid))
            }
        if not texts:
            return done
        vectors = embedder.embed(list(texts.values()))
        with workspace.writer() as unit:
            if unit.erasure_count() != erasure_count:
                continue  # nothing was collected, so leaving commits nothing
            model = _model(unit, embedder)
            known = unit.embedded(model, list(texts))
            fresh = {pid: row for pid, row in zip(texts, vectors, strict=True) if pid not in known and row.any()}
            if not fresh and not known:
                return done  # vectors of zeros alone, which are not kept
            for pid, vector in fresh.items():
                unit.add_vector(model, pid, vector.tobytes())
            if fresh:
                _complete(workspace, unit, embedder, len(fresh), cancel)
        done += len(fresh)
        progress(done, 0)


def _text(workspace: Workspace, view: ReadView, pid: Pid) -> str:
    row = view.payload_row(pid)
    if row.object and row.body is None:
        try:
            return text_of(workspace.objects.get(workspace.ws, row.hash)).decode()
        except CmcError:
            return ""  # `verify` names a missing object; it must not keep the others from being embedded
    return "" if row.body is None else text_of(row.body).decode()
