"""LlamaIndex: a vector store, a key-value store for documents and indices, and a memory block, in one file.

>>> store = CMCVectorStore("memory.db")                                                    # doctest: +SKIP
>>> index = VectorStoreIndex.from_documents(documents, storage_context(store))             # doctest: +SKIP
>>> index.as_retriever(filters=MetadataFilters(filters=[…])).retrieve("kettle")            # doctest: +SKIP

All fourteen operators are there, as `SimpleVectorStore` understands them: what each says of a missing key, a null and a
value of another type is in `_llamaindex_filters`. Conditions nest. Keys are whole: a dot in one is a dot, but below `vif.`
are the virtual columns of the witness, and `ref_doc_id` (or `doc_id`, `document_id`) is the source document's id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cmc_mcp import limits
from cmc_mcp.adapters._opening import Opening, checked_model_id, is_none
from cmc_mcp.collection import Collection
from cmc_mcp.embed.external import ExternalEmbedder, model_name
from cmc_mcp.errors import Problem
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry, Found
from cmc_mcp.model.filters import Compare, Every, Where

from ._awaiting import awaited, rows_of, tried
from ._extra import missing

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field as ModelField
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode
    from llama_index.core.storage import StorageContext
    from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
    from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterOperator,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )

    from ._llamaindex_agents import CMCMemoryBlock
    from ._llamaindex_errors import BadArgument
    from ._llamaindex_filters import OPERATORS, REF_DOC, parsed
    from ._llamaindex_nodes import SOURCE, drafts_of, no_more, node_of
    from ._llamaindex_storage import COLLECTION, CMCKVStore
except ImportError as error:
    raise missing("llamaindex", error) from error

__all__ = (
    "COLLECTION", "SOURCE", "BadArgument", "CMCKVStore", "CMCMemoryBlock", "CMCVectorStore", "node_of", "parsed",
    "storage_context",
)  # fmt: skip
_HANDED_OVER: Final = "llamaindex"  # the model of vectors that come with nodes and say not whose they are


# ---------------------------------------------------------------------- the vector store
class CMCVectorStore(BasePydanticVectorStore):
    """A collection of a memory as a LlamaIndex vector store. Safe to call from several threads.

    Adding a node under an id that is there supersedes it, deleting ends belief in it; `as_of` and `valid_at` (keyword
    arguments of `query` and `get_nodes`) read an earlier state, and `cmc history` sees it all. Similarities are cosines
    of vectors, BM25 scores of TEXT_SEARCH and SPARSE, and from 0 to 1 in HYBRID. With `witness`, nodes come with their
    provenance under the metadata key `vif`, which is neither embedded nor prompted.

    A node is found by the vector that it came with, whatever other vector its text has elsewhere. Five of LlamaIndex's nine
    query modes are there: those that fit a learner (SVM, logistic and linear regression) and SEMANTIC_HYBRID are not.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    path: str | None = None
    collection: str = COLLECTION
    workspace: str = "default"
    principal: str | None = None
    model_id: str | None = None
    witness: bool = True
    embed_model: BaseEmbedding | None = ModelField(default=None, exclude=True)
    _memory: Memory = PrivateAttr()
    _entries: Collection = PrivateAttr()
    _owned: bool = PrivateAttr()
    _reopens: bool = PrivateAttr()
    _elsewhere: Collection | None = PrivateAttr(default=None)

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        memory: Memory | None = None,
        collection: str = COLLECTION,
        embed_model: BaseEmbedding | None = None,
        model_id: str | None = None,
        workspace: str = "default",
        principal: str | None = None,
        key: bytes | None = None,
        witness: bool = True,
        **fields: Any,
    ) -> None:
        """Open a collection, in a new or existing file or of an open memory.

        Vectors come with the nodes. They are recorded as of `model_id`, by default the name of `embed_model`; where
        neither is given, as of the model that the collection has, a new one being of a memory's own model if the length is
        that model's, and else "llamaindex", which says that the model is unknown. With `embed_model`, nodes and questions
        that come without a vector are embedded.

        Raises:
            BadArgument: both or neither of path and memory are given.
            StoreError: the file cannot be opened.
        """
        no_more({name: value for name, value in fields.items() if name not in ("stores_text", "is_embedding_query")})
        opening = Opening(path, memory, workspace, principal, key).checked(BadArgument)
        given = _embedder(embed_model, model_id)
        fields = {"path": None if path is None else str(path), "collection": collection, "workspace": workspace}
        fields |= {"principal": principal, "model_id": model_id, "witness": witness, "embed_model": embed_model}
        try:
            super().__init__(stores_text=True, **fields)
        except ValueError as error:
            raise BadArgument.at("store", f"cannot be made of this: {error}") from error
        self._owned, self._reopens = opening.owned, opening.owned and key is None
        self._memory, self._entries = opening.open(collection, given, _unknown())
        if self._entries.identity is None:
            self._memory, self._entries = opening.open(collection, _unknown(), None)

    @classmethod
    def from_params(cls, path: str | Path, **kwargs: Any) -> CMCVectorStore:
        """Open a file; arguments as of the constructor."""
        return cls(path, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Name the class as LlamaIndex serialises it."""
        return "CMCVectorStore"

    @property
    def client(self) -> Memory:
        """The memory below: history, snapshots, rollback."""
        return self._memory

    def close(self) -> None:
        """Close the file, unless the memory was given. Closing twice is allowed."""
        if self._owned:
            self._memory.close()

    def __enter__(self) -> CMCVectorStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments that open the same file in another process."""
        if not self._reopens:
            raise BadArgument.at(
                "store", "cannot be pickled: it was given an open memory or a key; open it by its path"
            )
        return {"__dict__": dict(self.__dict__)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]  # as BaseComponent does it

    def _of_length(self, size: int) -> Collection:
        """Return the collection as seen through the model that vectors of a length are of.

        An open memory's own model may have another length than vectors that come with nodes; these are of an unknown one.
        """
        identity = self._entries.identity
        if self.embed_model is not None or self.model_id is not None or self._owned or not identity:
            return self._entries
        if not size or size == identity.dimension or self._entries.untried is not None:
            return self._entries
        if self._elsewhere is None:
            self._elsewhere = self._memory.with_embedder(_unknown()).collection(self.collection)
        return self._elsewhere

    # ------------------------------------------------------------------ writing
    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes, all checked first, a transaction for each thousand; return their ids.

        Of an id given twice the last one counts. `valid_from`, `valid_to` and `confidence` hold for all.

        Raises:
            BadArgument: a node or an argument is invalid.
            InvalidInput: a text, its metadata or its vector is invalid.
            DimensionMismatch: the length of a vector differs.
            EmbedderError: a node lacks a vector, and the store lacks an embedding.
        """
        drafts = drafts_of(nodes, kwargs)
        missing = [draft.text for draft in drafts if draft.vector is None]
        vectors = iter(self._entries.embed(missing) if missing else ())
        made = [draft if draft.vector is not None else replace(draft, vector=next(vectors)) for draft in drafts]
        self._put(made)
        return [draft.id for draft in drafts]

    def _put(self, entries: Sequence[Entry]) -> None:
        first = entries[0].vector if entries else None
        size = 0 if first is None else len(first)
        self._of_length(size).put(entries, large=True)

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """End belief in the nodes of a source document. An unknown id is ignored."""
        no_more(kwargs)
        if not isinstance(ref_doc_id, str):
            raise BadArgument.at("ref_doc_id", f"is a {type(ref_doc_id).__name__}; pass the id of a document")
        self._delete(Compare((REF_DOC,), OPERATORS[FilterOperator.EQ], ref_doc_id), None)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        """End belief in nodes by their ids, by a filter, or by both at once. Without either nothing is deleted."""
        no_more(kwargs)
        where = parsed(filters)
        if node_ids is not None or where is not None:
            self._delete(where, node_ids)

    def clear(self) -> None:
        """End belief in every node of the collection, in one transaction."""
        self._entries.clear()

    def _delete(self, where: Where | None, ids: Sequence[str] | None) -> None:
        self._entries.delete([found.id for found in self._entries.entries(where=where, ids=ids)])

    # ------------------------------------------------------------------ reading
    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Return nodes by their ids (in their order), by a filter, or by both; without either all of them."""
        times = _times(kwargs)
        no_more(kwargs)
        found = self._entries.entries(where=parsed(filters), ids=node_ids, **times)
        return [node_of(one, witness=self.witness) for one in found]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find the nodes that match best; filtered first and exact, so `similarity_top_k` come whenever as many pass.

        DEFAULT and MMR take an embedding, TEXT_SEARCH and SPARSE a text, HYBRID both; `alpha` (0.5) is the share of the
        vector. `sparse_top_k` is the number in TEXT_SEARCH and SPARSE, and `hybrid_top_k` in HYBRID, where they are
        given; HYBRID weighs every candidate of both kinds, so the number of each cannot be chosen. Keyword arguments:
        `as_of`, `valid_at`, `mmr_threshold` (0.5: nearness against unlikeness) and `mmr_prefetch_k` (the nearest that
        MMR chooses from: four times `similarity_top_k`, at least 20).

        Raises:
            BadArgument: the mode or an argument is unknown, or the text or the embedding is missing.
            InvalidInput: the number or a filter is invalid.
            DimensionMismatch: the length of the embedding differs.
            EmbedderError: the embedding is missing, and the store lacks one.
        """
        times = _times(kwargs)
        search = _SEARCHES.get(query.mode)
        if search is None:
            raise BadArgument.at(
                "mode", f"{query.mode!s:.40} is an unknown mode; use one of {', '.join(m.name for m in _SEARCHES)}"
            )
        if query.output_fields is not None or query.embedding_field is not None:
            raise BadArgument.at(
                "output_fields", "and embedding_field are not here: nodes come whole, under one vector"
            )
        options: dict[str, Any] = {
            name: kwargs.pop(name) for name in ("mmr_threshold", "mmr_prefetch_k") if name in kwargs
        }
        if options and query.mode != VectorStoreQueryMode.MMR:
            raise BadArgument.of([Problem(name, "is for the mode MMR") for name in options])
        no_more(kwargs)
        # an index over a store that holds text has no list of nodes, and its retriever hands on an empty one
        limited = {"where": _where(query), "ids": query.node_ids or None, **times}
        k = _NUMBERS.get(query.mode, lambda asked: asked.similarity_top_k)(query)
        found = [] if is_none(k) else search(self, query, limited, options)
        return VectorStoreQueryResult(
            nodes=[node_of(one, witness=self.witness) for one in found],
            similarities=[one.score or 0.0 for one in found],
            ids=[one.id for one in found],
        )

    def _by_vector(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        vector = self._vector(query)
        return self._of_length(len(vector)).search(vector=vector, k=query.similarity_top_k, **limited)

    def _by_text(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        k = _sparse(query)
        return self._entries.search(text=_text(query), k=k, **limited)

    def _by_both(self, query: VectorStoreQuery, limited: Mapping[str, Any], _: Mapping[str, Any]) -> list[Found]:
        k = _hybrid(query)
        alpha: object = 0.5 if query.alpha is None else query.alpha
        if not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
            raise BadArgument.at("alpha", f"{alpha!r:.40} is not a number from 0 (words) to 1 (vectors)")
        vector = self._vector(query)
        return self._of_length(len(vector)).search(vector=vector, text=_text(query), k=k, alpha=alpha, **limited)

    def _diverse(
        self, query: VectorStoreQuery, limited: Mapping[str, Any], options: Mapping[str, Any]
    ) -> list[Found]:  # fmt: skip
        share, k = options.get("mmr_threshold", query.mmr_threshold), query.similarity_top_k
        fetch, vector = options.get("mmr_prefetch_k"), self._vector(query)
        return self._of_length(len(vector)).diverse(
            vector,
            k=k,
            fetch_k=max(20, 4 * k) if fetch is None else fetch,
            share=0.5 if share is None else share,
            **limited,
        )

    def _vector(self, query: VectorStoreQuery) -> Any:
        if query.query_embedding is not None:
            return query.query_embedding
        if query.query_str is None:
            raise BadArgument.at("query_embedding", f"is missing, and mode {query.mode.name} needs one")
        return self._entries.embed_query(query.query_str)

    # ------------------------------------------------------------------ the same, off the event loop
    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, with the embedding awaited and the rest in a thread."""
        drafts = await asyncio.to_thread(drafts_of, nodes, kwargs)
        model = self.embed_model
        missing = [draft.text for draft in drafts if draft.vector is None]
        if model is None or not drafts:
            vectors = iter(await asyncio.to_thread(self._entries.embed, missing) if missing else ())
        else:
            size = next((len(draft.vector) for draft in drafts if draft.vector is not None), 0)
            await tried(self._entries, model.aget_text_embedding_batch, size)
            vectors = iter(await rows_of(missing, model.aget_text_embedding_batch))
        made = [draft if draft.vector is not None else replace(draft, vector=next(vectors)) for draft in drafts]
        await asyncio.to_thread(self._put, made)
        return [draft.id for draft in drafts]

    async def adelete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        """As `delete_nodes`, in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **kwargs)

    async def aclear(self) -> None:
        """As `clear`, in a thread."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """As `get_nodes`, in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters, **kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, with the embedding awaited and the rest in a thread."""
        model = self.embed_model
        if model is not None and query.mode in _BY_VECTOR:
            await tried(self._entries, model.aget_text_embedding_batch)
            if query.query_embedding is None and query.query_str is not None:
                vector = await awaited(model.aget_query_embedding(query.query_str))
                query = replace(query, query_embedding=vector)
        return await asyncio.to_thread(self.query, query, **kwargs)


def _sparse(query: VectorStoreQuery) -> int:
    return query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k


def _hybrid(query: VectorStoreQuery) -> int:
    return query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k


_NUMBERS: Final = MappingProxyType(
    {
        VectorStoreQueryMode.TEXT_SEARCH: _sparse,
        VectorStoreQueryMode.SPARSE: _sparse,
        VectorStoreQueryMode.HYBRID: _hybrid,
    }
)
_BY_VECTOR: Final = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.MMR)
_SEARCHES: Final = MappingProxyType(
    {
        VectorStoreQueryMode.DEFAULT: CMCVectorStore._by_vector,
        VectorStoreQueryMode.TEXT_SEARCH: CMCVectorStore._by_text,
        VectorStoreQueryMode.SPARSE: CMCVectorStore._by_text,
        VectorStoreQueryMode.HYBRID: CMCVectorStore._by_both,
        VectorStoreQueryMode.MMR: CMCVectorStore._diverse,
    }
)


def storage_context(store: CMCVectorStore) -> StorageContext:
    """Make a storage context whose vectors, documents and indices are all in the file of a vector store.

    An index is there again with `load_index_from_storage(storage_context(CMCVectorStore(path)))`; `persist` is not needed.
    """
    values = CMCKVStore(store.client, store.collection)
    return StorageContext.from_defaults(
        vector_store=store,
        docstore=KVDocumentStore(values, batch_size=limits.BATCH_ITEMS_MAX),
        index_store=KVIndexStore(values),
    )


# ---------------------------------------------------------------------- within
def _where(query: VectorStoreQuery) -> Where | None:
    where = parsed(query.filters)
    ids: object = query.doc_ids
    if ids is None:
        return where
    if not isinstance(ids, list | tuple) or not all(isinstance(id, str) for id in ids):
        raise BadArgument.at("doc_ids", "is not a list of ids")
    sources = Compare((REF_DOC,), OPERATORS[FilterOperator.IN], tuple(ids))
    return sources if where is None else Every((sources, where))


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise BadArgument.at("query_str", f"is missing, and mode {query.mode.name} needs one")
    return query.query_str


def _times(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: kwargs.pop(name) for name in ("as_of", "valid_at") if name in kwargs}


def _unknown() -> ExternalEmbedder:
    return ExternalEmbedder(_HANDED_OVER, named=False)


def _embedder(embed_model: BaseEmbedding | None, model_id: str | None) -> ExternalEmbedder | None:
    if model_id is not None:
        checked_model_id(model_id, BadArgument)
    if embed_model is None:
        return None if model_id is None else ExternalEmbedder(model_id)
    if not isinstance(embed_model, BaseEmbedding):
        raise BadArgument.at("embed_model", f"is a {type(embed_model).__name__}; pass a BaseEmbedding of LlamaIndex")
    name = model_id or model_name(embed_model)
    return ExternalEmbedder(name, embed_model.get_text_embedding_batch, embed_model.get_query_embedding)
