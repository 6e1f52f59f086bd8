"""Pending: vectors for what was stored while the model could not be had, made later, in resumable batches."""

from __future__ import annotations

from cmc_mcp.errors import CmcError, EmbedderError
from cmc_mcp.kernel.kinds import EmbeddingKind
from cmc_mcp.kernel.pieces import Piece
from cmc_mcp.model.facts import facts_of
from cmc_mcp.model.time import SINCE_ALWAYS, UNTIL_FURTHER_NOTICE
from cmc_mcp.store.protocol import ReadView
from cmc_mcp.write.engine import Cancel, Engine, Progress
from cmc_mcp.write.enrich import model_of

_BATCH = 256


def embed_pending(engine: Engine, *, progress: Progress | None = None, cancel: Cancel | None = None) -> int:
    """Embed what has no vector under the present model yet, one transaction a batch; give how many texts were.

    A completion is a ledger change, and a vector counts from its transaction on, so past answers stay what they were.

    Raises:
        EmbedderError: there is no model, or it cannot be loaded or does not answer.
    """
    embedder = engine.embedder
    if embedder is None:
        raise EmbedderError("no embedding model is configured; open the memory with one")
    identity = embedder.identity
    done = 0
    while True:
        with engine.store.reader(engine.ws) as view:
            pending = view.pending(model_of(view, embedder), _BATCH)
            texts = {
                pid: text for pid in dict.fromkeys(pid for _, pid in pending) if (text := _text(engine, view, pid))
            }
        if not texts:
            return done
        vectors = embedder.embed(list(texts.values()))
        with engine.store.writer(engine.ws) as unit:
            model = unit.model_number(
                identity.model_id, identity.weights_digest, identity.precision, identity.dimension
            )
            known = unit.embedded(model, list(texts))
            for pid, vector in zip(texts, vectors, strict=True):
                if pid not in known:
                    unit.add_vector(model, pid, vector.tobytes())
            rid, _ = unit.intern(EmbeddingKind.record(identity.model_id.encode(), unit.seq.to_bytes(8, "big")))
            facts = facts_of({"model": identity.model_id, "digest": identity.weights_digest, "vectors": len(texts)})
            unit.set_pieces(rid, (Piece(SINCE_ALWAYS, UNTIL_FURTHER_NOTICE, facts),))
            engine.commit(unit, "embed", {"vectors": len(texts)}, cancel)
        done += len(texts)
        if progress:
            progress(done, 0)


def _text(engine: Engine, view: ReadView, pid: int) -> str:
    row = view.payload_row(pid)
    if row.object and row.body is None:
        try:
            return engine.objects.get(engine.ws, row.hash).decode()
        except CmcError:
            return ""  # `verify` names a missing object; it must not keep the others from being embedded
    return "" if row.body is None else row.body.decode()
