"""Enrich: one vector for each new text, in one batch, before the write lock is taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.errors import EmbedderError
from cmc_mcp.store.protocol import ReadView
from cmc_mcp.write.draft import Draft


@dataclass(slots=True)
class Vectors:
    """Vectors by content hash, of nodes by their keys (fp32 bytes), and why there are none for the rest."""

    by_hash: dict[bytes, bytes] = field(default_factory=dict)
    by_node: dict[bytes, bytes] = field(default_factory=dict)
    reason: str | None = None


def enrich(view: ReadView, embedder: Embedder | None, drafts: Iterable[Draft]) -> Vectors:
    """Embed what was not embedded before under this model. An embedder that is down is no failure: see `reason`."""
    if embedder is None:
        return Vectors(reason="no embedding model is configured")
    texts: dict[bytes, bytes] = {}
    nodes: dict[bytes, str] = {}
    for draft in drafts:
        if draft.searchable:
            texts.update((part.hash, part.data) for part in draft.parts)
            if draft.nodes:
                nodes.update(draft.node_texts())
    model = model_of(view, embedder)
    pids = view.pids(list(texts))
    if pids and model:
        known = view.embedded(model, list(pids.values()))
        texts = {hash_: data for hash_, data in texts.items() if pids.get(hash_) not in known}
    if nodes and model:
        for key in view.nodes_embedded(model, list(nodes)):
            del nodes[key]
    if not texts and not nodes:
        return Vectors()
    try:
        made = embedder.embed([*(data.decode() for data in texts.values()), *nodes.values()])
    except EmbedderError as error:
        return Vectors(reason=error.message)
    rows = [row.tobytes() for row in made]
    return Vectors(dict(zip(texts, rows[: len(texts)], strict=True)), dict(zip(nodes, rows[len(texts) :], strict=True)))


def model_of(view: ReadView, embedder: Embedder) -> int:
    """Give the number of the embedder's model in this workspace; 0 when it has none yet."""
    identity = embedder.identity
    for number, name, digest, precision, dimension in view.models():
        if (name, digest, precision, dimension) == (
            identity.model_id,
            identity.weights_digest,
            identity.precision,
            identity.dimension,
        ):
            return number
    return 0
