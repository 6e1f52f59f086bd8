"""Enrich: one vector for each new text, in one batch, while no transaction is open and no lock is held.

An endpoint may take minutes, and a transaction that waits for one is ended by a database, and lets a file's log grow.
So what has a vector already is looked up first, and again under the lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cmc_mcp.embed.protocol import Embedder
from cmc_mcp.errors import EmbedderError
from cmc_mcp.ids import NodeKey, PayloadHash
from cmc_mcp.store.ports import ReadView
from cmc_mcp.workspace import model_of
from cmc_mcp.write.draft import Draft


@dataclass(frozen=True, slots=True)
class Unembedded:
    """Texts without a vector under a model: contents by their hashes, those of nodes by their keys."""

    contents: dict[PayloadHash, bytes] = field(default_factory=dict)
    nodes: dict[NodeKey, str] = field(default_factory=dict)


@dataclass(slots=True)
class Vectors:
    """Vectors by content hash, of nodes by their keys (fp32 bytes), and the reason why the rest have none."""

    by_hash: dict[PayloadHash, bytes] = field(default_factory=dict)
    by_node: dict[NodeKey, bytes] = field(default_factory=dict)
    reason: str | None = None


def unembedded(view: ReadView, embedder: Embedder | None, drafts: Iterable[Draft]) -> Unembedded:
    """Return what drafts need embedded: their texts that have no vector under this model yet; nothing without a model."""
    if embedder is None:
        return Unembedded()
    texts: dict[PayloadHash, bytes] = {}
    nodes: dict[NodeKey, str] = {}
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
    return Unembedded(texts, nodes)


def embedded(embedder: Embedder | None, wanted: Unembedded) -> Vectors:
    """Embed texts in one batch; call it while nothing is open.

    Raises:
        EmbedderError: no vector could be made.
    """
    if embedder is None:
        return Vectors(reason="no embedding model is configured")
    texts, nodes = wanted.contents, wanted.nodes
    if not texts and not nodes:
        return Vectors()
    made = embedder.embed([*(data.decode() for data in texts.values()), *nodes.values()])
    rows = [row.tobytes() for row in made]
    return Vectors(dict(zip(texts, rows[: len(texts)], strict=True)), dict(zip(nodes, rows[len(texts) :], strict=True)))


def enrich(embedder: Embedder | None, wanted: Unembedded) -> Vectors:
    """Embed texts as `embedded` does; if the embedder fails, return no vectors and set `reason`."""
    try:
        made = embedded(embedder, wanted)
    except EmbedderError as error:
        return Vectors(reason=error.message)
    if all(any(row) for rows in (made.by_hash, made.by_node) for row in rows.values()):
        return made
    return Vectors(reason="the model gave a text a vector of zeros, which is near nothing")
